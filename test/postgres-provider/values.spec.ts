/**
 * Values are read back unchanged, character by character; and a value that Postgres cannot store
 * fails only its own batch.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { PostgresProvider } from '@kvent/key-value-postgres';
import type { StorageProvider } from '@kvent/key-value-storage/core';
import type { Batch, CommitResult, RawRow } from '@kvent/key-value-storage/provider';
import { freshDatabase, type FreshDatabase } from '../postgres/databases.js';
import { addressOf, batchOf, commitOne, putBatch, textAt } from './rows.js';

/** JSON that parsing and printing would change. */
const texts = [
  'null',
  '""',
  '-0',
  '1e400',
  '12345678901234567890.1234567890123456789',
  '1.0',
  '"\\u0000"',
  '"\\ud800"',
  '"\\udc00\\ud800"',
  '"\\u0041 é \\/ \u2028 🚀 \\ud83d\\ude80"',
  '{"b":1,"a":2,"b":3,"":4,"__proto__":5}',
  ' \t\r\n{ "a" : [ 1 ,2 ] }\r\n ',
  '[{"quote":"it\'s","back":"\\\\","dollar":"$1 $$","brace":"{NULL,\\"x\\"}"}]',
  'true',
  `"${'x'.repeat(900 * 1_024 - 2)}"`,
  `"${'é'.repeat(450 * 1_024 - 1)}"`,
  `[${Array.from({ length: 90_000 }, (_, index) => index).join(' , ')}]`,
] as const;

let database: FreshDatabase;
let provider: PostgresProvider;
beforeAll(async () => {
  database = await freshDatabase();
  provider = new PostgresProvider({ url: database.url, poolSize: 4 });
  await provider.open();
});
afterAll(async () => {
  await provider.close();
  await database[Symbol.asyncDispose]();
});

const keys = texts.map((_, index) => `text-${String(index).padStart(2, '0')}`);

/** The texts as returned by each kind of read. */
async function readBack(tenant: string): Promise<Readonly<Record<string, readonly (string | undefined)[]>>> {
  const one = await Promise.all(keys.map(async (key) => await textAt(provider, key, tenant)));
  const textIn = (value: { readonly kind: string } | undefined): string | undefined =>
    (value as { readonly text?: string } | undefined)?.text;
  const many = (await provider.read(keys.map((key) => addressOf(key, tenant)))).rows.map((row) =>
    textIn(row?.value),
  );
  const [page] = await provider.scan([{ ...addressOf('', tenant), limit: 100 }]);
  const exported: RawRow[] = [];
  for await (const row of provider.administration.export(tenant)) exported.push(row);
  return {
    one,
    many,
    scanned: page?.rows.map(({ row }) => textIn(row.value)) ?? [],
    exported: exported.map(({ row }) => textIn(row.value)),
  };
}

describe('JSON text', () => {
  const puts = (tenant: string): readonly Batch[] =>
    texts.map((text, index) => putBatch(keys[index] as string, text, undefined, tenant));
  const committed = (results: readonly CommitResult[]): void => {
    expect(results.map(({ outcome }) => outcome)).toEqual(texts.map(() => 'committed'));
  };
  const last = putBatch('', '').version;

  it.each<[string, (tenant: string) => Promise<void>]>([
    [
      'alone',
      async (tenant) =>
        committed(await Promise.all(puts(tenant).map(async (batch) => await commitOne(provider, batch)))),
    ],
    ['together', async (tenant) => committed(await provider.commit(puts(tenant)))],
    [
      'over a version that was read',
      async (tenant) => {
        const before = texts.map((_, index) =>
          putBatch(keys[index] as string, '"before"', undefined, tenant),
        );
        committed(await provider.commit(before));
        const replaced = texts.map((text, index) =>
          putBatch(keys[index] as string, text, { version: before[index]?.version ?? last }, tenant),
        );
        committed(await Promise.all(replaced.map(async (batch) => await commitOne(provider, batch))));
      },
    ],
    [
      'in one batch',
      async (tenant) => {
        const changes = puts(tenant).flatMap((batch) => batch.changes);
        // In two halves: the limit of a batch is 8 MB.
        for (const half of [changes.slice(0, 15), changes.slice(15)])
          expect((await commitOne(provider, batchOf(half, [], tenant))).outcome).toBe('committed');
      },
    ],
    [
      'as it is moved',
      async (tenant) => {
        await provider.commit(puts(`${tenant}-from`));
        await provider.administration.import(tenant, provider.administration.export(`${tenant}-from`));
      },
    ],
  ])('that is written %s is read back unchanged, by every kind of read', async (way, write) => {
    const tenant = `tenant:${way.replaceAll(' ', '-')}`;
    await write(tenant);
    for (const [reading, found] of Object.entries(await readBack(tenant)))
      for (const [index, text] of texts.entries())
        if (found[index] !== text)
          throw new Error(
            `${reading}: ${text.slice(0, 40)} was read as ${String(found[index]).slice(0, 40)}`,
          );
  });
});

describe('a value that Postgres cannot store', () => {
  const bad: readonly [string, string][] = [
    ['no JSON', '{"open":'],
    ['no text at all', ''],
    ['a NUL', '"\0"'],
    ['a value nested beyond its stack', '['.repeat(200_000) + ']'.repeat(200_000)],
  ];

  it.each(bad)('fails with its own error: %s', async (_, text) => {
    await expect(commitOne(provider, putBatch('alone', text))).rejects.toMatchObject({
      code: 'INVALID_VALUE',
      effect: 'none',
      retryable: false,
    });
    expect(await textAt(provider, 'alone')).toBeUndefined();
  });

  it.each(bad)('fails alone among other batches, of one shape and of others: %s', async (what, text) => {
    const tenant = `tenant:${what.replaceAll(' ', '-')}`;
    const sum = (key: string): Batch => {
      const { container, entity } = addressOf(key);
      return batchOf([{ kind: 'sum', address: { container, entity, key }, operand: 1n }], [], tenant);
    };
    const both = (key: string, value: string): Batch =>
      batchOf([...sum(`${key}-sum`).changes, ...putBatch(key, value).changes], [], tenant);
    const put = (key: string, value: string): Batch => putBatch(key, value, 'absent', tenant);
    const results = await provider.commit([
      put('a', '1'),
      put('b', text),
      put('c', '3'),
      sum('d'),
      both('e', text),
      both('f', '6'),
      put('g', text),
      put('h', '8'),
    ]);
    expect(results.map(({ outcome }) => outcome)).toEqual([
      'committed',
      'failed',
      'committed',
      'committed',
      'failed',
      'committed',
      'failed',
      'committed',
    ]);
    for (const result of results)
      if (result.outcome === 'failed')
        expect(result.error).toMatchObject({ code: 'INVALID_VALUE', effect: 'none' });
    const [page] = await provider.scan([{ ...addressOf('', tenant), limit: 100 }]);
    expect(page?.rows.map(({ key }) => key)).toEqual(['a', 'c', 'd', 'f', 'f-sum', 'h']);
  });

  it('is not in the message of the error', async () => {
    const error: unknown = await commitOne(provider, putBatch('secret', '{"card":4711081547110815')).catch(
      (reason: unknown) => reason,
    );
    expect(`${String(error)} ${JSON.stringify(error)} ${String((error as Error).cause)}`).not.toContain(
      '4711',
    );
  });
});

describe('the largest calls', () => {
  const many = (count: number): readonly string[] =>
    Array.from({ length: count }, (_, index) => `key-${String(index).padStart(4, '0')}`);
  const at = (key: string) => {
    const { container, entity } = addressOf(key);
    return { container, entity, key };
  };
  const firstRow = async (target: StorageProvider): Promise<object | undefined> =>
    (await target.read([addressOf('key-0000', 'tenant:large')])).rows[0];

  it('a batch of 900 rows is written, checked, changed and deleted completely', async () => {
    const keysOf900 = many(900);
    const first = batchOf(
      keysOf900.map((key) => ({
        kind: 'put',
        address: at(key),
        value: { kind: 'json', text: '1' },
        ttl: 'never',
      })),
      [],
      'tenant:large',
    );
    expect(await commitOne(provider, first)).toMatchObject({
      outcome: 'committed',
      rows: keysOf900.map(() => ({ existed: false })),
    });
    const checks = keysOf900.map((key) => ({ address: at(key), expected: { version: first.version } }));
    const stale = [...checks.slice(0, 899), { address: at('key-0899'), expected: 'absent' as const }];
    const deletes = keysOf900.map((key) => ({ kind: 'delete' as const, address: at(key) }));
    expect(await commitOne(provider, batchOf(deletes, stale, 'tenant:large'))).toMatchObject({
      outcome: 'conflict',
      address: at('key-0899'),
      actual: first.version,
    });
    expect(await firstRow(provider)).toBeDefined();
    const numbers = keysOf900.map((key) => ({
      kind: 'put' as const,
      address: at(key),
      value: { kind: 'number' as const, number: 1n },
      ttl: 60_000,
    }));
    expect((await commitOne(provider, batchOf(numbers, checks, 'tenant:large'))).outcome).toBe('committed');
    const sums = keysOf900.map((key) => ({ kind: 'sum' as const, address: at(key), operand: 41n }));
    expect(await commitOne(provider, batchOf(sums, [], 'tenant:large'))).toMatchObject({
      rows: keysOf900.map(() => ({ existed: true, number: 42n })),
    });
    expect(await commitOne(provider, batchOf(deletes, [], 'tenant:large'))).toMatchObject({
      rows: keysOf900.map(() => ({ existed: true })),
    });
    expect(await firstRow(provider)).toBeUndefined();
  });

  it('a read of 1,000 addresses returns rows in their order, with gaps and a repeated address', async () => {
    const present = many(1_000).filter((_, index) => index % 3 === 0);
    const rows = present.map((key) => ({
      kind: 'put' as const,
      address: at(key),
      value: { kind: 'json' as const, text: `"${key}"` },
      ttl: 'never' as const,
    }));
    await commitOne(provider, batchOf(rows, [], 'tenant:read'));
    const requested = [...many(999).toReversed(), 'key-0000'];
    const { rows: found } = await provider.read(requested.map((key) => addressOf(key, 'tenant:read')));
    expect(found.map((row) => (row?.value as { readonly text?: string } | undefined)?.text)).toEqual(
      requested.map((key) => (present.includes(key) ? `"${key}"` : undefined)),
    );
  });

  it('1,000 independent batches of one call have their results in order', async () => {
    const batches = many(1_000).map((key, index) =>
      putBatch(key, '1', index % 2 === 0 ? 'absent' : 'present', 'tenant:calls'),
    );
    const outcomes = (await provider.commit(batches)).map(({ outcome }) => outcome);
    expect(outcomes).toEqual(batches.map((_, index) => (index % 2 === 0 ? 'committed' : 'conflict')));
  });
});

describe('an empty batch', () => {
  it('beside other batches has a time, and so have the others', async () => {
    const results = await provider.commit([
      putBatch('beside-empty', '1'),
      batchOf([]),
      putBatch('beside-empty-too', '1'),
      batchOf([]),
    ]);
    for (const result of results) {
      expect(result).toMatchObject({ outcome: 'committed' });
      expect(new Date((result as { readonly time: number }).time).getTime()).not.toBeNaN();
    }
  });
});

/**
 * Fast paths: whatever earlier writes met, and whatever a row is, the results and the rows
 * afterwards are those of the provider in memory, for one batch and for several in one call.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { PostgresProvider } from '@kvent/key-value-postgres';
import type { StorageProvider } from '@kvent/key-value-storage/core';
import type { Batch, Change, CommitResult, Expected } from '@kvent/key-value-storage/provider';
import { MemoryProvider } from '@kvent/key-value-storage';
import { ManualClock } from '@kvent/key-value-storage/testing';
import { freshDatabase, type FreshDatabase } from '../postgres/databases.js';
import { statementsOf } from '../postgres/statements-of.js';
import { addressOf, batchOf, putBatch } from './rows.js';

type Put = Extract<Change, { kind: 'put' }>;

const place = (key: string) => {
  const { container, entity } = addressOf(key);
  return { container, entity, key };
};
const json = (key: string, ttl: Put['ttl'] = 'never', text = '{"a":"b"}'): Change => ({
  kind: 'put',
  address: place(key),
  value: { kind: 'json', text },
  ttl,
});
const number = (key: string, value: bigint, ttl: Put['ttl'] = 'never'): Change => ({
  kind: 'put',
  address: place(key),
  value: { kind: 'number', number: value },
  ttl,
});
const sum = (
  key: string,
  operand: bigint,
  more: { floor?: bigint; ceiling?: bigint; ttlMs?: number } = {},
): Change => ({
  kind: 'sum',
  address: place(key),
  operand,
  ...more,
});

/**
 * How a row can be before it is written: each made ready by these changes, and by the time that has
 * passed since.
 */
const states: Readonly<Record<string, (key: string) => readonly Change[]>> = {
  absent: () => [],
  'there for ever': (key) => [json(key)],
  'there for an hour': (key) => [json(key, 3_600_000)],
  'about to expire': (key) => [json(key, 10_000)],
  expired: (key) => [json(key, 1_000)],
  bytes: (key) => [
    {
      kind: 'put',
      address: place(key),
      value: { kind: 'bytes', bytes: new Uint8Array([0, 255]) },
      ttl: 'never',
    },
  ],
  'a number': (key) => [number(key, 7n)],
  'a number for an hour': (key) => [number(key, 7n, 3_600_000)],
  'the greatest number': (key) => [number(key, 2n ** 63n - 1n)],
};

/** What is done to it. `version`: that of the row as it was made ready. */
const writes: Readonly<
  Record<string, (key: string, version: string) => { readonly change: Change; readonly expected?: Expected }>
> = {
  'set for ever': (key) => ({ change: json(key) }),
  'set for a while': (key) => ({ change: json(key, 90_000) }),
  'set, the expiry kept': (key) => ({ change: json(key, { keepElse: 120_000 }) }),
  'save its version': (key, version) => ({ change: json(key, { keepElse: 'never' }), expected: { version } }),
  'save another version': (key, version) => ({
    change: json(key),
    expected: { version: `${BigInt(version) + 1n}` },
  }),
  'replace what is present': (key) => ({ change: json(key, 90_000), expected: 'present' }),
  add: (key) => ({ change: json(key, 'never', '"\\"\\\\{}"'), expected: 'absent' }),
  'add for a while': (key) => ({ change: json(key, 90_000), expected: 'absent' }),
  'count up': (key) => ({ change: sum(key, 1n) }),
  'count up, new ones for a while': (key) => ({ change: sum(key, 2n, { ttlMs: 90_000 }) }),
  'count down to a floor': (key) => ({ change: sum(key, -5n, { floor: 0n }) }),
  'count up to a ceiling': (key) => ({ change: sum(key, 5n, { ceiling: 9n }) }),
  'count up, with a floor above': (key) => ({ change: sum(key, 1n, { floor: 100n }) }),
};

/** What the provider has met before, so that it tries one way, another, or none. */
const expectations: Readonly<Record<string, (key: string) => readonly Change[]>> = {
  'rows that live': (key) => [json(key), number(`${key}n`, 1n)],
  'no rows': () => [],
  'rows about to expire': (key) => [json(key, 10_000), number(`${key}n`, 1n, 10_000)],
};

let database: FreshDatabase;
const clock = new ManualClock();
const memory = new MemoryProvider({ clock });
let postgres: PostgresProvider;
beforeAll(async () => {
  database = await freshDatabase();
  postgres = new PostgresProvider({ url: database.url, poolSize: 2, clock });
  await postgres.open();
  await memory.open();
});
afterAll(async () => {
  await postgres.close();
  await memory.close();
  await database[Symbol.asyncDispose]();
});

/** The same on both, which have to say the same. */
async function both(batches: readonly Batch[]): Promise<readonly CommitResult[]> {
  if (batches.length === 0) return [];
  const [said, meant] = [await postgres.commit(batches), await memory.commit(batches)];
  expect(said).toEqual(meant);
  return said;
}

async function teach(met: (key: string) => readonly Change[], name: string): Promise<void> {
  const keys = ['one', 'two'].map((key) => `${name} ${key}`);
  const made = keys.flatMap((key) => met(key).map((change) => batchOf([change])));
  await both(made);
  for (const key of keys) {
    const version = made.find(({ changes }) => changes[0]?.address.key === key)?.version ?? '1';
    await both([
      batchOf([json(key, { keepElse: 'never' })], [{ address: place(key), expected: { version } }]),
    ]);
  }
  await both(
    keys.flatMap((key) => [batchOf([json(key, { keepElse: 'never' })]), batchOf([sum(`${key}n`, 1n)])]),
  );
  const checked = { address: place(`${name} new`), expected: 'absent' } as const;
  await both([batchOf([json(`${name} new`)], [checked])]);
}

async function rowsOf(provider: StorageProvider, keys: readonly string[]): Promise<unknown> {
  return (await provider.read(keys.map((key) => addressOf(key)))).rows;
}

describe.each(Object.keys(expectations))('a provider that has met %s', (met) => {
  it.each(Object.keys(writes))(
    'answers "%s" as the one in memory does, whatever the row is like',
    async (write) => {
      for (const company of [false, true]) {
        const name = `${met} ${write} ${String(company)}`;
        const keys = Object.keys(states).map((state) => `${name} ${state}`);
        const made = keys.flatMap((key, index) =>
          (Object.values(states)[index] as (typeof states)[string])(key),
        );
        const ready = made.map((change) => batchOf([change]));
        await both(ready);
        await clock.advance(2_000);
        await teach(expectations[met] as (typeof expectations)[string], name);
        const batches = keys.map((key) => {
          const version = ready.find(({ changes }) => changes[0]?.address.key === key)?.version ?? '1';
          const { change, expected } = (writes[write] as (typeof writes)[string])(key, version);
          return batchOf([change], expected === undefined ? [] : [{ address: change.address, expected }]);
        });
        if (company) await both(batches);
        else for (const batch of batches) await both([batch]);
        expect(await rowsOf(postgres, keys)).toEqual(await rowsOf(memory, keys));
      }
    },
  );
});

/** What stands where an append is about to write: its head, and what may be in its way. */
const streams: Readonly<Record<string, (id: string) => readonly Change[]>> = {
  'is new': () => [],
  'is at 2': (id) => [number(id, 2n), json(`${id}/1`), json(`${id}/2`)],
  'is at 3': (id) => [number(id, 3n)],
  'is at 2, and ends some day': (id) => [number(id, 2n, 3_600_000)],
  'is at 2, and about to end': (id) => [number(id, 2n, 10_000)],
  'is held': (id) => [json(id, 'never', '{"version":2}')],
  'is at 2, with an event in the way': (id) => [number(id, 2n), json(`${id}/3`)],
  'is at 2, with an expired event in the way': (id) => [number(id, 2n), json(`${id}/4`, 1_000)],
  'is at 2, with a mark in the way': (id) => [number(id, 2n), json(`${id}/mark`)],
};

/** An append of two events and a mark to a stream at 2, or to a new one. */
function appendTo(id: string, at: 0 | 2): Batch {
  const created = [
    json(`${id}/${at + 1}`),
    json(`${id}/${at + 2}`),
    json(`${id}/mark`, 90_000),
    number(`${id}/number`, 5n, 90_000),
  ];
  const absent = created.map(({ address }) => ({ address, expected: 'absent' as const }));
  const head = { address: place(id), expected: at === 0 ? ('absent' as const) : { number: 2n } };
  const [first, ...others] = created;
  return batchOf([first as Change, number(id, BigInt(at + 2)), ...others], [head, ...absent]);
}

describe.each([true, false])('a provider that has met appends that landed: %s', (landed) => {
  it.each([0, 2] as const)(
    'answers an append at %i as the one in memory does, whatever the stream is like',
    async (at) => {
      for (const company of [false, true]) {
        const name = `append ${String(landed)} ${at} ${String(company)}`;
        const ids = Object.keys(streams).map((state) => `${name} ${state}`);
        const made = ids.flatMap((id, index) =>
          (Object.values(streams)[index] as (typeof streams)[string])(id),
        );
        await both(made.map((change) => batchOf([change])));
        await clock.advance(2_000);
        await both([appendTo(`${name} before`, landed ? 0 : 2)]);
        const batches = ids.map((id) => appendTo(id, at));
        if (company) await both(batches);
        else for (const batch of batches) await both([batch]);
        const keys = ids.flatMap((id) => [
          id,
          ...['1', '2', '3', '4', 'mark', 'number'].map((part) => `${id}/${part}`),
        ]);
        expect(await rowsOf(postgres, keys)).toEqual(await rowsOf(memory, keys));
      }
    },
  );

  it('moves heads on by as much as they say, and they last from then on', async () => {
    const ids = [1, 2, 3].map((index) => `many ${String(landed)} ${index}`);
    await both(ids.map((id) => batchOf([number(id, 2n, 3_600_000)])));
    await both([appendTo(`many ${String(landed)} before`, landed ? 0 : 2)]);
    const further = (id: string): Batch =>
      batchOf(
        [number(id, 9n), json(`${id}/9`)],
        [
          { address: place(id), expected: { number: 2n } },
          { address: place(`${id}/9`), expected: 'absent' },
        ],
      );
    await both(ids.map(further));
    expect(await rowsOf(postgres, ids)).toEqual(await rowsOf(memory, ids));
    const again = (id: string, at: number): Batch =>
      batchOf(
        [
          json(`${id}/${at + 2}`),
          number(id, BigInt(at + 2)),
          json(`${id}/${at + 1}`, 'never', '"\\"{\\\\}é"'),
        ],
        [
          { address: place(`${id}/${at + 1}`), expected: 'absent' },
          { address: place(`${id}/${at + 2}`), expected: 'absent' },
          { address: place(id), expected: { number: BigInt(at) } },
        ],
      );
    for (const id of ids) await both([again(id, 9)]);
    // at another number; and with a row in the way
    for (const id of ids) await both([again(id, 9)]);
    await both(ids.map((id) => batchOf([json(`${id}/13`)])));
    for (const id of ids) await both([again(id, 11)]);
    const keys = ids.flatMap((id) => [id, ...[9, 10, 11, 12, 13].map((version) => `${id}/${version}`)]);
    expect(await rowsOf(postgres, keys)).toEqual(await rowsOf(memory, keys));
  });
});

describe('changes of one number in one call', () => {
  const run = (key: string): readonly Batch[] =>
    [
      sum(key, 1n, { ttlMs: 90_000 }),
      sum(key, 2n, { ttlMs: 5_000 }),
      sum(key, -20n, { floor: 0n }),
      { ...sum(key, 12n, { ceiling: 12n }), kind: 'max' } as Change,
      sum(key, 2n ** 63n - 1n),
      sum(key, 1n, { ceiling: 12n }),
      sum(key, -2n, { ceiling: -100n, floor: -5n }),
    ].map((change) => batchOf([change]));

  it.each(Object.keys(states))('of a row that is %s are those of the one in memory', async (state) => {
    const key = `run ${state}`;
    for (const change of (states[state] as (typeof states)[string])(key)) await both([batchOf([change])]);
    await clock.advance(2_000);
    await both([...run(key), ...run(`${key} of its own`)]);
    await both(run(key));
    expect(await rowsOf(postgres, [key])).toEqual(await rowsOf(memory, [key]));
  });

  it('are one statement', async () => {
    await both([batchOf([number('hot', 1n)])]);
    const batches = Array.from({ length: 64 }, () => batchOf([sum('hot', 1n)]));
    expect(await statementsOf(() => both(batches))).toBe(1);
  });
});

it('distinguishes batches of one call that have the same version', async () => {
  await teach(() => [], 'same version');
  const one = putBatch('same-1', '1', 'absent');
  await both([one, { ...putBatch('same-2', '2', 'absent'), version: one.version }]);
  expect(await rowsOf(postgres, ['same-1', 'same-2'])).toEqual(await rowsOf(memory, ['same-1', 'same-2']));
});

describe.each([0, 2] as const)('an append at %i', (at) => {
  it.each([1, 2, 3, 4, 5, 30])('that creates %i rows beside its head is one statement', async (count) => {
    const [id, first] = [`lone ${at} ${count}`, `lone before ${at} ${count}`];
    const append = (stream: string): Batch => {
      const created = Array.from({ length: count }, (_, index) => json(`${stream}/${index}`));
      const absent = created.map(({ address }) => ({ address, expected: 'absent' as const }));
      const head = { address: place(stream), expected: at === 0 ? ('absent' as const) : { number: 2n } };
      return batchOf([number(stream, 9n), ...created], [head, ...absent]);
    };
    if (at === 2) await both([id, first].map((stream) => batchOf([number(stream, 2n)])));
    // the path is skipped while most appends before this one fell back
    await both([append(first)]);
    expect(await statementsOf(() => both([append(id)]))).toBe(1);
  });
});

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { defineBigCounter, defineState } from '@kvent/key-value-storage';
import type { RawRow } from '@kvent/key-value-storage/provider';
import { Folder, kvent, kventJson, Prices, Slots } from '../spec-support.js';

const Products = defineState<unknown>('product');
let folder: Folder;
let data: string;

beforeEach(async () => {
  folder = new Folder();
  data = folder.path('data');
  await folder.store((storage) => storage.store(Products).set('mug', { title: 'Mug' }));
});
afterEach(() => folder[Symbol.dispose]());

const row = (container: string, entity: string, key: string, value: RawRow['row']['value']): RawRow => ({
  container,
  entity,
  key,
  row: { version: '7', updatedAt: 1, value },
});
const event = { kind: 'json', text: '{"type":"placed"}' } as const;

/** Everything that the files of the directory contain. */
const contents = (): string =>
  readdirSync(data, { recursive: true, withFileTypes: true, encoding: 'utf8' })
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'utf8'))
    .join('');

it('kvent verify says that a storage is sound', async () => {
  await folder.import('tenant:acme', [
    row('event:order', 'o-1', '!n1b1', event),
    row('head:order', '', 'o-1', { kind: 'number', number: 1n }),
  ]);
  expect(await kventJson('verify', data)).toMatchObject({ rows: 3, sound: true });
  expect((await kvent(['verify', data])).stdout).toMatch(
    /^database +rows +damage\ntenant:acme +3 +0\nJSON file \S+ is sound: 3 rows read\.\n$/,
  );
});

it('kvent verify ends with 1 for a stream whose events do not match its head', async () => {
  await folder.import('tenant:acme', [
    row('event:order', 'o-1', '!n1b1', event),
    row('event:order', 'o-1', '!n1b3', event),
    row('event:order', 'o-2', '!n1b1', event),
    row('head:order', '', 'o-1', { kind: 'number', number: 3n }),
  ]);
  const { exitCode, stdout } = await kvent(['verify', data]);
  expect(exitCode).toBe(1);
  expect(stdout).toContain(
    '  tenant:acme / stream order o-1: its head is at version 3, and it has 2 events, the last at 3\n',
  );
  expect(stdout).toContain('  tenant:acme / stream order o-2: its head is missing\n');
  expect(stdout).toMatch(/ is damaged at 2 places\.\n$/);
});

it('kvent verify reports a damaged head beside all other damage', async () => {
  await folder.import('tenant:acme', [
    row('event:order', 'o-1', '!n1b1', event),
    row('event:order', 'o-2', '!n1b1', event),
    row('head:order', '', 'o-1', { kind: 'json', text: '{"x":1}' }),
  ]);
  const { exitCode, stdout, stderr } = await kvent(['verify', data]);
  expect({ exitCode, stderr }).toEqual({ exitCode: 1, stderr: '' });
  expect(stdout).toContain('  tenant:acme / stream order o-1: its head is damaged\n');
  expect(stdout).toContain('  tenant:acme / stream order o-2: its head is missing\n');
});

it('kvent verify names the line of a damaged file, and the way out', async () => {
  const journal = join(data, 'tenant.acme/journal-1.jsonl');
  writeFileSync(journal, readFileSync(journal, 'utf8').replace('Mug', 'Jug'));
  const { exitCode, stderr } = await kvent(['verify', data]);
  expect(exitCode).toBe(1);
  expect(stderr).toMatch(/journal-1\.jsonl:\d+.*\[STORAGE_CORRUPT, .*kvent salvage --from /);
});

it('kvent compact leaves no deleted value in the files', async () => {
  await folder.store(async (storage) => {
    await storage.store(Products).set('secret', 'a person');
    await storage.store(Products).delete('secret');
  });
  expect(contents()).toContain('a person');
  expect((await kvent(['compact', data])).exitCode).toBe(2);
  const { freedBytes } = await kventJson('compact', data, '--write');
  expect(freedBytes).toBeGreaterThan(0);
  expect(contents()).not.toContain('a person');
  expect(await kventJson('get', data, 'product', 'mug')).toMatchObject({ value: { title: 'Mug' } });
});

describe('kvent and indexes', () => {
  const module = fileURLToPath(new URL('../spec-support.ts', import.meta.url));
  const found = async (doctor: string): Promise<number> => {
    let count = 0;
    await folder.store(async (storage) => {
      count = await storage.store(Slots).index('byDoctor').count({ key: doctor });
    });
    return count;
  };

  it('kvent reindex builds the indexes that a module defines', async () => {
    await folder.store(async (storage) => {
      const before = storage.store(defineState<{ doctor: string }>('slot'));
      await before.set('s-1', { doctor: 'ada' });
    });
    const result = await kventJson('reindex', data, '--module', module, '--write');
    expect(result).toMatchObject({ items: [{ state: 'slot', index: 'byDoctor' }] });
    // a writer without the index
    await folder.store(async (storage) => {
      const other = storage.store(defineState<{ doctor: string }>('slot'));
      await other.set('s-1', { doctor: 'bo' });
    });
    await kvent(['reindex', data, '--module', module, '--write']);
    expect([await found('ada'), await found('bo')]).toEqual([0, 1]);
  });

  it('kvent put and kvent rm make the indexes of the state unready, and they are built again', async () => {
    await folder.store((storage) => storage.store(Slots).set('s-1', { doctor: 'ada' }));
    expect(await found('ada')).toBe(1);
    await kvent(['put', data, 'slot', 's-1', '{"doctor":"bo"}', '--tenant', 'acme', '--write']);
    expect([await found('ada'), await found('bo')]).toEqual([0, 1]);
    await kvent(['rm', data, 'slot', 's-1', '--tenant', 'acme', '--write']);
    expect(await found('bo')).toBe(0);
  });

  it('kvent reindex refuses a module without indexes, and one that it cannot load', async () => {
    const empty = join(folder.path('data'), 'none.mjs');
    const { exitCode, stderr } = await kvent(['reindex', data, '--module', empty, '--write']);
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining('cannot be loaded')]);
    writeFileSync(folder.path('empty.mjs'), 'export const a = 1;');
    const none = await kvent(['reindex', data, '--module', folder.path('empty.mjs'), '--write']);
    expect([none.exitCode, none.stderr]).toEqual([
      2,
      expect.stringContaining('exports no state with indexes'),
    ]);
  });
});

describe('kvent migrate', () => {
  const module = fileURLToPath(new URL('../spec-support.ts', import.meta.url));
  const counted = (schemaVersion: number, values: number) => ({
    database: 'tenant:acme',
    state: 'price',
    schemaVersion,
    values,
  });

  beforeEach(() =>
    folder.store(async (storage) => {
      const older = storage.store(defineState<{ cents: string }>('price'));
      await older.setMany(['p-1', 'p-2', 'p-3'].map((key) => ({ key, value: { cents: '5' } })));
      await storage.store(Prices).set('p-2', { cents: 7 });
    }),
  );

  it('counts the values of each version, and changes nothing', async () => {
    const before = contents();
    expect(await kventJson('migrate', data, '--module', module)).toMatchObject({
      items: [counted(1, 2), counted(2, 1)],
      older: 2,
    });
    expect((await kvent(['migrate', data, '--module', module])).stdout).toMatch(
      /^database +state +schema version +values\ntenant:acme +price +1 +2 +older\ntenant:acme +price +2 +1\nJSON file \S+: 2 values have an older schema version\.\n$/,
    );
    expect(contents()).toBe(before);
  });

  it('rewrites older values with --write', async () => {
    const args = ['--module', module, '--state', 'price', '--write', '--concurrency', '2'];
    expect(await kventJson('migrate', data, ...args, '--rows-per-second', '1000')).toMatchObject({
      items: [counted(2, 3)],
      written: 2,
      older: 0,
    });
    await folder.store(async (storage) => {
      expect(
        (await storage.store(Prices).getMany(['p-1', 'p-2', 'p-3'])).map((entry) => entry?.value.cents),
      ).toEqual([5, 7, 5]);
    });
  });

  it('refuses a state that the module does not export', async () => {
    const { exitCode, stderr } = await kvent(['migrate', data, '--module', module, '--state', 'cart']);
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining("exports no state 'cart'")]);
  });
});

describe('counters and indexes', () => {
  const Views = defineBigCounter('views', { ttlMs: 3_600_000 });
  const largest = 2n ** 63n - 1n;

  beforeEach(() =>
    folder.store(async (storage) => {
      await storage.store(Views).increment('mug', largest);
      const slots = storage.store(Slots);
      for (const [key, doctor] of [
        ['s-1', 'ada'],
        ['s-2', 'bo'],
        ['s-1', 'cy'],
      ] as const)
        await slots.set(key, { doctor });
    }),
  );

  /** What a storage has of them: a counter, whether it expires, and the keys of an index. */
  async function found(name: string): Promise<object> {
    const found: unknown[] = [];
    await folder.store(
      async (storage) => {
        for await (const { value, expiresAt } of storage.store(Views).list())
          found.push(value, expiresAt !== undefined);
        for await (const { key, value } of storage.store(Slots).index('byDoctor').list())
          found.push(`${value.doctor} ${key}`);
      },
      'acme',
      name,
    );
    return found;
  }
  const all = [largest, true, 'bo s-2', 'cy s-1'];

  it.each([
    ['copied', (target: string) => [['copy', '--from', data, '--to', target]]],
    [
      'backed up and restored',
      (target: string) => [
        ['backup', '--from', data, '--to', folder.path('b.jsonl')],
        ['restore', '--from', folder.path('b.jsonl'), '--to', target],
      ],
    ],
    ['salvaged', (target: string) => [['salvage', '--from', data, '--to', target]]],
  ])('are %s, row by row, and verified', async (_, commands) => {
    const target = folder.path('target');
    for (const command of commands(target)) await kventJson(...command);
    const { rows } = await kventJson('verify', data);
    expect(await kventJson('verify', target)).toMatchObject({ rows, sound: true });
    expect(await found('target')).toEqual(all);
  });

  it('are right after damage: the counter is salvaged, the index is built again', async () => {
    await folder.store(async (storage) => {
      const slots = storage.store(Slots);
      expect(await slots.index('byDoctor').count()).toBe(2); // the index is ready
      for (const doctor of ['eve', 'dan']) await slots.set('s-2', { doctor });
    });
    // the line that removes `bo s-2` from the index
    const journal = join(data, 'tenant.acme/journal-3.jsonl');
    writeFileSync(journal, readFileSync(journal, 'utf8').replace('"doctor":"eve"', '"doctor":"eva"'));
    const target = folder.path('target');
    const { databases } = await kventJson('salvage', '--from', data, '--to', target);
    expect(databases).toMatchObject([{ damage: [expect.anything(), expect.anything()] }]);
    expect(await found('target')).toEqual([largest, true, 'cy s-1', 'dan s-2']);
  });
});

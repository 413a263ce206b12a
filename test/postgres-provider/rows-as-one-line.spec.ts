/**
 * Pages, those of the feed too, and reads of many rows come as one line of the server: whatever the
 * rows are, they are those of the provider in memory. What a line cannot hold comes as rows.
 */
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { MemoryProvider } from '@kvent/key-value-storage';
import type { Address, Change, ScanPage, StorageProvider, Value } from '@kvent/key-value-storage/provider';
import { ManualClock } from '@kvent/key-value-storage/testing';
import { freshDatabase, type FreshDatabase } from '../postgres/databases.js';
import { statementsOf } from '../postgres/statements-of.js';
import { addressOf, batchOf } from './rows.js';

type Stored = Pick<Extract<Change, { kind: 'put' }>, 'value' | 'ttl'>;

const json = (text: string, ttl: Stored['ttl'] = 'never'): Stored => ({ value: { kind: 'json', text }, ttl });
const plain = json('{"a":"b"}');
const count = 40;
/** The same text each time, without repetitions. */
const noise = (length: number): string =>
  Array.from({ length: length / 64 }, (_, index) =>
    createHash('sha256').update(String(index)).digest('hex'),
  ).join('');

/** The rows of a space: row 7 is of the kind that the name says, the others are plain. */
const kinds: Readonly<Record<string, { readonly stored?: Stored; readonly key?: string }>> = {
  'plain rows': {},
  'an empty text': { stored: json('""') },
  'a text with blanks and controls': { stored: json('{ "a" :\n"\\u001f\\u0000\\ud800é" }\t') },
  'a row that expires': { stored: json('1', 60_000) },
  'a row that has expired': { stored: json('1', 1_000) },
  'a number': { stored: { value: { kind: 'number', number: -7n }, ttl: 'never' } },
  'a number that expires': { stored: { value: { kind: 'number', number: 7n }, ttl: 60_000 } },
  bytes: { stored: { value: { kind: 'bytes', bytes: new Uint8Array(200).fill(31) }, ttl: 'never' } },
  'no bytes': { stored: { value: { kind: 'bytes', bytes: new Uint8Array() }, ttl: 'never' } },
  'a text with what joins values': { stored: json('[1,\n2,\n3]') },
  'a value that Postgres compresses a little': { stored: json(JSON.stringify('a'.repeat(5_000))) },
  'a large value that it does not compress': { stored: json(JSON.stringify(noise(20_000))) },
  'a value that Postgres compresses': { stored: json(JSON.stringify('a'.repeat(500_000))) },
  'a key with the separator': { key: 'key-\x1f07' },
};

/** The page with each value as it was written. */
const withTexts = (page: ScanPage | undefined) =>
  page?.rows.map(({ key, row: { value, ...row } }) => ({
    key,
    ...row,
    value: value.kind === 'json' ? { kind: 'json', text: value.text } : value,
  }));

const names = Object.keys(kinds);
const keysOf = (name: string): readonly string[] => {
  const { key } = kinds[name] as (typeof kinds)[string];
  return Array.from({ length: count }, (_, index) =>
    index === 7 && key !== undefined ? key : `key-${String(index).padStart(2, '0')}`,
  );
};
const space = (name: string): Omit<Address, 'key'> => ({ ...addressOf(''), entity: name });
/** The same rows once more, in the feed: a page of a space has no positions. */
const fed = (name: string): string => `fed ${name}`;

const clock = new ManualClock();
const memory = new MemoryProvider({ clock });
let database: FreshDatabase;
let postgres: PostgresProvider;
beforeAll(async () => {
  database = await freshDatabase();
  postgres = new PostgresProvider({ url: database.url, poolSize: 2, clock });
  const providers: readonly StorageProvider[] = [postgres, memory];
  for (const provider of providers) await provider.open();
  const batches = names.flatMap((name) =>
    keysOf(name).flatMap((key, index) => {
      const { container, entity } = space(name);
      const { stored = plain } = index === 7 ? (kinds[name] as (typeof kinds)[string]) : {};
      return [
        batchOf([{ kind: 'put', address: { container, entity, key }, ...stored }]),
        batchOf([{ kind: 'put', address: { container, entity: fed(entity), key }, ...stored, feed: true }]),
      ];
    }),
  );
  for (const provider of providers)
    for (const { outcome } of await provider.commit(batches)) expect(outcome).toBe('committed');
  await clock.advance(2_000);
});
afterAll(async () => {
  await postgres.close();
  await memory.close();
  await database[Symbol.asyncDispose]();
});

/** The rows of each entity by their keys; a position must be that of its row. */
async function feedOf(provider: StorageProvider, limit: number) {
  const found = new Map<string, Record<string, unknown>>();
  for (let after: string | undefined; ;) {
    const page = await provider.feed?.({ after, limit });
    for (const { address, row, position } of page?.entries ?? []) {
      const { entity, key } = address;
      const { position: own, version: _, ...rest } = row;
      expect(own).toBe(position);
      found.set(entity, { ...found.get(entity), [key]: { address, ...rest } });
    }
    // open transactions of other tests hold the feed back
    if (page?.upToDate === true && page.heldBackMs === undefined) return found;
    after = page?.next;
  }
}

describe.each(names)('%s', (name) => {
  it('is in a page, forwards and backwards, whole or cut', async () => {
    for (const limit of [20, count, 500])
      for (const reverse of [false, true])
        for (const bounds of [{}, { start: 'key-03', end: 'key-30' }, { after: 'key-05' }]) {
          const range = { ...space(name), limit, reverse, ...bounds };
          expect(await postgres.scan([range])).toEqual(await memory.scan([range]));
        }
  });

  it('is in a page that is read in parts', async () => {
    for (const limit of [5, 25, count, 500])
      for (const splitAt of [['key-10', 'key-20', 'key-30'], ['key-05'], []]) {
        const range = { ...space(name), limit, parts: { splitAt, rows: 10 } };
        const [page] = await postgres.scan([range]);
        const [expected] = await memory.scan([{ ...range, limit: page?.rows.length ?? 0 }]);
        expect(withTexts(page)).toEqual(withTexts(expected));
        expect(page?.more === true || page?.rows.length === expected?.rows.length).toBe(true);
      }
  });

  it('is among many rows of one space, in the order asked', async () => {
    const addresses = [...keysOf(name), 'absent'].map((key) => ({ ...space(name), key })).reverse();
    expect(await postgres.read(addresses)).toEqual(await memory.read(addresses));
  });

  it('is among many rows of several spaces, in the order asked', async () => {
    const addresses = [...keysOf(name), 'absent'].map((key) => ({ ...space(name), key }));
    addresses.splice(5, 0, { ...space('plain rows'), key: 'key-00' });
    expect(await postgres.read(addresses)).toEqual(await memory.read(addresses));
  });
});

it('a value of a part is parsed once, for who takes it, and has its text all the same', async () => {
  const parts = { splitAt: ['key-10', 'key-20'], rows: 10 };
  const [page] = await postgres.scan([{ ...space('plain rows'), limit: 30, parts }]);
  expect(page?.rows).toHaveLength(30);
  for (const { row } of page?.rows ?? []) {
    const { value } = row as { value: Extract<Value, { kind: 'json' }> };
    expect([value.take?.(), value.take?.(), value.text]).toEqual([{ a: 'b' }, undefined, '{"a":"b"}']);
  }
});

it('a page and a read of plain rows are one statement each', async () => {
  const statements = await statementsOf(async () => {
    await postgres.scan([{ ...space('plain rows'), limit: 500 }]);
    const parts = { splitAt: ['key-10', 'key-20'], rows: 10 };
    await postgres.scan([{ ...space('plain rows'), limit: 30, parts, alsoRead: [addressOf('any')] }]);
    await postgres.read(keysOf('plain rows').map((key) => ({ ...space('plain rows'), key })));
  });
  expect(statements).toBe(3);
});

it.each([20, count, 500])('each of these rows is in the feed, in pages of %s', async (limit) => {
  const [found, expected] = [await feedOf(postgres, limit), await feedOf(memory, limit)];
  for (const name of names) expect(found.get(fed(name))).toEqual(expected.get(fed(name)));
});

it('a page of the feed with plain rows is one statement', async () => {
  const container = 'event:plain';
  const addresses = keysOf('plain rows').map((key) => ({ container, entity: 'plain', key }));
  await postgres.commit([
    batchOf(addresses.map((address) => ({ kind: 'put', address, ...plain, feed: true }))),
  ]);
  for (let isWhole = false; !isWhole;) {
    const statements = await statementsOf(async () => {
      const page = await postgres.feed?.({ limit: 500, containers: [container] });
      isWhole = page?.entries.length === count;
    });
    expect(statements).toBe(1);
  }
});

it('an empty page and a read of absent rows have no rows', async () => {
  const range = { ...space('nothing'), limit: 20 };
  expect(await postgres.scan([range])).toEqual(await memory.scan([range]));
  const addresses = keysOf('plain rows').map((key) => ({ ...space('nothing'), key }));
  expect(await postgres.read(addresses)).toEqual(await memory.read(addresses));
});

import { expect, it } from '@jest/globals';
import { MemoryProvider, type StorageProvider } from '@kvent/key-value-storage';
import type { RawRow } from '@kvent/key-value-storage/provider';
import { interruptible } from './interruptible.js';

const never = new Promise<never>(() => undefined);
const aborted = { code: 'ABORTED', effect: 'none' };
const row: RawRow = {
  container: 'state:state',
  entity: 'product',
  key: 'mug',
  row: { version: '1', updatedAt: 1, value: { kind: 'json', text: '1' } },
};

/** A provider whose administration reads in these ways. */
const reading = (reads: Partial<StorageProvider['administration']>): StorageProvider => {
  const provider = new MemoryProvider();
  Object.assign(provider.administration, reads);
  return provider;
};

it('a list, a count and an export that get no answer end with the signal', async () => {
  const silent: AsyncIterable<RawRow> = {
    [Symbol.asyncIterator]: () => ({ next: () => never, return: () => never }),
  };
  const reads = { databases: () => never, spaces: () => never, count: () => never, export: () => silent };
  const aborting = new AbortController();
  const { administration } = interruptible(reading(reads), aborting.signal);
  const ended = Promise.allSettled([
    administration.databases(),
    administration.spaces('shared'),
    administration.count?.('shared'),
    administration.export('shared')[Symbol.asyncIterator]().next(),
  ]);
  aborting.abort();
  for (const result of await ended) expect(result).toMatchObject({ status: 'rejected', reason: aborted });
});

it('an export that yields without a pause ends with the signal', async () => {
  let yielded = 0;
  async function* endless(): AsyncGenerator<RawRow> {
    while (yielded < 1_000_000) {
      yielded += 1;
      yield await Promise.resolve(row);
    }
  }
  const aborting = new AbortController();
  const { administration } = interruptible(reading({ export: endless }), aborting.signal);
  // as Ctrl+C: outside of what the export resolves
  setImmediate(() => aborting.abort());
  const read = async (): Promise<void> => {
    for await (const _ of administration.export('shared'));
  };
  await expect(read()).rejects.toMatchObject(aborted);
});

it('everything else is that of the storage', async () => {
  const provider = interruptible(new MemoryProvider(), new AbortController().signal);
  await provider.open();
  expect(await provider.administration.import('shared', [row])).toBe(1);
  expect(await provider.administration.databases()).toEqual(['shared']);
  const found: RawRow[] = [];
  for await (const raw of provider.administration.export('shared')) found.push(raw);
  expect(found).toMatchObject([row]);
  const { rows } = await provider.read([{ database: 'shared', ...row }]);
  expect(rows).toMatchObject([row.row]);
  await provider.close();
});

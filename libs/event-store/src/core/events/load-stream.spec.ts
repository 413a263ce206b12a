/** Reads of a stream beside another writer: head and events are two reads, and one is the later. */
import { describe, expect, it } from '@jest/globals';
import { MemoryProvider, openStorage } from '@kvent/key-value-storage';
import { collect } from '@kvent/key-value-storage/testing';
import type { StorageProvider } from '@kvent/key-value-storage/core';
import { defineStream, event } from '../definition/stream-definition.js';
import { EventStore } from '../event-store.js';

const options = { events: { added: event() }, initial: () => 0, evolve: (count: number) => count + 1 };
const Counts = defineStream('count', options);
const Kept = defineStream('count', { ...options, snapshot: { every: 2 } });
const added = { type: 'added' } as const;

describe('a stream whose events are read after its head, when another writer has appended', () => {
  it.each([
    ['Counts', Counts],
    ['Kept', Kept],
  ])('is read whole, and is not damaged: %s', async (_, definition) => {
    const provider = new MemoryProvider();
    await using storage = await openStorage(provider);
    const store = new EventStore(storage);
    const counts = store.stream(definition);
    await counts.append('a', [added, added, added], { expectedVersion: 0 });
    const whileAppending = async <R>(work: () => Promise<R>): Promise<R> => {
      const { scan } = provider;
      Object.assign(provider, {
        scan: (async (ranges, given) => {
          Object.assign(provider, { scan });
          await counts.append('a', [added], { expectedVersion: 'any' });
          return await scan.call(provider, ranges, given);
        }) satisfies StorageProvider['scan'],
      });
      return await work();
    };
    expect(await whileAppending(async () => (await counts.load('a')).state)).toBe(4);
    expect(await whileAppending(async () => (await collect(counts.read('a'))).length)).toBe(5);
    const last = counts.read('a', { reverse: true, limit: 1 });
    expect((await whileAppending(async () => await collect(last))).map(({ version }) => version)).toEqual([
      6,
    ]);
    await store.idle();
  });
});

/** The cost of a call by the size of what it writes or reads, and by the number of callers. */
import { defineState } from '@kvent/key-value-storage';
import { defineStream, event, EventStore } from '@kvent/event-store';
import { keyAt, keysOf, product, type Product } from '../product.js';
import { streamIds } from '../stream-work.js';
import { Lines, ratesOf, timesOf, withStorages, type Plot } from './plot.js';

const keys = keysOf(100);
const Things = defineStream('thing', {
  events: { changed: event<Product>() },
  initial: () => 0,
  evolve: (count) => count + 1,
});

/** An append has at most 899 events. */
const appendSizes = [1, 10, 100, 800];

export const events: Plot = {
  name: 'events',
  measure: (options) =>
    withStorages(options, async (storages) => {
      const lines = new Lines();
      for (const size of appendSizes) {
        const appended = Array.from({ length: size }, () => ({ type: 'changed', data: product }) as const);
        const operations = storages.map(({ storage }) => {
          const things = new EventStore(storage).stream(Things);
          return (call: number) =>
            things.append(`${keyAt(streamIds, call)}-${size}`, appended, { expectedVersion: 'any' });
        });
        const times = await timesOf(operations, options);
        for (const [index, { name }] of storages.entries())
          lines.add(name, size, (times[index] as number) / size);
      }
      return [
        {
          name: 'events',
          title: 'Time of an event, by the events of its append',
          x: 'events an append',
          y: 'µs an event',
          series: lines.series,
        },
      ];
    }),
};

const Texts = defineState<{ readonly text: string }>('text');

export const values: Plot = {
  name: 'values',
  measure: (options) =>
    withStorages(options, async (storages) => {
      const [writes, reads] = [new Lines(), new Lines()];
      for (const bytes of [100, 1_000, 10_000, 100_000]) {
        const value = { text: variedText(bytes - '{"text":""}'.length) };
        const stores = storages.map(({ storage }) => storage.store(Texts));
        const written = await timesOf(
          stores.map((store) => (call: number) => store.set(keyAt(keys, call), value)),
          options,
        );
        for (const store of stores) for (const key of keys) await store.set(key, value);
        const read = await timesOf(
          stores.map((store) => (call: number) => store.get(keyAt(keys, call))),
          options,
        );
        for (const [index, { name }] of storages.entries()) {
          writes.add(name, bytes / 1_000, written[index] as number);
          reads.add(name, bytes / 1_000, read[index] as number);
        }
      }
      const x = 'KB of the value as JSON';
      return [
        { name: 'values-set', title: 'Time of a set, by its value', x, y: 'µs', series: writes.series },
        { name: 'values-get', title: 'Time of a get, by its value', x, y: 'µs', series: reads.series },
      ];
    }),
};

/** Text that does not compress to nothing, the same in each run. */
function variedText(length: number): string {
  let seed = 1;
  let text = '';
  while (text.length < length) {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fff_ffff;
    text += seed.toString(36);
  }
  return text.slice(0, length);
}

const Products = defineState<Product>('product');

export const callers: Plot = {
  name: 'callers',
  measure: (options) =>
    withStorages(options, async (storages) => {
      const lines = new Lines();
      const stores = storages.map(({ storage }) => storage.store(Products));
      const many = keysOf(1_000);
      for (const count of [1, 4, 16, 64, 256]) {
        const operations = stores.map((store) => (call: number) => store.set(keyAt(many, call), product));
        const rates = await ratesOf(operations, options, count);
        for (const [index, { name }] of storages.entries()) lines.add(name, count, rates[index] as number);
      }
      return [
        {
          name: 'callers',
          title: 'Durable sets per second, by the number of callers',
          x: 'callers',
          y: 'sets per second',
          series: lines.series,
        },
      ];
    }),
};

/** The cost of a call by how much is stored: rows of a state, and tenants. */
import { defineState, type KeyValueStore } from '@kvent/key-value-storage';
import { keyAt, product, type Product } from '../product.js';
import { Lines, powersOfTen, timesOf, withStorages, type NamedStorage, type Plot } from './plot.js';

const Products = defineState<Product>('product');

/** The embedded providers have all rows in memory. */
const embeddedRowsMax = 1_000_000;

export const rows: Plot = {
  name: 'rows',
  measure: (options) =>
    withStorages(options, async (storages) => {
      const [sets, gets, pages] = [new Lines(), new Lines(), new Lines()];
      let stored = 0;
      for (const count of powersOfTen(10, 10_000_000, options.entriesMax)) {
        const measured = storages
          .filter(({ name }) => name === 'Postgres' || count <= embeddedRowsMax)
          .map(({ name, storage }) => ({ name, store: storage.store(Products) }));
        for (const { store } of measured) await store.loadFrom(productsOf(stored, count));
        stored = count;
        await (await options.server()).settle();
        const timed = async (lines: Lines, call: (store: KeyValueStore<Product>, key: string) => unknown) => {
          const operations = measured.map(
            ({ store }) =>
              (index: number) =>
                call(store, keyOf(spread(index) % count)),
          );
          const times = await timesOf(operations, options);
          for (const [index, { name }] of measured.entries()) lines.add(name, count, times[index] as number);
        };
        await timed(gets, (store, key) => store.get(key));
        await timed(pages, (store, key) => store.page({ start: key, limit: 100 }));
        await timed(sets, (store, key) => store.set(key, product));
      }
      const x = 'rows';
      const y = 'µs';
      return [
        { name: 'rows-get', title: 'Time of a get, by the rows of the state', x, y, series: gets.series },
        {
          name: 'rows-page',
          title: 'Time of a page of 100, by the rows of the state',
          x,
          y,
          series: pages.series,
        },
        { name: 'rows-set', title: 'Time of a set, by the rows of the state', x, y, series: sets.series },
      ];
    }),
};

const keyOf = (index: number): string => `product-${index}`;
/** Spreads calls over all rows, in the same way in each run. */
const spread = (index: number): number => Math.imul(index, 2_654_435_761) >>> 0;

function* productsOf(from: number, to: number) {
  for (let index = from; index < to; index += 1) yield { key: keyOf(index), value: product };
}

export const tenants: Plot = {
  name: 'tenants',
  measure: (options) =>
    withStorages(options, async (storages) => {
      const [sets, gets] = [new Lines(), new Lines()];
      let opened = 0;
      for (const count of powersOfTen(1, 10_000, options.entriesMax)) {
        for (const each of storages) await writeOnce(each, opened, count);
        opened = count;
        const storesOf = ({ storage }: NamedStorage): readonly KeyValueStore<Product>[] =>
          Array.from({ length: count }, (_, index) => storage.store(Products).forTenant(`t-${index}`));
        const stores = storages.map(storesOf);
        const written = await timesOf(
          stores.map((each) => (call: number) => keyAt(each, call).set('mug', product)),
          options,
        );
        const read = await timesOf(
          stores.map((each) => (call: number) => keyAt(each, call).get('mug')),
          options,
        );
        for (const [index, { name }] of storages.entries()) {
          sets.add(name, count, written[index] as number);
          gets.add(name, count, read[index] as number);
        }
      }
      const x = 'tenants, one after the other';
      return [
        {
          name: 'tenants-set',
          title: 'Time of a set, by the number of tenants',
          x,
          y: 'µs',
          series: sets.series,
        },
        {
          name: 'tenants-get',
          title: 'Time of a get, by the number of tenants',
          x,
          y: 'µs',
          series: gets.series,
        },
      ];
    }),
};

const writersMax = 64;

/** The first write of a tenant creates what it needs; it is not measured. */
export async function writeOnce({ storage }: NamedStorage, from: number, to: number): Promise<void> {
  let next = from;
  const write = async (): Promise<void> => {
    while (next < to) await storage.store(Products).forTenant(`t-${next++}`).set('mug', product);
  };
  await Promise.all(Array.from({ length: writersMax }, write));
}

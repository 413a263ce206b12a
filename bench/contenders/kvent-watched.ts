/** Kvent with 1,000 watches of keys that no caller writes, and one of a key that is written. */
import { defineState, openStorage, type KeyValueStore, type StorageProvider } from '@kvent/key-value-storage';
import { PostgresProvider } from '@kvent/key-value-postgres';
import type { Contender, Opening, Setup } from '../contender.js';
import { keyAt, product, type Product } from '../product.js';

const Products = defineState<Product>('product');
const watches = 1_000;
const batchItems = 500;

export async function openWatchedStore(provider: StorageProvider, { keys }: Setup): Promise<Contender> {
  const storage = await openStorage(provider);
  const store = storage.store(Products);
  for (let index = 0; index < keys.length; index += batchItems)
    await store.setMany(keys.slice(index, index + batchItems).map((key) => ({ key, value: product })));
  for (let index = 0; index < watches; index += 1)
    void (await startedWatch(store, `unrelated-${index}`)).next();
  const watched = await startedWatch(store, 'watched');
  const { durable } = provider.features;
  return {
    name: 'kvent, 1,000 watches',
    traits: {
      survives: durable === false ? 'nothing' : 'power loss',
      comparesAndSets: true,
      returns: 'frozen',
      note: 'the watches are of other keys',
    },
    verbs: {
      set: (call) => store.set(keyAt(keys, call), product),
      'watched set': async () => {
        const item = watched.next();
        await store.set('watched', product);
        await item;
      },
    },
    close: () => storage.close(),
  };
}

/** A watch that has shown its first item. */
async function startedWatch(store: KeyValueStore<Product>, key: string): Promise<AsyncIterator<unknown>> {
  const items = store.watch(key)[Symbol.asyncIterator]();
  await items.next();
  return items;
}

export const openWatchedOnPostgres: Opening = async (setup) =>
  await openWatchedStore(new PostgresProvider({ ...setup.database }), setup);

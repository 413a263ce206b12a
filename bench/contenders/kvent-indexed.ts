/** Kvent with one index on the state, as applications use it: typed stores without Nest. */
import { defineState, isStorageError, openStorage, type StorageProvider } from '@kvent/key-value-storage';
import { PostgresProvider } from '@kvent/key-value-postgres';
import type { Contender, Opening, Setup } from '../contender.js';
import { keyAt, product, type Product } from '../product.js';

const indexes = { byCurrency: ({ currency }: Product) => [currency] as const };
const Products = defineState<Product, string, typeof indexes>('product', { indexes });
const name = 'kvent, 1 index';
/** An entry takes two rows of a batch. */
const batchItems = 250;

export async function openIndexedStore(provider: StorageProvider, { keys }: Setup): Promise<Contender> {
  const storage = await openStorage(provider);
  const store = storage.store(Products);
  for (let index = 0; index < keys.length; index += batchItems)
    await store.setMany(keys.slice(index, index + batchItems).map((key) => ({ key, value: product })));
  const byCurrency = store.index('byCurrency');
  await untilReady(() => byCurrency.count());
  const { durable } = provider.features;
  return {
    name,
    traits: {
      survives: durable === false ? 'nothing' : 'power loss',
      comparesAndSets: true,
      returns: 'frozen',
      note: 'a set reads the entry, and writes it and its index row',
    },
    verbs: {
      set: (call) => store.set(keyAt(keys, call), product),
      'index page': () => byCurrency.page({ prefix: ['EUR'], limit: 100 }),
    },
    close: () => storage.close(),
  };
}

export const openIndexedOnPostgres: Opening = async (setup) =>
  await openIndexedStore(new PostgresProvider({ ...setup.database }), setup);

/** A read waits for a build, but no longer than 5 s: on a busy machine, that may be too short. */
async function untilReady(read: () => Promise<unknown>): Promise<void> {
  for (;;)
    try {
      await read();
      return;
    } catch (error) {
      if (!isStorageError(error, 'INDEX_NOT_READY')) throw error;
    }
}

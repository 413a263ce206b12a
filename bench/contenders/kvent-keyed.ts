/** Kvent where every set has an idempotency key of its own. */
import { join } from 'node:path';
import { defineState, JsonFileProvider, openStorage, type StorageProvider } from '@kvent/key-value-storage';
import { PostgresProvider } from '@kvent/key-value-postgres';
import type { Contender, Opening, Setup } from '../contender.js';
import { keyAt, product, type Product } from '../product.js';

const Products = defineState<Product>('product');
const batchItems = 500;

export async function openKeyedStore(provider: StorageProvider, { keys }: Setup): Promise<Contender> {
  const storage = await openStorage(provider);
  const store = storage.store(Products);
  for (let index = 0; index < keys.length; index += batchItems)
    await store.setMany(keys.slice(index, index + batchItems).map((key) => ({ key, value: product })));
  let requests = 0;
  return {
    name: 'kvent, with keys',
    traits: {
      survives: provider.features.durable === false ? 'nothing' : 'power loss',
      comparesAndSets: true,
      returns: 'frozen',
      note: 'each call has an idempotency key',
    },
    verbs: {
      set: (call) => store.set(keyAt(keys, call), product, { idempotencyKey: `request-${(requests += 1)}` }),
    },
    close: () => storage.close(),
  };
}

export const openKeyedFile: Opening = async (setup) =>
  await openKeyedStore(new JsonFileProvider({ directory: join(setup.directory, 'keyed') }), setup);

export const openKeyedOnPostgres: Opening = async (setup) =>
  await openKeyedStore(new PostgresProvider({ ...setup.database }), setup);

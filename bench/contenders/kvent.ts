/**
 * Kvent: the typed store of applications, and the bare provider below it, which the event store and
 * other packages build on.
 */
import {
  defineState,
  openStorage,
  type Entry,
  type KeyValueStore,
  type StorageProvider,
} from '@kvent/key-value-storage';
import { encodeKey, versionSource } from '@kvent/key-value-storage/provider';
import { sharedDatabase } from '@kvent/key-value-storage/internal';
import type { Contender, Setup, Traits } from '../contender.js';
import { keyAt, product, type Product } from '../product.js';

const Products = defineState<Product>('product');
const batchItems = 500;

export async function openStore(
  name: string,
  provider: StorageProvider,
  { keys, filled }: Setup,
): Promise<Contender> {
  const storage = await openStorage(provider);
  const store = storage.store(Products);
  for (let index = 0; index < keys.length && !filled; index += batchItems) {
    await store.setMany(keys.slice(index, index + batchItems).map((key) => ({ key, value: product })));
  }
  const [hot] = keys as readonly [string];
  return {
    name,
    traits: { survives: survivesOf(provider), comparesAndSets: true, returns: 'frozen' },
    verbs: {
      get: (call) => store.get(keyAt(keys, call)),
      set: (call) => store.set(keyAt(keys, call), product),
      'set + get': async (call) => {
        await store.set(keyAt(keys, call), product);
        return await store.get(keyAt(keys, call));
      },
      save: saveLastRead(store, keys),
      update: () => store.update(hot, (value) => ({ ...value, stock: value.stock + 1 })),
      getMany: () => store.getMany(keys.slice(0, 100)),
      page: () => store.page({ limit: 100 }),
    },
    close: () => storage[Symbol.asyncDispose](),
  };
}

const survivesOf = ({ features }: StorageProvider): Traits['survives'] =>
  features.durable === false ? 'nothing' : 'power loss';

/**
 * The first save of a key uses an entry that was read, later saves use the result of the one
 * before. Concurrent callers have different keys.
 */
function saveLastRead(
  store: KeyValueStore<Product>,
  keys: readonly string[],
): (call: number) => Promise<void> {
  const entries = new Map<string, Entry<Product>>();
  return async (call) => {
    const key = keyAt(keys, call);
    const entry = entries.get(key) ?? (await store.getOrThrow(key));
    entries.set(key, await store.save(entry.with({ stock: entry.value.stock + 1 })));
  };
}

/**
 * The same storage engine without the store above it: JSON text in and out, no codec, no entries.
 */
export async function openProvider(
  name: string,
  provider: StorageProvider,
  { keys }: Setup,
): Promise<Contender> {
  await provider.open();
  const space = { database: sharedDatabase, container: 'state:state', entity: 'product' };
  const addressOf = (key: string) => ({
    database: space.database,
    container: space.container,
    entity: space.entity,
    key: encodeKey(key),
  });
  const versions = versionSource();
  const set = (key: string) => {
    const value = { kind: 'json', text: JSON.stringify(product) } as const;
    const change = { kind: 'put', address: addressOf(key), value, ttl: 'never' } as const;
    return provider.commit([
      { database: space.database, version: versions(), checks: [], changes: [change] },
    ]);
  };
  const get = (key: string) => provider.read([addressOf(key)]);
  for (const key of keys) await set(key);
  return {
    name,
    traits: { survives: survivesOf(provider), comparesAndSets: true, returns: 'text' },
    verbs: {
      get: (call) => get(keyAt(keys, call)),
      set: (call) => set(keyAt(keys, call)),
      'set + get': async (call) => {
        await set(keyAt(keys, call));
        return await get(keyAt(keys, call));
      },
      getMany: () => provider.read(keys.slice(0, 100).map((key) => addressOf(key))),
      page: () => provider.scan([{ ...space, limit: 100 }]),
    },
    close: () => provider.close(),
  };
}

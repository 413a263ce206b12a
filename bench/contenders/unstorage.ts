/**
 * unstorage with its file-system driver: one file per key, written in place, without fsync.
 */
import { createStorage, type Driver } from 'unstorage';
import fileDriver from 'unstorage/drivers/fs';
import type { Opening } from '../contender.js';
import { keyAt, product, type Product } from '../product.js';

export const openUnstorage: Opening = async ({ keys, directory, filled }) => {
  // The types of the driver import their own package in a way that Node's resolution cannot follow.
  const storage = createStorage<Product>({ driver: fileDriver({ base: directory }) as Driver });
  if (!filled) for (const key of keys) await storage.setItem(key, product);
  const [hot] = keys as readonly [string];
  return {
    name: 'unstorage fs',
    traits: {
      survives: 'kill',
      comparesAndSets: false,
      returns: 'fresh copy',
      note: 'one file per key; a crash may leave a partial file',
    },
    verbs: {
      get: (call) => storage.getItem(keyAt(keys, call)),
      set: (call) => storage.setItem(keyAt(keys, call), product),
      update: async () => {
        const value = (await storage.getItem(hot)) as Product;
        await storage.setItem(hot, { ...value, stock: value.stock + 1 });
      },
    },
    close: () => storage.dispose(),
  };
};

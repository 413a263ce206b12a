/**
 * unstorage with its file-system driver: one file for each key, written in place, without fsync.
 */
import { createStorage, type Driver } from 'unstorage';
import fileDriver from 'unstorage/drivers/fs';
import type { Opening } from '../contender.js';
import { keyAt, product, type Product } from '../product.js';

export const openUnstorage: Opening = async ({ keys, directory, filled }) => {
  // its types name their own package in a way that Node's resolution does not find
  const storage = createStorage<Product>({ driver: fileDriver({ base: directory }) as Driver });
  if (!filled) for (const key of keys) await storage.setItem(key, product);
  const [hot] = keys as readonly [string];
  return {
    name: 'unstorage fs',
    traits: {
      survives: 'kill',
      comparesAndSets: false,
      answers: 'fresh copy',
      note: 'a file for each key; a crash may leave half of one',
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

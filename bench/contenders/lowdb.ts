/**
 * lowdb: an object in memory. `write()` writes all of it to a temporary file and renames the file,
 * without fsync.
 */
import { Low } from 'lowdb';
import { JSONFile } from 'lowdb/node';
import { join } from 'node:path';
import type { Opening } from '../contender.js';
import { keyAt, product, type Product } from '../product.js';

export const openLowdb: Opening = async ({ keys, directory, filled }) => {
  // Not the preset of lowdb, which does not write when NODE_ENV is 'test'.
  const db = new Low<Record<string, Product>>(new JSONFile(join(directory, 'lowdb.json')), {});
  await db.read();
  if (!filled) {
    for (const key of keys) db.data[key] = product;
    await db.write();
  }
  const [hot] = keys as readonly [string];
  return {
    name: 'lowdb',
    traits: {
      survives: 'kill',
      comparesAndSets: false,
      returns: 'stored object',
      note: 'writes the whole file',
    },
    verbs: {
      get: (call) => db.data[keyAt(keys, call)],
      set: (call) => {
        db.data[keyAt(keys, call)] = { ...product };
        return db.write();
      },
      update: () =>
        db.update((data) => {
          const value = data[hot] as Product;
          data[hot] = { ...value, stock: value.stock + 1 };
        }),
    },
  };
};

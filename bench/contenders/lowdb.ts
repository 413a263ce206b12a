/**
 * lowdb: an object in memory, and `write()` of the whole of it to a temporary file that is renamed,
 * without fsync.
 */
import { Low } from 'lowdb';
import { JSONFile } from 'lowdb/node';
import { join } from 'node:path';
import type { Opening } from '../contender.js';
import { keyAt, product, type Product } from '../product.js';

export const openLowdb: Opening = async ({ keys, directory, filled }) => {
  // not by its preset, which writes nothing at all where NODE_ENV is 'test'
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
      answers: 'stored object',
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

/**
 * What careful people write by hand: a file for each key; the new text into a temporary file,
 * fsync, rename over the old one.
 */
import { open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import type { Opening } from '../contender.js';
import { keyAt, product, type Product } from '../product.js';

export const openWriteAndRename: Opening = async ({ keys, directory, filled }) => {
  let temporary = 0;
  const pathOf = (key: string): string => join(directory, `${key}.json`);
  const read = async (key: string): Promise<Product> =>
    JSON.parse(await readFile(pathOf(key), 'utf8')) as Product;
  const write = async (key: string, value: Product): Promise<void> => {
    temporary += 1;
    const path = join(directory, `${key}.${temporary}.tmp`);
    const file = await open(path, 'w');
    try {
      await file.writeFile(JSON.stringify(value));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(path, pathOf(key));
  };
  if (!filled) for (const key of keys) await write(key, product);
  const [hot] = keys as readonly [string];
  return {
    name: 'temp + fsync + rename',
    // to survive the loss of power it would have to sync the directory too, which is dearer: it is
    // left out, in its favour
    traits: {
      survives: 'kill',
      comparesAndSets: false,
      answers: 'fresh copy',
      note: 'written by hand; after power loss the old or the new text',
    },
    verbs: {
      get: (call) => read(keyAt(keys, call)),
      set: (call) => write(keyAt(keys, call), product),
      save: (call) => write(keyAt(keys, call), product),
      update: async () => {
        const value = await read(hot);
        await write(hot, { ...value, stock: value.stock + 1 });
      },
    },
  };
};

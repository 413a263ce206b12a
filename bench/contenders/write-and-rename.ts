/**
 * Careful handwritten code: one file per key. A write fills a temporary file, calls fsync, and
 * renames it over the old file.
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
    // To survive a power cut it would have to sync the directory too, at a higher cost. Left out,
    // in favour of this contender.
    traits: {
      survives: 'kill',
      comparesAndSets: false,
      returns: 'fresh copy',
      note: 'handwritten; after a power cut the old or the new text',
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

/** keyv over what it stores in: a Map, or the file of keyv-file. It serializes, so a read answers a copy. */
import Keyv from 'keyv';
import { KeyvFile } from 'keyv-file';
import { join } from 'node:path';
import type { Contender, Opening } from '../contender.js';
import { keyAt, product, type Product } from '../product.js';

export const openKeyv: Opening = async ({ keys }) => {
  const keyv = new Keyv();
  for (const key of keys) await keyv.set(key, product);
  return { name: 'keyv', traits: { survives: 'nothing', comparesAndSets: false, answers: 'fresh copy' }, verbs: verbsOf(keyv, keys) };
};

/** Its options as they come: a set is answered when the file is written, which happens every 100 ms. */
export const openKeyvFile: Opening = async ({ keys, directory, filled }) => {
  const keyv = new Keyv({ store: new KeyvFile({ filename: join(directory, 'keyv.json') }) });
  if (!filled) await Promise.all(keys.map((key) => keyv.set(key, product)));
  return {
    name: 'keyv-file',
    traits: { survives: 'kill', comparesAndSets: false, answers: 'fresh copy', note: 'writes the whole file, every 100 ms' },
    verbs: verbsOf(keyv, keys),
    close: () => keyv.disconnect(),
  };
};

function verbsOf(keyv: Keyv, keys: readonly string[]): Contender['verbs'] {
  const [hot] = keys as readonly [string];
  return {
    get: (call) => keyv.get<Product>(keyAt(keys, call)),
    set: (call) => keyv.set(keyAt(keys, call), product),
    'set + get': async (call) => {
      await keyv.set(keyAt(keys, call), product);
      return await keyv.get<Product>(keyAt(keys, call));
    },
    update: async () => {
      const value = (await keyv.get<Product>(hot)) as Product;
      await keyv.set(hot, { ...value, stock: value.stock + 1 });
    },
    getMany: () => keyv.getMany<Product>(keys.slice(0, 100)),
  };
}

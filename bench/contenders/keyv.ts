/**
 * keyv with three stores: a Map, the file of keyv-file, and a table of Postgres. It serializes, so
 * a read returns a copy.
 */
import Keyv from 'keyv';
import KeyvPostgres from '@keyv/postgres';
import { KeyvFile } from 'keyv-file';
import { join } from 'node:path';
import type { Contender, Opening } from '../contender.js';
import { poolSize } from '../database-server.js';
import { keyAt, product, type Product } from '../product.js';

const batchItems = 500;

export const openKeyv: Opening = async ({ keys }) => {
  const keyv = new Keyv();
  for (const key of keys) await keyv.set(key, product);
  return {
    name: 'keyv',
    traits: { survives: 'nothing', comparesAndSets: false, returns: 'fresh copy' },
    verbs: verbsOf(keyv, keys),
  };
};

/** With its default options: a set returns when the file is written, every 100 ms. */
export const openKeyvFile: Opening = async ({ keys, directory, filled }) => {
  const keyv = new Keyv({ store: new KeyvFile({ filename: join(directory, 'keyv.json') }) });
  if (!filled) await Promise.all(keys.map((key) => keyv.set(key, product)));
  return {
    name: 'keyv-file',
    traits: {
      survives: 'kill',
      comparesAndSets: false,
      returns: 'fresh copy',
      note: 'writes the whole file, every 100 ms',
    },
    verbs: verbsOf(keyv, keys),
    close: () => keyv.disconnect(),
  };
};

/** With its default options except for the pool. It does not prepare statements. */
export const openKeyvPostgres: Opening = async ({
  keys,
  database: { url = '', schema = '' } = {} as never,
}) => {
  const keyv = new Keyv({ store: new KeyvPostgres({ uri: url, schema, max: poolSize }) });
  for (let index = 0; index < keys.length; index += batchItems)
    await keyv.setMany(keys.slice(index, index + batchItems).map((key) => ({ key, value: product })));
  const { get, set, getMany } = verbsOf(keyv, keys);
  return {
    name: '@keyv/postgres',
    traits: {
      survives: 'power loss',
      comparesAndSets: false,
      returns: 'fresh copy',
      note: 'one table with keys and texts',
    },
    verbs: { get, set, getMany },
    close: () => keyv.disconnect(),
  };
};

function verbsOf(keyv: Keyv, keys: readonly string[]) {
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
  } satisfies Contender['verbs'];
}

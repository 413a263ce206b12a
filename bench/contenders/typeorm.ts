/**
 * TypeORM with a repository: `findOneBy`, `upsert`, `save`, `increment`. Its `save` reads first,
 * and then overwrites without a check.
 */
import { DataSource, EntitySchema, In } from 'typeorm';
import type { Opening } from '../contender.js';
import { counterKeys, savedKeys } from '../database-keys.js';
import { poolSize } from '../database-server.js';
import { keyAt, product, type Product } from '../product.js';

const tenant = 'acme';

interface Stored {
  tenant: string;
  key: string;
  version: number;
  value: Product;
  updatedAt: Date;
}
interface Counter {
  tenant: string;
  key: string;
  number: string;
}

const Products = new EntitySchema<Stored>({
  name: 'product',
  columns: {
    tenant: { type: 'text', primary: true },
    key: { type: 'text', primary: true },
    version: { type: 'int', version: true },
    value: { type: 'json' },
    updatedAt: { type: 'timestamptz', updateDate: true },
  },
});
const Counters = new EntitySchema<Counter>({
  name: 'counter',
  columns: {
    tenant: { type: 'text', primary: true },
    key: { type: 'text', primary: true },
    number: { type: 'bigint' },
  },
});

export const openTypeorm: Opening = async ({ keys, database }) => {
  const { url = '', schema = '' } = database ?? {};
  const source = new DataSource({
    type: 'postgres',
    url,
    schema,
    poolSize,
    entities: [Products, Counters],
    synchronize: true,
  });
  await source.initialize();
  const products = source.getRepository(Products);
  const counters = source.getRepository(Counters);
  const saved = savedKeys(keys);
  for (const some of chunks([...keys, ...saved], 500))
    await products.insert(some.map((key) => ({ tenant, key, value: product })));
  for (const some of chunks(counterKeys, 500))
    await counters.insert(some.map((key) => ({ tenant, key, number: '0' })));
  const read = new Map(
    (await products.findBy({ tenant, key: In([...saved]) })).map((entity) => [entity.key, entity]),
  );
  const many = keys.slice(0, 100);
  return {
    name: 'TypeORM',
    traits: {
      survives: 'power loss',
      comparesAndSets: false,
      returns: 'fresh copy',
      note: 'findOneBy, upsert, save, increment; save reads first and overwrites without a check',
    },
    verbs: {
      get: (call) => products.findOneBy({ tenant, key: keyAt(keys, call) }),
      set: (call) => products.upsert({ tenant, key: keyAt(keys, call), value: product }, ['tenant', 'key']),
      save: async (call) => {
        const entity = read.get(keyAt(saved, call)) as Stored;
        entity.value = { ...entity.value, stock: entity.value.stock + 1 };
        await products.save(entity);
      },
      getMany: async () => {
        const found = new Map(
          (await products.findBy({ tenant, key: In(many) })).map((entity) => [entity.key, entity]),
        );
        return many.map((key) => found.get(key));
      },
      increment: (call) => counters.increment({ tenant, key: keyAt(counterKeys, call) }, 'number', 1),
    },
    close: () => source.destroy(),
  };
};

const chunks = (keys: readonly string[], size: number): readonly (readonly string[])[] =>
  Array.from({ length: Math.ceil(keys.length / size) }, (_, index) =>
    keys.slice(index * size, (index + 1) * size),
  );

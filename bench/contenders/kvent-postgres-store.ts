/** Kvent on Postgres as applications use it: the typed store that Nest injects. */
import 'reflect-metadata';
import { Injectable, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import {
  CounterStore,
  defineCounter,
  defineShardedCounter,
  InjectStore,
  KeyValueStorageModule,
  openStorage,
  State,
  type Entry,
  type KeyValueStore,
} from '@kvent/key-value-storage';
import { PostgresProvider, type PostgresProviderOptions } from '@kvent/key-value-postgres';
import type { Contender, Opening } from '../contender.js';
import { assertNoLostUpdate, counterKeys, hotKeys, savedKeys } from '../database-keys.js';
import { poolSize } from '../database-server.js';
import { keyAt, product, type Product } from '../product.js';

const tenant = 'acme';
const batchItems = 500;
const Views = defineCounter('views');

@State('product')
class StoredProduct implements Product {
  title!: string;
  description!: string;
  price!: number;
  currency!: string;
  stock!: number;
  tags!: readonly string[];
  active!: boolean;
}

@Injectable()
class Catalog {
  readonly products: KeyValueStore<StoredProduct>;
  readonly views: CounterStore;

  constructor(
    @InjectStore(StoredProduct) products: KeyValueStore<StoredProduct>,
    @InjectStore(Views) views: CounterStore,
  ) {
    this.products = products.forTenant(tenant);
    this.views = views.forTenant(tenant);
  }
}

export const openTypedStore: Opening = async ({ keys, database }) => {
  const { products, views, close } = await startApplication({ ...database });
  const saved = savedKeys(keys);
  await fill(products, [...keys, ...hotKeys]);
  const entries = new Map((await fill(products, saved)).map((entry) => [entry.key as string, entry]));
  const many = keys.slice(0, 100);
  const { verbs, ...hotUpdates } = hotUpdatesOf('kvent', [products]);
  return {
    name: 'kvent',
    traits: {
      survives: 'power loss',
      comparesAndSets: true,
      returns: 'frozen',
      note: 'the typed store in Nest',
    },
    verbs: {
      ...verbs,
      get: (call) => products.get(keyAt(keys, call)),
      set: (call) => products.set(keyAt(keys, call), product),
      save: async (call) => {
        const key = keyAt(saved, call);
        const entry = entries.get(key) as Entry<Product>;
        entries.set(key, await products.save(entry.with({ stock: entry.value.stock + 1 })));
      },
      getMany: () => products.getMany(many),
      increment: (call) => views.increment(keyAt(counterKeys, call)),
      'one counter': () => views.increment('one'),
    },
    ...hotUpdates,
    close,
  };
};

/** A counter whose number is the sum of 16 rows. */
export const openShardedCounter: Opening = async ({ database }) => {
  const storage = await openStorage(new PostgresProvider({ ...database }), { tenant });
  const views = storage.store(defineShardedCounter('views'));
  const name = 'kvent, sharded';
  let counted = 0;
  return {
    name,
    traits: {
      survives: 'power loss',
      comparesAndSets: true,
      returns: 'nothing',
      note: '16 shards; a change returns no number',
    },
    verbs: {
      'one counter': async () => {
        await views.increment('one');
        counted += 1;
      },
    },
    verify: async () => {
      const stored = await views.get('one');
      if (stored !== counted) throw new Error(`${name} has counted ${counted}, but has stored ${stored}.`);
    },
    close: () => storage.close(),
  };
};

/**
 * Two applications on one table, like two processes: they share no keyed locks. Together they have
 * as many connections as one.
 */
export const openTwoApplications: Opening = async ({ database }) => {
  const one = await startApplication({ ...database, poolSize: poolSize / 2 });
  const other = await startApplication({ ...database, poolSize: poolSize / 2 });
  await fill(one.products, hotKeys);
  const name = 'kvent, two apps';
  return {
    name,
    traits: {
      survives: 'power loss',
      comparesAndSets: true,
      returns: 'frozen',
      note: 'each has half of the callers and half of the pool',
    },
    ...hotUpdatesOf(name, [one.products, other.products]),
    close: async () => {
      await one.close();
      await other.close();
    },
  };
};

async function startApplication(options: PostgresProviderOptions) {
  @Module({
    imports: [
      KeyValueStorageModule.forRoot({
        provider: () => new PostgresProvider(options),
        tenancy: { isKnown: () => true },
      }),
      KeyValueStorageModule.forFeature([StoredProduct, Views]),
    ],
    providers: [Catalog],
  })
  class Application {}
  const application = await NestFactory.createApplicationContext(Application, { logger: ['warn', 'error'] });
  const { products, views } = application.get(Catalog);
  return {
    products: products as KeyValueStore<Product>,
    views,
    close: () => application.close(),
  };
}

async function fill(
  products: KeyValueStore<Product>,
  keys: readonly string[],
): Promise<readonly Entry<Product>[]> {
  const entries: Entry<Product>[] = [];
  for (let index = 0; index < keys.length; index += batchItems)
    entries.push(
      ...(await products.setMany(
        keys.slice(index, index + batchItems).map((key) => ({ key, value: product })),
      )),
    );
  return entries;
}

/** Updates of the contended keys, by the given stores alternately. */
function hotUpdatesOf(
  name: string,
  stores: readonly KeyValueStore<Product>[],
): Pick<Contender, 'verbs' | 'contention' | 'verify'> {
  const contention = { done: 0, repeated: 0 };
  return {
    verbs: {
      'hot update': async (call) => {
        let attempts = 0;
        await keyAt(stores, Math.floor(call / hotKeys.length)).update(keyAt(hotKeys, call), (value) => {
          attempts += 1;
          return { ...value, stock: value.stock + 1 };
        });
        contention.done += 1;
        contention.repeated += attempts - 1;
      },
    },
    contention,
    verify: async () => {
      const stocks = (await (stores[0] as KeyValueStore<Product>).getMany(hotKeys)).map(
        (entry) => entry?.value.stock ?? Number.NaN,
      );
      assertNoLostUpdate(name, { contention, stocks, counted: new Map(), numbers: new Map() });
    },
  };
}

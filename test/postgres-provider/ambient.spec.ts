/**
 * Ambient transactions: with `transactions`, injected stores and streams join the transaction of
 * their caller, as a library keeps it in the async context.
 */
import 'reflect-metadata';
import { AsyncLocalStorage } from 'node:async_hooks';
import { afterAll, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { Global, Inject, Injectable, Module } from '@nestjs/common';
import { Test, type TestingModule } from '@nestjs/testing';
import type { TransactionHost as Host } from '@nestjs-cls/transactional';
import type { TransactionalAdapterTypeOrm as TypeOrm } from '@nestjs-cls/transactional-adapter-typeorm';
import {
  defineStream,
  event,
  EventStore,
  EventStoreModule,
  InjectStream,
  type EventStream,
} from '@kvent/event-store';
import { PostgresProvider } from '@kvent/key-value-postgres';
import {
  defineState,
  InjectStore,
  KeyValueStorage,
  KeyValueStorageModule,
  KeyValueStore,
  openStorage,
  retryOnConflict,
  TenantContext,
} from '@kvent/key-value-storage';
import { DataSource, EntitySchema, type EntityManager } from 'typeorm';
import {
  addTransactionalDataSource,
  deleteDataSourceByName,
  initializeTransactionalContext,
  Propagation as TypeOrmPropagation,
  runInTransaction,
  runOnTransactionCommit,
  StorageDriver,
} from 'typeorm-transactional';
import '../nest-for-commonjs.js';
import { freshDatabase, type FreshDatabase } from '../postgres/databases.js';
import { until } from '../postgres/until.js';

const { ClsModule } = await import('nestjs-cls');
const { ClsPluginTransactional, Propagation, Transactional, TransactionHost } =
  await import('@nestjs-cls/transactional');
const { TransactionalAdapterTypeOrm } = await import('@nestjs-cls/transactional-adapter-typeorm');

interface InvoiceRow {
  id: number;
}
const Invoice = new EntitySchema<InvoiceRow>({
  name: 'invoice',
  columns: { id: { type: 'int', primary: true } },
});
interface Product {
  readonly stock: number;
}
const Product = defineState<Product>('product');
const Label = defineState('label', { indexes: { byText: ({ text }: { readonly text: string }) => text } });
const Sales = defineStream('sales', {
  events: { sold: event<{ sku: string }>() },
  initial: () => 0,
  evolve: (count: number) => count + 1,
});
const sold = { type: 'sold', data: { sku: 'mug' } } as const;

let database: FreshDatabase;
let source: DataSource;
let other: DataSource;
beforeAll(async () => {
  database = await freshDatabase();
  const connect = async (max: number): Promise<DataSource> =>
    await new DataSource({
      type: 'postgres',
      url: database.url,
      entities: [Invoice],
      synchronize: true,
      extra: { max },
    }).initialize();
  source = await connect(8);
  other = await connect(2);
});
afterAll(async () => {
  await source.destroy();
  await other.destroy();
  await database[Symbol.asyncDispose]();
});

/** An application: what it injects, and its ways to run work in a transaction. */
interface Application {
  readonly storage: KeyValueStorage;
  readonly products: KeyValueStore<Product>;
  readonly sales: EventStream<typeof Sales>;
  /** The ids of streams of which the `committed` listener got events. */
  readonly published: string[];
  /** Runs work in a transaction; its argument is the manager of that. */
  inTransaction<R>(work: (manager: EntityManager) => Promise<R>): Promise<R>;
  /** In a new one, within the other. */
  inNewTransaction<R>(work: (manager: EntityManager) => Promise<R>): Promise<R>;
  /** In a transaction of another data source. */
  inAnother<R>(work: () => Promise<R>): Promise<R>;
  close(): Promise<void>;
}

@Injectable()
class Shop {
  constructor(
    @Inject(TransactionHost) readonly host: Host<TypeOrm>,
    @InjectStore(Product) readonly products: KeyValueStore<Product>,
    @InjectStream(Sales) readonly sales: EventStream<typeof Sales>,
  ) {}

  @Transactional()
  async run<R>(work: (manager: EntityManager) => Promise<R>): Promise<R> {
    return await work(this.host.tx);
  }

  @Transactional(Propagation.RequiresNew)
  async runNew<R>(work: (manager: EntityManager) => Promise<R>): Promise<R> {
    return await work(this.host.tx);
  }

  @Transactional(Propagation.Nested)
  async runNested<R>(work: (manager: EntityManager) => Promise<R>): Promise<R> {
    return await work(this.host.tx);
  }

  @Transactional('other')
  async runOther<R>(work: () => Promise<R>): Promise<R> {
    return await work();
  }
}

@Global()
@Module({
  providers: [
    { provide: DataSource, useFactory: () => source },
    { provide: 'OTHER', useFactory: () => other },
  ],
  exports: [DataSource, 'OTHER'],
})
class Databases {}

async function nestApplication(): Promise<Application & { readonly app: TestingModule }> {
  const published: string[] = [];
  const app = await Test.createTestingModule({
    imports: [
      Databases,
      // named after the main one, and registered first: the provider must find its own
      ClsModule.forRoot({
        plugins: [
          new ClsPluginTransactional({
            connectionName: 'other',
            adapter: new TransactionalAdapterTypeOrm({ dataSourceToken: 'OTHER' }),
          }),
          new ClsPluginTransactional({
            adapter: new TransactionalAdapterTypeOrm({ dataSourceToken: DataSource }),
          }),
        ],
      }),
      KeyValueStorageModule.forRootAsync({
        inject: [DataSource],
        useFactory: (dataSource: DataSource) => ({
          provider: new PostgresProvider({ dataSource, transactions: 'ambient' }),
          tenancy: {},
        }),
      }),
      KeyValueStorageModule.forFeature([Product]),
      EventStoreModule.forRoot({
        metadata: () => ({ userId: 'ada' }),
        committed: ({ id }) => void published.push(id),
      }),
      EventStoreModule.forFeature([Sales]),
    ],
    providers: [Shop],
  }).compile();
  await app.init();
  const shop = app.get(Shop);
  const tenants = app.get(TenantContext, { strict: false });
  const asAcme = async <R>(work: () => Promise<R>): Promise<R> => await tenants.run('acme', work);
  return {
    app,
    storage: app.get(KeyValueStorage, { strict: false }),
    products: shop.products.forTenant('acme'),
    sales: shop.sales.forTenant('acme'),
    published,
    inTransaction: async (work) => await asAcme(async () => await shop.run(work)),
    inNewTransaction: async (work) => await shop.runNew(work),
    inAnother: async (work) => await shop.runOther(work),
    close: async () => await app.close(),
  };
}

/** The application of a provider without Nest. */
async function application(
  provider: PostgresProvider,
  ways: Pick<Application, 'inTransaction' | 'inNewTransaction' | 'inAnother'>,
): Promise<Application> {
  const published: string[] = [];
  const storage = await openStorage(provider);
  const events = new EventStore(storage, {
    metadata: () => ({ userId: 'ada' }),
    committed: ({ id }) => void published.push(id),
  });
  return {
    storage,
    products: storage.store(Product),
    sales: events.stream(Sales),
    published,
    ...ways,
    close: async () => {
      await events.close();
      await storage.close();
    },
  };
}

async function typeOrmTransactional(): Promise<Application> {
  initializeTransactionalContext({ storageDriver: StorageDriver.ASYNC_LOCAL_STORAGE });
  addTransactionalDataSource(source);
  addTransactionalDataSource({ name: 'other', dataSource: other });
  const app = await application(new PostgresProvider({ dataSource: source, transactions: 'ambient' }), {
    inTransaction: async (work) => await runInTransaction(async () => await work(source.manager)),
    inNewTransaction: async (work) =>
      await runInTransaction(async () => await work(source.manager), {
        propagation: TypeOrmPropagation.REQUIRES_NEW,
      }),
    inAnother: async (work) => await runInTransaction(work, { connectionName: 'other' }),
  });
  return {
    ...app,
    close: async () => {
      await app.close();
      for (const [name, each] of [
        ['default', source],
        ['other', other],
      ] as const) {
        const { manager } = each;
        deleteDataSourceByName(name);
        for (const patched of ['manager', 'query', 'createQueryBuilder', 'transaction'] as const)
          Reflect.deleteProperty(each, patched);
        Object.assign(each, { manager });
      }
    },
  };
}

async function ownFunction(): Promise<Application> {
  const current = new AsyncLocalStorage<EntityManager>();
  const within =
    (database: () => DataSource) =>
    async <R>(work: (manager: EntityManager) => Promise<R>): Promise<R> =>
      await database().transaction(async (manager) => await current.run(manager, () => work(manager)));
  return await application(
    new PostgresProvider({ dataSource: source, transactions: { current: () => current.getStore() } }),
    {
      inTransaction: within(() => source),
      inNewTransaction: within(() => source),
      inAnother: within(() => other),
    },
  );
}

describe.each<[string, () => Promise<Application>]>([
  ['@nestjs-cls/transactional', nestApplication],
  ['typeorm-transactional', typeOrmTransactional],
  ['a function of the application', ownFunction],
])('In a transaction of %s, stores and streams', (library, open) => {
  const stream = (id: string): string => `${library}/${id}`;
  let app: Application;
  beforeAll(async () => void (app = await open()));
  afterAll(async () => await app.close());
  beforeEach(async () => {
    await app.products.clear();
    await source.getRepository(Invoice).clear();
    app.published.length = 0;
  });
  const stock = async (key = 'mug'): Promise<number | undefined> =>
    (await app.products.get(key))?.value.stock;
  const invoices = async (): Promise<number> => await source.getRepository(Invoice).count();
  /** What a caller outside the transaction sees. */
  const outside = AsyncLocalStorage.snapshot();

  it('are committed with the entities, see their own writes before, and others do not', async () => {
    await app.inTransaction(async (manager) => {
      await manager.insert(Invoice, { id: 1 });
      await app.products.add('mug', { stock: 5 });
      await app.products.update('mug', ({ stock: before }) => ({ stock: before - 1 }));
      await app.sales.append(stream('s-1'), [sold], { expectedVersion: 'absent' });
      expect([await stock(), (await app.sales.load(stream('s-1'))).state]).toEqual([4, 1]);
      for await (const entry of app.products.watch('mug')) {
        expect(entry).toBeUndefined();
        break;
      }
      expect(await outside(async () => [await stock(), await app.sales.version(stream('s-1'))])).toEqual([
        undefined,
        0,
      ]);
    });
    expect([await stock(), await app.sales.version(stream('s-1')), await invoices()]).toEqual([4, 1, 1]);
  });

  it('join with an index that is kept, from before the transaction or from within it', async () => {
    const labels = app.storage.store(Label).forTenant('acme');
    const before = labels.index('byText');
    const within = await app.inTransaction(async () => {
      await labels.set(library, { text: library });
      const index = labels.index('byText');
      for (const each of [before, index]) {
        const entry = await each.get(library);
        expect(entry).toMatchObject({ key: library });
        expect([await each.count({ key: library }), (await each.page({ key: library })).items]).toEqual([
          1,
          [entry],
        ]);
        expect(await outside(async () => await each.get(library))).toBeUndefined();
      }
      return index;
    });
    expect(await within.get(library)).toMatchObject({ key: library });
    expect(() => labels.index('byTxt' as 'byText')).toThrow(`no index "byTxt"`);
  });

  it('join with a list that is kept when its reading begins, and so do events', async () => {
    const countOf = async (list: AsyncIterable<unknown>): Promise<number> => {
      let count = 0;
      for await (const _ of list) count += 1;
      return count;
    };
    const [list, events] = [app.products.list(), app.sales.read(stream('s-0'))];
    const [listWithin, eventsWithin] = await app.inTransaction(async () => {
      await app.products.add('mug', { stock: 5 });
      await app.sales.append(stream('s-0'), [sold], { expectedVersion: 'absent' });
      expect([await countOf(list), await countOf(events)]).toEqual([1, 1]);
      expect(await outside(async () => [await countOf(list), await countOf(events)])).toEqual([0, 0]);
      return [app.products.list(), app.sales.read(stream('s-0'))] as const;
    });
    expect([await countOf(listWithin), await countOf(eventsWithin)]).toEqual([1, 1]);
  });

  it('are rolled back with the entities', async () => {
    await app.products.set('cup', { stock: 1 });
    const work = app.inTransaction(async (manager) => {
      await manager.insert(Invoice, { id: 1 });
      await app.products.add('mug', { stock: 5 });
      await app.products.delete('cup');
      await app.sales.append(stream('s-2'), [sold], { expectedVersion: 'absent', idempotencyKey: 'k' });
      throw new Error('rolled back');
    });
    await expect(work).rejects.toThrow('rolled back');
    expect([await stock(), await stock('cup'), await invoices()]).toEqual([undefined, 1, 0]);
    expect(await app.sales.findByIdempotencyKey(stream('s-2'), 'k')).toBeUndefined();
    expect(app.published).toEqual([]);
  });

  it('leave nothing where the transaction is rolled back while they are in progress', async () => {
    const calls: Promise<unknown>[] = [];
    // in microtasks after the calls: they have been sent long before the last one
    for (let moment = 0; moment < 30; moment += 1) {
      const work = app.inTransaction(async () => {
        const some = [
          app.products.add('mug', { stock: 5 }),
          app.sales.append(stream('s-9'), [sold], { expectedVersion: 'absent' }),
        ];
        calls.push(...some);
        for (let n = 0; n < moment; n += 1) await Promise.resolve();
        void Promise.allSettled(some);
        throw new Error('rolled back');
      });
      await expect(work).rejects.toThrow('rolled back');
    }
    await Promise.allSettled(calls);
    expect([await stock(), await app.sales.version(stream('s-9')), app.published]).toEqual([
      undefined,
      0,
      [],
    ]);
  });

  it('share one batch, with the settings of the streams, and repeat by their idempotency keys', async () => {
    await app.inTransaction(async () => {
      await app.sales.transact(stream('s-3'), () => [sold], {
        idempotencyKey: 'k',
        sameCommit: (batch) => batch.set(app.products, 'mug', { stock: 7 }),
      });
      await app.storage
        .atomic()
        .add(app.products, 'cup', { stock: 1 })
        .include(app.sales.appending(stream('s-4'), [sold], { expectedVersion: 'absent' }))
        .commit();
      expect(await app.sales.transact(stream('s-3'), () => [sold], { idempotencyKey: 'k' })).toMatchObject({
        replayed: true,
      });
      expect(await outside(stock)).toBeUndefined();
    });
    const metadata: unknown[] = [];
    for await (const each of app.sales.read(stream('s-3'))) metadata.push(each.metadata);
    expect(metadata).toMatchObject([{ userId: 'ada' }]);
    expect([await stock(), await stock('cup'), await app.sales.version(stream('s-4'))]).toEqual([7, 1, 1]);
  });

  it('publish their events after the commit', async () => {
    await app.inTransaction(async () => {
      await app.sales.append(stream('s-5'), [sold], { expectedVersion: 'any' });
      await app.sales.append(stream('s-5'), [sold], { expectedVersion: 1 });
      expect(app.published).toEqual([]);
    });
    expect(app.published).toEqual([stream('s-5'), stream('s-5')]);
  });

  it('are not grouped with the calls of others', async () => {
    const keys = Array.from({ length: 20 }, (_, index) => `k-${index}`);
    const inside = app
      .inTransaction(async () => {
        const own = keys.map(async (key) => await app.products.add(`own-${key}`, { stock: 1 }));
        const others = outside(() => keys.map(async (key) => await app.products.add(key, { stock: 1 })));
        await Promise.all([...own, ...others]);
        throw new Error('rolled back');
      })
      .catch((error: unknown) => expect(String(error)).toContain('rolled back'));
    await inside;
    expect([
      await app.products.count({ prefix: 'k-' }),
      await app.products.count({ prefix: 'own-' }),
    ]).toEqual([20, 0]);
  });

  it('join only transactions of their own data source', async () => {
    const work = app.inAnother(async () => {
      await app.products.add('mug', { stock: 5 });
      expect(await outside(stock)).toBe(5);
      throw new Error('rolled back');
    });
    await expect(work).rejects.toThrow('rolled back');
    expect(await stock()).toBe(5);
  });

  it('conflict without a retry; a retry around the transaction succeeds', async () => {
    await app.products.set('mug', { stock: 5 });
    let ran = 0;
    const codes: unknown[] = [];
    await retryOnConflict(async () => {
      await app.inTransaction(async () => {
        ran += 1;
        const entry = await app.products.getOrThrow('mug');
        if (ran === 1) await outside(async () => await app.products.set('mug', { stock: 9 }));
        await app.products.save(entry.with({ stock: entry.value.stock - 1 })).catch((error: unknown) => {
          codes.push((error as { readonly code: string }).code);
          throw error;
        });
      });
    });
    expect([ran, codes, await stock()]).toEqual([2, ['STORAGE_CONFLICT'], 8]);
  });

  it('say what to do when an error has ended the transaction', async () => {
    await app.products.set('mug', { stock: 5 });
    await app
      .inTransaction(async (manager) => {
        await manager.query('select 1 / 0').catch(() => undefined);
        await expect(app.products.get('mug')).rejects.toMatchObject({
          code: 'STORAGE_UNAVAILABLE',
          retryable: false,
          message: expect.stringContaining('a retry belongs around the transaction'),
        });
      })
      .catch(() => undefined);
    expect(await stock()).toBe(5);
  });

  it('of a new transaction are independent, and refuse at once to wait for the outer one', async () => {
    await app.products.set('mug', { stock: 5 });
    await app.inTransaction(async () => {
      await app.products.set('mug', { stock: 4 });
      await app.products.add('plate', { stock: 1 });
      await app.inNewTransaction(async () => {
        await app.products.add('cup', { stock: 1 });
        for (const key of ['mug', 'plate'])
          await expect(app.products.set(key, { stock: 0 })).rejects.toMatchObject({
            code: 'INVALID_STATE',
            effect: 'none',
            message: expect.stringContaining('would wait for its own caller'),
          });
      });
      expect(await outside(async () => await stock('cup'))).toBe(1);
    });
    expect([await stock(), await stock('plate')]).toEqual([4, 1]);
  });

  it('open no session', async () => {
    await app.inTransaction(
      async () =>
        await expect(app.sales.openSession(stream('s-6'))).rejects.toMatchObject({
          code: 'STORAGE_UNSUPPORTED',
        }),
    );
  });

  it('of another provider that joins nothing refuse at once to wait for the transaction', async () => {
    await using apart = await openStorage(
      new PostgresProvider({ url: database.url, poolSize: 2, lockTimeoutMs: 600_000 }),
      app.storage.store(Product) === app.products ? {} : { tenant: 'acme' },
    );
    await app.products.set('mug', { stock: 5 });
    await app.inTransaction(async () => {
      await app.products.set('mug', { stock: 4 });
      await expect(apart.store(Product).set('mug', { stock: 0 })).rejects.toMatchObject({
        code: 'INVALID_STATE',
        effect: 'none',
      });
      await apart.store(Product).set('free', { stock: 1 });
    });
    expect([await stock(), await stock('free')]).toEqual([4, 1]);
  });
});

describe('With @nestjs-cls/transactional', () => {
  it('a nested transaction rolls back its own rows and events only', async () => {
    const { app, products, sales, published, inTransaction, close } = await nestApplication();
    const shop = app.get(Shop);
    await products.clear();
    await inTransaction(async () => {
      await products.add('outer', { stock: 1 });
      await sales.append('n-1', [sold], { expectedVersion: 'absent' });
      const nested = shop.runNested(async () => {
        await products.add('inner', { stock: 1 });
        await sales.append('n-2', [sold], { expectedVersion: 'absent' });
        throw new Error('inner');
      });
      await expect(nested).rejects.toThrow('inner');
      await shop.runNested(
        async () => void (await sales.append('n-3', [sold], { expectedVersion: 'absent' })),
      );
    });
    expect(await products.getMany(['outer', 'inner'])).toMatchObject([{ key: 'outer' }, undefined]);
    expect(published).toEqual(['n-1', 'n-3']);
    await close();
  });

  it('a provider without its plugin warns once, and is outside transactions', async () => {
    const warn = jest.fn();
    const apart = await new DataSource({
      type: 'postgres',
      url: database.url,
      extra: { max: 2 },
    }).initialize();
    const provider = new PostgresProvider({ dataSource: apart, transactions: 'ambient', warn });
    const storage = await openStorage(provider);
    await storage.store(Product).set('apart', { stock: 1 });
    await storage.store(Product).get('apart');
    expect(warn.mock.calls).toEqual([[expect.stringContaining('found no ClsPluginTransactional')]]);
    await storage.close();
    await apart.destroy();
  });
});

describe('With typeorm-transactional', () => {
  it('hooks after the commit are outside', async () => {
    const app = await typeOrmTransactional();
    let written: Promise<unknown> | undefined;
    await app.inTransaction(async () => {
      await app.products.set('hooked', { stock: 1 });
      runOnTransactionCommit(() => void (written = app.products.set('hooked', { stock: 2 })));
    });
    await until('the hook has run', () => written !== undefined);
    await written;
    expect((await app.products.get('hooked'))?.value.stock).toBe(2);
    await app.close();
  });
});

describe('With a function of the application', () => {
  it('a later transaction of a query runner is found too, and refuses to be waited for', async () => {
    const runner = source.createQueryRunner();
    const provider = new PostgresProvider({
      dataSource: source,
      transactions: { current: () => runner.manager },
    });
    await using storage = await openStorage(provider);
    await using apart = await openStorage(new PostgresProvider({ dataSource: source, lockTimeoutMs: 100 }));
    const [products, outside] = [storage.store(Product), apart.store(Product)];
    const asAnother = AsyncLocalStorage.snapshot();
    await asAnother(async () => {
      await runner.startTransaction();
      await products.set('later', { stock: 1 });
      await runner.commitTransaction();
    });
    await runner.startTransaction();
    try {
      await products.set('later', { stock: 2 });
      await expect(outside.set('later', { stock: 3 })).rejects.toMatchObject({ code: 'INVALID_STATE' });
    } finally {
      await runner.rollbackTransaction();
      await runner.release();
    }
  });
});

describe('The option', () => {
  it('needs the data source of the application, and a library or a function', () => {
    const url = 'postgres://localhost/x';
    expect(() => new PostgresProvider({ url, transactions: 'ambient' })).toThrow(
      'needs the dataSource option',
    );
    for (const transactions of ['joined', {}, true, { current: 1 }])
      expect(
        () => new PostgresProvider({ dataSource: source, transactions: transactions as 'ambient' }),
      ).toThrow("transactions must be 'ambient', or { current } with a function");
  });
});

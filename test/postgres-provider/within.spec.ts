/**
 * States and entities of the application in one transaction of its data source: committed together
 * or not at all, and not visible before.
 */
import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { PostgresProvider } from '@kvent/key-value-postgres';
import {
  defineState,
  isStorageError,
  openStorage,
  retryOnConflict,
  type KeyValueStorage,
  type KeyValueStore,
} from '@kvent/key-value-storage/core';
import pg from 'pg';
import { DataSource, EntitySchema, type EntityManager, type QueryRunner } from 'typeorm';
import { childProgram } from '../faults/child-program.js';
import { freshDatabase, type FreshDatabase } from '../postgres/databases.js';
import { until } from '../postgres/until.js';
import { addressOf, batchOf } from './rows.js';

interface OrderRow {
  id: number;
  total: number;
}
const Order = new EntitySchema<OrderRow>({
  name: 'order',
  columns: { id: { type: 'int', primary: true }, total: { type: 'int' } },
});

interface Product {
  readonly title: string;
  readonly stock: number;
}
const Product = defineState<Product>('product');
const mug: Product = { title: 'Mug', stock: 10 };

let database: FreshDatabase;
let source: DataSource;
let provider: PostgresProvider;
let storage: KeyValueStorage;
let products: KeyValueStore<Product>;

beforeAll(async () => {
  database = await freshDatabase();
  source = await new DataSource({
    type: 'postgres',
    url: database.url,
    entities: [Order],
    synchronize: true,
    extra: { max: 6 },
  }).initialize();
  provider = new PostgresProvider({ dataSource: source });
  storage = await openStorage(provider);
  products = storage.store(Product);
});
afterAll(async () => {
  await storage[Symbol.asyncDispose]();
  await source.destroy();
  await database[Symbol.asyncDispose]();
});
beforeEach(async () => {
  await products.clear();
  await source.getRepository(Order).clear();
});

const inside = (manager: EntityManager): KeyValueStore<Product> => storage.within(manager).store(Product);
const totals = async (): Promise<readonly number[]> =>
  (await source.getRepository(Order).find({ order: { id: 'asc' } })).map(({ total }) => total);
const stock = async (key = 'mug'): Promise<number | undefined> => (await products.get(key))?.value.stock;

/** Runs work as another caller, whose async context has no transaction. */
const outside = AsyncLocalStorage.snapshot();

/** Resolves when a session waits for a lock. */
const untilBlocked = async (): Promise<void> =>
  await until('a session waits for a lock', async () => {
    const text = `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
    return (await source.query<object[]>(text)).length > 0;
  });

describe('states and entities in one transaction', () => {
  it('are committed together', async () => {
    await source.transaction(async (manager) => {
      await manager.insert(Order, { id: 1, total: 10 });
      await inside(manager).add('mug', mug);
      await inside(manager).update('mug', (value) => ({ ...value, stock: 9 }));
      expect(await manager.count(Order)).toBe(1);
    });
    expect([await totals(), await stock()]).toEqual([[10], 9]);
  });

  it('are committed together by services that get the transaction', async () => {
    const sell = async (store: KeyValueStore<Product>): Promise<void> =>
      void (await store.update('mug', (value) => ({ ...value, stock: value.stock - 1 })));
    await products.add('mug', mug);
    await source.transaction(async (manager) => {
      await sell(products.within(manager));
      await sell(products.within(manager));
      await manager.insert(Order, { id: 1, total: 10 });
      expect(await stock()).toBe(10);
    });
    expect([await totals(), await stock()]).toEqual([[10], 8]);
  });

  it('and a write without `within` by the same caller, to a row of the transaction, is refused at once', async () => {
    await products.add('mug', mug);
    const patientProvider = new PostgresProvider({ dataSource: source, lockTimeoutMs: 600_000 });
    await using patient = await openStorage(patientProvider);
    const alone = patient.store(Product);
    await source.transaction(async (manager) => {
      await inside(manager).set('mug', { ...mug, stock: 9 });
      await inside(manager).add('plate', mug);
      for (const key of ['mug', 'plate'])
        await expect(alone.set(key, { ...mug, stock: 1 })).rejects.toMatchObject({
          code: 'INVALID_STATE',
          effect: 'none',
          message: expect.stringContaining('Use within(transaction) of the storage, the store or the stream'),
        });
      await alone.set('cup', mug);
    });
    // a transaction that has ended holds nothing
    await alone.set('plate', { ...mug, stock: 1 });
    expect([await stock(), await stock('plate'), await stock('cup')]).toEqual([9, 1, 10]);
  });

  it('and six of them at once are the first that a process does', async () => {
    const script = childProgram('../postgres-provider/first-transactions-child.ts');
    const { stdout } = await promisify(execFile)(process.execPath, [script, database.url]);
    expect(JSON.parse(stdout)).toEqual(Array.from({ length: 6 }, () => 'committed'));
  });

  describe('and a write of another caller waits for a row of the transaction, not for its caller,', () => {
    let strict: KeyValueStorage;
    let runner: QueryRunner;
    beforeAll(async () => {
      strict = await openStorage(new PostgresProvider({ dataSource: source, lockTimeoutMs: 100 }));
    });
    afterAll(async () => await strict.close());
    beforeEach(async () => {
      runner = source.createQueryRunner();
      await runner.startTransaction();
    });
    afterEach(async () => {
      await runner.rollbackTransaction();
      await runner.release();
    });
    const hold = async (): Promise<unknown> => await inside(runner.manager).set('mug', mug);
    const write = async (): Promise<unknown> => await strict.store(Product).set('mug', mug);
    const timedOut = expect.objectContaining({ code: 'STORAGE_UNAVAILABLE', effect: 'none' });

    it('where it began its transaction beside it, in the same context', async () => {
      const other = source.createQueryRunner();
      await other.startTransaction();
      try {
        await other.query(`set local lock_timeout = '100ms'`);
        await hold();
        await expect(inside(other.manager).set('mug', mug)).rejects.toEqual(timedOut);
      } finally {
        await other.rollbackTransaction();
        await other.release();
      }
    });

    it('where it is another request of the same connection', async () => {
      const connection = new AsyncResource('connection');
      await connection.runInAsyncScope(hold);
      await expect(connection.runInAsyncScope(write)).rejects.toEqual(timedOut);
    });

    it('where it used the query runner of the transaction for an earlier one', async () => {
      await hold();
      const former = AsyncLocalStorage.snapshot();
      await runner.commitTransaction();
      await runner.startTransaction();
      await outside(hold);
      await expect(former(write)).rejects.toEqual(timedOut);
    });

    it('where its caller has written the row in an earlier transaction of the query runner', async () => {
      const kept = inside(runner.manager);
      await kept.set('mug', mug);
      await runner.commitTransaction();
      await runner.startTransaction();
      await inside(runner.manager).set('cup', mug);
      const here = AsyncLocalStorage.snapshot();
      await source.transaction(async (manager) => {
        await outside(async () => await inside(manager).set('mug', mug));
        await expect(here(write)).rejects.toEqual(timedOut);
      });
      await kept.set('mug', mug);
      await expect(here(write)).rejects.toMatchObject({ code: 'INVALID_STATE' });
    });

    it('where its caller has written a row of the same name in another table', async () => {
      await using apart = await openStorage(
        new PostgresProvider({ dataSource: source, schema: 'apart', lockTimeoutMs: 100 }),
      );
      await hold();
      const here = AsyncLocalStorage.snapshot();
      await source.transaction(async (manager) => {
        const things = apart.store(Product);
        await outside(async () => await things.within(manager).set('mug', mug));
        await expect(here(async () => await things.set('mug', mug))).rejects.toEqual(timedOut);
      });
    });
  });

  it('and a write by another caller to a row of the transaction fails with effect none and a hint', async () => {
    await products.add('mug', mug);
    const strictProvider = new PostgresProvider({ dataSource: source, lockTimeoutMs: 100 });
    await using own = await openStorage(strictProvider);
    await source.transaction(async (manager) => {
      await own.store(Product).within(manager).set('mug', { title: 'Mug', stock: 9 });
      const error: unknown = await outside(
        async () => await own.store(Product).set('mug', { title: 'Mug', stock: 1 }),
      ).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: 'STORAGE_UNAVAILABLE', effect: 'none' });
      expect(String(error)).toMatch(
        /held by an open transaction\. If that is your own transaction, use within\(transaction\)/,
      );
    });
    expect(await stock()).toBe(9);
  });

  it.each<[string, (manager: EntityManager) => Promise<void>]>([
    ['the caller throws', async () => await Promise.reject(new Error('no'))],
    ['an entity fails', async (manager) => void (await manager.insert(Order, { id: 1, total: 1 }))],
    ['a state conflicts', async (manager) => void (await inside(manager).add('mug', mug))],
    [
      'a check of the caller fails',
      async (manager) => void (await inside(manager).set('mug', mug, { ifMatch: '17' })),
    ],
  ])('are rolled back together if %s', async (_, fail) => {
    await products.set('cup', mug);
    const work = source.transaction(async (manager) => {
      await manager.insert(Order, { id: 1, total: 10 });
      await inside(manager).set('mug', mug);
      await inside(manager).delete('cup');
      await fail(manager);
    });
    await expect(work).rejects.toThrow();
    expect([await totals(), await stock(), await stock('cup')]).toEqual([[], undefined, 10]);
  });

  it('are not visible before the commit, and not coalesced with other calls', async () => {
    await products.set('cup', mug);
    await source.transaction(async (manager) => {
      const [within] = [inside(manager)];
      const both = await Promise.all([
        within.add('mug', mug),
        products.add('plate', mug),
        within.set('cup', { ...mug, stock: 5 }),
        products.get('mug'),
      ]);
      expect(both[3]).toBeUndefined();
      expect([await stock(), await stock('cup'), await stock('plate')]).toEqual([undefined, 10, 10]);
      expect(await products.count()).toBe(2);
      expect([
        (await within.get('mug'))?.value.stock,
        (await within.get('cup'))?.value.stock,
        await within.count(),
      ]).toEqual([10, 5, 3]);
    });
    expect([await stock(), await stock('cup')]).toEqual([10, 5]);
  });

  it('have all verbs of the store: reads, lists, pages, deletions, batches', async () => {
    await products.setMany(['a', 'b', 'c', 'd'].map((key) => ({ key, value: mug })));
    await source.transaction(async (manager) => {
      const joined = storage.within(manager);
      const within = joined.store(Product);
      expect(await within.take('a')).toMatchObject({ key: 'a', value: mug });
      const b = await within.getOrThrow('b');
      const c = await within.getOrThrow('c');
      await joined
        .atomic()
        .save(within, b.with({ stock: 1 }))
        .delete(within, c)
        .add(within, 'e', { ...mug, stock: 5 })
        .commit();
      const listed: [unknown, number][] = [];
      for await (const { key, value } of within.list()) listed.push([key, value.stock]);
      expect(listed).toEqual([
        ['b', 1],
        ['d', 10],
        ['e', 5],
      ]);
      expect((await within.page({ limit: 2, reverse: true })).items.map(({ key }) => key)).toEqual([
        'e',
        'd',
      ]);
      expect(await within.getMany(['e', 'a'])).toMatchObject([{ key: 'e' }, undefined]);
      expect(await within.deleteMany({ start: 'd' })).toBe(2);
      expect(await within.getOrAdd('f', () => mug)).toMatchObject({ added: true });
      expect(await within.getOrAdd('f', () => mug)).toMatchObject({ added: false });
    });
    expect(await products.getMany(['a', 'b', 'c', 'd', 'e', 'f'])).toMatchObject([
      undefined,
      { value: { stock: 1 } },
      undefined,
      undefined,
      undefined,
      { value: mug },
    ]);
  });

  it('can use numeric changes', async () => {
    const { container, entity } = addressOf('');
    const sum = (operand: bigint) =>
      batchOf([{ kind: 'sum', address: { container, entity, key: 'count' }, operand, floor: 0n }]);
    await source.transaction(async (manager) => {
      const within = provider.within(manager);
      expect(await within.commit([sum(5n), sum(-3n), sum(-3n)])).toMatchObject([
        { outcome: 'committed', rows: [{ number: 5n }] },
        { outcome: 'committed', rows: [{ number: 2n }] },
        { outcome: 'refused', reason: 'range' },
      ]);
    });
    expect((await provider.read([addressOf('count')])).rows[0]?.value).toEqual({
      kind: 'number',
      number: 2n,
    });
    await provider.administration.drop('shared');
  });
});

describe('a conflict in a transaction', () => {
  it('that is caught leaves the transaction usable', async () => {
    await products.set('mug', mug);
    const stale = await products.getOrThrow('mug');
    await products.set('mug', { ...mug, stock: 7 });
    await source.transaction(async (manager) => {
      const joined = storage.within(manager);
      const within = joined.store(Product);
      await manager.insert(Order, { id: 1, total: 10 });
      await expect(within.add('mug', mug)).rejects.toMatchObject({ code: 'KEY_EXISTS', effect: 'none' });
      await expect(within.save(stale.with({ stock: 1 }))).rejects.toMatchObject({
        code: 'STORAGE_CONFLICT',
        effect: 'none',
        retryable: true,
      });
      await expect(within.set('mug', mug, { ifMatch: stale })).rejects.toMatchObject({
        code: 'STORAGE_CONFLICT',
        retryable: false,
      });
      await expect(within.replace('nothing', mug)).rejects.toMatchObject({ code: 'KEY_NOT_FOUND' });
      await expect(
        joined.atomic().add(within, 'cup', mug).save(within, stale).commit(),
      ).rejects.toMatchObject({
        code: 'STORAGE_CONFLICT',
      });
      await manager.insert(Order, { id: 2, total: 20 });
      await within.add('plate', mug);
    });
    expect([await totals(), await stock(), await stock('cup'), await stock('plate')]).toEqual([
      [10, 20],
      7,
      undefined,
      10,
    ]);
  });

  it('is thrown at once, without retries', async () => {
    await products.set('mug', mug);
    let ran = 0;
    await source.transaction(async (manager) => {
      const within = inside(manager);
      await within
        .update('mug', async (value) => {
          ran += 1;
          // The transaction itself changes the row.
          if (ran === 1) await within.set('mug', { ...mug, stock: 3 });
          return { ...value, stock: value.stock + 1 };
        })
        .catch((error: unknown) => expect(error).toMatchObject({ code: 'STORAGE_CONFLICT' }));
    });
    expect([ran, await stock()]).toEqual([1, 3]);
  });
});

describe.each(['REPEATABLE READ', 'SERIALIZABLE'] as const)('under %s', (isolation) => {
  it('a row that changed since the snapshot is a retryable conflict, and the second attempt succeeds', async () => {
    await products.set('mug', mug);
    const attempts: unknown[] = [];
    await retryOnConflict(async (attempt) => {
      await source.transaction(isolation, async (manager) => {
        const within = inside(manager);
        const entry = await within.getOrThrow('mug');
        await manager.insert(Order, { id: attempt, total: entry.value.stock });
        if (attempt === 1) await products.set('mug', { ...mug, stock: 50 });
        await within.save(entry.with({ stock: entry.value.stock - 1 })).catch((error: unknown) => {
          attempts.push(error);
          throw error;
        });
      });
    });
    expect(attempts).toMatchObject([{ code: 'STORAGE_CONFLICT', effect: 'none', retryable: true }]);
    expect([await totals(), await stock()]).toEqual([[50], 49]);
  });

  it('a key that was created since the snapshot is a conflict, and KEY_EXISTS in the next attempt', async () => {
    const outcomes: unknown[] = [];
    await retryOnConflict(async (attempt) => {
      await source.transaction(isolation, async (manager) => {
        await manager.count(Order);
        if (attempt === 1) await products.add('mug', mug);
        await inside(manager)
          .add('mug', mug)
          .catch((error: unknown) => {
            outcomes.push((error as { readonly code: string }).code);
            throw error;
          });
      });
    }).catch((error: unknown) => expect(error).toMatchObject({ code: 'KEY_EXISTS' }));
    expect(outcomes).toEqual(['STORAGE_CONFLICT', 'KEY_EXISTS']);
  });

  it('twenty concurrent transactions on one row all succeed', async () => {
    await products.set('mug', { ...mug, stock: 0 });
    const increment = async (index: number): Promise<void> => {
      await retryOnConflict(
        async () => {
          await source.transaction(isolation, async (manager) => {
            await inside(manager).update('mug', (value) => ({ ...value, stock: value.stock + 1 }));
            await manager.insert(Order, { id: index, total: index });
          });
        },
        { attempts: 1_000, budgetMs: 120_000, delayMs: 2 },
      );
    };
    await Promise.all(Array.from({ length: 20 }, (_, index) => increment(index)));
    expect([await stock(), (await totals()).length]).toEqual([20, 20]);
  });
});

describe('a concurrent writer of the same key', () => {
  it.each([
    ['commit', 'KEY_EXISTS', 1],
    ['rollback', 'added', 2],
  ] as const)('waits for the transaction; after its %s: %s', async (end, outcome, expected) => {
    let writer: Promise<string> | undefined;
    await source
      .transaction(async (manager) => {
        await inside(manager).add('mug', { ...mug, stock: 1 });
        writer = outside(async () => await products.add('mug', { ...mug, stock: 2 })).then(
          () => 'added',
          (error: unknown) => (error as { readonly code: string }).code,
        );
        await untilBlocked();
        if (end === 'rollback') throw new Error('rolled back');
      })
      .catch((error: unknown) => expect(String(error)).toContain('rolled back'));
    expect(await writer).toBe(outcome);
    expect(await stock()).toBe(expected);
  });

  it.each([
    ['commit', 'KEY_EXISTS', 1],
    ['rollback', 'added', 2],
  ] as const)(
    'waits in its own transaction, which continues; after the %s: %s',
    async (end, outcome, expected) => {
      let writer: Promise<string> | undefined;
      await source
        .transaction(async (manager) => {
          await inside(manager).add('mug', { ...mug, stock: 1 });
          writer = outside(
            async () =>
              await source.transaction(async (other) => {
                const results = await inside(other)
                  .add('mug', { ...mug, stock: 2 })
                  .then(
                    () => 'added',
                    (error: unknown) => (isStorageError(error) ? error.code : String(error)),
                  );
                await other.insert(Order, { id: 2, total: 2 });
                return results;
              }),
          );
          await untilBlocked();
          if (end === 'rollback') throw new Error('rolled back');
        })
        .catch((error: unknown) => expect(String(error)).toContain('rolled back'));
      expect(await writer).toBe(outcome);
      expect([await stock(), await totals()]).toEqual([expected, [2]]);
    },
  );

  it('in the opposite order causes a conflict instead of a deadlock, and succeeds when it is retried', async () => {
    await products.setMany(['a', 'b'].map((key) => ({ key, value: { ...mug, stock: 0 } })));
    const holds = [false, false];
    const ended = [false, false];
    const conflicts: unknown[] = [];
    const work = async (first: string, second: string, own: 0 | 1): Promise<void> => {
      await retryOnConflict(async (attempt) => {
        // it could take its first row before the other one wakes up, and cause another conflict
        if (attempt > 1) await until('the other transaction has ended', () => ended[1 - own] === true);
        await source.transaction(async (manager) => {
          await manager.query(`set local deadlock_timeout = '20ms'`);
          const increment = async (key: string): Promise<unknown> =>
            await inside(manager).update(key, (value) => ({ ...value, stock: value.stock + 1 }));
          await increment(first);
          holds[own] = true;
          if (attempt === 1)
            await until('the other transaction holds its row too', () => holds.every(Boolean));
          await increment(second).catch((error: unknown) => {
            conflicts.push(error);
            throw error;
          });
        });
        ended[own] = true;
      });
    };
    await Promise.all([work('a', 'b', 0), work('b', 'a', 1)]);
    expect(conflicts).toMatchObject([{ code: 'STORAGE_CONFLICT', effect: 'none', retryable: true }]);
    expect([await stock('a'), await stock('b')]).toEqual([2, 2]);
  });
});

describe('several callers in one transaction', () => {
  it.each(['one `within`', 'a `within` each'])(
    'are executed one after the other (%s), also if another transaction creates the same key',
    async (sharing) => {
      await products.add('plate', mug);
      let writer: Promise<void> | undefined;
      let create: (() => void) | undefined;
      const created = new Promise<void>((resolve) => (create = resolve));
      const results = await source.transaction(async (manager) => {
        const shared = inside(manager);
        const within = (): KeyValueStore<Product> => (sharing === 'one `within`' ? shared : inside(manager));
        writer = source.transaction(async (other) => {
          await inside(other).add('mug', { ...mug, stock: 2 });
          create?.();
          await untilBlocked();
        });
        await created;
        return await Promise.all([
          within()
            .add('mug', mug)
            .catch((error: unknown) => (error as { readonly code: string }).code),
          within().get('plate'),
          within().add('cup', mug),
          within().count({ prefix: 'pl' }),
          within().add('bowl', mug),
          within().getMany(['plate', 'bowl']),
        ]);
      });
      await writer;
      expect(results).toMatchObject([
        'KEY_EXISTS',
        { key: 'plate' },
        { key: 'cup' },
        1,
        { key: 'bowl' },
        [{ key: 'plate' }, { key: 'bowl' }],
      ]);
      expect([await stock(), await stock('cup'), await stock('bowl')]).toEqual([2, 10, 10]);
    },
  );
});

describe('statements of one transaction', () => {
  it('are sent one after the other, because a connection runs one at a time', async () => {
    await products.setMany(['a', 'b', 'c'].map((key) => ({ key, value: mug })));
    const client = pg.Client.prototype as unknown as { query: (...args: unknown[]) => unknown };
    const query = client.query;
    const idle: boolean[] = [];
    const spy = jest.spyOn(client, 'query').mockImplementation(function (
      this: unknown,
      ...args: unknown[]
    ): unknown {
      idle.push((this as { readonly readyForQuery: boolean }).readyForQuery);
      return query.apply(this, args);
    });
    try {
      await source.transaction(async (manager) => {
        const within = provider.within(manager);
        const space = { database: 'shared', container: 'state:state', entity: 'product', limit: 1 };
        const scans = [
          within.scan([space, { ...space, reverse: true }, { ...space, limit: 2 }]),
          within.read([addressOf('a')]),
        ];
        await Promise.all([...scans, inside(manager).set('d', mug)]);
      });
    } finally {
      spy.mockRestore();
    }
    expect(idle.length).toBeGreaterThan(5);
    expect(idle).not.toContain(false);
  });
});

describe('transactions within transactions', () => {
  it('roll back only their own changes', async () => {
    await source.transaction(async (manager) => {
      await inside(manager).add('outer', mug);
      await manager
        .transaction(async (inner) => {
          await inside(inner).add('inner', mug);
          await inner.insert(Order, { id: 1, total: 1 });
          expect(await inside(inner).has('outer')).toBe(true);
          throw new Error('inner');
        })
        .catch((error: unknown) => expect(String(error)).toContain('inner'));
      expect(await inside(manager).has('inner')).toBe(false);
      await manager.transaction(async (inner) => {
        await inside(inner).add('second', mug);
        await expect(inside(inner).add('outer', mug)).rejects.toMatchObject({ code: 'KEY_EXISTS' });
      });
      await inside(manager).add('inner', { ...mug, stock: 1 });
    });
    expect([await stock('outer'), await stock('inner'), await stock('second'), await totals()]).toEqual([
      10,
      1,
      10,
      [],
    ]);
  });
});

describe('an object that is no transaction of the data source', () => {
  const refused = (words: string) =>
    expect.objectContaining({ code: 'INVALID_OPTION', message: expect.stringContaining(words) });

  it('is refused: the manager of the data source itself, any other value, and a transaction of another data source', async () => {
    expect(() => storage.within(source.manager)).toThrow(refused('open transaction'));
    for (const other of [{}, source, products, []])
      expect(() => storage.within(other)).toThrow(refused('open transaction'));
    const another = await new DataSource({
      type: 'postgres',
      url: database.url,
      extra: { max: 1 },
    }).initialize();
    try {
      await another.transaction(async (manager) => {
        expect(() => storage.within(manager)).toThrow(refused('one of another'));
        await Promise.resolve();
      });
    } finally {
      await another.destroy();
    }
  });

  it('is refused once it has ended, and writes nothing', async () => {
    let store: KeyValueStore<Product> | undefined;
    let formerManager: EntityManager | undefined;
    await source.transaction(async (manager) => {
      store = inside(manager);
      formerManager = manager;
      await store.add('mug', mug);
    });
    for (const call of [store?.set('mug', { ...mug, stock: 1 }), store?.get('mug'), store?.count()])
      await expect(call).rejects.toEqual(refused('open transaction'));
    expect(() => inside(formerManager as EntityManager)).toThrow(refused('open transaction'));
    expect(await stock()).toBe(10);
  });

  it('is refused by a provider with its own pool, with a hint', async () => {
    const own = await openStorage(new PostgresProvider({ url: database.url, poolSize: 1 }));
    try {
      await source.transaction(async (manager) => {
        expect(() => own.within(manager)).toThrow(refused('dataSource'));
        await Promise.resolve();
      });
    } finally {
      await own[Symbol.asyncDispose]();
    }
  });

  it('cannot sweep or administrate', async () => {
    await source.transaction(async (manager) => {
      const within = provider.within(manager);
      for (const call of [
        within.sweep(1),
        within.open(),
        within.administration.databases(),
        within.administration.drop('shared'),
      ])
        await expect(call).rejects.toMatchObject({ code: 'STORAGE_UNSUPPORTED' });
    });
  });
});

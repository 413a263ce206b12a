/**
 * What else happens in a transaction of the application while a call within it is in progress: its
 * other statements, its rollback, and what the server refuses. A transaction leaves all or nothing,
 * at whichever moment of the call that happens.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { createRequire } from 'node:module';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { defineStream, event, EventStore } from '@kvent/event-store';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { defineState, openStorage, type KeyValueStorage, type KeyValueStore } from '@kvent/key-value-storage';
import pg from 'pg';
import { DataSource, type EntityManager } from 'typeorm';
import { asAdmin, freshDatabase, type FreshDatabase } from '../postgres/databases.js';
import { until } from '../postgres/until.js';

interface Product {
  readonly stock: number;
}
const Product = defineState<Product>('product');
const Sales = defineStream('sales', {
  events: { sold: event() },
  initial: () => 0,
  evolve: (count) => count + 1,
});
const mug: Product = { stock: 10 };

type Query = (this: unknown, query: unknown, ...rest: unknown[]) => unknown;

/** Sends copies of query objects, as SQL commenters do. */
function sendCopies(): () => void {
  const prototype = pg.Client.prototype as unknown as { query: Query };
  const original = prototype.query;
  prototype.query = function (query, ...rest) {
    return original.call(this, typeof query === 'object' ? { ...query } : query, ...rest);
  };
  return () => void (prototype.query = original);
}

/** TypeORM 0.3 under its alias: another copy of every class. */
const old = createRequire(import.meta.url)('typeorm-0.3') as { readonly DataSource: typeof DataSource };

/** Runs work as another caller, whose async context has no transaction. */
const outside = AsyncLocalStorage.snapshot();

/** Moments of a call, in microtasks after it: it has been sent long before the last one. */
const moments = Array.from({ length: 30 }, (_, moment) => moment);
const after = async (microtasks: number): Promise<void> => {
  for (let n = 0; n < microtasks; n += 1) await Promise.resolve();
};

describe.each<[string, typeof DataSource, { readonly pipeline?: boolean; readonly copies?: boolean }]>([
  ['TypeORM 1.x', DataSource, {}],
  ['TypeORM 0.3', old.DataSource, {}],
  ['a pool with pipeline', DataSource, { pipeline: true }],
  ['a wrapper that sends copies', DataSource, { copies: true }],
])('Within a transaction of %s', (_name, Source, { pipeline = false, copies = false }) => {
  let database: FreshDatabase;
  let source: DataSource;
  let storage: KeyValueStorage;
  let products: KeyValueStore<Product>;
  let restore: (() => void) | undefined;
  /** Whether our query objects reach the server. */
  const isWhole = !pipeline && !copies;

  beforeAll(async () => {
    if (copies) restore = sendCopies();
    database = await freshDatabase();
    source = await new Source({
      type: 'postgres',
      url: database.url,
      extra: { max: 4, pipeline },
    }).initialize();
    await source.query('create table public.orders (id text primary key deferrable initially deferred)');
    storage = await openStorage(new PostgresProvider({ dataSource: source }));
    products = storage.store(Product);
  });
  afterAll(async () => {
    await storage.close();
    await source.destroy();
    await database[Symbol.asyncDispose]();
    restore?.();
  });
  beforeEach(async () => {
    await products.clear();
    await source.query('truncate public.orders');
  });

  const inside = (manager: EntityManager): KeyValueStore<Product> => products.within(manager);
  const insert = async (manager: EntityManager, id: string): Promise<void> =>
    void (await manager.query('insert into public.orders values ($1)', [id]));
  const orders = async (): Promise<readonly string[]> =>
    (await source.query<{ id: string }[]>('select id from public.orders order by id')).map(({ id }) => id);
  const keys = async (): Promise<readonly unknown[]> =>
    (await products.page({ limit: 1_000 })).items.map(({ key }) => key);
  const untilBlocked = async (): Promise<void> =>
    await asAdmin(database.url, async (client) => {
      const text = `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
      await until('a session waits for a lock', async () => (await client.query(text)).rowCount === 1);
    });
  const failAfter = async (microtasks: number): Promise<never> => {
    await after(microtasks);
    throw new Error('rolled back');
  };
  const rolledBack = async (work: Promise<unknown>): Promise<void> =>
    await expect(work).rejects.toThrow('rolled back');

  describe('that is rolled back while a call is in progress, nothing is left', () => {
    const writes: Readonly<Record<string, (manager: EntityManager) => Promise<unknown>>> = {
      set: async (manager) => await inside(manager).set('cup', mug),
      update: async (manager) => await inside(manager).update('mug', () => ({ stock: 0 })),
      'several beside each other': async (manager) =>
        await Promise.allSettled(['a', 'b', 'c'].map(async (key) => await inside(manager).add(key, mug))),
      append: async (manager) =>
        await sales()
          .within(manager)
          .append('s', [{ type: 'sold' }], { expectedVersion: 'absent' }),
    };
    const sales = () => new EventStore(storage).stream(Sales);

    it.each(Object.entries(writes))('of a call: %s', async (_, write) => {
      await products.add('mug', mug);
      const calls: Promise<unknown>[] = [];
      for (const moment of moments)
        await rolledBack(
          source.transaction(async (manager) => {
            await insert(manager, 'own');
            const call = write(manager);
            calls.push(call);
            await Promise.all([call, failAfter(moment)]);
          }),
        );
      await Promise.allSettled(calls);
      expect([await keys(), await products.get('mug'), await orders()]).toEqual([
        ['mug'],
        expect.objectContaining({ value: mug }),
        [],
      ]);
      expect(await sales().version('s')).toBe(0);
    });

    it('of a nested one, and the outer one is committed', async () => {
      const calls: Promise<unknown>[] = [];
      for (const moment of moments)
        await source.transaction(async (manager) => {
          await insert(manager, `outer-${moment}`);
          const nested = manager.transaction(async (inner) => {
            const call = inside(inner).set(`inner-${moment}`, mug);
            calls.push(call);
            await Promise.all([call, failAfter(moment)]);
          });
          await rolledBack(nested);
          await Promise.allSettled(calls);
          await inside(manager).set(`outer-${moment}`, mug);
        });
      const expected = moments.map((moment) => `outer-${moment}`).sort();
      expect([await keys(), await orders()]).toEqual([expected, expected]);
    });

    it('of a call that has failed, nor of those beside it', async () => {
      await products.add('mug', mug);
      const calls: Promise<unknown>[] = [];
      const work = source.transaction(async (manager) => {
        for (const key of ['mug', 'a', 'b']) calls.push(inside(manager).add(key, mug));
        await Promise.all(calls);
      });
      await expect(work).rejects.toMatchObject({ code: 'KEY_EXISTS' });
      await Promise.allSettled(calls);
      expect(await keys()).toEqual(['mug']);
    });

    it('of a call that its signal ends', async () => {
      const calls: Promise<unknown>[] = [];
      for (const moment of moments) {
        const controller = new AbortController();
        const work = source.transaction(async (manager) => {
          const call = inside(manager).set('cup', mug, { signal: controller.signal });
          calls.push(call);
          void after(moment).then(() => controller.abort());
          await call;
        });
        await expect(work).rejects.toMatchObject({ code: 'ABORTED' });
      }
      await Promise.allSettled(calls);
      expect(await keys()).toEqual([]);
    });

    it('of a call that waits, neither there nor in the next transaction of the query runner', async () => {
      const runner = source.createQueryRunner();
      try {
        const calls: Promise<unknown>[] = [];
        for (const moment of moments) {
          await runner.startTransaction();
          for (const key of ['a', 'b', 'c']) calls.push(inside(runner.manager).add(key, mug));
          const settled = Promise.allSettled(calls);
          await after(moment);
          await runner.rollbackTransaction();
          await runner.startTransaction();
          await insert(runner.manager, `${moment}`);
          await settled;
          await runner.commitTransaction();
        }
        expect([await keys(), (await orders()).length]).toEqual([[], moments.length]);
      } finally {
        if (runner.isTransactionActive) await runner.rollbackTransaction();
        await runner.release();
      }
    });

    if (isWhole)
      it('by SQL of the application', async () => {
        const runner = source.createQueryRunner();
        try {
          const calls: Promise<unknown>[] = [];
          for (const moment of moments) {
            await runner.startTransaction();
            calls.push(inside(runner.manager).set('cup', mug));
            const settled = Promise.allSettled(calls);
            await after(moment);
            await runner.query('rollback');
            await settled;
            await runner.rollbackTransaction();
          }
          expect(await keys()).toEqual([]);
          await runner.startTransaction();
          await runner.query('rollback');
          await expect(inside(runner.manager).set('cup', mug)).rejects.toMatchObject({
            code: 'INVALID_OPTION',
            message: expect.stringContaining('open transaction'),
          });
          await runner.rollbackTransaction();
        } finally {
          await runner.release();
        }
      });
  });

  it('calls that are not awaited are committed with it, or fail with its commit', async () => {
    const calls: Promise<unknown>[] = [];
    const set = (manager: EntityManager, key: string): void => void calls.push(inside(manager).set(key, mug));
    for (const moment of moments) {
      await source.transaction(async (manager) => {
        set(manager, `committed-${moment}`);
        await manager.transaction(async (inner) => {
          set(inner, `nested-${moment}`);
          await after(moment);
        });
        set(manager, `last-${moment}`);
        await after(moment);
      });
      const failed = source.transaction(async (manager) => {
        await insert(manager, 'twice');
        await insert(manager, 'twice');
        set(manager, 'failed');
        await after(moment);
      });
      await expect(failed).rejects.toThrow('duplicate key');
    }
    await Promise.all(calls);
    const expected = ['committed', 'nested', 'last'].flatMap((key) =>
      moments.map((moment) => `${key}-${moment}`),
    );
    expect(await keys()).toEqual(expected.sort());
  });

  it('a call that is aborted while it waits is not sent, though the transaction is committed', async () => {
    const controller = new AbortController();
    await source.transaction(async (manager) => {
      const first = inside(manager).set('first', mug);
      const second = inside(manager).set('second', mug, { signal: controller.signal });
      const third = inside(manager).set('third', mug);
      controller.abort();
      await expect(second).rejects.toMatchObject({ code: 'ABORTED', effect: 'none' });
      await Promise.all([first, third]);
    });
    expect(await keys()).toEqual(['first', 'third']);
  });

  it('calls before a nested one are not rolled back with it, and calls beside its beginning are refused', async () => {
    await source.transaction(async (manager) => {
      const calls = ['a', 'b'].map(async (key) => await inside(manager).set(key, mug));
      const nested = rolledBack(manager.transaction(async () => await failAfter(0)));
      const beside = inside(manager).set('c', mug);
      await expect(beside).rejects.toMatchObject({
        code: 'INVALID_OPTION',
        effect: 'none',
        message: expect.stringContaining('Await the calls in a transaction'),
      });
      await Promise.all([...calls, nested]);
    });
    expect(await keys()).toEqual(['a', 'b']);
  });

  it('calls of the subscribers of the application join it before its commit', async () => {
    const subscriber = {
      beforeTransactionCommit: async ({ manager }: { readonly manager: EntityManager }) =>
        void (await inside(manager).set('outbox', mug)),
    };
    source.subscribers.push(subscriber);
    try {
      await source.transaction(async (manager) => void (await inside(manager).set('cup', mug)));
    } finally {
      source.subscribers.splice(source.subscribers.indexOf(subscriber), 1);
    }
    expect(await keys()).toEqual(['cup', 'outbox']);
  });

  if (isWhole)
    describe('a statement of the application beside a call', () => {
      it('is not undone where another session creates the row of the call', async () => {
        const statements: string[] = [];
        for (const moment of moments) {
          const [key, id] = [`row-${moment}`, `order-${moment}`];
          statements.push(id);
          const other = source.createQueryRunner();
          await other.startTransaction();
          await outside(async () => await inside(other.manager).set(key, { stock: 1 }));
          const both = source.transaction(async (manager) => {
            const own = after(moment).then(async () => await insert(manager, id));
            await Promise.all([inside(manager).set(key, { stock: 2 }), own]);
          });
          await Promise.race([untilBlocked(), both]);
          await other.commitTransaction();
          await other.release();
          await both;
          expect((await products.get(key))?.value.stock).toBe(2);
        }
        expect(await orders()).toEqual(statements.sort());
      });

      it('is not undone, nor refused, where the server refuses the call', async () => {
        await refusing(async () => {
          for (const moment of moments)
            await source.transaction(async (manager) => {
              const own = after(moment).then(async () => await insert(manager, `order-${moment}`));
              const call = inside(manager).set('refused', mug);
              await expect(call).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
              await own;
            });
        });
        expect((await orders()).length).toBe(moments.length);
      });

      it('is not undone where an append would stand before what it follows', async () => {
        const sales = new EventStore(storage).stream(Sales);
        for (const moment of moments) {
          const id = `late-${moment}`;
          await source.transaction(async (manager) => {
            // it has its place in the feed
            await insert(manager, `early-${moment}`);
            await sales.append(id, [{ type: 'sold' }], { expectedVersion: 'absent' });
            const own = after(moment).then(async () => await insert(manager, id));
            const late = sales.within(manager).append(id, [{ type: 'sold' }], { expectedVersion: 1 });
            await expect(late).rejects.toMatchObject({ code: 'STORAGE_CONFLICT' });
            await own;
          });
          expect(await sales.version(id)).toBe(1);
        }
        expect((await orders()).length).toBe(2 * moments.length);
      });
    });

  describe('a call that the server refuses', () => {
    afterEach(async () => {
      // the transaction has gone on, and was committed
      expect([await orders(), await keys()]).toEqual([
        ['1', '2'],
        ['cup', ...(await keys()).filter((key) => key === 'mug')],
      ]);
    });

    const goesOn = async (fails: (manager: EntityManager) => Promise<void>): Promise<void> =>
      await source.transaction(async (manager) => {
        await insert(manager, '1');
        await fails(manager);
        await inside(manager).set('cup', mug);
        await insert(manager, '2');
      });

    it('by a trigger leaves the transaction usable', async () => {
      await refusing(
        async () =>
          await goesOn(async (manager) => {
            for (const call of [
              inside(manager).set('refused', mug),
              inside(manager).setMany(['a', 'refused'].map((key) => ({ key, value: mug }))),
            ])
              await expect(call).rejects.toMatchObject({
                code: 'STORAGE_UNAVAILABLE',
                effect: 'none',
                retryable: false,
              });
          }),
      );
    });

    it('by a constraint is INVALID_VALUE, and leaves the transaction usable', async () => {
      await source.query(`alter table kvent.row add constraint refuse check (key <> 'refused')`);
      try {
        await goesOn(
          async (manager) =>
            await expect(inside(manager).set('refused', mug)).rejects.toMatchObject({
              code: 'INVALID_VALUE',
              effect: 'none',
            }),
        );
      } finally {
        await source.query('alter table kvent.row drop constraint refuse');
      }
    });

    it.each([
      ['lock_timeout', 'an open transaction'],
      ['statement_timeout', 'statement_timeout allows'],
    ])(
      'by the %s leaves the transaction usable: writes with and without a check, and reads',
      async (setting, words) => {
        await products.set('mug', mug);
        const entry = await products.getOrThrow('mug');
        await asAdmin(database.url, async (client) => {
          await goesOn(async (manager) => {
            await manager.query(`set local ${setting} = '50ms'`);
            const refused = async (call: () => Promise<unknown>): Promise<void> =>
              await expect(call()).rejects.toMatchObject({
                code: 'STORAGE_UNAVAILABLE',
                effect: 'none',
                message: expect.stringContaining(words),
              });
            await client.query(`begin; select from kvent.row where key = 'mug' for update`);
            await refused(async () => await inside(manager).set('mug', { stock: 1 }));
            await refused(async () => await inside(manager).save(entry.with({ stock: 1 })));
            await refused(async () => await inside(manager).delete('mug'));
            await client.query('rollback; begin; lock table kvent.row in access exclusive mode');
            await refused(async () => await inside(manager).get('mug'));
            await refused(async () => await inside(manager).count());
            await client.query('rollback');
            await manager.query(`set local ${setting} = 0`);
          });
        });
        expect(await products.get('mug')).toMatchObject({ value: mug });
      },
    );
  });

  describe('the commit', () => {
    const failed = { code: 'STORAGE_CONFLICT', effect: 'none', retryable: true };

    /** Whether the server refuses it, and the caller ignores that. */
    const isIgnored = async (call: Promise<unknown>): Promise<boolean> =>
      await call.then(
        () => false,
        () => true,
      );

    it('of a transaction that a conflict has ended is refused, and publishes nothing', async () => {
      await products.set('mug', mug);
      const published: string[] = [];
      const events = new EventStore(storage, { committed: ({ id }) => void published.push(id) });
      const sales = events.stream(Sales);
      const sell = async (manager: EntityManager): Promise<unknown> =>
        await sales.within(manager).append('s', [{ type: 'sold' }], { expectedVersion: 'absent' });
      const work = source.transaction('REPEATABLE READ', async (manager) => {
        await inside(manager).get('mug');
        await outside(async () => await products.set('mug', { stock: 1 }));
        await insert(manager, 'own');
        await inside(manager).set('first', mug);
        await sell(manager);
        expect(await isIgnored(inside(manager).set('mug', { stock: 2 }))).toBe(true);
      });
      await expect(work).rejects.toMatchObject(failed);
      expect([await keys(), await orders(), await sales.version('s')]).toEqual([['mug'], [], 0]);
      await source.transaction(sell);
      await until('the events of the last transaction are published', () => published.length > 0);
      expect(published).toEqual(['s']);
      await sales.delete('s');
    });

    it('of one that a statement of the application has ended is refused', async () => {
      const work = source.transaction(async (manager) => {
        await inside(manager).set('cup', mug);
        expect(await isIgnored(manager.query('select 1 / 0'))).toBe(true);
      });
      await expect(work).rejects.toMatchObject(failed);
      expect(await keys()).toEqual([]);
    });

    it('by hand is refused, and the rollback is left to the caller', async () => {
      const runner = source.createQueryRunner();
      try {
        await runner.startTransaction();
        await inside(runner.manager).set('cup', mug);
        await isIgnored(runner.query('select 1 / 0'));
        await expect(runner.commitTransaction()).rejects.toMatchObject(failed);
        expect(runner.isTransactionActive).toBe(true);
        await runner.rollbackTransaction();
        await runner.startTransaction();
        await inside(runner.manager).set('plate', mug);
        await runner.commitTransaction();
      } finally {
        await runner.release();
      }
      expect(await keys()).toEqual(['plate']);
    });

    it('of a nested one is refused, and the outer one goes on', async () => {
      await source.transaction(async (manager) => {
        await inside(manager).set('cup', mug);
        const nested = manager.transaction(async (inner) => {
          await inside(inner).set('plate', mug);
          await isIgnored(inner.query('select 1 / 0'));
        });
        await expect(nested).rejects.toMatchObject(failed);
      });
      expect(await keys()).toEqual(['cup']);
    });

    it('behind a call of a subscriber that ends the transaction is refused', async () => {
      await products.set('mug', mug);
      const subscriber = {
        beforeTransactionCommit: async ({ manager }: { readonly manager: EntityManager }) =>
          void (await isIgnored(inside(manager).set('mug', { stock: 2 }))),
      };
      const work = source.transaction('REPEATABLE READ', async (manager) => {
        await inside(manager).set('cup', mug);
        await outside(async () => await products.set('mug', { stock: 1 }));
        source.subscribers.push(subscriber);
      });
      await expect(
        work.finally(() => source.subscribers.splice(source.subscribers.indexOf(subscriber), 1)),
      ).rejects.toMatchObject(failed);
      expect(await keys()).toEqual(['mug']);
    });

    it('behind a refused call that was undone is made', async () => {
      await refusing(
        async () =>
          await source.transaction(async (manager) => {
            await inside(manager).set('cup', mug);
            expect(await isIgnored(inside(manager).set('refused', mug))).toBe(true);
          }),
      );
      expect(await keys()).toEqual(['cup']);
    });

    it('of a failed transaction without calls is the application’s own', async () => {
      await source.transaction(async (manager) => void (await isIgnored(manager.query('select 1 / 0'))));
    });
  });

  /** While a trigger refuses one key. */
  async function refusing(work: () => Promise<void>): Promise<void> {
    await source.query(`create function public.refuse() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$;
      create trigger refuse before insert on kvent.row for each row when (new.key = 'refused') execute function public.refuse()`);
    try {
      await work();
    } finally {
      await source.query('drop function public.refuse cascade');
    }
  }
});

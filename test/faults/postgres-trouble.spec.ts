/**
 * One trouble at a time, and what a caller is told: each in a code that says whether anything was done, each in bounded time, and afterwards the
 * storage that was opened before answers again by itself.
 */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { defineState, isStorageError, openStorage, type KeyValueStorage, type KeyValueStore } from '@kvent/key-value-storage/core';
import { PostgresProvider, type PostgresProviderOptions } from '@kvent/key-value-postgres';
import { Client } from 'pg';
import { DataSource } from 'typeorm';
import { asAdmin, freshDatabase, type FreshDatabase } from '../postgres/databases.js';
import { Proxy } from '../postgres/proxy.js';
import { until } from '../postgres/until.js';

const Thing = defineState<{ what: string }>('thing');
/** Short, so that tests are; each must be kept, and nothing else may take long. */
const patience = { acquireTimeoutMs: 500, requestTimeoutMs: 1_000, lockTimeoutMs: 600 };
/** Far more than all of them together, far less than for ever: machines are busy. */
const boundMs = 15_000;

describe('a storage on Postgres in trouble', () => {
  let database: FreshDatabase;
  let proxy: Proxy;
  const cleanups: (() => Promise<unknown>)[] = [];
  beforeEach(async () => {
    database = await freshDatabase();
    proxy = await Proxy.before({ port: Number(new URL(database.url).port) });
  });
  afterEach(async () => {
    await proxy.pass();
    for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
    await proxy[Symbol.asyncDispose]();
    await database[Symbol.asyncDispose]();
  });

  const provider = (options: Partial<PostgresProviderOptions> = {}): PostgresProvider =>
    new PostgresProvider({ url: proxy.url(database.url), ...patience, ...options });

  async function opened(options: Partial<PostgresProviderOptions> = {}): Promise<KeyValueStore<{ what: string }>> {
    const storage: KeyValueStorage = await openStorage(
      options.dataSource === undefined ? provider(options) : new PostgresProvider({ dataSource: options.dataSource, ...patience }),
    );
    cleanups.push(async () => storage[Symbol.asyncDispose]());
    return storage.store(Thing);
  }

  /** A session of somebody else's, in a transaction. */
  async function somebody(): Promise<Client> {
    const client = new Client({ connectionString: database.url });
    client.on('error', () => undefined);
    await client.connect();
    cleanups.push(() => client.end());
    await client.query('begin');
    return client;
  }

  const holdRow = async (client: Client, key: string): Promise<void> => {
    const { rowCount } = await client.query('select 1 from kvent.row where key like $1 for update', [`%${key}%`]);
    expect(rowCount).toBe(1);
  };

  describe('at open', () => {
    it('is refused with a code, and opens when the server is there', async () => {
      const one = provider();
      await proxy.refuse();
      expect(await failureOf(openStorage(one))).toEqual(unavailable);
      await proxy.pass();
      await using storage = await openStorage(one);
      await storage.store(Thing).set('a', { what: 'there' });
    });

    it('gives up where nothing is ever answered', async () => {
      const one = provider();
      proxy.hold();
      expect(await failureOf(openStorage(one))).toEqual(unavailable);
      await proxy.pass();
      await using storage = await openStorage(one);
      await storage.store(Thing).set('a', { what: 'there' });
    });

    it('outlives a session that is ended as it begins', async () => {
      const one = provider();
      const ended = proxy.endNextAtOnce();
      const outcome = await openStorage(one).then(
        async (storage) => {
          await storage[Symbol.asyncDispose]();
          return unavailable;
        },
        (error: unknown) => shortOf(error),
      );
      expect(outcome).toEqual(unavailable);
      await ended;
      await using storage = await openStorage(one);
      await storage.store(Thing).set('a', { what: 'there' });
    });
  });

  describe('when the server is gone', () => {
    it('refuses what it cannot send, and goes on when it is back', async () => {
      const things = await opened();
      await things.set('a', { what: 'before' });
      await proxy.refuse();
      proxy.cut();
      expect(await failureOf(things.get('a'))).toEqual(unavailable);
      expect(await failureOf(things.set('a', { what: 'never' }))).toEqual(unavailable);
      await proxy.pass();
      expect((await things.get('a'))?.value.what).toBe('before');
      await things.set('a', { what: 'after' });
    });

    it('notices nothing of a restart while nobody asks', async () => {
      const things = await opened();
      await Promise.all(['a', 'b', 'c'].map((key) => things.set(key, { what: 'before' })));
      await asAdmin(database.url, (client) =>
        client.query(
          'select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()',
        ),
      );
      await until('the proxy has heard of it', () => proxy.connections === 0);
      expect((await things.get('a'))?.value.what).toBe('before');
      await things.set('a', { what: 'after' });
    });

    it('outlives sessions that are ended as they begin', async () => {
      const things = await opened();
      await things.set('a', { what: 'before' });
      for (let round = 0; round < 5; round += 1) {
        proxy.cut();
        await until('the connections are gone', () => proxy.connections === 0);
        const ended = proxy.endNextAtOnce();
        const write = await Promise.all([things.set('a', { what: `round ${round}` }).then(() => undefined, shortOf), ended]);
        expect([undefined, unavailable, unknown]).toContainEqual(write[0]);
      }
      await things.set('a', { what: 'after' });
    });
  });

  describe('when answers are lost', () => {
    it('says that nobody knows, and the row is there once', async () => {
      const things = await opened();
      await things.set('warm', { what: 'up' });
      const lost = proxy.loseAnswer('lost-after-commit');
      expect(await failureOf(things.add('a', { what: 'lost-after-commit' }))).toEqual(unknown);
      await lost;
      expect((await things.get('a'))?.value.what).toBe('lost-after-commit');
      expect(await things.count()).toBe(2);
    });

    it('does not apply a change twice', async () => {
      const things = await opened();
      await things.set('a', { what: '' });
      const lost = proxy.loseAnswer('lost-after-commit');
      expect(await failureOf(things.update('a', ({ what }) => ({ what: `${what}lost-after-commit.` })))).toEqual(unknown);
      await lost;
      expect((await things.get('a'))?.value.what).toBe('lost-after-commit.');
    });

    it('says that nobody knows where the request was lost on its way, too', async () => {
      const things = await opened();
      await things.set('warm', { what: 'up' });
      const lost = proxy.loseRequest('lost-before');
      expect(await failureOf(things.add('a', { what: 'lost-before' }))).toEqual(unknown);
      await lost;
      expect(await things.get('a')).toBeUndefined();
      await things.add('a', { what: 'later' });
    });

    it('tells every caller of a group that nobody knows, and each row is there once', async () => {
      const things = await opened();
      await things.set('warm', { what: 'up' });
      const lost = proxy.loseAnswer('lost-17');
      const keys = Array.from({ length: 20 }, (_, index) => `many-${index}`);
      const told = await Promise.all(keys.map((key, index) => things.add(key, { what: `lost-${index}` }).then(() => undefined, shortOf)));
      await lost;
      expect(told[17]).toEqual(unknown);
      for (const each of told) expect([undefined, unknown]).toContainEqual(each);
      expect((await things.getMany(keys)).map((entry) => entry?.value.what)).toEqual(keys.map((_, index) => `lost-${index}`));
    });

    it('asks again for what was only read', async () => {
      const things = await opened();
      await things.set('read-me', { what: 'there' });
      const lost = proxy.loseAnswer('read-me');
      expect((await things.get('read-me'))?.value.what).toBe('there');
      await lost;
    });
  });

  describe('in a black hole', () => {
    it('gives up in bounded time, and goes on when it is over', async () => {
      const things = await opened();
      await things.set('a', { what: 'before' });
      proxy.hold();
      expect(await failureOf(things.get('a'))).toEqual(unavailable);
      const told = await failureOf(things.set('a', { what: 'perhaps' }));
      expect([unavailable, unknown]).toContainEqual(told);
      await proxy.pass();
      await until('it answers again', async () => (await things.get('a').catch(() => undefined)) !== undefined);
      await things.set('a', { what: 'after' });
      expect((await things.get('a'))?.value.what).toBe('after');
    });

    it('answers all of a hundred callers', async () => {
      const things = await opened();
      await things.set('a', { what: 'before' });
      proxy.hold();
      const told = await Promise.all(
        Array.from({ length: 100 }, (_, caller) =>
          failureOf(caller % 2 === 0 ? things.get('a') : things.set(`b-${caller}`, { what: 'perhaps' })),
        ),
      );
      for (const each of told) expect([unavailable, unknown]).toContainEqual(each);
      await proxy.pass();
      await until('it answers again', async () => (await things.get('a').catch(() => undefined)) !== undefined);
    });

    it('gives up connections that have died in silence, and makes new ones', async () => {
      const things = await opened({ poolSize: 3 });
      await Promise.all(['a', 'b', 'c'].map((key) => things.set(key, { what: 'before' })));
      proxy.forget();
      await until('it answers again', async () => (await things.get('a').catch(() => undefined)) !== undefined);
      await Promise.all(
        ['a', 'b', 'c'].map((key) =>
          until(`${key} is written`, async () => (await things.set(key, { what: 'after' }).catch(() => undefined)) !== undefined),
        ),
      );
      expect(await failureOf(Promise.all(['a', 'b', 'c', 'd', 'e'].map((key) => things.has(key))))).toMatchObject({
        done: expect.anything(),
      });
    });

    it('closes in bounded time', async () => {
      const storage = await openStorage(provider());
      await storage.store(Thing).set('a', { what: 'before' });
      proxy.hold();
      await within(storage[Symbol.asyncDispose]());
    });
  });

  describe('when others are in the way', () => {
    it('has no connection while the application holds them all, and says so', async () => {
      const dataSource = await sharedSource(2);
      const things = await opened({ dataSource });
      await things.set('a', { what: 'before' });
      const runners = [dataSource.createQueryRunner(), dataSource.createQueryRunner()];
      await Promise.all(runners.map((runner) => runner.connect()));
      expect(await failureOf(things.get('a'))).toEqual(unavailable);
      expect(await failureOf(things.set('a', { what: 'never' }))).toEqual(unavailable);
      await Promise.all(runners.map((runner) => runner.release()));
      expect((await things.get('a'))?.value.what).toBe('before');
      // nothing was lost on the way: both connections serve again
      await Promise.all(Array.from({ length: 10 }, (_, index) => things.set(`b-${index}`, { what: 'after' })));
    });

    it('waits for a held row in bounded time, and its neighbours do not wait with it', async () => {
      const things = await opened();
      const keys = Array.from({ length: 20 }, (_, index) => `free-${index}`);
      await things.setMany(['held', ...keys].map((key) => ({ key, value: { what: 'before' } })));
      const other = await somebody();
      await holdRow(other, 'held');
      let waiting = true;
      // one after the other they would wait for longer than anybody here has patience
      const callers = Array.from({ length: 40 }, (_, caller) =>
        failureOf(caller % 2 === 0 ? things.set('held', { what: 'never' }) : things.update('held', () => ({ what: 'never' }))),
      );
      const held = Promise.all(callers).finally(() => (waiting = false));
      await Promise.all(keys.map((key) => things.set(key, { what: 'after' })));
      await Promise.all(keys.map((key) => things.update(key, ({ what }) => ({ what: `${what}!` }))));
      expect((await things.get('held'))?.value.what).toBe('before');
      expect(waiting).toBe(true);
      for (const told of await held) expect(told).toEqual(unavailable);
      await other.query('commit');
      await things.set('held', { what: 'after' });
    });

    it('writes a row that is let go in time', async () => {
      const things = await opened({ lockTimeoutMs: 10_000, requestTimeoutMs: 12_000 });
      await things.set('held', { what: 'before' });
      const other = await somebody();
      await holdRow(other, 'held');
      const written = things.set('held', { what: 'after' });
      await until('it waits', () => isWaiting(database.url));
      await other.query('commit');
      expect((await written).value.what).toBe('after');
    });

    it('hears of a statement timeout, and nothing is done', async () => {
      const things = await opened({ lockTimeoutMs: 10_000, extra: { options: '-c statement_timeout=300' } });
      await things.set('held', { what: 'before' });
      const other = await somebody();
      await holdRow(other, 'held');
      expect(await failureOf(things.set('held', { what: 'never' }))).toEqual(unavailable);
      await other.query('commit');
      await other.query('begin');
      await other.query('lock table kvent.row in access exclusive mode');
      expect(await failureOf(things.get('held'))).toEqual(unavailable);
      await other.query('commit');
      expect((await things.get('held'))?.value.what).toBe('before');
      await things.set('held', { what: 'after' });
    });

    it('gives up what a whole table that is held keeps from it', async () => {
      const things = await opened();
      await things.set('a', { what: 'before' });
      const other = await somebody();
      await other.query('lock table kvent.row in access exclusive mode');
      expect(await failureOf(things.get('a'))).toEqual(unavailable);
      expect([unavailable, unknown]).toContainEqual(await failureOf(things.set('a', { what: 'never' })));
      await other.query('commit');
      await until('it answers again', async () => (await things.get('a').catch(() => undefined)) !== undefined);
      await things.set('a', { what: 'after' });
    });
  });

  async function sharedSource(poolSize: number): Promise<DataSource> {
    const dataSource = new DataSource({ type: 'postgres', url: proxy.url(database.url), poolSize });
    await dataSource.initialize();
    cleanups.push(() => dataSource.destroy());
    return dataSource;
  }
});

const unavailable = { code: 'STORAGE_UNAVAILABLE', effect: 'none' };
const unknown = { code: 'STORAGE_OUTCOME_UNKNOWN', effect: 'unknown' };

/** What a caller is told; what goes well, or takes for ever, is no failure. */
async function failureOf(work: Promise<unknown>): Promise<object> {
  try {
    return { done: await within(work) };
  } catch (error) {
    return shortOf(error);
  }
}

const shortOf = (error: unknown): object =>
  isStorageError(error) ? { code: error.code, effect: error.effect } : { uncoded: String(error) };

async function within<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`Not within ${boundMs} ms.`)), boundMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

const isWaiting = (url: string): Promise<boolean> =>
  asAdmin(url, async (client) => {
    const waiting = "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    return (await client.query(waiting)).rowCount === 1;
  });

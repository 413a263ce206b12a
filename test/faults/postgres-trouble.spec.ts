/**
 * One trouble at a time, and what a caller is told: each in a code that says whether anything was
 * done, each in bounded time, and afterwards the storage that was opened before answers again by
 * itself.
 */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  defineState,
  isStorageError,
  openStorage,
  type KeyValueStorage,
  type KeyValueStore,
} from '@kvent/key-value-storage/core';
import { PostgresProvider, type PostgresProviderOptions } from '@kvent/key-value-postgres';
import { Client } from 'pg';
import { DataSource } from 'typeorm';
import { asAdmin, freshDatabase, type FreshDatabase } from '../postgres/databases.js';
import { Proxy } from '../postgres/proxy.js';
import { until } from '../postgres/until.js';

const Thing = defineState<{ what: string }>('thing');
/** Where no time-out is looked at, none may come: machines are busy. */
const patience = { acquireTimeoutMs: 240_000, requestTimeoutMs: 240_000, lockTimeoutMs: 240_000 };
/**
 * Where one is looked at: short, because the test waits for it; so it may come where all is well,
 * too, and what is asked then is asked until it is answered.
 */
const haste = { acquireTimeoutMs: 500, requestTimeoutMs: 1_000, lockTimeoutMs: 600 };
/** Far more than all of them together, far less than for ever. */
const boundMs = 120_000;

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

  async function opened(
    options: Partial<PostgresProviderOptions> = {},
  ): Promise<KeyValueStore<{ what: string }>> {
    const storage: KeyValueStorage = await openStorage(provider(options));
    cleanups.push(async () => storage[Symbol.asyncDispose]());
    return storage.store(Thing);
  }

  /** With short time-outs: opened again where one of them came while it opened. */
  async function openedInHaste(
    options: Partial<PostgresProviderOptions> = haste,
  ): Promise<KeyValueStore<{ what: string }>> {
    let storage: KeyValueStorage | undefined;
    const own = { url: proxy.url(database.url), ...haste };
    await until('it opens', async () => {
      storage = await openStorage(
        new PostgresProvider(options.dataSource === undefined ? { ...own, ...options } : options),
      ).catch(() => undefined);
      return storage !== undefined;
    });
    const open = storage as unknown as KeyValueStorage;
    cleanups.push(async () => open[Symbol.asyncDispose]());
    return open.store(Thing);
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

  /** Writes it, however often a short time-out comes in between. */
  const put = (things: KeyValueStore<{ what: string }>, key: string, what: string): Promise<void> =>
    until(
      `${key} is written`,
      async () => (await things.set(key, { what }).catch(() => undefined)) !== undefined,
    );
  const read = async (things: KeyValueStore<{ what: string }>, key: string): Promise<string | undefined> => {
    let found: { readonly what: string | undefined } | undefined;
    await until(`${key} is read`, async () => {
      found = await things.get(key).then(
        (entry) => ({ what: entry?.value.what }),
        () => undefined,
      );
      return found !== undefined;
    });
    return found?.what;
  };

  const holdRow = async (client: Client, key: string): Promise<void> => {
    const { rowCount } = await client.query('select 1 from kvent.row where key like $1 for update', [
      `%${key}%`,
    ]);
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
      const one = provider(haste);
      proxy.hold();
      expect(await failureOf(openStorage(one))).toEqual(unavailable);
      await proxy.pass();
      await until('it opens', () =>
        openStorage(one).then(
          () => true,
          () => false,
        ),
      );
      await one.close();
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
        const write = await Promise.all([
          things.set('a', { what: `round ${round}` }).then(() => undefined, shortOf),
          ended,
        ]);
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
      expect(
        await failureOf(things.update('a', ({ what }) => ({ what: `${what}lost-after-commit.` }))),
      ).toEqual(unknown);
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
      const told = await Promise.all(
        keys.map((key, index) => things.add(key, { what: `lost-${index}` }).then(() => undefined, shortOf)),
      );
      await lost;
      expect(told[17]).toEqual(unknown);
      for (const each of told) expect([undefined, unknown]).toContainEqual(each);
      expect((await things.getMany(keys)).map((entry) => entry?.value.what)).toEqual(
        keys.map((_, index) => `lost-${index}`),
      );
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
      const things = await openedInHaste();
      await put(things, 'a', 'before');
      proxy.hold();
      expect(await failureOf(things.get('a'))).toEqual(unavailable);
      const told = await failureOf(things.set('a', { what: 'perhaps' }));
      expect([unavailable, unknown]).toContainEqual(told);
      await proxy.pass();
      expect(await read(things, 'a')).toBeDefined();
      await put(things, 'a', 'after');
      expect(await read(things, 'a')).toBe('after');
    });

    it('answers all of a hundred callers', async () => {
      const things = await openedInHaste();
      await put(things, 'a', 'before');
      proxy.hold();
      const told = await Promise.all(
        Array.from({ length: 100 }, (_, caller) =>
          failureOf(caller % 2 === 0 ? things.get('a') : things.set(`b-${caller}`, { what: 'perhaps' })),
        ),
      );
      for (const each of told) expect([unavailable, unknown]).toContainEqual(each);
      await proxy.pass();
      expect(await read(things, 'a')).toBeDefined();
    });

    it('gives up connections that have died in silence, and makes new ones', async () => {
      const things = await openedInHaste({ poolSize: 3 });
      await Promise.all(['a', 'b', 'c'].map((key) => put(things, key, 'before')));
      proxy.forget();
      expect(await read(things, 'a')).toBeDefined();
      await Promise.all(['a', 'b', 'c'].map((key) => put(things, key, 'after')));
      expect(await Promise.all(['a', 'b', 'c', 'd', 'e'].map((key) => read(things, key)))).toEqual([
        ...['after', 'after', 'after'],
        ...[undefined, undefined],
      ]);
    });

    it('closes in bounded time', async () => {
      const storage = await openStorage(provider({ requestTimeoutMs: 1_000 }));
      await put(storage.store(Thing), 'a', 'before');
      proxy.hold();
      await within(storage[Symbol.asyncDispose]());
    });
  });

  describe('when others are in the way', () => {
    it('has no connection while the application holds them all, and says so', async () => {
      const dataSource = await sharedSource(2);
      const things = await openedInHaste({ dataSource, ...haste });
      await put(things, 'a', 'before');
      const runners = [dataSource.createQueryRunner(), dataSource.createQueryRunner()];
      await Promise.all(runners.map((runner) => runner.connect()));
      expect(await failureOf(things.get('a'))).toEqual(unavailable);
      expect(await failureOf(things.set('a', { what: 'never' }))).toEqual(unavailable);
      await Promise.all(runners.map((runner) => runner.release()));
      expect(await read(things, 'a')).toBe('before');
      // nothing was lost on the way: both connections serve again
      await Promise.all(Array.from({ length: 10 }, (_, index) => put(things, `b-${index}`, 'after')));
    });

    it('waits for a held row in bounded time, and its neighbours do not wait with it', async () => {
      const keys = Array.from({ length: 20 }, (_, index) => `free-${index}`);
      const other = await somebody();
      // one after the other they would wait for longer than anybody here has patience
      const wanting = (things: KeyValueStore<{ what: string }>): Promise<readonly object[]> =>
        Promise.all(
          Array.from({ length: 40 }, (_, caller) =>
            failureOf(
              caller % 2 === 0
                ? things.set('held', { what: 'late' })
                : things.update('held', () => ({ what: 'late' })),
            ),
          ),
        );

      const patient = await opened();
      await patient.setMany(['held', ...keys].map((key) => ({ key, value: { what: 'before' } })));
      await holdRow(other, 'held');
      let waiting = true;
      const held = wanting(patient).finally(() => (waiting = false));
      await Promise.all(keys.map((key) => patient.set(key, { what: 'after' })));
      await Promise.all(keys.map((key) => patient.update(key, ({ what }) => ({ what: `${what}!` }))));
      expect((await patient.get('held'))?.value.what).toBe('before');
      expect(waiting).toBe(true);
      await other.query('commit');
      for (const told of await held) expect(told).toHaveProperty('done');

      const hasty = await openedInHaste();
      await other.query('begin');
      await holdRow(other, 'held');
      for (const told of await wanting(hasty)) expect(told).toEqual(unavailable);
      await other.query('commit');
      await put(hasty, 'held', 'after');
    });

    it('writes a row that is let go in time', async () => {
      const things = await opened();
      await put(things, 'held', 'before');
      const other = await somebody();
      await holdRow(other, 'held');
      const written = things.set('held', { what: 'after' });
      await until('it waits', () => isWaiting(database.url));
      await other.query('commit');
      expect((await written).value.what).toBe('after');
    });

    it('hears of a statement timeout, and nothing is done', async () => {
      const things = await openedInHaste({ ...patience, extra: { options: '-c statement_timeout=300' } });
      await put(things, 'held', 'before');
      const other = await somebody();
      await holdRow(other, 'held');
      expect(await failureOf(things.set('held', { what: 'never' }))).toEqual(unavailable);
      await other.query('commit');
      await other.query('begin');
      await other.query('lock table kvent.row in access exclusive mode');
      expect(await failureOf(things.get('held'))).toEqual(unavailable);
      await other.query('commit');
      expect(await read(things, 'held')).toBe('before');
      await put(things, 'held', 'after');
    });

    it('gives up what a whole table that is held keeps from it', async () => {
      const things = await openedInHaste();
      await put(things, 'a', 'before');
      const other = await somebody();
      await other.query('lock table kvent.row in access exclusive mode');
      expect(await failureOf(things.get('a'))).toEqual(unavailable);
      expect([unavailable, unknown]).toContainEqual(await failureOf(things.set('a', { what: 'never' })));
      await other.query('commit');
      expect(await read(things, 'a')).toBeDefined();
      await put(things, 'a', 'after');
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
    const waiting =
      "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    return (await client.query(waiting)).rowCount === 1;
  });

/**
 * Single faults: the caller receives a code that states the effect, within bounded time, and
 * afterwards the open storage recovers.
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
/** For tests without a timeout: longer than any delay of a busy machine. */
const longTimeouts = { acquireTimeoutMs: 240_000, requestTimeoutMs: 300_000, lockTimeoutMs: 240_000 };
/**
 * For tests of timeouts: short, because the test waits for them. On a busy machine they may also
 * expire without a fault, so other calls are repeated.
 */
const shortTimeouts = { acquireTimeoutMs: 500, requestTimeoutMs: 1_000, lockTimeoutMs: 600 };
/** A safety net, much longer than all timeouts together. */
const boundMs = 120_000;

describe('a storage on Postgres during faults', () => {
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
    new PostgresProvider({ url: proxy.url(database.url), ...longTimeouts, ...options });

  async function openStore(
    options: Partial<PostgresProviderOptions> = {},
  ): Promise<KeyValueStore<{ what: string }>> {
    const storage: KeyValueStorage = await openStorage(provider(options));
    cleanups.push(async () => storage[Symbol.asyncDispose]());
    return storage.store(Thing);
  }

  /** Opens a store with short timeouts. Repeats if one of them expires. */
  async function openWithShortTimeouts(
    options: Partial<PostgresProviderOptions> = shortTimeouts,
  ): Promise<KeyValueStore<{ what: string }>> {
    return (await openBoth(options)).things;
  }

  /** As `openWithShortTimeouts`, with the storage. */
  async function openBoth(options: Partial<PostgresProviderOptions>) {
    let storage: KeyValueStorage | undefined;
    const defaults = { url: proxy.url(database.url), ...shortTimeouts };
    await until('the storage opens', async () => {
      storage = await openStorage(
        new PostgresProvider(options.dataSource === undefined ? { ...defaults, ...options } : options),
      ).catch(() => undefined);
      return storage !== undefined;
    });
    const open = storage as unknown as KeyValueStorage;
    cleanups.push(async () => open[Symbol.asyncDispose]());
    return { things: open.store(Thing), storage: open };
  }

  /** A session of another client, in a transaction. */
  async function openTransaction(): Promise<Client> {
    const client = new Client({ connectionString: database.url });
    client.on('error', () => undefined);
    await client.connect();
    cleanups.push(() => client.end());
    await client.query('begin');
    return client;
  }

  /** Writes a value. Repeats if a short timeout expires. */
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
    it('fails with a code, and succeeds when the server is back', async () => {
      const one = provider();
      await proxy.refuse();
      expect(await failureOf(openStorage(one))).toEqual(unavailable);
      await proxy.pass();
      await using storage = await openStorage(one);
      await storage.store(Thing).set('a', { what: 'there' });
    });

    it('fails in bounded time if the server never answers', async () => {
      const one = provider(shortTimeouts);
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

    it('survives a session that is ended as it begins', async () => {
      const one = provider();
      const ended = proxy.endNextAtOnce();
      const outcome = await openStorage(one).then(
        async (storage) => {
          await storage[Symbol.asyncDispose]();
          return unavailable;
        },
        (error: unknown) => codeAndEffectOf(error),
      );
      expect(outcome).toEqual(unavailable);
      await ended;
      await using storage = await openStorage(one);
      await storage.store(Thing).set('a', { what: 'there' });
    });
  });

  describe('without a server', () => {
    it('refuses calls, and continues when the server is back', async () => {
      const things = await openStore();
      await things.set('a', { what: 'before' });
      await proxy.refuse();
      proxy.cut();
      expect(await failureOf(things.get('a'))).toEqual(unavailable);
      expect(await failureOf(things.set('a', { what: 'never' }))).toEqual(unavailable);
      await proxy.pass();
      expect((await things.get('a'))?.value.what).toBe('before');
      await things.set('a', { what: 'after' });
    });

    it('is not affected by a restart between calls', async () => {
      const things = await openStore();
      await Promise.all(['a', 'b', 'c'].map((key) => things.set(key, { what: 'before' })));
      await asAdmin(database.url, (client) =>
        client.query(
          'select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()',
        ),
      );
      await until('the proxy has no connections', () => proxy.connections === 0);
      expect((await things.get('a'))?.value.what).toBe('before');
      await things.set('a', { what: 'after' });
    });

    it('survives sessions that are ended as they begin', async () => {
      const things = await openStore();
      await things.set('a', { what: 'before' });
      for (let round = 0; round < 5; round += 1) {
        proxy.cut();
        await until('the connections are gone', () => proxy.connections === 0);
        const ended = proxy.endNextAtOnce();
        const write = await Promise.all([
          things.set('a', { what: `round ${round}` }).then(() => undefined, codeAndEffectOf),
          ended,
        ]);
        expect([undefined, unavailable, unknown]).toContainEqual(write[0]);
      }
      await things.set('a', { what: 'after' });
    });
  });

  describe('when answers are lost', () => {
    it('reports an unknown outcome, and the row is stored once', async () => {
      const things = await openStore();
      await things.set('warm', { what: 'up' });
      const lost = proxy.loseAnswer('lost-after-commit');
      expect(await failureOf(things.add('a', { what: 'lost-after-commit' }))).toEqual(unknown);
      await lost;
      expect((await things.get('a'))?.value.what).toBe('lost-after-commit');
      expect(await things.count()).toBe(2);
    });

    it('does not apply a change twice', async () => {
      const things = await openStore();
      await things.set('a', { what: '' });
      const lost = proxy.loseAnswer('lost-after-commit');
      expect(
        await failureOf(things.update('a', ({ what }) => ({ what: `${what}lost-after-commit.` }))),
      ).toEqual(unknown);
      await lost;
      expect((await things.get('a'))?.value.what).toBe('lost-after-commit.');
    });

    it('reports an unknown outcome also if the request was lost', async () => {
      const things = await openStore();
      await things.set('warm', { what: 'up' });
      const lost = proxy.loseRequest('lost-before');
      expect(await failureOf(things.add('a', { what: 'lost-before' }))).toEqual(unknown);
      await lost;
      expect(await things.get('a')).toBeUndefined();
      await things.add('a', { what: 'later' });
    });

    it('reports an unknown outcome to every caller of a group, and each row is stored once', async () => {
      const things = await openStore();
      await things.set('warm', { what: 'up' });
      const lost = proxy.loseAnswer('lost-17');
      const keys = Array.from({ length: 20 }, (_, index) => `many-${index}`);
      const outcome = await Promise.all(
        keys.map((key, index) =>
          things.add(key, { what: `lost-${index}` }).then(() => undefined, codeAndEffectOf),
        ),
      );
      await lost;
      expect(outcome[17]).toEqual(unknown);
      for (const each of outcome) expect([undefined, unknown]).toContainEqual(each);
      expect((await things.getMany(keys)).map((entry) => entry?.value.what)).toEqual(
        keys.map((_, index) => `lost-${index}`),
      );
    });

    it('repeats a read', async () => {
      const things = await openStore();
      await things.set('read-me', { what: 'there' });
      const lost = proxy.loseAnswer('read-me');
      expect((await things.get('read-me'))?.value.what).toBe('there');
      await lost;
    });
  });

  describe('without any answer from the network', () => {
    it('fails in bounded time, and continues afterwards', async () => {
      const things = await openWithShortTimeouts();
      await put(things, 'a', 'before');
      proxy.hold();
      await expect(things.get('a')).rejects.toMatchObject({ ...unavailable, unreachable: true });
      const outcome = await failureOf(things.set('a', { what: 'perhaps' }));
      expect([unavailable, unknown]).toContainEqual(outcome);
      await proxy.pass();
      expect(await read(things, 'a')).toBeDefined();
      await put(things, 'a', 'after');
      expect(await read(things, 'a')).toBe('after');
    });

    it('rejects all of a hundred callers', async () => {
      const things = await openWithShortTimeouts();
      await put(things, 'a', 'before');
      proxy.hold();
      const outcome = await Promise.all(
        Array.from({ length: 100 }, (_, caller) =>
          failureOf(caller % 2 === 0 ? things.get('a') : things.set(`b-${caller}`, { what: 'perhaps' })),
        ),
      );
      for (const each of outcome) expect([unavailable, unknown]).toContainEqual(each);
      await proxy.pass();
      expect(await read(things, 'a')).toBeDefined();
    });

    it('replaces connections that were dropped silently', async () => {
      const things = await openWithShortTimeouts({ poolSize: 3 });
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
      const { things, storage } = await openBoth({
        ...longTimeouts,
        lockTimeoutMs: 600,
        requestTimeoutMs: 1_000,
      });
      await put(things, 'a', 'before');
      proxy.hold();
      await within(storage[Symbol.asyncDispose]());
    });
  });

  describe('with other clients', () => {
    it('is unavailable while the application holds all connections', async () => {
      const dataSource = await sharedSource(2);
      const things = await openWithShortTimeouts({ dataSource, ...shortTimeouts });
      await put(things, 'a', 'before');
      const runners = [dataSource.createQueryRunner(), dataSource.createQueryRunner()];
      await Promise.all(runners.map((runner) => runner.connect()));
      expect(await failureOf(things.get('a'))).toEqual(unavailable);
      expect(await failureOf(things.set('a', { what: 'never' }))).toEqual(unavailable);
      await Promise.all(runners.map((runner) => runner.release()));
      expect(await read(things, 'a')).toBe('before');
      // Both connections are usable again.
      await Promise.all(Array.from({ length: 10 }, (_, index) => put(things, `b-${index}`, 'after')));
    });

    it('waits for a locked row in bounded time, without delaying other rows', async () => {
      const keys = Array.from({ length: 20 }, (_, index) => `free-${index}`);
      const client = await openTransaction();
      // Waiting one after the other would take longer than the safety net.
      const writeLocked = (things: KeyValueStore<{ what: string }>): Promise<readonly object[]> =>
        Promise.all(
          Array.from({ length: 40 }, (_, caller) =>
            failureOf(
              caller % 2 === 0
                ? things.set('held', { what: 'late' })
                : things.update('held', () => ({ what: 'late' })),
            ),
          ),
        );

      const slow = await openStore();
      await slow.setMany(['held', ...keys].map((key) => ({ key, value: { what: 'before' } })));
      await holdRow(client, 'held');
      let waiting = true;
      const held = writeLocked(slow).finally(() => (waiting = false));
      await Promise.all(keys.map((key) => slow.set(key, { what: 'after' })));
      await Promise.all(keys.map((key) => slow.update(key, ({ what }) => ({ what: `${what}!` }))));
      expect((await slow.get('held'))?.value.what).toBe('before');
      expect(waiting).toBe(true);
      await client.query('commit');
      for (const outcome of await held) expect(outcome).toHaveProperty('done');

      const fast = await openWithShortTimeouts();
      await client.query('begin');
      await holdRow(client, 'held');
      for (const outcome of await writeLocked(fast)) expect(outcome).toEqual(unavailable);
      await client.query('commit');
      await put(fast, 'held', 'after');
    });

    it('writes a row that is unlocked in time', async () => {
      const things = await openStore();
      await put(things, 'held', 'before');
      const client = await openTransaction();
      await holdRow(client, 'held');
      const written = things.set('held', { what: 'after' });
      await until('the write waits', () => isWaiting(database.url));
      await client.query('commit');
      expect((await written).value.what).toBe('after');
    });

    it('is unavailable after a statement timeout, with effect none', async () => {
      const things = await openWithShortTimeouts({
        ...longTimeouts,
        extra: { options: '-c statement_timeout=300' },
      });
      await put(things, 'held', 'before');
      const client = await openTransaction();
      await holdRow(client, 'held');
      expect(await failureOf(things.set('held', { what: 'never' }))).toEqual(unavailable);
      await client.query('commit');
      await client.query('begin');
      await client.query('lock table kvent.row in access exclusive mode');
      expect(await failureOf(things.get('held'))).toEqual(unavailable);
      await client.query('commit');
      expect(await read(things, 'held')).toBe('before');
      await put(things, 'held', 'after');
    });

    it('fails in bounded time while the table is locked', async () => {
      const things = await openWithShortTimeouts();
      await put(things, 'a', 'before');
      const client = await openTransaction();
      await client.query('lock table kvent.row in access exclusive mode');
      expect(await failureOf(things.get('a'))).toEqual(unavailable);
      expect([unavailable, unknown]).toContainEqual(await failureOf(things.set('a', { what: 'never' })));
      await client.query('commit');
      expect(await read(things, 'a')).toBeDefined();
      await put(things, 'a', 'after');
    });

    it('leaves no statement on the server that its caller has given up', async () => {
      const dataSource = await sharedSource(5);
      const things = await openWithShortTimeouts({ dataSource, ...shortTimeouts });
      await put(things, 'a', 'before');
      const client = await openTransaction();
      await client.query('lock table kvent.row in access exclusive mode');
      const outcomes = await Promise.all(
        ['a', 'b', 'c'].map((key) => failureOf(things.set(key, { what: 'late' }))),
      );
      for (const outcome of outcomes) expect([unavailable, unknown]).toContainEqual(outcome);
      const waiting = `select count(*)::int n from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
      await until('no session waits for the lock', async () => {
        const { rows } = await client.query<{ n: number }>(waiting);
        return rows[0]?.n === 0;
      });
      await client.query('commit');
      expect(await Promise.all(['a', 'b', 'c'].map((key) => read(things, key)))).toEqual([
        'before',
        ...[undefined, undefined],
      ]);
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

/** The failure of a call. A success, or a call that never ends, is returned as such. */
async function failureOf(work: Promise<unknown>): Promise<object> {
  try {
    return { done: await within(work) };
  } catch (error) {
    return codeAndEffectOf(error);
  }
}

const codeAndEffectOf = (error: unknown): object =>
  isStorageError(error) ? { code: error.code, effect: error.effect } : { uncoded: String(error) };

async function within<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`The call took longer than ${boundMs} ms.`)), boundMs);
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

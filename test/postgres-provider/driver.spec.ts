/**
 * The layers between the provider and the server: options of `pg` that replace callbacks,
 * instrumentation that wraps `query`, and pools that end. A statement of the provider must behave
 * there like one of `pg`. The oldest and the newest `pg` of the peer range: test/packaging.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { PostgresProvider } from '@kvent/key-value-postgres';
import type { StorageProvider } from '@kvent/key-value-storage/core';
import pg from 'pg';
import { DataSource } from 'typeorm';
import { freshDatabase, type FreshDatabase } from '../postgres/databases.js';
import { PostgresServer } from '../postgres/server.js';
import { Proxy } from '../postgres/proxy.js';
import { until } from '../postgres/until.js';
import { addressOf, batchOf, commitOne, opened, putBatch, textAt, write } from './rows.js';

let database: FreshDatabase;
const sources: DataSource[] = [];
beforeAll(async () => {
  database = await freshDatabase();
});
afterEach(async () => {
  for (const source of sources.splice(0)) if (source.isInitialized) await source.destroy();
});
afterAll(async () => await database[Symbol.asyncDispose]());

async function connected(extra: object = {}, url = database.url): Promise<DataSource> {
  const source = await new DataSource({ type: 'postgres', url, extra: { max: 4, ...extra } }).initialize();
  sources.push(source);
  return source;
}
const poolOf = (source: DataSource): pg.Pool =>
  (source.driver as unknown as { readonly master: pg.Pool }).master;

/** One call of each kind. */
async function everyCall(provider: StorageProvider): Promise<void> {
  await provider.administration.drop('shared');
  await write(provider, 'one', '"é"');
  await Promise.all(['a', 'b', 'c'].map(async (key) => await write(provider, key, '1')));
  const { container, entity, key } = addressOf('sum');
  await commitOne(provider, batchOf([{ kind: 'sum', address: { container, entity, key }, operand: 2n }]));
  expect(await commitOne(provider, putBatch('one', '2', 'absent'))).toMatchObject({ outcome: 'conflict' });
  expect(
    (await provider.read(['one', 'a', 'none'].map((name) => addressOf(name)))).rows.map((row) => row?.value),
  ).toEqual([{ kind: 'json', text: '"é"' }, { kind: 'json', text: '1' }, undefined]);
  const [page] = await provider.scan([{ database: 'shared', container, entity, limit: 10 }]);
  expect(page?.rows.map((row) => row.key)).toEqual(['a', 'b', 'c', 'one', 'sum']);
}

type Query = (this: pg.Client, ...args: unknown[]) => unknown;

/** Replaces `Client.prototype.query` during `work`. */
async function instrumented(wrap: (original: Query) => Query, work: () => Promise<void>): Promise<void> {
  const prototype = pg.Client.prototype as unknown as { query: Query };
  const original = prototype.query;
  prototype.query = wrap(original);
  try {
    await work();
  } finally {
    prototype.query = original;
  }
}

interface Wrapped {
  text: string;
  callback?: (...args: unknown[]) => void;
  once?: unknown;
  then?: unknown;
}

describe('a statement behaves like one of pg', () => {
  it.each([
    { query_timeout: 120_000 },
    { binary: true },
    { pipeline: true },
    { query_timeout: 120_000, pipeline: true },
  ])('with the options %j', async (extra) => {
    const source = await connected(extra);
    const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
    const before = timers();
    const provider = new PostgresProvider({ dataSource: source });
    await opened(provider, async () => {
      await everyCall(provider);
      await source.transaction(async (manager) => await write(provider.within(manager), 'within', '1'));
    });
    await source.destroy();
    // The timer of each statement is cleared.
    expect(timers()).toBeLessThanOrEqual(before);
  });

  it('with query_timeout: a statement that takes longer fails, and the next one succeeds', async () => {
    const source = await connected({ query_timeout: 300 });
    const other = await connected();
    const patient = new PostgresProvider({ dataSource: other });
    await opened(patient, async () => await write(patient, 'held', '1'));
    const provider = new PostgresProvider({ dataSource: source, lockTimeoutMs: 60_000 });
    await repeated('the storage opens', () => provider.open());
    try {
      await other.transaction(async (manager) => {
        await manager.query(`select from kvent.row where key = 'held' for update`);
        await expect(commitOne(provider, putBatch('held', '2'))).rejects.toMatchObject({
          code: 'STORAGE_OUTCOME_UNKNOWN',
          cause: { message: 'Query read timeout' },
        });
        await repeated('another row is written', () => writeAndRead('not held', provider));
      });
    } finally {
      await provider.close();
    }
  });

  it('if the callback of the query is replaced, as by OpenTelemetry and the timeout of pg', async () => {
    const calls: unknown[] = [];
    const wrap = (original: Query): Query =>
      function (query, ...rest) {
        const { callback, text } = query as Wrapped;
        if (callback !== undefined)
          (query as Wrapped).callback = (error: unknown, result: unknown) => {
            const { command, rowCount, rows } = (result ?? {}) as pg.QueryResult;
            calls.push([text.slice(0, 6), error, command, rowCount, rows]);
            callback(error, result);
          };
        return original.call(this, query, ...rest);
      };
    await onInstrumented(wrap, async (provider) => {
      calls.length = 0;
      await write(provider, 'one', '"1"');
      await provider.read([addressOf('one')]);
      // Each callback is called once, with a result like that of pg.
      expect(calls.length).toBeGreaterThanOrEqual(2);
      expect(calls.at(-1)).toEqual(['select', null, 'SELECT', 1, [expect.arrayContaining(['"1"'])]]);
    });
  });

  it('if another object inherits from the query, with its own text, as by Datadog', async () => {
    let ended = 0;
    const wrap = (original: Query): Query =>
      function (query, ...rest) {
        const derived =
          typeof query === 'string' ? { text: query } : (Object.create(query as object) as Wrapped);
        const { text } = derived;
        Object.defineProperty(derived, 'text', { configurable: true, get: () => text });
        const result = original.call(this, derived, ...rest);
        const sent = this as unknown as { readonly _queryQueue: Wrapped[]; readonly _activeQuery: Wrapped };
        const last = sent._queryQueue.at(-1) ?? sent._activeQuery;
        const { callback } = last;
        if (callback === undefined) throw new Error('The query has no callback.');
        last.callback = (...args: unknown[]) => {
          ended += 1;
          callback.apply(last, args);
        };
        return result;
      };
    await onInstrumented(wrap);
    expect(ended).toBeGreaterThan(10);
  });

  it('if a copy of the query is sent with a comment, as by SQL commenters', async () => {
    const wrap = (original: Query): Query =>
      function (query, ...rest) {
        return typeof query === 'string'
          ? original.call(this, query, ...rest)
          : original.call(
              this,
              { ...(query as Wrapped), text: `${(query as Wrapped).text} /* trace */` },
              ...rest,
            );
      };
    await onInstrumented(wrap);
  });

  it('if listeners wait for its end, as in Elastic APM', async () => {
    const ends: unknown[] = [];
    const wrap = (original: Query): Query =>
      function (...args) {
        const returned = original.apply(this, args) as Partial<pg.Query>;
        returned.on?.('end', (result: unknown) => ends.push((result as pg.QueryResult).rows));
        return returned;
      };
    await onInstrumented(wrap);
    expect(ends.length).toBeGreaterThan(10);
  });

  it('if `query` returns a promise that rejects before pg gets the query', async () => {
    let refuse = false;
    const wrap = (original: Query): Query =>
      async function (this: pg.Client, ...args) {
        await Promise.resolve();
        if (refuse) throw new Error('The wrapper refuses.');
        return await original.apply(this, args);
      };
    await onInstrumented(wrap, async (provider) => {
      refuse = true;
      const failed = await provider.read([addressOf('one')]).catch((error: unknown) => error);
      refuse = false;
      expect(failed).toMatchObject({
        code: 'STORAGE_UNAVAILABLE',
        cause: { message: 'The wrapper refuses.' },
      });
    });
  });

  async function onInstrumented(
    wrap: (original: Query) => Query,
    more: (provider: StorageProvider) => Promise<void> = async () => await Promise.resolve(),
  ): Promise<void> {
    const source = await connected();
    await instrumented(wrap, async () => {
      const provider = new PostgresProvider({ dataSource: source });
      await opened(provider, async () => {
        await everyCall(provider);
        await source.transaction(async (manager) => await write(provider.within(manager), 'within', '1'));
        await more(provider);
      });
    });
  }

  async function writeAndRead(key: string, provider: StorageProvider): Promise<void> {
    await write(provider, key, '1');
    expect(await textAt(provider, key)).toBe('1');
  }
});

describe('a pool that ends', () => {
  it('right after a write: the storage still closes', async () => {
    const source = await connected();
    const provider = new PostgresProvider({ dataSource: source, acquireTimeoutMs: 100_000 });
    await provider.open();
    await write(provider, 'key', '1');
    // The pool is ended before it hands out a connection.
    const late = Promise.allSettled([
      provider.read([addressOf('key')]),
      commitOne(provider, putBatch('key', '2')),
    ]);
    await source.destroy();
    await provider.close();
    for (const settled of await late)
      if (settled.status === 'rejected')
        expect(settled.reason).toMatchObject({ code: 'STORAGE_UNAVAILABLE', effect: 'none' });
  });

  it('while all its connections are in use: waiting calls are rejected', async () => {
    const source = await connected({ max: 1 });
    const provider = new PostgresProvider({ dataSource: source, acquireTimeoutMs: 100_000 });
    await provider.open();
    const client = await poolOf(source).connect();
    const waiting = expect(provider.read([addressOf('key')])).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      message: expect.stringContaining('the dataSource was destroyed while the storage was open'),
    });
    await until('the read waits', async () => await Promise.resolve(poolOf(source).waitingCount === 1));
    const destroyed = source.destroy();
    client.release();
    await Promise.all([waiting, destroyed]);
    await provider.close();
  });

  it('and is created again: the message says so', async () => {
    const source = await connected();
    const provider = new PostgresProvider({ dataSource: source });
    await opened(provider, async () => {
      await source.destroy();
      await source.initialize();
      await expect(provider.read([addressOf('key')])).rejects.toMatchObject({
        code: 'STORAGE_UNAVAILABLE',
        retryable: false,
        message: expect.stringContaining(
          'the dataSource was destroyed and initialised again while the storage was open',
        ),
      });
    });
    await opened(provider, async () => await everyCall(provider));
  });
});

describe('closing is bounded', () => {
  it('if an export was started and not finished', async () => {
    const source = await connected();
    for (const provider of [
      new PostgresProvider({ dataSource: source }),
      new PostgresProvider({ url: database.url }),
    ]) {
      await provider.open();
      for (let index = 0; index < 30; index += 1) await write(provider, `key-${index}`, '1');
      const rows = provider.administration.export('shared')[Symbol.asyncIterator]();
      expect(await rows.next()).toMatchObject({ done: false });
      await provider.administration.freeze?.();
      await provider.close();
      await expect(
        (async () => {
          while ((await rows.next()).done !== true);
        })(),
      ).rejects.toMatchObject({ code: 'STORAGE_NOT_OPEN' });
    }
    await source.destroy();
  });

  it('if the server does not close the connection', async () => {
    await using server = await PostgresServer.create();
    await using proxy = await Proxy.before(server);
    const provider = new PostgresProvider({ url: proxy.url(server.url()), acquireTimeoutMs: 500 });
    await repeated('the storage opens', () => provider.open());
    await repeated('a row is written', () => write(provider, 'key', '1'));
    proxy.hold();
    await provider.close();
  });
});

/** Repeats work for which a short timeout may expire on a busy machine. */
const repeated = (what: string, work: () => Promise<unknown>): Promise<void> =>
  until(what, () =>
    work().then(
      () => true,
      () => false,
    ),
  );

describe('the connection to the server', () => {
  it('is a socket if the url names one in the syntax of pg', async () => {
    await using server = await PostgresServer.create();
    await server.configure(`unix_socket_directories = '${server.directory}'`);
    await server.restart();
    const { directory, password, port } = server;
    for (const url of [
      `postgres://kvent:${password}@/postgres?host=${directory}&port=${port}`,
      `POSTGRESQL://kvent:${password}@/postgres?host=${directory}&port=${port}&application_name=shop`,
      `postgres://kvent:${password}@${encodeURIComponent(directory)}:${port}/postgres`,
      `socket:${directory}?db=postgres&user=kvent&password=${password}&port=${port}`,
      `socket://kvent:${password}@${directory}?db=postgres&port=${port}&options=-c search_path=x`,
      `pg://kvent:${password}@/postgres?host=${directory}&port=${port}`,
    ]) {
      const warnings: string[] = [];
      const provider = new PostgresProvider({ url, warn: (message) => warnings.push(message) });
      await opened(provider, async () => await write(provider, 'key', '1'));
      expect(warnings).toEqual([]);
    }
  });

  it.each([
    ['203.0.113.5', false, 1],
    ['203.0.113.5', true, 0],
    ['2001:db8::5', false, 1],
    ['127.0.0.1', false, 0],
    ['::ffff:127.0.0.1', false, 0],
    ['::1', false, 0],
    [undefined, false, 0],
  ])('to %s, encrypted: %s, causes %d warnings', async (remoteAddress, encrypted, count) => {
    const source = await connected();
    poolOf(source).on('acquire', (client: unknown) => {
      const { stream } = (client as { readonly connection: { readonly stream: object } }).connection;
      Object.defineProperty(stream, 'remoteAddress', { configurable: true, value: remoteAddress });
      Object.defineProperty(stream, 'encrypted', { configurable: true, value: encrypted });
    });
    const warnings: string[] = [];
    const provider = new PostgresProvider({ dataSource: source, warn: (message) => warnings.push(message) });
    await opened(provider, async () => await textAt(provider, 'key'));
    expect(warnings.length).toBe(count);
    for (const warning of warnings) expect(warning).toContain('not encrypted');
  });

  it('is not held back by a `warn` that throws', async () => {
    const source = await connected({ max: 1 });
    poolOf(source).on('acquire', (client: unknown) => {
      const { stream } = (client as { readonly connection: { readonly stream: object } }).connection;
      Object.defineProperty(stream, 'remoteAddress', { configurable: true, value: '203.0.113.5' });
    });
    const warn = jest.fn(() => {
      throw new Error('warn has failed');
    });
    const provider = new PostgresProvider({ dataSource: source, warn });
    await opened(provider, async () => await write(provider, 'key', '1'));
    expect(warn).toHaveBeenCalledTimes(1);
    expect(poolOf(source)).toMatchObject({ totalCount: 1, idleCount: 1 });
  });

  it('to a replica on another machine, not encrypted, causes one warning at its first use', async () => {
    const { url } = database;
    const source = await new DataSource({
      type: 'postgres',
      replication: { master: { url }, slaves: [{ url }, { url }] },
      extra: { max: 2 },
    }).initialize();
    sources.push(source);
    const { slaves } = source.driver as unknown as { readonly slaves: readonly [pg.Pool, pg.Pool] };
    slaves[0].on('acquire', (client: unknown) => {
      const { stream } = (client as { readonly connection: { readonly stream: object } }).connection;
      Object.defineProperty(stream, 'remoteAddress', { configurable: true, value: '203.0.113.5' });
    });
    const warnings: string[] = [];
    const provider = new PostgresProvider({ dataSource: source, warn: (message) => warnings.push(message) });
    await opened(provider, async () => {
      expect(warnings).toEqual([]);
      for (let reads = 0; reads < 4; reads += 1)
        await provider.read([addressOf('key')], { consistency: 'stale' });
    });
    expect(warnings).toEqual([expect.stringContaining('not encrypted')]);
  });
});

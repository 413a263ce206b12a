/**
 * An export holds a connection while its reader reads. Readers that do not read, whatever their
 * number, take neither the pool from other calls nor the exports of other tenants.
 */
import { setImmediate } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { PostgresProvider, type PostgresProviderOptions } from '@kvent/key-value-postgres';
import { ManualClock } from '@kvent/key-value-storage/testing';
import type { RawRow } from '@kvent/key-value-storage/provider';
import { Client } from 'pg';
import { DataSource } from 'typeorm';
import { freshDatabase, type FreshDatabase } from '../postgres/databases.js';
import { until } from '../postgres/until.js';
import { textAt, write } from './rows.js';

const queryOf = Client.prototype.query as (this: Client, sent: unknown) => unknown;

let database: FreshDatabase;
beforeAll(async () => {
  database = await freshDatabase();
});
afterAll(async () => await database[Symbol.asyncDispose]());

let provider: PostgresProvider;
/** Of the application, in tests that have one. */
let source: DataSource | undefined;
let begun: AsyncIterator<RawRow>[];
beforeEach(() => {
  begun = [];
  source = undefined;
});
afterEach(async () => {
  for (const rows of begun) await rows.return?.();
  await provider.close();
  await source?.destroy();
});

async function open(options: PostgresProviderOptions): Promise<void> {
  provider = new PostgresProvider(options);
  await provider.open();
}

/** An export whose reader has read one row. */
async function beginExport(tenant: string): Promise<AsyncIterator<RawRow>> {
  const rows = provider.administration.export(tenant)[Symbol.asyncIterator]();
  begun.push(rows);
  await rows.next();
  return rows;
}

/** What becomes of so many exports of one tenant: 'open', or why it is refused. */
async function beginExports(count: number, tenant: string): Promise<readonly string[]> {
  const begin = async (): Promise<string> =>
    await beginExport(tenant).then(
      () => 'open',
      ({ code, retryable, effect, message }) => [code, retryable, effect, message].join(' '),
    );
  return await Promise.all(Array.from({ length: count }, begin));
}

const isOpen = (outcome: string): boolean => outcome === 'open';

async function readToEnd(rows: AsyncIterator<RawRow>): Promise<number> {
  let count = 0;
  while ((await rows.next()).done !== true) count += 1;
  return count;
}

/** More than the first page of an export, which has 16 rows. */
async function writeRows(tenant: string): Promise<void> {
  for (let index = 0; index < 40; index += 1) await write(provider, `key-${index}`, '1', tenant);
}

describe('exports that are not read', () => {
  it('of one tenant are refused by name, and leave connections for reads and exports of others', async () => {
    await open({ url: database.url });
    for (const tenant of ['acme', 'globex']) await write(provider, 'key', '1', tenant);
    const outcomes = await beginExports(12, 'acme');
    expect(outcomes.filter(isOpen)).toHaveLength(2);
    expect(new Set(outcomes.filter((outcome) => !isOpen(outcome)))).toEqual(
      new Set([
        'STORAGE_UNAVAILABLE true none Postgres table "kvent"."row": 2 exports of "acme" are open; with a pool of 10 connections, 3 may be, 2 of one database.',
      ]),
    );
    expect(await textAt(provider, 'key', 'globex')).toBe('1');
    await write(provider, 'key', '2', 'globex');
    expect(await beginExports(1, 'globex')).toEqual(['open']);
  });

  it('of all tenants hold at most a third of the pool', async () => {
    await open({ url: database.url });
    const tenants = Array.from({ length: 12 }, (_, index) => `tenant-${index}`);
    for (const tenant of tenants) await write(provider, 'key', '1', tenant);
    const outcomes = (await Promise.all(tenants.map((tenant) => beginExports(1, tenant)))).flat();
    expect(outcomes.filter(isOpen)).toHaveLength(3);
    expect(outcomes.at(-1)).toContain('3 exports are open');
    expect(await textAt(provider, 'key', 'tenant-11')).toBe('1');
  });

  it.each([1, 2, 5])('hold one connection of a pool of %d', async (poolSize) => {
    await open({ url: database.url, poolSize });
    expect((await beginExports(3, 'acme')).filter(isOpen)).toHaveLength(1);
  });

  it('count no more once they have ended: at the end, early, or because they could not begin', async () => {
    source = await new DataSource({
      type: 'postgres',
      url: database.url,
      poolSize: 3,
      extra: { idleTimeoutMillis: 0 },
    }).initialize();
    // the short timeout must find all connections open: a busy machine takes longer for one
    await (await takeConnections(source)).release();
    await open({ dataSource: source, acquireTimeoutMs: 100 });
    await writeRows('initech');
    expect(await readToEnd(await beginExport('initech'))).toBe(39);
    await (await beginExport('initech')).return?.();
    const taken = await takeConnections(source);
    try {
      expect(await beginExports(1, 'initech')).toEqual([expect.stringContaining('the pool is exhausted')]);
    } finally {
      await taken.release();
    }
    await until('an export begins', async () => isOpen((await beginExports(1, 'initech'))[0] ?? ''));
  });
});

/** All three connections of its pool. */
async function takeConnections(pool: DataSource): Promise<{ release(): Promise<void> }> {
  const runners = [1, 2, 3].map(() => pool.createQueryRunner());
  await Promise.all(runners.map((runner) => runner.connect()));
  return { release: async () => void (await Promise.all(runners.map((runner) => runner.release()))) };
}

describe('the reader of an export', () => {
  let clock: ManualClock;
  beforeEach(async () => {
    clock = new ManualClock();
    await open({ url: database.url, clock, readerTimeoutMs: 60_000, poolSize: 3 });
    await writeRows('initech');
  });

  it('that does not read a page in readerTimeoutMs gets an error, and the connection goes back', async () => {
    const late = await beginExport('initech');
    expect(await beginExports(1, 'initech')).toEqual([expect.stringContaining('1 exports are open')]);
    await clock.advance(60_000);
    await until('another export begins', async () => isOpen((await beginExports(1, 'initech'))[0] ?? ''));
    await expect(readToEnd(late)).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      effect: 'none',
      retryable: true,
      message: expect.stringContaining('did not read a page within 60000 ms (readerTimeoutMs)'),
    });
  });

  it('that comes back while its export ends does not end it again', async () => {
    const late = await beginExport('initech');
    const held: (() => unknown)[] = [];
    const query = jest.spyOn(Client.prototype, 'query').mockImplementation(function send(
      this: Client,
      sent: unknown,
    ) {
      const next = () => queryOf.call(this, sent);
      return (sent as { readonly text?: string }).text === 'commit' ? void held.push(next) : next();
    });
    try {
      await clock.advance(60_000);
      const read = expect(readToEnd(late)).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
      // its rows are here: it comes to its end without I/O
      await setImmediate();
      const ends = held.splice(0);
      for (const next of ends) next();
      await read;
      expect(ends).toHaveLength(1);
    } finally {
      query.mockRestore();
    }
  });

  it('that reads row by row does not get more time for the page', async () => {
    const slow = await beginExport('initech');
    for (let times = 0; times < 4; times += 1) {
      await clock.advance(15_000);
      await slow.next();
    }
    await expect(readToEnd(slow)).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
  });

  it('that reads each page in time reads to the end, however long it takes', async () => {
    const steady = await beginExport('initech');
    await clock.advance(59_999);
    // the first page has 16 rows: the 17th row is of the next
    for (let row = 2; row <= 17; row += 1) await steady.next();
    await clock.advance(59_999);
    expect(await readToEnd(steady)).toBe(40 - 17);
    expect(clock.waiting).toBe(0);
  });

  it('leaves no timer when the provider is closed', async () => {
    await beginExport('initech');
    expect(clock.waiting).toBe(1);
    await provider.close();
    expect(clock.waiting).toBe(0);
  });
});

/**
 * One caller's long transaction: a row that somebody's open transaction holds delays who wants that row, and nobody else: not those who travel in
 * the same statement, not another tenant, and not for ever.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { CoalescingProvider, type CommitResult, type StorageProvider } from '@kvent/key-value-storage/core';
import { Client } from 'pg';
import { DataSource } from 'typeorm';
import { freshDatabase, type FreshDatabase } from '../postgres/databases.js';
import { until } from '../postgres/until.js';
import { addressOf, batchOf, commitOne, opened, putBatch, textAt, write } from './rows.js';

let database: FreshDatabase;
let source: DataSource;
beforeAll(async () => {
  database = await freshDatabase();
  source = await new DataSource({ type: 'postgres', url: database.url, extra: { max: 10 } }).initialize();
});
afterAll(async () => {
  await source.destroy();
  await database[Symbol.asyncDispose]();
});

/** Somebody whose transaction holds the rows of a tenant whose keys begin so. */
async function holder(tenant: string, prefix: string): Promise<{ letGo(): Promise<void> }> {
  const client = new Client({ connectionString: database.url });
  await client.connect();
  await client.query('begin');
  const { rowCount } = await client.query('select from kvent.row where database = $1 and starts_with(key, $2) for update', [
    tenant,
    prefix,
  ]);
  if (rowCount === 0) throw new Error('There is nothing to hold.');
  return { letGo: async () => await client.end() };
}

/** How many sessions wait for a lock. */
async function waiters(): Promise<number> {
  const [{ count } = { count: 0 }] = await source.query<{ count: number }[]>(
    `select count(*)::int count from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
  );
  return count;
}

/** A promise, and whether it has been settled. */
function watched<R>(work: Promise<R>): { readonly work: Promise<R>; isOver(): boolean } {
  let over = false;
  work.then(
    () => (over = true),
    () => (over = true),
  );
  return { work, isOver: () => over };
}

const numbers = (count: number): readonly number[] => Array.from({ length: count }, (_, index) => index);

describe.each(['a pool of its own', 'a data source'])('a row that somebody holds, over %s', (pool) => {
  const tenant = `tenant:${pool.replaceAll(' ', '-')}`;
  const provider = (lockTimeoutMs: number): CoalescingProvider =>
    new CoalescingProvider(
      new PostgresProvider({ ...(pool === 'a data source' ? { dataSource: source } : { url: database.url, poolSize: 10 }), lockTimeoutMs }),
    );

  /** Rows, some of them held, while something is done; the provider waits longer than the test. */
  async function whileHeld(work: (target: StorageProvider) => Promise<void>, lockTimeoutMs = 100_000): Promise<void> {
    const target = provider(lockTimeoutMs);
    await opened(target, async () => {
      for (const index of numbers(30)) await write(target, `row-${index}`, '0', tenant);
      const { letGo } = await holder(tenant, 'row-1');
      try {
        await work(target);
      } finally {
        await letGo();
      }
    });
  }

  it('delays who wants it, and none of those who travel with it', async () => {
    const target = provider(100_000);
    await opened(target, async () => {
      for (const index of numbers(30)) await write(target, `row-${index}`, '0', tenant);
      const { letGo } = await holder(tenant, 'row-7');
      const held = watched(commitOne(target, putBatch('row-7', '1', undefined, tenant)));
      const counted = batchOf([{ kind: 'sum', address: { ...addressOf('counter'), key: 'counter' }, operand: 1n }], [], tenant);
      const others = numbers(30)
        .filter((index) => index !== 7)
        .map(async (index) => await commitOne(target, putBatch(`row-${index}`, '1', 'present', tenant)));
      const answers = await Promise.all([...others, commitOne(target, counted)]);
      expect(new Set(answers.map(({ outcome }) => outcome))).toEqual(new Set(['committed']));
      // whoever only looks waits for nobody
      expect(await textAt(target, 'row-7', tenant)).toBe('0');
      expect((await target.scan([{ ...addressOf('', tenant), limit: 100 }]))[0]?.rows.length).toBe(31);
      await until('it waits for the row', async () => (await waiters()) > 0);
      expect(held.isOver()).toBe(false);
      await letGo();
      expect((await held.work).outcome).toBe('committed');
      expect(await textAt(target, 'row-7', tenant)).toBe('1');
    });
  });

  it('delays no other tenant, with more callers waiting than there are connections', async () => {
    await whileHeld(async (target) => {
      // row-1 and row-10 to row-19, twice each
      const wanted = [1, ...numbers(10).map((index) => 10 + index)].flatMap((index) => [index, index]);
      const waiting = wanted.map((index) => watched(commitOne(target, putBatch(`row-${index}`, '1', undefined, tenant))));
      await until('as many wait as may', async () => (await waiters()) >= 5);
      for (const turn of numbers(10)) {
        const calls = numbers(20).map(
          async (index) => await commitOne(target, putBatch(`other-${index}`, String(turn), undefined, `${tenant}-other`)),
        );
        await Promise.all(calls);
        expect(await textAt(target, 'other-3', `${tenant}-other`)).toBe(String(turn));
      }
      expect(waiting.filter(({ isOver }) => isOver())).toEqual([]);
      // for a moment also who has only begun to wait
      await until('no more wait than may', async () => (await waiters()) <= 5);
      void Promise.allSettled(waiting.map(async ({ work }) => await work));
    });
  });

  it('is given up after lockTimeoutMs, with nothing done: who wants it may try again', async () => {
    await whileHeld(async (target) => {
      const calls: Promise<CommitResult>[] = [1, 10, 11, 12, 13, 14, 15].map((index) =>
        commitOne(target, putBatch(`row-${index}`, '1', undefined, tenant)),
      );
      const settled = await Promise.allSettled([...calls, commitOne(target, putBatch('row-2', '2', undefined, tenant))]);
      expect(settled.pop()).toMatchObject({ status: 'fulfilled', value: { outcome: 'committed' } });
      for (const result of settled)
        expect(result).toMatchObject({
          status: 'rejected',
          reason: { code: 'STORAGE_UNAVAILABLE', effect: 'none', retryable: true, message: expect.stringContaining('held') },
        });
      expect(await textAt(target, 'row-1', tenant)).toBe('0');
    }, 300);
    const after = provider(300);
    await opened(after, async () => {
      expect((await commitOne(after, putBatch('row-1', '1', 'present', tenant))).outcome).toBe('committed');
    });
  });
});

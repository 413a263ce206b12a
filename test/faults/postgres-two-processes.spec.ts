/**
 * Two real processes, each with fifty callers, on the same rows of one server: the counts must be
 * exact, batches must be visible completely or not at all, and there must be no deadlock. `npm run
 * contention` makes 100,000 increments.
 */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { openStorage } from '@kvent/key-value-storage/core';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { asAdmin, freshDatabase, type FreshDatabase } from '../postgres/databases.js';
import { logOfRun } from '../postgres/server-of-run.js';
import { until } from '../postgres/until.js';
import { Worker, workInProcesses } from './postgres-processes.js';
import {
  Account,
  accountKeys,
  accountTotal,
  allGroups,
  callers,
  Counter,
  counterKeys,
  groupKeys,
  Member,
  manyAttempts,
} from './postgres-work.js';

const increments = 100;

describe('two processes of fifty callers on one Postgres', () => {
  let database: FreshDatabase;
  beforeEach(async () => {
    database = await freshDatabase();
    // Shorter than the lock timeout of the storage: otherwise Postgres would never detect a
    // deadlock.
    await asAdmin(database.url, async (client) => {
      const name = decodeURIComponent(new URL(database.url).pathname.slice(1));
      await client.query(`alter database ${client.escapeIdentifier(name)} set deadlock_timeout = '10ms'`);
    });
  });
  afterEach(async () => {
    await database[Symbol.asyncDispose]();
  });

  it('watch a thousand keys while another process writes them, and see every last state', async () => {
    const reports = await workInProcesses(database.url, 'watchedFromOne', 3, 60);
    expect(reports.flatMap(({ wrong }) => wrong)).toEqual([]);
    expect(reports[0]?.did['shown']).toBeGreaterThan(1_000);
  });

  it(`add ${2 * callers * increments} to ten counters, exactly, without a deadlock`, async () => {
    const reports = await workInProcesses(database.url, 'update', 2, increments);
    expect(reports.map(({ wrong }) => wrong)).toEqual([[], []]);
    await using storage = await openStorage(new PostgresProvider({ url: database.url }));
    const counts = (await storage.store(Counter).getMany(counterKeys)).map((entry) => entry?.value.count);
    expect(counts).toEqual(counterKeys.map(() => (2 * callers * increments) / counterKeys.length));
    expect(await deadlocks(database.url)).toBe(0);
  });

  it('do not wait for a paused process, which later continues', async () => {
    await using storage = await openStorage(new PostgresProvider({ url: database.url }));
    const counters = storage.store(Counter);
    const other = new Worker(database.url, 'update', 0, 20);
    try {
      await other.nextLine();
      other.begin();
      await until('the process works', async () => (await counters.count()) === counterKeys.length);
      other.signal('SIGSTOP');
      const more = counterKeys.flatMap((key) => Array.from({ length: 20 }, () => key));
      await Promise.all(
        more.map((key) =>
          counters.update(key, ({ count }) => ({ count: count + 1 }), { retry: manyAttempts }),
        ),
      );
      other.signal('SIGCONT');
      expect(await other.nextLine()).toEqual({ did: { added: callers * 20 }, wrong: [] });
      const counts = (await counters.getMany(counterKeys)).map((entry) => entry?.value.count);
      expect(counts).toEqual(counterKeys.map(() => (callers * 20) / counterKeys.length + 20));
    } finally {
      other.end();
    }
  });

  it('transfer money and create and delete groups of rows, and readers never see an incomplete batch', async () => {
    await using storage = await openStorage(new PostgresProvider({ url: database.url }));
    const accounts = storage.store(Account);
    await accounts.setMany(accountKeys.map((key) => ({ key, value: { balance: 100 } })));
    const reports = await workInProcesses(database.url, 'transfers', 2, 40);
    expect(reports.map(({ wrong }) => wrong)).toEqual([[], []]);
    const balances = (await accounts.getMany(accountKeys)).map((entry) => entry?.value.balance ?? 0);
    expect(balances.reduce((sum, balance) => sum + balance)).toBe(accountTotal);

    const did = (what: string): number => reports.reduce((sum, report) => sum + (report.did[what] ?? 0), 0);
    for (const group of allGroups) {
      const members = await storage.store(Member).getMany(groupKeys(group));
      const created = did(`created ${group}`) - did(`deleted ${group}`);
      expect(new Set(members.map((entry) => entry?.value.stamp)).size).toBe(1);
      expect(members.filter((entry) => entry !== undefined).length).toBe(3 * created);
    }
  });
});

/**
 * The number of deadlocks in the log of the server, or as counted by a server whose log cannot be
 * read.
 */
async function deadlocks(url: string): Promise<number> {
  if (process.env['TEST_POSTGRES_URL'] === undefined) {
    const name = decodeURIComponent(new URL(url).pathname.slice(1));
    return (await logOfRun())
      .split('\n')
      .filter((line) => line.includes(` ${name} `) && line.includes(' 40P01 ERROR')).length;
  }
  const counted = 'select deadlocks::int as count from pg_stat_database where datname = current_database()';
  return await asAdmin(
    url,
    async (client) => (await client.query<{ count: number }>(counted)).rows[0]?.count ?? -1,
  );
}

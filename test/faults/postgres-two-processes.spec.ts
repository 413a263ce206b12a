/**
 * Two real processes, each with fifty callers, on the same rows of one server: the counts must be
 * exact, what belongs together must never be seen apart, and nobody may lock anybody out. `npm run
 * rivals` counts to the hundred thousand of issue 4.
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
  patience,
} from './postgres-work.js';

const increments = 100;

describe('two processes of fifty callers on one Postgres', () => {
  let database: FreshDatabase;
  beforeEach(async () => {
    database = await freshDatabase();
    // Postgres looks for deadlocks before the storage tires of waiting for a row: otherwise none
    // would ever be counted
    await asAdmin(database.url, async (client) => {
      const name = decodeURIComponent(new URL(database.url).pathname.slice(1));
      await client.query(`alter database ${client.escapeIdentifier(name)} set deadlock_timeout = '10ms'`);
    });
  });
  afterEach(async () => {
    await database[Symbol.asyncDispose]();
  });

  it(`add ${2 * callers * increments} to ten counters, exactly, without a deadlock`, async () => {
    const reports = await workInProcesses(database.url, 'update', 2, increments);
    expect(reports.map(({ wrong }) => wrong)).toEqual([[], []]);
    await using storage = await openStorage(new PostgresProvider({ url: database.url }));
    const counts = (await storage.store(Counter).getMany(counterKeys)).map((entry) => entry?.value.count);
    expect(counts).toEqual(counterKeys.map(() => (2 * callers * increments) / counterKeys.length));
    expect(await deadlocks(database.url)).toBe(0);
  });

  it('do not wait for one of them that stands still, and it goes on where it was', async () => {
    await using storage = await openStorage(new PostgresProvider({ url: database.url }));
    const counters = storage.store(Counter);
    const other = new Worker(database.url, 'update', 0, 20);
    try {
      await other.line();
      other.go();
      await until('it is at work', async () => (await counters.count()) === counterKeys.length);
      other.signal('SIGSTOP');
      const more = counterKeys.flatMap((key) => Array.from({ length: 20 }, () => key));
      await Promise.all(
        more.map((key) => counters.update(key, ({ count }) => ({ count: count + 1 }), { retry: patience })),
      );
      other.signal('SIGCONT');
      expect(await other.line()).toEqual({ did: { added: callers * 20 }, wrong: [] });
      const counts = (await counters.getMany(counterKeys)).map((entry) => entry?.value.count);
      expect(counts).toEqual(counterKeys.map(() => (callers * 20) / counterKeys.length + 20));
    } finally {
      other.end();
    }
  });

  it('move money and make and remove groups of rows, and nobody ever sees half of it', async () => {
    await using storage = await openStorage(new PostgresProvider({ url: database.url }));
    const accounts = storage.store(Account);
    await accounts.setMany(accountKeys.map((key) => ({ key, value: { balance: 100 } })));
    const reports = await workInProcesses(database.url, 'rivals', 2, 40);
    expect(reports.map(({ wrong }) => wrong)).toEqual([[], []]);
    const balances = (await accounts.getMany(accountKeys)).map((entry) => entry?.value.balance ?? 0);
    expect(balances.reduce((sum, balance) => sum + balance)).toBe(accountTotal);

    const did = (what: string): number => reports.reduce((sum, report) => sum + (report.did[what] ?? 0), 0);
    for (const group of allGroups) {
      const members = await storage.store(Member).getMany(groupKeys(group));
      const made = did(`made ${group}`) - did(`removed ${group}`);
      expect(new Set(members.map((entry) => entry?.value.stamp)).size).toBe(1);
      expect(members.filter((entry) => entry !== undefined).length).toBe(3 * made);
    }
  });
});

/**
 * How many the server's log names; where the log is not ours to read, how many the server has
 * counted.
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

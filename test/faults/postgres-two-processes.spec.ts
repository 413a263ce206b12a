/**
 * Two real processes, each with fifty callers, on the same rows of one server: the counts must be
 * exact, batches must be visible completely or not at all, and there must be no deadlock. `npm run
 * contention` makes 100,000 increments.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { defineState, JsonFileProvider, openStorage, StateMigration } from '@kvent/key-value-storage/core';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { asAdmin, freshDatabase, type FreshDatabase } from '../postgres/databases.js';
import { logOfRun } from '../postgres/server-of-run.js';
import { until } from '../postgres/until.js';
import { followFeed } from './feed-follower.js';
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
  Person,
  PersonV1,
} from './postgres-work.js';
import { seededRandom, seedOfRun, withSeed } from './seeded-random.js';

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

  it('append to the feed with slow transactions and rollbacks: a reader and a projection miss nothing, have nothing twice, and each stream in order', async () => {
    const seed = seedOfRun();
    await withSeed('The feed is wrong', seed, async () => {
      const { did, faults } = await followFeed(database.url, { appends: 1_500, random: seededRandom(seed) });
      expect(faults).toEqual({
        missing: 0,
        twice: 0,
        outOfOrder: 0,
        unknown: 0,
        moved: 0,
        notCommitted: 0,
        projected: 0,
      });
      expect(did['appends']).toBeGreaterThanOrEqual(1_500);
      expect(did['rolledBack']).toBeGreaterThan(0);
    });
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

describe('a migration into the present schema version', () => {
  const keys = Array.from({ length: 200 }, (_, index) => `p-${String(index).padStart(3, '0')}`);
  const PersonV3 = defineState<{ first: string; last: string }>('person', {
    schemaVersion: 3,
    upcast: {
      1: ({ name }: { name: string }) => ({ first: name.toUpperCase() }),
      2: ({ first }: { first: string }) => ({ first, last: '' }),
    },
  });

  it('is killed (kill -9), continued by another process, and overwrites nothing newer', async () => {
    await using database = await freshDatabase();
    await using storage = await openStorage(new PostgresProvider({ url: database.url }));
    const persons = storage.store(Person);
    await storage.store(PersonV1).setMany(keys.map((key) => ({ key, value: { name: key } })));
    const newest = storage.store(PersonV3);
    const schemaVersions = () => new StateMigration(newest).versions();
    await asAdmin(database.url, async (client) => {
      // the first process stands at this row when it is killed
      await client.query(`begin; select from kvent.row where key like '%p-130%' for update`);
      const killed = new Worker(database.url, 'migrate', 0, 0);
      try {
        await killed.nextLine();
        killed.begin();
        await until('the migration waits for the row', async () => {
          // otherwise a transaction sees the sessions as they were when it looked first
          await client.query('select pg_stat_clear_snapshot()');
          const { rows } = await client.query(
            `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
          );
          return rows.length > 0;
        });
      } finally {
        killed.end();
      }
      await persons.set('p-150', { first: 'newer' });
      await newest.set('p-010', { first: 'newest', last: 'of all' });
      await newest.set('p-160', { first: 'newest', last: 'of all' });
      await client.query('rollback');
    });
    expect((await schemaVersions())[0]).toMatchObject({ schemaVersion: 1 });
    const [report] = await workInProcesses(database.url, 'migrate', 1, 0);
    expect(report?.did).toMatchObject({ read: 200, newer: 2, resumed: 1 });
    expect(await schemaVersions()).toEqual([
      { schemaVersion: 2, entries: 198 },
      { schemaVersion: 3, entries: 2 },
    ]);
    const names = (await newest.getMany(keys)).map((entry) => entry?.value.first);
    const newer: Readonly<Record<string, string>> = {
      'p-010': 'newest',
      'p-150': 'newer',
      'p-160': 'newest',
    };
    expect(names).toEqual(keys.map((key) => newer[key] ?? key.toUpperCase()));
    expect(await new StateMigration(persons).run()).toMatchObject({ written: 0, resumed: false });
  });

  it('copies a store of a JSON file into Postgres, with expiry and etags, and leaves newer entries', async () => {
    await using database = await freshDatabase();
    await using storage = await openStorage(new PostgresProvider({ url: database.url }));
    const directory = await mkdtemp(join(tmpdir(), 'kvent-copy-'));
    try {
      await using files = await openStorage(new JsonFileProvider({ directory }));
      const [from, to] = [files.store(PersonV1), storage.store(Person)];
      await from.setMany(keys.map((key) => ({ key, value: { name: key } })));
      await from.set('short', { name: 'short' }, { ttlMs: 3_600_000 });
      await to.set('p-007', { first: 'newer' });
      const copy = new StateMigration(from, { to, change: ({ name }) => ({ first: name }) });
      expect(await copy.run()).toMatchObject({ read: 201, written: 200, newer: 1 });
      expect(await copy.run()).toMatchObject({ written: 0, unchanged: 200, newer: 1 });
      const [original, copied] = [await from.getOrThrow('short'), await to.getOrThrow('short')];
      expect(copied.value).toEqual({ first: 'short' });
      // as much time is left; the server reads its own clock
      const apart = (copied.expiresAt?.getTime() ?? 0) - (original.expiresAt?.getTime() ?? 0);
      expect(Math.abs(apart)).toBeLessThan(600_000);
      expect((await to.getOrThrow('p-007')).value).toEqual({ first: 'newer' });
      expect((await to.getMany(keys)).filter((entry) => entry === undefined)).toEqual([]);
    } finally {
      await rm(directory, { recursive: true });
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

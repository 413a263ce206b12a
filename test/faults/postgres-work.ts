/**
 * The work of several processes on the same rows, and what must be true of the rows at any moment.
 * Each process has fifty callers, which use typed stores as an application does.
 */
import {
  defineState,
  isConflict,
  isStorageError,
  retryOnConflict,
  StateMigration,
  type KeyValueStorage,
} from '@kvent/key-value-storage/core';
import { appendToFeed } from './feed-work.js';
import { seededRandom } from './seeded-random.js';
import { watchOrWrite } from './watch-work.js';
import { countTogether, holdInSessions, streamsOf } from './streams-work.js';

export interface WorkOptions {
  /** The database, for work that opens it in its own way. */
  readonly url: string;
  /** The number of this process. */
  readonly process: number;
  /** The number of operations of each caller. */
  readonly rounds: number;
}

export interface WorkReport {
  /** Completed operations: by name, how often. */
  readonly did: Readonly<Record<string, number>>;
  /** Faults, each text once. */
  readonly wrong: readonly string[];
  /** Of work that is checked by the process that started it. */
  readonly log?: unknown;
}
export type WorkName = keyof typeof works;

export const callers = 50;
export const counterKeys = Array.from({ length: 10 }, (_, number) => `counter-${number}`);
export const accountKeys = Array.from({ length: 10 }, (_, number) => `account-${number}`);
export const accountTotal = accountKeys.length * 100;
const groups = 5;
export const groupKeys = (group: number) =>
  [`group-${group}-a`, `group-${group}-b`, `group-${group}-c`] as const;
export const allGroups = Array.from({ length: groups }, (_, group) => group);

export const Counter = defineState<{ count: number }>('counter');
export const Account = defineState<{ balance: number }>('account');
export const Member = defineState<{ stamp: string }>('member');
export const PersonV1 = defineState<{ name: string }>('person');
export const Person = defineState<{ first: string }>('person', {
  schemaVersion: 2,
  upcast: { 1: ({ name }: { name: string }) => ({ first: name.toUpperCase() }) },
});

/** Enough attempts for any number of conflicts: only the stored rows matter. */
export const manyAttempts = { attempts: 1_000, budgetMs: 120_000 };

class Report {
  readonly did: Record<string, number> = {};
  readonly #wrong = new Set<string>();

  count(what: string): void {
    this.did[what] = (this.did[what] ?? 0) + 1;
  }

  complain(what: string): void {
    this.#wrong.add(what);
  }

  report(): WorkReport {
    return { did: this.did, wrong: [...this.#wrong] };
  }
}

export const works = {
  update: countByUpdate,
  transfers: transferAndToggle,
  streams: workOnStreams,
  migrate: migratePersons,
  appendToFeed: (_: KeyValueStorage, options: WorkOptions) => appendToFeed(options),
  watchedWrites: (storage: KeyValueStorage, options: WorkOptions) =>
    watchOrWrite(storage, options, { until: 'watchedWrites', amount: options.rounds }),
  watchedSeconds: (storage: KeyValueStorage, options: WorkOptions) =>
    watchOrWrite(storage, options, { until: 'watchedSeconds', amount: options.rounds }),
};

/** Every caller increments the ten counters round-robin. */
async function countByUpdate(storage: KeyValueStorage, { rounds }: WorkOptions): Promise<WorkReport> {
  const report = new Report();
  const store = storage.store(Counter);
  const caller = async (number: number): Promise<void> => {
    for (let round = 0; round < rounds; round += 1) {
      const key = counterKeys[(number + round) % counterKeys.length] as string;
      await store.update(key, ({ count }) => ({ count: count + 1 }), {
        initial: () => ({ count: 0 }),
        retry: manyAttempts,
      });
      report.count('added');
    }
  };
  await Promise.all(
    Array.from({ length: callers }, (_, number) => recordingFailure(report, () => caller(number))),
  );
  return report.report();
}

/**
 * Batches over shared rows: transfers, and groups of three rows that are created and deleted
 * together. Readers check them concurrently.
 */
async function transferAndToggle(storage: KeyValueStorage, options: WorkOptions): Promise<WorkReport> {
  const report = new Report();
  const random = seededRandom(options.process + 1);
  const accounts = storage.store(Account);
  const members = storage.store(Member);

  async function transfer(): Promise<void> {
    const from = random.pick(accountKeys);
    const to = random.pick(accountKeys.filter((key) => key !== from));
    const amount = 1 + random.below(5);
    await retryOnConflict(async () => {
      const [payer, payee] = await accounts.getMany([from, to]);
      if (payer === undefined || payee === undefined) throw new Error('An account is missing.');
      await storage
        .atomic()
        .save(accounts, payer.with({ balance: payer.value.balance - amount }))
        .save(accounts, payee.with({ balance: payee.value.balance + amount }))
        .commit();
    }, manyAttempts);
    report.count('transferred');
  }

  /** Creates the group, or deletes it if it exists. On a conflict another caller has done it. */
  async function toggle(caller: number, round: number): Promise<void> {
    const group = random.below(groups);
    const keys = groupKeys(group);
    const existing = await members.getMany(keys);
    const batch = storage.atomic();
    for (const [index, key] of keys.entries()) {
      const entry = existing[index];
      if (entry === undefined) batch.add(members, key, { stamp: `${options.process} ${caller} ${round}` });
      else batch.delete(members, entry);
    }
    try {
      await batch.commit();
      report.count(`${existing[0] === undefined ? 'created' : 'deleted'} ${group}`);
    } catch (error) {
      if (!isConflict(error) && !isStorageError(error, 'KEY_EXISTS')) throw error;
    }
  }

  async function readAndCheck(): Promise<void> {
    const group = random.below(groups);
    const [all, three] = await Promise.all([
      accounts.getMany(accountKeys),
      members.getMany(groupKeys(group)),
    ]);
    const sum = all.reduce((total, entry) => total + (entry?.value.balance ?? 0), 0);
    if (sum !== accountTotal) report.complain(`a reader saw ${sum} on the accounts`);
    const stamps = new Set(three.map((entry) => entry?.value.stamp));
    if (stamps.size > 1) report.complain(`a reader saw ${stamps.size} kinds of members in a group of three`);
    report.count('looked');
  }

  const caller = async (number: number): Promise<void> => {
    for (let round = 0; round < options.rounds; round += 1) {
      if (number % 5 === 0) await readAndCheck();
      else if (number % 5 < 3) await transfer();
      else await toggle(number, round);
    }
  };
  await Promise.all(
    Array.from({ length: callers }, (_, number) => recordingFailure(report, () => caller(number))),
  );
  return report.report();
}

async function migratePersons(storage: KeyValueStorage): Promise<WorkReport> {
  const migration = new StateMigration(storage.store(Person), { pageRows: 20, concurrency: 4 });
  const { read, written, newer, resumed } = await migration.run();
  return { did: { read, written, newer, resumed: Number(resumed) }, wrong: [] };
}

/** Ten callers count on one stream, while others hold another stream one after the other. */
async function workOnStreams(
  storage: KeyValueStorage,
  { process, rounds }: WorkOptions,
): Promise<WorkReport> {
  const report = new Report();
  const streams = streamsOf(storage);
  await Promise.all([
    recordingFailure(report, () => countTogether(streams, process, 10, rounds)),
    recordingFailure(report, () => holdInSessions(streams)),
  ]);
  return report.report();
}

async function recordingFailure(report: Report, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    report.complain(String(error));
  }
}

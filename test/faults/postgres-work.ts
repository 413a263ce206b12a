/**
 * What processes do to the same rows at the same time, and what must be true of those rows at any
 * moment. Fifty callers a process; everything goes through the typed store, as an application does
 * it.
 */
import {
  defineState,
  isConflict,
  isStorageError,
  retryOnConflict,
  type KeyValueStorage,
} from '@kvent/key-value-storage/core';
import { seededRandom } from './seeded-random.js';
import { countTogether, holdInSessions, streamsOf } from './streams-work.js';

export interface WorkOptions {
  /** The number of this process. */
  readonly process: number;
  /** What each caller does, so often. */
  readonly rounds: number;
}

export interface WorkReport {
  /** What became true: by name, how often. */
  readonly did: Readonly<Record<string, number>>;
  /** What went wrong, each text once. */
  readonly wrong: readonly string[];
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

/** Rivals that lose ten times in a row begin again: only what is written counts. */
export const patience = { attempts: 1_000, budgetMs: 120_000 };

class Notes {
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

export const works = { update: countByUpdate, rivals: rival, streams: workOnStreams };

/** Every caller adds 1 to a counter, in turn to each of the ten. */
async function countByUpdate(storage: KeyValueStorage, { rounds }: WorkOptions): Promise<WorkReport> {
  const notes = new Notes();
  const store = storage.store(Counter);
  const caller = async (number: number): Promise<void> => {
    for (let round = 0; round < rounds; round += 1) {
      const key = counterKeys[(number + round) % counterKeys.length] as string;
      await store.update(key, ({ count }) => ({ count: count + 1 }), {
        initial: () => ({ count: 0 }),
        retry: patience,
      });
      notes.count('added');
    }
  };
  await Promise.all(Array.from({ length: callers }, (_, number) => watched(notes, () => caller(number))));
  return notes.report();
}

/**
 * Batches of several rows that rivals want too: transfers, and groups of three that come and go
 * together. Readers look meanwhile.
 */
async function rival(storage: KeyValueStorage, options: WorkOptions): Promise<WorkReport> {
  const notes = new Notes();
  const random = seededRandom(options.process + 1);
  const accounts = storage.store(Account);
  const members = storage.store(Member);

  async function transfer(): Promise<void> {
    const from = random.pick(accountKeys);
    const to = random.pick(accountKeys.filter((key) => key !== from));
    const amount = 1 + random.below(5);
    await retryOnConflict(async () => {
      const [payer, payee] = await accounts.getMany([from, to]);
      if (payer === undefined || payee === undefined) throw new Error('An account is gone.');
      await storage
        .atomic()
        .save(accounts, payer.with({ balance: payer.value.balance - amount }))
        .save(accounts, payee.with({ balance: payee.value.balance + amount }))
        .commit();
    }, patience);
    notes.count('transferred');
  }

  /**
   * Makes the group if it is not there, and removes it if it is. A rival who was faster has done it
   * instead.
   */
  async function toggle(caller: number, round: number): Promise<void> {
    const group = random.below(groups);
    const keys = groupKeys(group);
    const there = await members.getMany(keys);
    const batch = storage.atomic();
    for (const [index, key] of keys.entries()) {
      const entry = there[index];
      if (entry === undefined) batch.add(members, key, { stamp: `${options.process} ${caller} ${round}` });
      else batch.delete(members, entry);
    }
    try {
      await batch.commit();
      notes.count(`${there[0] === undefined ? 'made' : 'removed'} ${group}`);
    } catch (error) {
      if (!isConflict(error) && !isStorageError(error, 'KEY_EXISTS')) throw error;
    }
  }

  async function look(): Promise<void> {
    const group = random.below(groups);
    const [all, three] = await Promise.all([
      accounts.getMany(accountKeys),
      members.getMany(groupKeys(group)),
    ]);
    const sum = all.reduce((total, entry) => total + (entry?.value.balance ?? 0), 0);
    if (sum !== accountTotal) notes.complain(`a reader saw ${sum} on the accounts`);
    const stamps = new Set(three.map((entry) => entry?.value.stamp));
    if (stamps.size > 1) notes.complain(`a reader saw ${stamps.size} kinds of members in a group of three`);
    notes.count('looked');
  }

  const caller = async (number: number): Promise<void> => {
    for (let round = 0; round < options.rounds; round += 1) {
      if (number % 5 === 0) await look();
      else if (number % 5 < 3) await transfer();
      else await toggle(number, round);
    }
  };
  await Promise.all(Array.from({ length: callers }, (_, number) => watched(notes, () => caller(number))));
  return notes.report();
}

/** Ten callers count on one stream, while others hold another in turn. */
async function workOnStreams(
  storage: KeyValueStorage,
  { process, rounds }: WorkOptions,
): Promise<WorkReport> {
  const notes = new Notes();
  const streams = streamsOf(storage);
  await Promise.all([
    watched(notes, () => countTogether(streams, process, 10, rounds)),
    watched(notes, () => holdInSessions(streams)),
  ]);
  return notes.report();
}

async function watched(notes: Notes, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    notes.complain(String(error));
  }
}

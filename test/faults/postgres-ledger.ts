/**
 * Callers that write while everything goes wrong, and remember what they were told; afterwards the
 * books are compared with what is stored.
 *
 * - Each caller counts on three rows of its own, written together: what it was told is there, what
 *   it was told has failed is not, and what it was told nobody knows is there once or not at all.
 *   It looks before it goes on, as an application would.
 * - All callers count on a few rows together, by `update`, and never look: such a row holds at
 *   least what was acknowledged, and at most what is in doubt besides.
 *
 * So a write that was lost, one that was applied twice, half a batch, and a failure "without
 * effect" that has one are all found.
 */
import {
  defineState,
  isConflict,
  isStorageError,
  type Entry,
  type KeyValueStorage,
} from '@kvent/key-value-storage/core';
import { until } from '../postgres/until.js';
import { patience } from './postgres-work.js';

interface Account {
  /** What is certainly stored. */
  certain: number;
  /** The write after that may be stored. */
  doubtful: boolean;
}

interface Shared {
  acknowledged: number;
  doubtful: number;
}

export interface Failure {
  readonly code: string;
  readonly effect: string;
  readonly message: string;
}

interface Part {
  readonly number: number;
  readonly mark: string;
}

const Own = defineState<Part>('ledger-own');
const Together = defineState<{ count: number; mark: string }>('ledger-together');
/** In values only: a proxy knows writes by it. */
export const written = { alone: 'written-alone', together: 'written-together' };
const parts = ['a', 'b', 'c'] as const;
const sharedRows = 5;
const keysOf = (caller: number) => parts.map((part) => `caller-${caller}-${part}`);
const sharedKeys = Array.from({ length: sharedRows }, (_, row) => `row-${row}`);
/**
 * A caller that was told it failed comes back a moment later: a hundred of them at once would be
 * all that the machine does.
 */
const backoffMs = 5;

export class Ledger implements AsyncDisposable {
  /** Everything that callers were told instead of an answer. */
  readonly failures: Failure[] = [];
  readonly #storage: KeyValueStorage;
  readonly #own: Account[];
  readonly #together: readonly Shared[] = sharedKeys.map(() => ({ acknowledged: 0, doubtful: 0 }));
  readonly #wrong: string[] = [];
  readonly #callers: Promise<void>[];
  #acknowledged = 0;
  #stopped = false;

  /** The callers begin at once: half of them on rows of their own, half on those of all. */
  constructor(storage: KeyValueStorage, callers = 50) {
    this.#storage = storage;
    const half = callers / 2;
    this.#own = Array.from({ length: half }, () => ({ certain: 0, doubtful: false }));
    this.#callers = [
      ...Array.from({ length: half }, (_, caller) => this.#repeat(() => this.#countAlone(caller))),
      ...Array.from({ length: half }, (_, caller) =>
        this.#repeat(() => this.#countTogether(caller % sharedRows)),
      ),
    ];
  }

  get acknowledged(): number {
    return this.#acknowledged;
  }

  /**
   * Fulfilled when so many more writes have been acknowledged: the storage is at work, or at work
   * again.
   */
  async more(count: number): Promise<void> {
    const goal = this.#acknowledged + count;
    const reached = (): boolean => this.#acknowledged >= goal || this.#wrong.length > 0;
    await until(
      `${count} more writes are acknowledged (last: ${JSON.stringify(this.failures.at(-1))})`,
      reached,
    );
    this.#complain();
  }

  /** Lets every caller end what it has begun. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#callers);
  }

  /** Stops, and holds what is stored against what was said. Rejects with every difference. */
  async settle(storage = this.#storage): Promise<void> {
    await this.stop();
    for (const [caller, account] of this.#own.entries()) await this.#look(storage, caller, account);
    const rows = await storage.store(Together).getMany(sharedKeys);
    for (const [row, { acknowledged, doubtful }] of this.#together.entries()) {
      const count = rows[row]?.value.count ?? 0;
      if (count < acknowledged)
        this.#wrong.push(`${sharedKeys[row]}: ${acknowledged} were acknowledged, ${count} are stored: lost`);
      if (count > acknowledged + doubtful)
        this.#wrong.push(
          `${sharedKeys[row]}: ${acknowledged} were acknowledged, ${doubtful} are in doubt, ${count} are stored: applied twice`,
        );
    }
    this.#complain();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #repeat(work: () => Promise<void>): Promise<void> {
    while (!this.#stopped && this.#wrong.length === 0) {
      try {
        await work();
      } catch (error) {
        this.#note(error);
        await new Promise((resolve) => setTimeout(resolve, backoffMs));
      }
    }
  }

  /**
   * Every write rests on what was read before it: so one that arrives late, after its caller was
   * told that nobody knows, cannot overwrite a later one.
   */
  async #countAlone(caller: number): Promise<void> {
    const account = this.#own[caller] as Account;
    const entries = await this.#look(this.#storage, caller, account);
    const batch = this.#storage.atomic();
    const store = this.#storage.store(Own);
    const number = account.certain + 1;
    for (const [index, key] of keysOf(caller).entries()) {
      const entry = entries[index];
      if (entry === undefined) batch.add(store, key, { number, mark: written.alone });
      else batch.save(store, entry.with({ number }));
    }
    try {
      await this.#write(
        () => batch.commit(),
        () => (account.doubtful = true),
      );
    } catch (error) {
      // only a write of its own, one that was in doubt, can have come in between
      if (isConflict(error) && account.doubtful) return;
      if (isConflict(error)) this.#wrong.push(`caller ${caller}: somebody else wrote its rows at ${number}`);
      throw error;
    }
    account.certain = number;
    account.doubtful = false;
  }

  async #countTogether(row: number): Promise<void> {
    const account = this.#together[row] as Shared;
    await this.#write(
      () =>
        this.#storage
          .store(Together)
          .update(sharedKeys[row] as string, ({ count, mark }) => ({ count: count + 1, mark }), {
            initial: () => ({ count: 0, mark: written.together }),
            retry: patience,
          }),
      () => (account.doubtful += 1),
    );
    account.acknowledged += 1;
  }

  /** What a write that may have landed changes in the books is noted before anybody looks. */
  async #write(work: () => Promise<unknown>, inDoubt: () => void): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (isStorageError(error) && error.effect === 'unknown') inDoubt();
      throw error;
    }
    this.#acknowledged += 1;
  }

  /**
   * Reads a caller's rows. What is seen is certain; what is in doubt and not seen may still come.
   */
  async #look(
    storage: KeyValueStorage,
    caller: number,
    account: Account,
  ): Promise<readonly (Entry<Part> | undefined)[]> {
    const entries = await storage.store(Own).getMany(keysOf(caller));
    const numbers = new Set(entries.map((entry) => entry?.value.number ?? 0));
    const [number = 0] = numbers;
    const allowed = account.doubtful ? [account.certain, account.certain + 1] : [account.certain];
    if (numbers.size > 1)
      this.#wrong.push(`caller ${caller}: half a batch, ${[...numbers].join(' and ')} are stored together`);
    else if (!allowed.includes(number))
      this.#wrong.push(`caller ${caller}: ${number} is stored, it should be ${allowed.join(' or ')}`);
    if (number > account.certain) account.doubtful = false;
    account.certain = number;
    return entries;
  }

  #note(error: unknown): void {
    if (!isStorageError(error)) this.#wrong.push(`a caller was told ${String(error)}`);
    else if (!isHonest(error))
      this.#wrong.push(`a caller was told ${error.code} with effect '${error.effect}': ${error.message}`);
    else this.failures.push({ code: error.code, effect: error.effect, message: error.message });
  }

  #complain(): void {
    if (this.#wrong.length > 0) throw new Error(`The books are wrong:\n${this.#wrong.join('\n')}`);
  }
}

/**
 * What a caller may be told while the storage is in trouble. Not a conflict: the callers of one row
 * repeat their work for longer than a slow machine needs.
 */
function isHonest({ code, effect }: Failure): boolean {
  return (
    (code === 'STORAGE_OUTCOME_UNKNOWN' && effect === 'unknown') ||
    (code === 'STORAGE_UNAVAILABLE' && effect === 'none')
  );
}

/**
 * Callers that write during faults and record the results, which are then compared with the stored
 * rows.
 *
 * - Each caller counts on three rows of its own, written together. Acknowledged writes are stored,
 *   failed writes are not, and writes with an unknown outcome are stored once or not at all. It
 *   reads before it continues, as an application would.
 * - All callers count on a few shared rows with `update`. Such a row contains at least the
 *   acknowledged increments, and at most those in doubt besides.
 *
 * This detects lost writes, writes applied twice, incomplete batches, and errors with effect `none`
 * after a committed write.
 */
import {
  defineState,
  isConflict,
  isStorageError,
  type Entry,
  type KeyValueStorage,
} from '@kvent/key-value-storage/core';
import { until } from '../postgres/until.js';
import { manyAttempts } from './postgres-work.js';

interface Account {
  /** The stored number. */
  certain: number;
  /** Whether one more write may be stored. */
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
/** These texts are in values only; a proxy recognizes writes by them. */
export const valueMarks = { alone: 'written-alone', together: 'written-together' };
const parts = ['a', 'b', 'c'] as const;
const sharedRows = 5;
const keysOf = (caller: number) => parts.map((part) => `caller-${caller}-${part}`);
const sharedKeys = Array.from({ length: sharedRows }, (_, row) => `row-${row}`);
/** A pause after a failure: a hundred callers that retry at once would keep the machine busy. */
const backoffMs = 5;

export class Ledger implements AsyncDisposable {
  /** All failures that callers received. */
  readonly failures: Failure[] = [];
  readonly #storage: KeyValueStorage;
  readonly #own: Account[];
  readonly #together: readonly Shared[] = sharedKeys.map(() => ({ acknowledged: 0, doubtful: 0 }));
  readonly #faults: string[] = [];
  readonly #callers: Promise<void>[];
  #acknowledged = 0;
  #stopped = false;

  /** Starts the callers: half of them on their own rows, half on the shared rows. */
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

  /** Resolves after so many more acknowledged writes, which show that the storage works. */
  async waitForMore(count: number): Promise<void> {
    const goal = this.#acknowledged + count;
    const reached = (): boolean => this.#acknowledged >= goal || this.#faults.length > 0;
    await until(
      `${count} more writes are acknowledged (last: ${JSON.stringify(this.failures.at(-1))})`,
      reached,
    );
    this.#assertNoFaults();
  }

  /** Stops after the current write of each caller. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#callers);
  }

  /** Stops, and compares the stored rows with the results. Rejects with every difference. */
  async verify(storage = this.#storage): Promise<void> {
    await this.stop();
    for (const [caller, account] of this.#own.entries()) await this.#readOwnRows(storage, caller, account);
    const rows = await storage.store(Together).getMany(sharedKeys);
    for (const [row, { acknowledged, doubtful }] of this.#together.entries()) {
      const count = rows[row]?.value.count ?? 0;
      if (count < acknowledged)
        this.#faults.push(`${sharedKeys[row]}: ${acknowledged} were acknowledged, ${count} are stored: lost`);
      if (count > acknowledged + doubtful)
        this.#faults.push(
          `${sharedKeys[row]}: ${acknowledged} were acknowledged, ${doubtful} are in doubt, ${count} are stored: applied twice`,
        );
    }
    this.#assertNoFaults();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #repeat(work: () => Promise<void>): Promise<void> {
    while (!this.#stopped && this.#faults.length === 0) {
      try {
        await work();
      } catch (error) {
        this.#record(error);
        await new Promise((resolve) => setTimeout(resolve, backoffMs));
      }
    }
  }

  /**
   * Every write checks what was read before, so a late write with an unknown outcome cannot
   * overwrite a later one.
   */
  async #countAlone(caller: number): Promise<void> {
    const account = this.#own[caller] as Account;
    const entries = await this.#readOwnRows(this.#storage, caller, account);
    const batch = this.#storage.atomic();
    const store = this.#storage.store(Own);
    const number = account.certain + 1;
    for (const [index, key] of keysOf(caller).entries()) {
      const entry = entries[index];
      if (entry === undefined) batch.add(store, key, { number, mark: valueMarks.alone });
      else batch.save(store, entry.with({ number }));
    }
    try {
      await this.#write(
        () => batch.commit(),
        () => (account.doubtful = true),
      );
    } catch (error) {
      // Only its own write in doubt can have been committed in between.
      if (isConflict(error) && account.doubtful) return;
      if (isConflict(error)) this.#faults.push(`caller ${caller}: an unexpected conflict at ${number}`);
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
            initial: () => ({ count: 0, mark: valueMarks.together }),
            retry: manyAttempts,
          }),
      () => (account.doubtful += 1),
    );
    account.acknowledged += 1;
  }

  /** Counts a write, or marks it as in doubt before any other read. */
  async #write(work: () => Promise<unknown>, markInDoubt: () => void): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (isStorageError(error) && error.effect === 'unknown') markInDoubt();
      throw error;
    }
    this.#acknowledged += 1;
  }

  /** Reads the rows of a caller. A write in doubt that is not read may still be committed. */
  async #readOwnRows(
    storage: KeyValueStorage,
    caller: number,
    account: Account,
  ): Promise<readonly (Entry<Part> | undefined)[]> {
    const entries = await storage.store(Own).getMany(keysOf(caller));
    const numbers = new Set(entries.map((entry) => entry?.value.number ?? 0));
    const [number = 0] = numbers;
    const allowed = account.doubtful ? [account.certain, account.certain + 1] : [account.certain];
    if (numbers.size > 1)
      this.#faults.push(
        `caller ${caller}: an incomplete batch, ${[...numbers].join(' and ')} are stored together`,
      );
    else if (!allowed.includes(number))
      this.#faults.push(`caller ${caller}: ${number} is stored, expected ${allowed.join(' or ')}`);
    if (number > account.certain) account.doubtful = false;
    account.certain = number;
    return entries;
  }

  #record(error: unknown): void {
    if (!isStorageError(error)) this.#faults.push(`a caller received ${String(error)}`);
    else if (!isExpectedFailure(error))
      this.#faults.push(`a caller received ${error.code} with effect '${error.effect}': ${error.message}`);
    else this.failures.push({ code: error.code, effect: error.effect, message: error.message });
  }

  #assertNoFaults(): void {
    if (this.#faults.length > 0)
      throw new Error(`Results and stored rows differ:\n${this.#faults.join('\n')}`);
  }
}

/**
 * The failures that a caller may receive. Conflicts are not expected: `update` retries for longer
 * than a slow machine needs.
 */
function isExpectedFailure({ code, effect }: Failure): boolean {
  return (
    (code === 'STORAGE_OUTCOME_UNKNOWN' && effect === 'unknown') ||
    (code === 'STORAGE_UNAVAILABLE' && effect === 'none')
  );
}

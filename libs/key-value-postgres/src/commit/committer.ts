/**
 * Batches on their way to the server: sorted into statements by their shape, sent together, answered one by one. A statement that cannot be
 * done as a whole, because a row is held or because the data of one batch is bad, is undone by the server and repeated batch by batch, so
 * that no batch suffers from its neighbours.
 */
import { retrying, storageError, systemClock, type Batch, type CommitResult, type StorageError } from '@kvent/key-value-storage/core';
import { errorOf, type Session } from '../connections/connections.js';
import { isBadData, isLockTimeout, mayRunAgain, refusalOf, unavailable } from '../connections/failure.js';
import { changeRows } from '../sql/change-rows.js';
import type { Columns } from '../sql/decode-row.js';
import { readClock } from '../sql/read-rows.js';
import { putRows, replaceRow } from '../sql/put-rows.js';
import { milliseconds, type Dialect, type Statement } from '../sql/statement.js';
import { changeParameters, changeResults, elementsOf } from './change-elements.js';
import { Patience } from './patience.js';
import {
  inRowOrder,
  putBatchOf,
  putParameters,
  putResults,
  replaceParameters,
  replaceResult,
  replaces,
  type PutBatch,
} from './put-elements.js';

/** How often the server may be asked again when other sessions were faster. */
const rivalry = { attempts: 40, delayMs: 2, delayMsMax: 50, budgetMs: 10_000 };

export interface CommitterOptions {
  readonly name: string;
  readonly session: Session;
  readonly dialect: Dialect;
  /** The time of a given clock, as the last parameter of a statement. */
  readonly time: () => readonly number[];
  /** Batches of one statement at most. */
  readonly groupMax: number;
  /** How long a statement waits for a row, before its batches wait alone. */
  readonly shortLockMs: number;
  /** How long a batch waits for a row in all. */
  readonly lockTimeoutMs: number;
  /** Connections that may wait for rows at once. */
  readonly waitingMax: number;
}

/** Tells an answer as soon as it is there. */
export type Answered = (index: number, result: CommitResult) => void;

export class Committer {
  readonly #options: CommitterOptions;
  readonly #change: Statement;
  readonly #put: Statement;
  readonly #replace: Statement;
  readonly #patience: Patience;

  constructor(options: CommitterOptions) {
    this.#options = options;
    this.#change = changeRows(options.dialect);
    this.#put = putRows(options.dialect);
    this.#replace = replaceRow(options.dialect);
    this.#patience = new Patience(options.waitingMax);
  }

  async commit(batches: readonly Batch[], answered: Answered = () => undefined): Promise<readonly CommitResult[]> {
    const [first] = batches;
    if (batches.length === 1 && first !== undefined) return [await this.#alone(first)];
    const results: CommitResult[] = [];
    const groups = this.#groups(batches);
    await Promise.all(
      groups.map(async (group) => {
        await this.#group(batches, group, results, answered);
        // while the server works on one group, the callers of another can go on
        if (groups.length > 1) for (const index of group) answered(index, results[index] as CommitResult);
      }),
    );
    return results;
  }

  /** Which batches travel together: those of the hot shape, and the others. */
  #groups(batches: readonly Batch[]): readonly (readonly number[])[] {
    const shapes: [number[], number[]] = [[], []];
    for (const [index, batch] of batches.entries()) shapes[putBatchOf(batch, index) === undefined ? 1 : 0].push(index);
    return shapes.flatMap((indexes) => chunks(indexes, this.#options.groupMax));
  }

  async #group(batches: readonly Batch[], group: readonly number[], results: CommitResult[], answered: Answered): Promise<void> {
    const members = group.map((index) => batches[index] as Batch);
    const [lone] = members;
    try {
      const answers =
        members.length === 1 && lone !== undefined ? [await this.#alone(lone)] : await this.#send(members, this.#options.shortLockMs);
      for (const [place, index] of group.entries()) results[index] = answers[place] as CommitResult;
    } catch (error) {
      if (!isLockTimeout(error) && !isBadData(error)) {
        const failed = { outcome: 'failed', error: this.#failure(error) } as const;
        for (const index of group) results[index] = failed;
        return;
      }
      await Promise.all(
        group.map(async (index) => {
          const result = await this.#alone(batches[index] as Batch);
          answered(index, result);
          results[index] = result;
        }),
      );
    }
  }

  /** One batch with a statement of its own; never rejects. */
  async #alone(batch: Batch): Promise<CommitResult> {
    const { shortLockMs, lockTimeoutMs } = this.#options;
    try {
      try {
        return await this.#sendOne(batch, shortLockMs);
      } catch (error) {
        if (!isLockTimeout(error)) throw error;
      }
      const until = systemClock.monotonic() + lockTimeoutMs;
      return await this.#patience.run(async () => await this.#sendOne(batch, Math.max(1, Math.ceil(until - systemClock.monotonic()))));
    } catch (error) {
      return { outcome: 'failed', error: isBadData(error) ? this.#badData(error) : this.#failure(error) };
    }
  }

  async #sendOne(batch: Batch, lockMs: number): Promise<CommitResult> {
    const put = putBatchOf(batch, 0);
    if (put !== undefined && replaces(put)) {
      const lines = await this.#run(this.#replace, [...replaceParameters(put), String(lockMs)]);
      const replaced = replaceResult(lines);
      if (replaced !== undefined) return replaced;
    }
    const [result] = await this.#send([batch], lockMs);
    return result as CommitResult;
  }

  /** Batches of one shape in one statement. */
  async #send(batches: readonly Batch[], lockMs: number): Promise<readonly CommitResult[]> {
    const puts = batches.flatMap((batch, index) => putBatchOf(batch, index) ?? []);
    return puts.length === batches.length ? await this.#sendPuts(puts, lockMs) : await this.#sendChanges(batches, lockMs);
  }

  async #sendPuts(given: readonly PutBatch[], lockMs: number): Promise<readonly CommitResult[]> {
    const puts = inRowOrder(given);
    const lines = await this.#run(this.#put, [String(lockMs), ...putParameters(puts)]);
    const results: CommitResult[] = [];
    for (const [index, result] of putResults(lines, puts)) results[index] = result;
    return results;
  }

  async #sendChanges(batches: readonly Batch[], lockMs: number): Promise<readonly CommitResult[]> {
    const elements = elementsOf(batches);
    if (elements.length === 0) return await this.#nothing(batches);
    const lines = await this.#run(this.#change, [String(lockMs), ...changeParameters(elements, batches)]);
    return changeResults(lines, elements, batches);
  }

  /** Batches without checks and changes: there is a time, and nothing else. */
  async #nothing(batches: readonly Batch[]): Promise<readonly CommitResult[]> {
    const { session, dialect, time } = this.#options;
    const [line] = await session.run(readClock(dialect), time(), 'read');
    return batches.map(() => ({ outcome: 'committed', time: milliseconds(line?.[0] as string), rows: [] }));
  }

  /** Runs it again while other sessions are faster. */
  async #run(statement: Statement, parameters: readonly unknown[]): Promise<readonly Columns[]> {
    const { session, time, name } = this.#options;
    let last: unknown;
    const attempt = async (): Promise<readonly Columns[]> => {
      try {
        return await session.run(statement, [...parameters, ...time()], 'write');
      } catch (error) {
        last = error;
        throw mayRunAgain(error) ? rival() : error;
      }
    };
    try {
      return await retrying(attempt, rivalry, { clock: systemClock });
    } catch (error) {
      throw mayRunAgain(last)
        ? new Exhausted(unavailable(`${name} was asked ${rivalry.attempts} times, and other sessions were faster each time`))
        : error;
    }
  }

  #failure(error: unknown): StorageError {
    return error instanceof Exhausted ? error.failure : errorOf(error, this.#options.name, 'write');
  }

  #badData(error: unknown): StorageError {
    const reason = (error as Error).message;
    return storageError('INVALID_VALUE', `Postgres cannot store what was given: ${reason} (SQLSTATE ${refusalOf(error) ?? ''}).`, {
      issues: [{ message: reason }],
    });
  }
}

/** What the one retry loop repeats. */
const rival = (): StorageError =>
  storageError('STORAGE_CONFLICT', 'Another session was faster.', { key: '', expected: '', actual: undefined, check: 'own' });

class Exhausted extends Error {
  readonly failure: StorageError;

  constructor(failure: StorageError) {
    super(failure.message);
    this.failure = failure;
  }
}

/** At most `max` each. */
function chunks(indexes: readonly number[], max: number): readonly (readonly number[])[] {
  const found: number[][] = [];
  for (let from = 0; from < indexes.length; from += max) found.push(indexes.slice(from, from + max));
  return found;
}

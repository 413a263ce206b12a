/**
 * Batches on their way to the server: sorted into statements by their shape, sent together,
 * answered one by one. A statement that the server refuses (a row is held, data is bad, a trigger
 * or a policy says no) is undone by the server and repeated batch by batch, so that no batch
 * suffers from its neighbours.
 */
import {
  storageError,
  systemClock,
  type Batch,
  type CommitResult,
  type RowAddress,
  type StorageError,
} from '@kvent/key-value-storage/provider';
import type { Session } from '../connections/session.js';
import { errorOf, isAboutStatement, isBadData, isLockTimeout, refusalOf } from '../connections/failure.js';
import { whileRivalsWin } from '../connections/serialization-retry.js';
import { changeRows } from '../sql/general-statement.js';
import type { Columns } from '../sql/decode-row.js';
import { readClock } from '../sql/read-rows.js';
import { findHeldRows, waitForRow } from '../sql/held-rows.js';
import { putRows } from '../sql/put-statement.js';
import { renewRows } from '../sql/renew-rows.js';
import { milliseconds, type Dialect, type Statement } from '../sql/statement.js';
import { appendBatchOf, appending, type AppendBatch } from './append-parameters.js';
import { changeParameters, changeResults, elementsOf } from './change-parameters.js';
import { addressColumns } from './columns.js';
import { Patience } from './semaphore.js';
import { LikelyWay } from './fast-path.js';
import {
  creatingValues,
  overwriting,
  putBatchOf,
  putParameters,
  putResults,
  type PutBatch,
} from './put-parameters.js';
import { renewalOf, renewalParameters, renewalResults } from './renew-parameters.js';
import { inRowOrder, rowOf, type Placed } from './row-order.js';
import { adding, creatingNumbers, sumBatchOf, type SumBatch } from './sum-parameters.js';

interface CommitterOptions {
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
type Answered = (index: number, result: CommitResult) => void;

/** What is told of batches while they are on their way. */
export interface Told {
  readonly answered: Answered;
  /** The batch waits for this row, and holds no other meanwhile. */
  readonly waiting: (index: number, row: RowAddress) => void;
}
const nobody: Told = { answered: () => undefined, waiting: () => undefined };

/**
 * What travels together: values over versions that were read, values over whatever is there, values
 * where nothing may be, sums, rows created behind a number that was read, renewals that wait for
 * nobody, and all else.
 */
type Shape = 'save' | 'set' | 'create' | 'sum' | 'append' | 'renew' | 'other';

/**
 * Rows of one statement at most, where batches are of several: more and it takes longer than it
 * saves. A batch is never split.
 */
const groupRowsMax = 64;

/** Between looks at a row that somebody is creating, in milliseconds. */
const pauseMsMin = 50;
const pauseMsMax = 400;

interface Group {
  readonly shape: Shape;
  /** The places of its batches among those of the call. */
  readonly indexes: readonly number[];
}

export class Committer {
  readonly #options: CommitterOptions;
  readonly #change: Statement;
  readonly #put: Statement;
  readonly #renew: Statement;
  readonly #puts: Readonly<Record<'save' | 'set' | 'create', LikelyWay<PutBatch>>>;
  readonly #sums: LikelyWay<SumBatch>;
  readonly #appends: LikelyWay<AppendBatch>;
  readonly #patience: Patience;

  constructor(options: CommitterOptions) {
    const { dialect } = options;
    this.#options = options;
    this.#change = changeRows(dialect);
    this.#put = putRows(dialect);
    this.#renew = renewRows(dialect);
    const living = overwriting(dialect);
    const absent = creatingValues(dialect);
    this.#puts = {
      save: new LikelyWay({ living }),
      set: new LikelyWay({ living, absent }),
      create: new LikelyWay({ absent }),
    };
    this.#sums = new LikelyWay({ living: adding(dialect), absent: creatingNumbers(dialect) });
    const append = appending(dialect);
    this.#appends = new LikelyWay({ living: append, absent: append });
    this.#patience = new Patience(options.waitingMax);
  }

  async commit(batches: readonly Batch[], told: Partial<Told> = {}): Promise<readonly CommitResult[]> {
    const { answered, waiting } = { ...nobody, ...told };
    const results: CommitResult[] = [];
    const groups = this.#groups(batches);
    await Promise.all(
      groups.map(async (group) => {
        await this.#group(batches, group, results, { answered, waiting });
        // while the server works on one group, the callers of another can go on
        if (groups.length > 1)
          for (const index of group.indexes) answered(index, results[index] as CommitResult);
      }),
    );
    return results;
  }

  #groups(batches: readonly Batch[]): readonly Group[] {
    const shapes: Record<Shape, number[]> = {
      save: [],
      set: [],
      create: [],
      sum: [],
      append: [],
      renew: [],
      other: [],
    };
    for (const [index, batch] of batches.entries()) shapes[shapeOf(batch, index)].push(index);
    return Object.entries(shapes).flatMap(([shape, indexes]) =>
      this.#chunks(batches, indexes).map((chunk) => ({ shape: shape as Shape, indexes: chunk })),
    );
  }

  #chunks(batches: readonly Batch[], indexes: readonly number[]): readonly (readonly number[])[] {
    const found: number[][] = [];
    let rows = 0;
    for (const index of indexes) {
      const { checks = [], changes = [] } = batches[index] ?? {};
      const more = Math.max(checks.length, changes.length);
      const last = found.at(-1);
      rows = last === undefined ? more : rows + more;
      if (last === undefined || last.length === this.#options.groupMax || rows > groupRowsMax) {
        found.push([index]);
        rows = more;
      } else last.push(index);
    }
    return found;
  }

  /** Answers each batch of the group; never rejects. */
  async #group(
    batches: readonly Batch[],
    { shape, indexes }: Group,
    results: CommitResult[],
    told: Told,
  ): Promise<void> {
    const [lone] = indexes;
    if (indexes.length === 1 && lone !== undefined) {
      results[lone] = await this.#alone(batches[lone] as Batch, shape, (row) => told.waiting(lone, row));
      return;
    }
    const answer: Answered = (index, result) => void (results[index] = result);
    try {
      await this.#send(batches, { shape, indexes }, this.#options.shortLockMs, answer);
    } catch (error) {
      // what has an answer is done, and is not done again
      const open = indexes.filter((index) => results[index] === undefined);
      if (isAboutStatement(error)) {
        for (const index of indexes) if (results[index] !== undefined) told.answered(index, results[index]);
        await Promise.all(
          open.map(async (index) => {
            const result = await this.#alone(batches[index] as Batch, shape, (row) =>
              told.waiting(index, row),
            );
            answer(index, result);
            told.answered(index, result);
          }),
        );
        return;
      }
      const failed = { outcome: 'failed', error: this.#failure(error) } as const;
      for (const index of open) answer(index, failed);
    }
  }

  /** One batch with statements of its own; never rejects. */
  async #alone(batch: Batch, shape: Shape, waiting: (row: RowAddress) => void): Promise<CommitResult> {
    const { shortLockMs, lockTimeoutMs } = this.#options;
    try {
      try {
        return await this.#sendOne(batch, shape, shortLockMs);
      } catch (error) {
        if (!isLockTimeout(error)) throw error;
      }
      const until = systemClock.monotonic() + lockTimeoutMs;
      const rows = rowsOf(batch);
      const [only] = rows;
      if (rows.length > 1 || only === undefined)
        return await this.#holdingNothing(batch, shape, rows, until, waiting);
      waiting(only);
      return await this.#patience.run(async () => await this.#sendOne(batch, shape, msUntil(until)));
    } catch (error) {
      return { outcome: 'failed', error: isBadData(error) ? this.#badData(error) : this.#failure(error) };
    }
  }

  /**
   * A batch of several rows, one of which somebody holds. A statement that waited for that one
   * would hold the others as long; so the held row is waited for alone, and the batch is sent again
   * once it is free. Rejects with the lock timeout when it is not free in time.
   */
  async #holdingNothing(
    batch: Batch,
    shape: Shape,
    rows: readonly RowAddress[],
    until: number,
    waiting: (row: RowAddress) => void,
  ): Promise<CommitResult> {
    for (let pauseMs = pauseMsMin; ; pauseMs = Math.min(2 * pauseMs, pauseMsMax)) {
      const { row, isAbsent } = await this.#heldOf(batch.database, rows);
      if (row !== undefined) waiting(row);
      if (row !== undefined && !isAbsent)
        await this.#patience.run(async () => await this.#waitFor(batch.database, row, msUntil(until)));
      // whoever creates a row cannot be waited for before the row is there
      else if (isAbsent) await systemClock.wait(Math.min(pauseMs, msUntil(until)));
      try {
        return await this.#sendOne(batch, shape, this.#options.shortLockMs);
      } catch (error) {
        if (!isLockTimeout(error) || systemClock.monotonic() >= until) throw error;
      }
    }
  }

  /** The first row that is held; else the first that is absent, for somebody may be creating it. */
  async #heldOf(
    database: string,
    rows: readonly RowAddress[],
  ): Promise<{ readonly row: RowAddress | undefined; readonly isAbsent: boolean }> {
    const { session, dialect } = this.#options;
    const placed = rows.map((address) => ({ database, address }));
    const lines = await session.run(findHeldRows(dialect), addressColumns(placed), 'read');
    const line = lines.find(([, absent]) => absent === 'f') ?? lines[0];
    return { row: line === undefined ? undefined : rows[Number(line[0]) - 1], isAbsent: line?.[1] === 't' };
  }

  async #waitFor(database: string, { container, entity, key }: RowAddress, ms: number): Promise<void> {
    const { session, dialect } = this.#options;
    await session.run(waitForRow(dialect), [database, container, entity, key, String(ms)], 'read');
  }

  async #sendOne(batch: Batch, shape: Shape, lockMs: number): Promise<CommitResult> {
    let found: CommitResult | undefined;
    await this.#send([batch], { shape, indexes: [0] }, lockMs, (_, result) => void (found = result));
    return found as unknown as CommitResult;
  }

  /** Batches of one shape; `answer` is told each result. */
  async #send(
    batches: readonly Batch[],
    { shape, indexes }: Group,
    lockMs: number,
    answer: Answered,
  ): Promise<void> {
    const of = <T>(form: (batch: Batch, index: number) => T | undefined): readonly T[] =>
      indexes.flatMap((index) => form(batches[index] as Batch, index) ?? []);
    if (shape === 'renew') {
      const renewals = inRowOrder(of(renewalOf));
      const lines = await this.#run(this.#renew, renewalParameters(renewals));
      for (const [renewal, result] of renewalResults(lines, renewals, this.#options.name))
        answer(renewal.index, result);
    } else if (shape === 'other') {
      const results = await this.#sendChanges(
        of((batch) => batch),
        lockMs,
      );
      for (const [place, index] of indexes.entries()) answer(index, results[place] as CommitResult);
    } else if (shape === 'sum' || shape === 'append') {
      const judge = async <T extends { readonly index: number }>(items: readonly T[]) => {
        const given = items.map(({ index }) => batches[index] as Batch);
        const results = await this.#sendChanges(given, lockMs);
        return new Map(items.map((item, place) => [item, results[place] as CommitResult]));
      };
      if (shape === 'append') await this.#sendLikely(this.#appends, of(appendBatchOf), lockMs, answer, judge);
      else await this.#sendLikely(this.#sums, of(sumBatchOf), lockMs, answer, judge);
    } else {
      const judge = async (puts: readonly PutBatch[]) => await this.#sendPuts(puts, lockMs);
      await this.#sendLikely(this.#puts[shape], of(putBatchOf), lockMs, answer, judge);
    }
  }

  /** What is not as it was likely to be is judged by the general statement. */
  async #sendLikely<T extends Placed & { readonly index: number }>(
    likely: LikelyWay<T>,
    items: readonly T[],
    lockMs: number,
    answer: Answered,
    judge: (rest: readonly T[]) => Promise<ReadonlyMap<T, CommitResult>>,
  ): Promise<void> {
    const done = await likely.go(
      items,
      lockMs,
      async (given, parameters) => await this.#run(given, parameters),
    );
    for (const [{ index }, result] of done) answer(index, result);
    const rest = items.filter((item) => !done.has(item));
    const judged = rest.length === 0 ? new Map<T, CommitResult>() : await judge(rest);
    for (const [{ index }, result] of judged) answer(index, result);
    likely.heard([...done.values(), ...judged.values()]);
  }

  async #sendPuts(given: readonly PutBatch[], lockMs: number): Promise<ReadonlyMap<PutBatch, CommitResult>> {
    const puts = inRowOrder(given);
    return putResults(await this.#run(this.#put, [String(lockMs), ...putParameters(puts)]), puts);
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

  async #run(statement: Statement, parameters: readonly unknown[]): Promise<readonly Columns[]> {
    const { session, time } = this.#options;
    return await whileRivalsWin(
      async () => await session.run(statement, [...parameters, ...time()], 'write'),
    );
  }

  #failure(error: unknown): StorageError {
    return errorOf(error, this.#options.name, 'write');
  }

  #badData(error: unknown): StorageError {
    const reason = (error as Error).message;
    return storageError(
      'INVALID_VALUE',
      `Postgres cannot store what was given: ${reason} (SQLSTATE ${refusalOf(error) ?? ''}).`,
      {
        issues: [{ message: reason }],
      },
    );
  }
}

/** Each row of the batch once. */
function rowsOf({ checks, changes }: Batch): readonly RowAddress[] {
  return [...new Map([...checks, ...changes].map(({ address }) => [rowOf(address), address])).values()];
}

const msUntil = (moment: number): number => Math.max(1, Math.ceil(moment - systemClock.monotonic()));

function shapeOf(batch: Batch, index: number): Shape {
  if (renewalOf(batch, index) !== undefined) return 'renew';
  const put = putBatchOf(batch, index);
  if (put !== undefined) {
    if (put.check === undefined) return 'set';
    return put.check.expected === 'absent' ? 'create' : 'save';
  }
  if (sumBatchOf(batch, index) !== undefined) return 'sum';
  return appendBatchOf(batch, index) === undefined ? 'other' : 'append';
}

/**
 * The table while a provider is open: every call of the port as statements, each of them counted
 * until it ends.
 */
import {
  systemClock,
  type Address,
  type Batch,
  type CommitResult,
  type Freeze,
  type ProviderReadOptions,
  type RawRow,
  type ReadResult,
  type ScanPage,
  type ScanRange,
  type Space,
} from '@kvent/key-value-storage/provider';
import { Committer, type Told } from './commit/committer.js';
import { commitByDatabase, readByDatabase } from './connections/by-database.js';
import type { Connections } from './connections/connections.js';
import { errorOf, unavailable, wasLost } from './connections/failure.js';
import type { Purpose, Session } from './connections/session.js';
import { inScope, type Scope } from './connections/scope.js';
import { whileRivalsWin } from './connections/serialization-retry.js';
import type { OpenSource } from './database-handle.js';
import type { PlanGeneration } from './connections/plan-generation.js';
import type { ResolvedPostgres } from './postgres-options.js';
import { Reader } from './read/reader.js';
import { ServerTime } from './time/server-time.js';
import { TableClock } from './time/table-clock.js';
import {
  countRows,
  dropDatabase,
  lastTime,
  listDatabases,
  listSpaces,
  sweepRows,
  tableSize,
} from './sql/administration.js';
import type { Columns } from './sql/decode-row.js';
import { readClock } from './sql/read-rows.js';
import { milliseconds, type Dialect, type Statement } from './sql/statement.js';
import { exportDatabase, importDatabase } from './transfer.js';

/** Batches of one statement at most: more make it slower than they save. */
const groupMax = 32;
/** How long a statement of many waits for a row. */
const shortLockMs = 100;

export class OpenTable {
  readonly dialect: Dialect;
  readonly #name: string;
  readonly #connections: Connections;
  readonly #isSecured: boolean;
  readonly #committer: Committer;
  readonly #reader: Reader;
  readonly #plans: PlanGeneration | undefined;
  readonly #lockTimeoutMs: number;
  readonly #serverTime = new ServerTime();
  readonly clock: TableClock;
  readonly #pending = new Set<Promise<unknown>>();

  constructor(options: ResolvedPostgres, name: string, source: OpenSource) {
    const { table, clock, lockTimeoutMs } = options;
    const { connections, plans, poolSize } = source;
    this.clock = new TableClock(clock);
    const dialect: Dialect = { table, clock: this.clock.kind };
    const time = this.clock.parameters;
    this.#name = name;
    this.#lockTimeoutMs = lockTimeoutMs;
    this.dialect = dialect;
    this.#plans = plans;
    this.#connections = connections;
    this.#isSecured = source.isSecured;
    this.#reader = new Reader({
      dialect,
      time,
      run: async (...given) => await this.#query(...given),
      reckon: () => this.#reckon(),
      heard: (heard) => this.#serverTime.heard(heard),
    });
    const waitingMax = Math.max(1, Math.floor(poolSize / 2));
    this.#committer = new Committer({
      name,
      session: connections,
      dialect,
      time,
      groupMax,
      shortLockMs,
      lockTimeoutMs,
      waitingMax,
    });
  }

  get isSecured(): boolean {
    return this.#isSecured;
  }

  /** What has to be known before the first call. */
  async prepare(): Promise<void> {
    if (this.clock.kind === 'server') this.#serverTime.heard(await this.#reader.time());
    else {
      const [line] = await this.#in(
        { work: 'list' },
        async () => await this.#query(lastTime(this.dialect), [], 'current'),
      );
      if (typeof line?.[0] === 'string') this.clock.found(milliseconds(line[0]));
    }
    await this.#lookAtSize();
  }

  /** Settles once nothing is under way. */
  async idle(): Promise<void> {
    await Promise.allSettled(this.#pending);
    // their callers hear of it first
    await new Promise(setImmediate);
  }

  async read(addresses: readonly Address[], options: ProviderReadOptions): Promise<ReadResult> {
    if (!this.#isSecured || addresses.length === 0)
      return await this.#counted(this.#reader.read(addresses, options));
    const each = async (database: string, some: readonly Address[]): Promise<ReadResult> =>
      await inScope({ database }, async () => await this.#reader.read(some, options));
    return await this.#counted(readByDatabase(addresses, each));
  }

  async scan(ranges: readonly ScanRange[]): Promise<readonly ScanPage[]> {
    if (!this.#isSecured) return await this.#counted(this.#reader.scan(ranges));
    const pages = ranges.map(
      async (range) =>
        await this.#in({ database: range.database }, async () => await this.#reader.scan([range])),
    );
    return (await this.#counted(Promise.all(pages))).flat();
  }

  async commit(batches: readonly Batch[], told: Partial<Told> = {}): Promise<readonly CommitResult[]> {
    const results = await this.#counted(
      this.#isSecured ? this.#commitEach(batches, told) : this.#committer.commit(batches, told),
    );
    if (results.some(({ outcome }) => outcome === 'committed')) this.clock.stored();
    this.#noticeGrowth(results);
    return results;
  }

  /** A statement under row-level security is for one database. */
  async #commitEach(
    batches: readonly Batch[],
    { answered, waiting }: Partial<Told>,
  ): Promise<readonly CommitResult[]> {
    return await commitByDatabase(batches, async (database, some, places) => {
      const known = new Set<number>();
      const told: Told = {
        answered: (index, result) => {
          if (!known.has(index)) answered?.(places[index] as number, result);
          known.add(index);
        },
        waiting: (index, row) => waiting?.(places[index] as number, row),
      };
      const results = await inScope({ database }, async () => await this.#committer.commit(some, told));
      // while the server works for one database, the callers of another can go on
      if (some.length < batches.length)
        for (const [index, result] of results.entries()) told.answered(index, result);
      return results;
    });
  }

  async #in<R>(scope: Scope, work: () => Promise<R>): Promise<R> {
    return this.#isSecured ? await inScope(scope, work) : await work();
  }

  async sweep(limit: number): Promise<number> {
    return await this.#in({ work: 'sweep' }, async () => await this.#sweep(limit));
  }

  async #sweep(limit: number): Promise<number> {
    const statement = sweepRows(this.dialect);
    let swept = 0;
    for (let asked = limit; asked > 0; asked = limit - swept) {
      const [line] = await this.#run(statement, [asked, ...this.clock.parameters()], 'write');
      const [rows, all] = [Number(line?.[0]), Number(line?.[1])];
      swept += rows;
      // ghosts are cleared away too, and count for nothing
      if (all < asked) break;
    }
    return swept;
  }

  async databases(): Promise<readonly string[]> {
    const list = async () =>
      await this.#query(listDatabases(this.dialect), this.clock.parameters(), 'current');
    return (await this.#in({ work: 'list' }, list)).map(([database]) => database as string);
  }

  async spaces(database: string): Promise<readonly Space[]> {
    const list = async () =>
      await this.#query(listSpaces(this.dialect), [database, ...this.clock.parameters()], 'current');
    const lines = await this.#in({ database }, list);
    return lines.map(([container, entity]) => ({
      database,
      container: container as string,
      entity: entity as string,
    }));
  }

  /** In one snapshot: what others commit meanwhile is not among the rows. */
  async *export(database: string): AsyncGenerator<RawRow> {
    const snapshot = await this.#connections
      .snapshot()
      .catch((error: unknown) => Promise.reject(this.#errorOf(error, 'read')));
    try {
      // each page is asked for by whoever reads
      const run: Session['run'] = async (...given) =>
        await this.#in({ database }, async () => await snapshot.session.run(...given));
      yield* exportDatabase({ run }, this.dialect, database, this.clock.parameters);
    } catch (error) {
      throw this.#errorOf(error, 'read');
    } finally {
      await snapshot.end();
    }
  }

  /** About how many rows it has: expired ones count. */
  async count(database: string): Promise<number> {
    const [line] = await this.#in(
      { database },
      async () => await this.#query(countRows(this.dialect), [database], 'current'),
    );
    return Number(line?.[0]);
  }

  /** Every database of the table is held still, for nobody writes to it. */
  async freeze(): Promise<Freeze> {
    const failed = (error: unknown): Promise<never> => Promise.reject(this.#errorOf(error, 'read'));
    const held = await this.#connections.freeze(this.dialect.table.quoted, this.#lockTimeoutMs).catch(failed);
    let ended: Promise<void> | undefined;
    return {
      verify: async () => {
        if (ended !== undefined) throw unavailable(`${this.#name} is not held still any more`);
        await held.session.run(readClock(this.dialect), this.clock.parameters(), 'read').catch(failed);
      },
      [Symbol.asyncDispose]: async () => {
        await (ended ??= held.end());
      },
    };
  }

  async import(database: string, rows: AsyncIterable<RawRow> | Iterable<RawRow>): Promise<number> {
    const run: Session['run'] = async (...given) =>
      await this.#in({ database }, async () => await this.#run(...given));
    const count = await importDatabase({ run }, this.dialect, database, rows);
    this.#plans?.created(count);
    return count;
  }

  async drop(database: string): Promise<boolean> {
    const drop = async () =>
      await this.#run(dropDatabase(this.dialect), [database, ...this.clock.parameters()], 'write');
    const [line] = await this.#in({ database }, drop);
    return line?.[0] === 't';
  }

  /**
   * When a read that is about to be sent begins, for when it finds nothing to bring the time along.
   */
  #reckon(): () => number | undefined {
    const [time = this.#serverTime.at(systemClock.monotonic())] = this.clock.parameters();
    return () => time;
  }

  /** A lost connection costs a read nothing: it is asked again, once, on another. */
  async #query(
    statement: Statement,
    parameters: readonly unknown[],
    consistency: 'current' | 'stale',
  ): Promise<readonly Columns[]> {
    const ask = async (): Promise<readonly Columns[]> =>
      consistency === 'stale'
        ? await this.#connections.runStale(statement, parameters)
        : await this.#connections.run(statement, parameters, 'read');
    const askAgain = async (): Promise<readonly Columns[]> => {
      try {
        return await ask();
      } catch (error) {
        if (!wasLost(error)) throw error;
        return await ask();
      }
    };
    try {
      // where the application's sessions are serializable, a read can be refused too
      return await this.#counted(whileRivalsWin(askAgain));
    } catch (error) {
      throw this.#errorOf(error, 'read');
    }
  }

  async #run(
    statement: Statement,
    parameters: readonly unknown[],
    purpose: Purpose,
  ): Promise<readonly Columns[]> {
    try {
      return await this.#counted(this.#connections.run(statement, parameters, purpose));
    } catch (error) {
      throw this.#errorOf(error, purpose);
    }
  }

  #errorOf(error: unknown, purpose: Purpose): Error {
    return errorOf(error, this.#name, purpose);
  }

  async #counted<R>(work: Promise<R>): Promise<R> {
    this.#pending.add(work);
    try {
      return await work;
    } finally {
      this.#pending.delete(work);
    }
  }

  #noticeGrowth(results: readonly CommitResult[]): void {
    if (this.#plans === undefined) return;
    let created = 0;
    for (const result of results)
      if (result.outcome === 'committed') for (const { existed } of result.rows) if (!existed) created += 1;
    this.#plans.created(created);
    if (this.#plans.isDue(systemClock.monotonic())) void this.#lookAtSize().catch(() => undefined);
  }

  async #lookAtSize(): Promise<void> {
    if (this.#plans === undefined) return;
    const [line] = await this.#query(tableSize(), [this.dialect.table.quoted], 'current');
    this.#plans.found(Number(line?.[0]));
  }
}

/** The table of an open provider: each call of the port as statements, tracked until it ends. */
import {
  HintSource,
  isStorageError,
  storageError,
  systemClock,
  type Address,
  type Batch,
  type CommitResult,
  type CountRange,
  type ExportPart,
  type FeedPage,
  type FeedRequest,
  type Freeze,
  type Hint,
  type HintTarget,
  type ProviderReadOptions,
  type RawRow,
  type ReadResult,
  type ScanPage,
  type ScanRange,
  type Space,
} from '@kvent/key-value-storage/provider';
import {
  backgroundClock,
  partlyImported,
  PendingWork,
  stoppedAfter,
} from '@kvent/key-value-storage/internal';
import { Committer, type CommitObserver } from './commit/committer.js';
import { DatabasePermits, type PermitWait } from './connections/database-permits.js';
import { commitByDatabase, readByDatabase } from './connections/by-database.js';
import type { Connections } from './connections/connections.js';
import { errorOf, unavailable } from './connections/failure.js';
import { Notifications } from './connections/notifications.js';
import type { PlanGeneration } from './connections/plan-generation.js';
import { inScope, type Scope } from './connections/scope.js';
import type { Purpose, Session } from './connections/session.js';
import { Snapshots } from './connections/snapshots.js';
import { presentFeedBase, raiseFeedBaseTo, type FeedBase } from './read/feed-base.js';
import type { DatabaseHandle } from './database-handle.js';
import type { ResolvedPostgres } from './postgres-options.js';
import { FeedReader, prepareFeed } from './read/feed-reader.js';
import { Reader } from './read/reader.js';
import {
  countRows,
  dropPage,
  lastTime,
  listDatabases,
  listSpaces,
  sweepRows,
  sweepStart,
  tableSize,
} from './sql/administration-statements.js';
import type { Columns } from './sql/decode-row.js';
import { feedSpan } from './sql/feed-columns.js';
import { readClock } from './sql/read-statements.js';
import { milliseconds, type Dialect, type Statement } from './sql/statement.js';
import { ServerTime } from './time/server-time.js';
import { TableClock } from './time/table-clock.js';
import { exportDatabase, exportSpace, importDatabase } from './transfer.js';

/** Batches of one statement at most: more take longer than they save. */
const groupMax = 32;
/** Rows that one statement of a drop deletes. */
const dropPageRows = 5000;
/** Expired rows that a sweep visits in vain: a trigger keeps them. The next sweep goes on. */
const keptMax = 10_000;
/** How long a statement for several batches waits for a row. */
const shortLockMs = 100;
/** The part of the pool that scans and reads of several statements use: others find some. */
const severalShare = 0.8;

export class TableAccess {
  /** Its `feedBase` is known once the table is prepared. */
  dialect: Dialect;
  /** Of the commits of this process, and of others where `notify` is set. */
  readonly hints = new HintSource();
  readonly clock: TableClock;
  readonly isSecured: boolean;
  readonly #name: string;
  readonly #connections: Connections;
  readonly #snapshots: Snapshots;
  #committer: Committer;
  #feed: FeedReader;
  readonly #reader: Reader;
  /** For scans, and for the statements of reads that need several. */
  readonly #several: DatabasePermits;
  readonly #permitWait: PermitWait;
  readonly #makeCommitter: () => Committer;
  readonly #warn: (message: string) => void;
  readonly #plans: PlanGeneration | undefined;
  readonly #notifications: Notifications | undefined;
  readonly #lockTimeoutMs: number;
  readonly #serverTime = new ServerTime();
  readonly #pending = new PendingWork();
  /** Where the next page of a sweep begins: behind expired rows that the server keeps. */
  #sweepFrom = sweepStart;

  constructor(
    { table, clock, lockTimeoutMs, requestTimeoutMs, readerTimeoutMs, notify, warn }: ResolvedPostgres,
    name: string,
    { connections, plans, poolSize, isSecured }: DatabaseHandle,
  ) {
    this.clock = new TableClock(clock);
    this.dialect = { table, clock: this.clock.kind, feedBase: '0', feedBaseUntil: String(feedSpan) };
    this.#warn = warn;
    this.isSecured = isSecured;
    this.#name = name;
    this.#lockTimeoutMs = lockTimeoutMs;
    this.#plans = plans;
    this.#connections = connections;
    this.#snapshots = new Snapshots({
      name,
      connections,
      poolSize,
      clock: clock ?? backgroundClock,
      readerTimeoutMs,
    });
    const permits = Math.max(1, Math.floor(poolSize * severalShare));
    this.#several = new DatabasePermits(permits, permits);
    this.#permitWait = {
      waitMs: requestTimeoutMs,
      late: () =>
        unavailable(
          `${name}: a read of several statements had no turn within requestTimeoutMs (${requestTimeoutMs} ms)`,
        ),
    };
    if (notify) this.#notifications = new Notifications(connections, this.hints, table.quoted);
    const [dialect, time] = [this.dialect, this.clock.parameters];
    this.#reader = new Reader({
      name,
      dialect,
      time,
      run: (statement, parameters, consistency) =>
        connections.run(statement, parameters, 'read', consistency),
      estimateTime: () => this.#estimateTime(),
      observeTime: (observed) => this.#serverTime.observe(observed),
    });
    this.#makeCommitter = () =>
      new Committer({
        name,
        session: connections,
        dialect: this.dialect,
        time,
        groupMax,
        shortLockMs,
        lockTimeoutMs,
        waitingMax: Math.max(1, Math.floor(poolSize / 2)),
        aloneMax: Math.max(1, Math.floor(poolSize / 4)),
        present: async () => {
          await this.#readBase();
          return this.#committer;
        },
        committed: (results, batches) => this.#observe(results, batches),
      });
    this.#committer = this.#makeCommitter();
    this.#feed = new FeedReader(dialect, time);
  }

  /** Reads what has to be known before the first call. */
  async prepare(): Promise<void> {
    if (this.clock.kind === 'server') this.#serverTime.observe(await this.#reader.time());
    else {
      const [line] = await this.#in({ work: 'list' }, () => this.#run(lastTime(this.dialect), []));
      if (typeof line?.[0] === 'string') this.clock.found(milliseconds(line[0]));
    }
    await this.#prepareFeed();
    await this.#lookAtSize();
  }

  async #prepareFeed(): Promise<void> {
    const run = (statement: Statement, parameters: readonly unknown[], purpose: Purpose = 'read') =>
      this.#run(statement, parameters, purpose);
    const feedBase = await prepareFeed({
      raise: (transaction) =>
        this.#transaction((session) =>
          this.#raise(transaction, {
            run: (...args) => this.#in({ work: 'feed' }, () => session.run(...args)),
          }),
        ),
      dialect: this.dialect,
      name: this.#name,
      run: (...args) => this.#in({ work: 'feed' }, () => run(...args)),
      databases: () => this.databases(),
      runIn: (database, ...args) => this.#in({ database }, () => run(...args)),
      warn: this.#warn,
    });
    this.useBase(feedBase);
  }

  async #raise(transaction: bigint, session: Session): Promise<FeedBase> {
    const options = { name: this.#name, lockTimeoutMs: this.#lockTimeoutMs };
    const base = await raiseFeedBaseTo(transaction, session, this.dialect, options);
    this.useBase(base);
    return base;
  }

  async #readBase(): Promise<void> {
    this.useBase(await presentFeedBase({ run: (...args) => this.#run(...args) }, this.dialect));
  }

  /** Another process, or an import of this one, may have raised it. */
  useBase(base: FeedBase): void {
    const { feedBase, feedBaseUntil } = this.dialect;
    if (base.feedBase === feedBase && base.feedBaseUntil === feedBaseUntil) return;
    this.dialect = { ...this.dialect, ...base };
    this.#committer = this.#makeCommitter();
    this.#feed = new FeedReader(this.dialect, this.clock.parameters);
  }

  /**
   * Under row-level security, one database is read as such, and several by the policy of the feed.
   */
  feedPage(request: FeedRequest): Promise<FeedPage> {
    const [database, ...others] = request.databases ?? [];
    const scope = database !== undefined && others.length === 0 ? { database } : ({ work: 'feed' } as const);
    return this.#pending.track(this.#in(scope, () => this.#feedPage(request)));
  }

  async #feedPage(request: FeedRequest): Promise<FeedPage> {
    for (;;) {
      const page = await this.#feed.page(
        (statement, parameters) => this.#run(statement, parameters),
        request,
      );
      if (page !== undefined) return page;
      await this.#readBase();
    }
  }

  listen(targets: readonly HintTarget[], signal: AbortSignal): AsyncIterable<Hint> {
    this.#notifications?.listen();
    return this.hints.listen(targets, signal);
  }

  /** Settles once no call is pending, and nothing is listened to any more. */
  async idle(): Promise<void> {
    this.hints.end();
    await this.#notifications?.close();
    await this.#pending.settled();
    // the callers get their results first
    await new Promise(setImmediate);
  }

  read(addresses: readonly Address[], options: ProviderReadOptions): Promise<ReadResult> {
    if (!this.isSecured || addresses.length === 0)
      return this.#pending.track(this.#reader.read(addresses, options));
    return this.#pending.track(
      readByDatabase(addresses, (database, some) =>
        this.#several.run(database, this.#permitWait, () =>
          inScope({ database }, () => this.#reader.read(some, options)),
        ),
      ),
    );
  }

  scan(ranges: readonly ScanRange[]): Promise<readonly ScanPage[]> {
    const scanOne = (range: ScanRange): Promise<ScanPage> =>
      this.#several.run(range.database, this.#permitWait, () =>
        this.#in({ database: range.database }, () => this.#reader.scan(range)),
      );
    return this.#pending.track(Promise.all(ranges.map(scanOne)));
  }

  countRange(range: CountRange): Promise<number> {
    return this.#pending.track(this.#in({ database: range.database }, () => this.#reader.count(range)));
  }

  commit(batches: readonly Batch[], observer: CommitObserver): Promise<readonly CommitResult[]> {
    return this.#pending.track(
      this.isSecured ? this.#commitEach(batches, observer) : this.#committer.commit(batches, observer),
    );
  }

  /** A statement under row-level security is for one database. */
  #commitEach(
    batches: readonly Batch[],
    { answered, waiting }: CommitObserver,
  ): Promise<readonly CommitResult[]> {
    return commitByDatabase(batches, async (database, some, indexes) => {
      const known = new Set<number>();
      const observer = {
        answered: (index: number, result: CommitResult): void => {
          if (!known.has(index)) answered?.(indexes[index] as number, result);
          known.add(index);
        },
        waiting: (...[index, row]: Parameters<NonNullable<typeof waiting>>): void =>
          waiting?.(indexes[index] as number, row),
      };
      const results = await inScope({ database }, () => this.#committer.commit(some, observer));
      // its callers can go on while the server works for other databases
      if (some.length < batches.length)
        for (const [index, result] of results.entries()) observer.answered(index, result);
      return results;
    });
  }

  #in<R>(scope: Scope, work: () => Promise<R>): Promise<R> {
    return this.isSecured ? inScope(scope, work) : work();
  }

  sweep(limit: number): Promise<number> {
    return this.#in({ work: 'sweep' }, () => this.#sweep(limit));
  }

  async #sweep(limit: number): Promise<number> {
    const statement = sweepRows(this.dialect);
    let swept = 0;
    let kept = 0;
    let isFromStart = this.#sweepFrom === sweepStart;
    try {
      // ghosts are swept too, and do not count
      while (swept < limit && kept < keptMax) {
        const asked = limit - swept;
        const parameters = [asked, ...this.#sweepFrom, ...this.clock.parameters()];
        const [line = []] = await this.#run(statement, parameters, 'write');
        const [rows = 0, all = 0, found = 0] = line.slice(0, 3).map(Number);
        swept += rows;
        kept += found - all;
        if (found === asked) {
          // those that the server keeps would be found again
          if (all < found) this.#sweepFrom = [line[3] as string, line[4] as string];
          continue;
        }
        this.#sweepFrom = sweepStart;
        if (isFromStart) break;
        isFromStart = true;
      }
    } catch (error) {
      throw partly(error, swept, 'A sweep');
    }
    return swept;
  }

  async databases(): Promise<readonly string[]> {
    const lines = await this.#in({ work: 'list' }, () =>
      this.#run(listDatabases(this.dialect), this.clock.parameters()),
    );
    return lines.map(([database]) => database as string);
  }

  async spaces(database: string): Promise<readonly Space[]> {
    const lines = await this.#in({ database }, () =>
      this.#run(listSpaces(this.dialect), [database, ...this.clock.parameters()]),
    );
    return lines.map(([container, entity]) => ({
      database,
      container: container as string,
      entity: entity as string,
    }));
  }

  /**
   * In one snapshot: later commits are not in it. `STORAGE_UNAVAILABLE` when too many exports are
   * open, and when its reader waits for too long between two pages.
   */
  async *export(database: string, part?: ExportPart): AsyncGenerator<RawRow> {
    const snapshot = await this.#snapshots.begin(database).catch(this.#fail);
    try {
      const run: Session['run'] = (...args) => this.#in({ database }, () => snapshot.session.run(...args));
      if (part === undefined) yield* exportDatabase({ run }, this.dialect, database, this.clock.parameters);
      else yield* exportSpace(this.#readerOf({ run }), { ...part, database });
    } catch (error) {
      throw errorOf(error, this.#name, 'read');
    } finally {
      await snapshot.end();
    }
  }

  #readerOf({ run }: Session): Reader {
    return new Reader({
      name: this.#name,
      dialect: this.dialect,
      time: this.clock.parameters,
      run: (statement, parameters) => run(statement, parameters, 'read'),
    });
  }

  /** About how many rows it has, expired ones included. */
  async count(database: string): Promise<number> {
    const [line] = await this.#in({ database }, () => this.#run(countRows(this.dialect), [database]));
    return Number(line?.[0]);
  }

  /** Freezes every database of the table, since the whole table is locked. */
  async freeze(): Promise<Freeze> {
    const held = await this.#connections
      .freeze(this.dialect.table.quoted, this.#lockTimeoutMs)
      .catch(this.#fail);
    let ended: Promise<void> | undefined;
    return {
      verify: async () => {
        if (ended !== undefined) throw unavailable(`${this.#name} is no longer frozen`);
        await held.session.run(readClock(this.dialect), this.clock.parameters(), 'read').catch(this.#fail);
      },
      [Symbol.asyncDispose]: async () => {
        await (ended ??= held.end());
      },
    };
  }

  async import(database: string, rows: AsyncIterable<RawRow> | Iterable<RawRow>): Promise<number> {
    const sessionIn = (scope: Scope, run: Session['run']): Session => ({
      run: (...args) => this.#in(scope, () => run(...args)),
    });
    const access = {
      session: sessionIn({ database }, (...args) => this.#run(...args)),
      transaction: <R>(
        work: (sessions: { readonly database: Session; readonly feed: Session }) => Promise<R>,
      ) =>
        this.#transaction((session) =>
          work({
            database: sessionIn({ database }, (...args) => session.run(...args)),
            feed: sessionIn({ work: 'feed' }, (...args) => session.run(...args)),
          }),
        ),
      raise: (transaction: bigint, session: Session) => this.#raise(transaction, session),
    };
    const count = await importDatabase(access, this.dialect, database, rows);
    this.#plans?.created(count);
    try {
      // imported rows may be of a server whose ids of transactions are higher
      await this.#prepareFeed();
    } catch (error) {
      throw isStorageError(error) ? partlyImported(error, count) : error;
    }
    return count;
  }

  /**
   * Page by page: no statement of it takes longer, however many rows there are.
   * `STORAGE_UNAVAILABLE` where the server leaves rows out. An error has the number of deleted rows
   * (`done`).
   */
  async drop(database: string): Promise<boolean> {
    const statement = dropPage(this.dialect);
    let done = 0;
    try {
      for (let existed = false; ;) {
        const [line] = await this.#in({ database }, () =>
          this.#run(statement, [database, dropPageRows, ...this.clock.parameters()], 'write'),
        );
        const [rows, deleted] = [Number(line?.[1]), Number(line?.[2])];
        done += deleted;
        if (deleted < rows) throw leftOut(this.#name, rows - deleted);
        existed ||= line?.[0] === 't';
        if (rows < dropPageRows) return existed;
      }
    } catch (error) {
      throw partly(error, done, 'A drop');
    }
  }

  /**
   * Estimates when a read that is about to be sent begins, for the case that it finds no row and so
   * returns no time.
   */
  #estimateTime(): number | undefined {
    const [time = this.#serverTime.at(systemClock.monotonic())] = this.clock.parameters();
    return time;
  }

  async #run(
    statement: Statement,
    parameters: readonly unknown[],
    purpose: Purpose = 'read',
  ): Promise<readonly Columns[]> {
    try {
      return await this.#pending.track(this.#connections.run(statement, parameters, purpose));
    } catch (error) {
      throw errorOf(error, this.#name, purpose);
    }
  }

  async #transaction<R>(work: (session: Session) => Promise<R>): Promise<R> {
    try {
      return await this.#pending.track(this.#connections.transaction(work));
    } catch (error) {
      throw errorOf(error, this.#name, 'write');
    }
  }

  readonly #fail = (error: unknown): never => {
    throw errorOf(error, this.#name, 'read');
  };

  #observe(results: readonly CommitResult[], batches: readonly Batch[]): void {
    if (this.hints.hasListeners || this.#notifications !== undefined) this.#hint(results, batches);
    let isCommitted = false;
    let created = 0;
    for (const result of results)
      if (result.outcome === 'committed') {
        isCommitted = true;
        for (const { existed } of result.rows) if (!existed) created += 1;
      }
    if (isCommitted) this.clock.stored();
    if (this.#plans === undefined) return;
    this.#plans.created(created);
    if (this.#plans.isDue(systemClock.monotonic())) void this.#lookAtSize().catch(() => undefined);
  }

  #hint(results: readonly CommitResult[], batches: readonly Batch[]): void {
    for (const [index, { database, changes }] of batches.entries()) {
      const { outcome } = results[index] ?? {};
      // what failed may have been committed
      if (outcome !== 'committed' && outcome !== 'failed') continue;
      const addresses = changes.map(({ address }) => address);
      this.hints.changed(database, addresses);
      this.#notifications?.publish();
    }
  }

  async #lookAtSize(): Promise<void> {
    if (this.#plans === undefined) return;
    const [line] = await this.#run(tableSize(), [this.dialect.table.quoted]);
    this.#plans.found(Number(line?.[0]));
  }
}

const partly = (error: unknown, done: number, what: string): unknown =>
  isStorageError(error)
    ? stoppedAfter(error, done, `${what} ended after ${done} rows, which are deleted: ${error.message}`)
    : error;

const leftOut = (name: string, rows: number): Error =>
  storageError(
    'STORAGE_UNAVAILABLE',
    `${name}: the server left out ${rows} rows of a drop, so they are still there. A trigger before the deletes of the table, or a policy, refuses them.`,
    {},
    { retryable: false },
  );

/**
 * An open store: the lock and the databases. Databases are independent, so one that cannot write
 * does not block another.
 */
import { basename, join } from 'node:path';
import { eachInTurn } from '../../core/base/each-in-turn.js';
import { isStorageError, partlyImported, storageError, type StorageError } from '../../core/base/errors.js';
import { PendingWork } from '../../core/base/pending-work.js';
import { evaluateBatch, isLive } from '../../core/port/evaluate-batch.js';
import { assertMayExport } from '../../core/providers/frozen-view.js';
import type { HintSource } from '../../core/providers/hint-source.js';
import { assertReadBytes } from '../../core/port/page-bytes.js';
import { ImportedPositions } from '../../core/port/imported-positions.js';
import { soundRows } from '../../core/port/raw-row.js';
import { stopSweep, sweepParts } from '../../core/port/sweep-parts.js';
import { withoutValue, type RowTable } from '../../core/providers/row-table.js';
import type {
  Address,
  Batch,
  CommitResult,
  CountRange,
  ExportPart,
  FeedPage,
  FeedRequest,
  RawRow,
  ReadResult,
  ScanPage,
  ScanRange,
  Space,
} from '../../core/port/storage-provider.js';
import { DatabaseFile } from './database/database-file.js';
import type { StoreContext } from './database/store-context.js';
import { outcomeUnknown, synced, unavailable } from './disk/disk-errors.js';
import { droppedName, newestGeneration } from './format/layout.js';
import type { HeldLock } from './lock/lock-file.js';
import { removeTree, undoLateDrop } from './store-root.js';

/** Rows and bytes of one journal line of an import or a sweep. */
const importRowsMax = 500;
const importBytesMax = 1_024 * 1_024;

type Signal = AbortSignal | undefined;

export class FileStore {
  readonly #context: StoreContext;
  readonly #lock: HeldLock;
  readonly #databases: Map<string, DatabaseFile>;
  /** Databases that are being dropped: further calls wait for the drop. */
  readonly #dropping = new Map<string, Promise<unknown>>();
  /** Commits that wait to be queued. */
  readonly #waiting = new PendingWork();
  #lost: StorageError | undefined;

  constructor(context: StoreContext, lock: HeldLock, databases: Map<string, DatabaseFile>) {
    this.#context = context;
    this.#lock = lock;
    this.#databases = databases;
  }

  get hints(): HintSource {
    return this.#context.hints;
  }

  /**
   * Refuses every further call: the rows in memory may be outdated. Hints end, so that watches read
   * again and get this error.
   */
  onLockLost(error: StorageError): void {
    this.#lost ??= error;
    for (const database of this.#databases.values()) database.closeForWriting(this.#lost);
    this.hints.end();
  }

  noteOnDisk(): void {
    for (const database of this.#databases.values()) database.noteOnDisk();
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.#dropping.values());
    await this.#waiting.settled();
    await Promise.all([...this.#databases.values()].map((database) => database.close()));
    await this.#lock.release();
  }

  /** Call it before a read: after a late heartbeat another process may own the store. */
  async #assertOwned(): Promise<void> {
    if (this.#lost !== undefined) throw this.#lost;
    if (!this.#lock.isFresh) await this.#context.verifyOwner();
  }

  async read(addresses: readonly Address[], omit: boolean): Promise<ReadResult> {
    await this.#assertOwned();
    const time = this.#context.time.now();
    const rows = addresses.map((address) => {
      const row = this.#databases.get(address.database)?.table.get(address);
      if (!isLive(row, time)) return undefined;
      return omit ? withoutValue(row) : row;
    });
    assertReadBytes(rows);
    return { time, rows };
  }

  async scan(ranges: readonly ScanRange[]): Promise<readonly ScanPage[]> {
    await this.#assertOwned();
    const time = this.#context.time.now();
    return ranges.map((range) => ({
      time,
      ...(this.#databases.get(range.database)?.table.scan(range, time) ?? { rows: [], more: false }),
    }));
  }

  async count(range: CountRange): Promise<number> {
    await this.#assertOwned();
    return this.#databases.get(range.database)?.table.count(range, this.#context.time.now()) ?? 0;
  }

  async feed(request: FeedRequest): Promise<FeedPage> {
    await this.#assertOwned();
    return await this.#context.feed.page(request, {
      rowAt: ({ database, address }) => this.#databases.get(database)?.table.get(address),
      now: () => this.#context.time.now(),
    });
  }

  /**
   * Fast path: most commits need not wait for the lock or for a drop, so they are queued during the
   * call, with one promise. The others take a promise for each step.
   */
  commit(batches: readonly Batch[], signal: Signal): Promise<readonly CommitResult[]> {
    const [batch] = batches;
    if (batches.length === 1 && batch !== undefined) return this.#commit(batch, signal);
    return Promise.all(batches.map((each) => this.#commit(each, signal))).then((results) => results.flat());
  }

  #commit(batch: Batch, signal: Signal): Promise<readonly CommitResult[]> {
    const { database } = batch;
    if (this.#isWritable(database)) return submit(this.#databaseFor(database), batch, signal);
    return this.#waiting.track(this.#commitOwned(batch, signal).catch(failed));
  }

  async #commitOwned(batch: Batch, signal: Signal): Promise<readonly CommitResult[]> {
    await this.#assertOwned();
    return await this.#with(batch.database, (database) => submit(database, batch, signal));
  }

  /** Whether a commit may be queued without waiting for anything. */
  #isWritable(database: string): boolean {
    return (
      this.#lost === undefined &&
      this.#lock.isFresh &&
      !this.#context.readOnly &&
      (this.#dropping.size === 0 || !this.#dropping.has(database))
    );
  }

  /**
   * Calls `work` synchronously after the lookup, because an idle database without rows is
   * forgotten. A new one is created on disk with its first row.
   */
  async #with<R>(name: string, work: (database: DatabaseFile) => Promise<R>): Promise<R> {
    if (this.#context.readOnly)
      throw storageError(
        'STORAGE_UNSUPPORTED',
        `The store in ${this.#context.root} was opened with readOnly, so it cannot be written to.`,
        {},
      );
    while (this.#dropping.has(name)) await this.#dropping.get(name)?.catch(() => undefined);
    if (this.#lost !== undefined) throw this.#lost;
    return await work(this.#databaseFor(name));
  }

  #databaseFor(name: string): DatabaseFile {
    let database = this.#databases.get(name);
    if (database === undefined) this.#databases.set(name, (database = new DatabaseFile(name, this.#context)));
    return database;
  }

  /** The number of databases in memory. */
  get size(): number {
    return this.#databases.size;
  }

  /** Forgets a database that is idle and wrote nothing. */
  forget(name: string): void {
    if (this.#databases.get(name)?.isKept === false) this.#databases.delete(name);
  }

  async sweep(limit: number): Promise<number> {
    await this.#assertOwned();
    if (this.#context.readOnly) return 0;
    return await sweepParts(
      [...this.#databases.values()],
      async ({ name }, swept) => await this.#sweepOne(name, limit - swept),
    );
  }

  async #sweepOne(name: string, limit: number): Promise<number> {
    let swept = 0;
    for (let more = this.#databases.has(name); more && swept < limit;) {
      const page = Math.min(importRowsMax, limit - swept);
      const sweeping = this.#with(name, async (database) => {
        if (database.table.expired(1, this.#context.time.now()).length === 0) {
          this.forget(name);
          return 0;
        }
        return await database.submit((rowBefore, now) => {
          const addresses = database.table
            .expired(page, now)
            .filter((address) => isExpired(rowBefore(address), now));
          return {
            effects: addresses.map((address) => ({ address, row: undefined })),
            result: addresses.length,
          };
        });
      });
      const removed = await sweeping.catch((error: unknown) => stopSweep(error, swept));
      swept += removed;
      more = removed === page;
    }
    return swept;
  }

  // ─── administration

  async databases(): Promise<readonly string[]> {
    await this.#assertOwned();
    const now = this.#context.time.now();
    return [...this.#databases.values()]
      .filter(({ table }) => holdsARow(table, now))
      .map(({ name }) => name)
      .sort();
  }

  async spaces(database: string): Promise<readonly Space[]> {
    await this.#assertOwned();
    return this.#databases.get(database)?.table.spaces(database, this.#context.time.now()) ?? [];
  }

  /** The rows at the moment of the first read. */
  async *export(name: string, part?: ExportPart): AsyncGenerator<RawRow> {
    await this.#assertOwned();
    const now = this.#context.time.now();
    const file = this.#databases.get(name);
    if (file === undefined) return;
    assertMayExport(name, file.views);
    const view = file.freeze(part);
    try {
      for (const page of view.pages()) for (const raw of page) if (isLive(raw.row, now)) yield raw;
    } finally {
      view.release();
    }
  }

  async import(name: string, rows: AsyncIterable<RawRow> | Iterable<RawRow>): Promise<number> {
    await this.#assertOwned();
    let count = 0;
    let bytes = 0;
    let batch: RawRow[] = [];
    const positions = new ImportedPositions();
    const flush = async (): Promise<void> => {
      const page = batch;
      batch = [];
      bytes = 0;
      const imported = this.#with(name, (database) =>
        database.submit((rowBefore, _, group) => ({
          effects: page.map((raw) => {
            const { row: __, ...address } = raw;
            return { address, row: group.place(raw, rowBefore(address), positions) };
          }),
          result: page.length,
        })),
      );
      count += await imported;
    };
    try {
      for await (const raw of soundRows(name, rows)) {
        batch.push(raw);
        bytes += sizeOf(raw);
        if (batch.length === importRowsMax || bytes >= importBytesMax) await flush();
      }
      if (batch.length > 0) await flush();
    } catch (error) {
      throw isStorageError(error) ? partlyImported(error, count) : error;
    }
    return count;
  }

  /**
   * Expired rows are swept first, because a snapshot contains every row in memory. A database that
   * fails keeps no other from being compacted.
   */
  async compact(): Promise<number> {
    await this.#assertOwned();
    const freedBytes = await eachInTurn([...this.#databases.values()], async ({ name }) => {
      await this.#sweepOne(name, Number.MAX_SAFE_INTEGER);
      return await this.#with(name, async (database) => {
        if (database.exists) return await database.compact();
        this.forget(name);
        return 0;
      });
    });
    return freedBytes.reduce((sum, bytes) => sum + bytes, 0);
  }

  async drop(name: string): Promise<boolean> {
    return await this.#with(name, async (database) => {
      const dropped = this.#drop(database);
      this.#dropping.set(name, dropped);
      try {
        return await dropped;
      } finally {
        this.#dropping.delete(name);
      }
    });
  }

  /**
   * Drops it with one rename. Readers see it until that is on disk; the files are removed after
   * that.
   */
  async #drop(database: DatabaseFile): Promise<boolean> {
    const { fileSystem, root, time } = this.#context;
    const { name } = database;
    await database.close();
    const existed = holdsARow(database.table, time.now());
    const aside = database.exists ? await this.#renameAway(database) : undefined;
    this.#databases.delete(name);
    database.leaveFeed();
    this.hints.changed(name, database.table.all());
    if (aside !== undefined) await removeTree(fileSystem, join(root, aside));
    return existed;
  }

  /** Returns the new name of its directory. It is on disk then, and the store is still ours. */
  async #renameAway(database: DatabaseFile): Promise<string> {
    const { fileSystem, root, verifyOwner } = this.#context;
    const what = `The database '${database.name}' could not be dropped`;
    let aside: string;
    try {
      // before the owner is verified: what a later owner writes is newer than this
      const generation = newestGeneration((await fileSystem.list(database.directory)) ?? []);
      aside = droppedName({ directory: basename(database.directory), generation });
      await verifyOwner();
    } catch (error) {
      throw unavailable(what, error);
    }
    try {
      await fileSystem.rename(database.directory, join(root, aside));
    } catch (error) {
      const names = await fileSystem.list(database.directory).catch(() => undefined);
      if (names !== undefined && names.length > 0) throw unavailable(what, error);
      // the rename reported a failure, but the directory is gone
      database.closeForWriting(unavailable(what, error));
      throw outcomeUnknown(what, error);
    }
    try {
      await synced(root, fileSystem.syncDirectory(root));
    } catch (error) {
      database.closeForWriting(unavailable(what, error));
      throw outcomeUnknown(what, error);
    }
    try {
      await verifyOwner();
    } catch (error) {
      // if this fails too, the next opening does it
      await undoLateDrop(fileSystem, root, aside).catch(() => false);
      throw outcomeUnknown(`The database '${database.name}' was being dropped`, error);
    }
    return aside;
  }
}

function holdsARow(table: RowTable, now: number): boolean {
  for (const { row } of table.all()) if (isLive(row, now)) return true;
  return false;
}

function sizeOf({ row: { value } }: RawRow): number {
  return value.kind === 'json' ? value.text.length : value.kind === 'bytes' ? value.bytes.length : 0;
}

const isExpired = (row: RawRow['row'] | undefined, now: number): boolean =>
  row !== undefined && !isLive(row, now);

const submit = (database: DatabaseFile, batch: Batch, signal: Signal): Promise<readonly CommitResult[]> =>
  database.submit(
    (rowBefore, now, { next }) => {
      const { effects, result } = evaluateBatch(batch, rowBefore, now, next);
      return { effects, result: [result] };
    },
    signal,
    failed,
  );

const failed = (error: unknown): readonly CommitResult[] => {
  if (isStorageError(error)) return [{ outcome: 'failed', error }];
  const message = 'The commit failed before anything was written.';
  return [{ outcome: 'failed', error: storageError('STORAGE_UNAVAILABLE', message, {}, { cause: error }) }];
};

/**
 * What an open JSON-file provider holds: the lock, and the databases. Databases share nothing but
 * these: one's full disk holds up no other.
 */
import { basename, join } from 'node:path';
import { isStorageError, stoppedAfter, storageError, type StorageError } from '../../core/base/errors.js';
import { evaluateBatch, isLive } from '../../core/port/evaluate-batch.js';
import type { HintSource } from '../../core/providers/hint-source.js';
import { assertReadBytes } from '../../core/port/page-bytes.js';
import { soundRows } from '../../core/port/raw-row.js';
import { withoutValue, type RowTable } from '../../core/providers/row-table.js';
import type {
  Address,
  Batch,
  CommitResult,
  RawRow,
  ReadResult,
  ScanPage,
  ScanRange,
  Space,
} from '../../core/port/storage-provider.js';
import { DatabaseFile } from './database/database-file.js';
import type { StoreContext } from './database/store-context.js';
import { outcomeUnknown, synced, unavailable } from './disk/disk-errors.js';
import { droppedName } from './format/layout.js';
import type { HeldLock } from './lock/lock-file.js';
import { removeTree } from './store-root.js';

/** Rows and bytes of one line of an import or a sweep. */
const importRowsMax = 500;
const importBytesMax = 1_024 * 1_024;

type Signal = AbortSignal | undefined;

export class FileStore {
  readonly #context: StoreContext;
  readonly #lock: HeldLock;
  readonly #databases: Map<string, DatabaseFile>;
  /** Databases that are being removed: what comes meanwhile waits, and begins anew. */
  readonly #leaving = new Map<string, Promise<unknown>>();
  #lost: StorageError | undefined;

  constructor(context: StoreContext, lock: HeldLock, databases: Map<string, DatabaseFile>) {
    this.#context = context;
    this.#lock = lock;
    this.#databases = databases;
  }

  get hints(): HintSource {
    return this.#context.hints;
  }

  /** The lock is another process's: nothing is answered from memory any more. */
  lose(error: StorageError): void {
    this.#lost ??= error;
    for (const database of this.#databases.values()) database.closeForWriting(this.#lost);
  }

  note(): void {
    for (const database of this.#databases.values()) database.note();
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.#leaving.values());
    await Promise.all([...this.#databases.values()].map((database) => database.close()));
    await this.#lock.release();
  }

  /** Before an answer from memory: after a timer that came late, somebody may have taken over. */
  async #owned(): Promise<void> {
    if (this.#lost !== undefined) throw this.#lost;
    if (!this.#lock.isFresh) await this.#context.verifyOwner();
  }

  async read(addresses: readonly Address[], omit: boolean): Promise<ReadResult> {
    await this.#owned();
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
    await this.#owned();
    const time = this.#context.time.now();
    return ranges.map((range) => ({
      time,
      ...(this.#databases.get(range.database)?.table.scan(range, time) ?? { rows: [], more: false }),
    }));
  }

  commit(batches: readonly Batch[], signal: Signal): Promise<readonly CommitResult[]> {
    return Promise.all(batches.map((batch) => this.#commit(batch, signal).catch(failed)));
  }

  async #commit(batch: Batch, signal: Signal): Promise<CommitResult> {
    await this.#owned();
    return await this.#with(batch.database, (database) =>
      database.submit((rowBefore, now) => {
        const { result, effects } = evaluateBatch(batch, rowBefore, now);
        return { effects, answer: result };
      }, signal),
    );
  }

  /**
   * Hands work to a database at once, in the turn in which it is looked up: one that is idle and
   * wrote nothing is forgotten. A new one is made on disk with its first row.
   */
  async #with<R>(name: string, work: (database: DatabaseFile) => Promise<R>): Promise<R> {
    if (this.#context.readOnly)
      throw storageError(
        'STORAGE_UNSUPPORTED',
        `The store in ${this.#context.root} was opened with readOnly: nothing is written to it.`,
        {},
      );
    while (this.#leaving.has(name)) await this.#leaving.get(name)?.catch(() => undefined);
    if (this.#lost !== undefined) throw this.#lost;
    let database = this.#databases.get(name);
    if (database === undefined) this.#databases.set(name, (database = new DatabaseFile(name, this.#context)));
    return await work(database);
  }

  /** How many databases it knows. */
  get size(): number {
    return this.#databases.size;
  }

  /** Forgets a database that is idle and wrote nothing. */
  forget(name: string): void {
    if (this.#databases.get(name)?.isKept === false) this.#databases.delete(name);
  }

  async sweep(limit: number): Promise<number> {
    await this.#owned();
    if (this.#context.readOnly) return 0;
    let swept = 0;
    const failures: unknown[] = [];
    for (const { name } of [...this.#databases.values()]) {
      try {
        swept += await this.#sweepOne(name, limit - swept);
      } catch (error) {
        failures.push(error);
      }
    }
    // what stands against one database keeps no other from being swept
    if (failures.length > 0) throw failures[0] as Error;
    return swept;
  }

  async #sweepOne(name: string, limit: number): Promise<number> {
    let swept = 0;
    for (let more = this.#databases.has(name); more && swept < limit;) {
      const page = Math.min(importRowsMax, limit - swept);
      const gone = await this.#with(name, async (database) => {
        if (database.table.expired(1, this.#context.time.now()).length === 0) {
          this.forget(name);
          return 0;
        }
        return await database.submit((rowBefore, now) => {
          const addresses = database.table
            .expired(page, now)
            .filter((address) => isGone(rowBefore(address), now));
          return {
            effects: addresses.map((address) => ({ address, row: undefined })),
            answer: addresses.length,
          };
        });
      });
      swept += gone;
      more = gone === page;
    }
    return swept;
  }

  // ─── administration

  async databases(): Promise<readonly string[]> {
    await this.#owned();
    const now = this.#context.time.now();
    return [...this.#databases.values()]
      .filter(({ table }) => holdsARow(table, now))
      .map(({ name }) => name)
      .sort();
  }

  async spaces(database: string): Promise<readonly Space[]> {
    await this.#owned();
    return this.#databases.get(database)?.table.spaces(database, this.#context.time.now()) ?? [];
  }

  /** The rows as they are when the first one is asked for. */
  async *export(name: string): AsyncGenerator<RawRow> {
    await this.#owned();
    const now = this.#context.time.now();
    const view = this.#databases.get(name)?.freeze();
    if (view === undefined) return;
    try {
      for (const page of view.pages()) for (const raw of page) if (isLive(raw.row, now)) yield raw;
    } finally {
      view.release();
    }
  }

  async import(name: string, rows: AsyncIterable<RawRow> | Iterable<RawRow>): Promise<number> {
    await this.#owned();
    let count = 0;
    let bytes = 0;
    let batch: RawRow[] = [];
    const flush = async (): Promise<void> => {
      const effects = batch.map(({ row, container, entity, key }) => ({
        address: { container, entity, key },
        row,
      }));
      batch = [];
      bytes = 0;
      const imported = this.#with(name, (database) =>
        database.submit(() => ({ effects, answer: effects.length })),
      );
      count += await imported.catch((error: unknown) => stopImport(error, count));
    };
    for await (const raw of soundRows(name, rows)) {
      batch.push(raw);
      bytes += sizeOf(raw);
      if (batch.length === importRowsMax || bytes >= importBytesMax) await flush();
    }
    if (batch.length > 0) await flush();
    return count;
  }

  async drop(name: string): Promise<boolean> {
    return await this.#with(name, async (database) => {
      const dropped = this.#drop(database);
      this.#leaving.set(name, dropped);
      try {
        return await dropped;
      } finally {
        this.#leaving.delete(name);
      }
    });
  }

  /**
   * Gone with one rename: readers see it until that is on disk, and the files go when nothing can
   * need them.
   */
  async #drop(database: DatabaseFile): Promise<boolean> {
    const { fileSystem, root, verifyOwner, time } = this.#context;
    const { name } = database;
    await database.close();
    const existed = holdsARow(database.table, time.now());
    const aside = join(root, droppedName(basename(database.directory)));
    if (database.exists) {
      await this.#renameAway(database, aside);
      await verifyOwner().catch((error: unknown) =>
        Promise.reject(outcomeUnknown(`The database '${name}' was being dropped`, error)),
      );
    }
    this.#databases.delete(name);
    this.hints.changed(name, [...database.table.all()]);
    if (database.exists) await removeTree(fileSystem, aside);
    return existed;
  }

  async #renameAway(database: DatabaseFile, aside: string): Promise<void> {
    const { fileSystem, root } = this.#context;
    const what = `The database '${database.name}' could not be dropped`;
    try {
      await this.#context.verifyOwner();
    } catch (error) {
      throw unavailable(what, error);
    }
    try {
      await fileSystem.rename(database.directory, aside);
    } catch (error) {
      const names = await fileSystem.list(database.directory).catch(() => undefined);
      if (names !== undefined && names.length > 0) throw unavailable(what, error);
      // it says that it failed, and it was done
      database.closeForWriting(unavailable(what, error));
      throw outcomeUnknown(what, error);
    }
    try {
      await synced(root, fileSystem.syncDirectory(root));
    } catch (error) {
      database.closeForWriting(unavailable(what, error));
      throw outcomeUnknown(what, error);
    }
  }
}

function holdsARow(table: RowTable, now: number): boolean {
  for (const { row } of table.all()) if (isLive(row, now)) return true;
  return false;
}

/** What was imported before the failure stays. */
function stopImport(error: unknown, count: number): never {
  throw isStorageError(error)
    ? stoppedAfter(error, count, `The import stopped after ${count} rows, which are stored.`)
    : error;
}

function sizeOf({ row: { value } }: RawRow): number {
  return value.kind === 'json' ? value.text.length : value.kind === 'bytes' ? value.bytes.length : 0;
}

const isGone = (row: RawRow['row'] | undefined, now: number): boolean =>
  row !== undefined && !isLive(row, now);

const failed = (error: unknown): CommitResult => {
  if (isStorageError(error)) return { outcome: 'failed', error };
  return {
    outcome: 'failed',
    error: storageError(
      'STORAGE_UNAVAILABLE',
      'The commit failed before anything was written.',
      {},
      { cause: error },
    ),
  };
};

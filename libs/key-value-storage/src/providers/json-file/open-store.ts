/**
 * Opening a store: the lock first, then the root, then every database, each judged by the opening
 * rules; what was not closed is written anew.
 */
import { join } from 'node:path';
import { SteadyTime, type Clock } from '../../core/base/clock.js';
import { isStorageError, storageError, type StorageError } from '../../core/base/errors.js';
import { HintSource } from '../../core/providers/hint-source.js';
import { DatabaseFile } from './database/database-file.js';
import type { CompactionOptions, StoreContext } from './database/store-context.js';
import { unavailable } from './disk/disk-errors.js';
import { directoryOf } from './disk/file-name.js';
import type { FileSystem } from './disk/file-system.js';
import { FileStore } from './file-store.js';
import { acquireLock, type HeldLock } from './lock/lock-file.js';
import { OpenJournals } from './database/open-journals.js';
import type { Processes } from './lock/process-identity.js';
import { readDatabase, type Recovered } from './database/read-database.js';
import { listDatabases, makeRoot, readMarker, settleRoot, warnOfOthers } from './store-root.js';

interface OpenOptions {
  readonly fileSystem: FileSystem;
  readonly root: string;
  readonly clock: Clock;
  readonly processes: Processes;
  readonly lockTimeoutMs: number;
  readonly compaction: CompactionOptions;
  readonly openJournalsMax: number;
  readonly create: 'if-missing' | 'never';
  /** Nothing is changed but the lock. */
  readonly readOnly: boolean;
  /** What is made on this disk has it; others that may write to the root are warned of. */
  readonly directoryMode: number;
  readonly warn: (message: string) => void;
  /** The store that was here when this provider was open before. */
  readonly expectedId: string | undefined;
}

/** Databases that are read at the same time. */
const openedAtOnce = 4;

export async function openStore(
  options: OpenOptions,
): Promise<{ readonly store: FileStore; readonly id: string }> {
  const {
    fileSystem,
    root,
    clock,
    processes,
    lockTimeoutMs,
    create,
    readOnly,
    directoryMode,
    warn,
    expectedId,
  } = options;
  await makeRoot(fileSystem, root, expectedId === undefined && !readOnly ? create : 'never');
  await warnOfOthers(fileSystem, root, directoryMode, warn);
  const lock = await acquireLock({
    fileSystem,
    directory: root,
    clock,
    processes,
    timeoutMs: lockTimeoutMs,
    giveBack: readOnly,
  });
  const databases = new Map<string, DatabaseFile>();
  const opening = new Opening(options, lock, databases);
  try {
    lock.keep(opening.lose, () => opening.store.note());
    const id = await (readOnly ? readMarker : settleRoot)(fileSystem, root);
    if (expectedId !== undefined && id !== expectedId) throw anotherStore(root);
    await opening.readAll();
    await opening.context.verifyOwner();
    return { store: opening.store, id };
  } catch (error) {
    await opening.store.close();
    throw error;
  }
}

const anotherStore = (root: string): StorageError =>
  storageError(
    'STORAGE_UNAVAILABLE',
    `The store in ${root} is not the one that this provider had open before: is the right disk mounted?`,
    {},
  );

interface Found {
  readonly name: string;
  readonly recovered: Recovered;
}

/** Some at a time; after a failure no further one is begun. */
async function eachOf<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const rest = items.values();
  let failed = false;
  const worker = async (): Promise<void> => {
    for (const item of rest) {
      if (failed) return;
      await work(item).catch((error: unknown) => {
        failed = true;
        throw error;
      });
    }
  };
  const results = await Promise.allSettled(Array.from({ length: openedAtOnce }, worker));
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}

/**
 * A clock that is behind the time stored by this much is told of: less is what clocks are set by.
 */
const farMs = 60_000;

const timeOfDay = (time: number): string =>
  Math.abs(time) <= 8.64e15 ? new Date(time).toISOString() : String(time);

class Opening {
  readonly context: StoreContext;
  readonly store: FileStore;
  readonly #lock: HeldLock;
  readonly #clock: Clock;
  readonly #databases: Map<string, DatabaseFile>;
  #lost: StorageError | undefined;

  constructor(
    { fileSystem, root, clock, compaction, openJournalsMax, readOnly, warn }: OpenOptions,
    lock: HeldLock,
    databases: Map<string, DatabaseFile>,
  ) {
    this.#lock = lock;
    this.#clock = clock;
    this.#databases = databases;
    const verifyOwner = (): Promise<void> => this.#verifyOwner();
    this.context = {
      fileSystem,
      root,
      time: new SteadyTime(clock),
      hints: new HintSource(),
      compaction,
      journals: new OpenJournals(openJournalsMax),
      onIdle: (database) => this.store.forget(database),
      readOnly,
      verifyOwner,
      warn,
    };
    this.store = new FileStore(this.context, lock, databases);
  }

  readonly lose = (error: unknown): void => {
    this.#lost = unavailable(`The lock of the store in ${this.context.root} was lost`, error);
    this.store.lose(this.#lost);
  };

  async #verifyOwner(): Promise<void> {
    if (this.#lost !== undefined) throw this.#lost;
    try {
      await this.#lock.verify();
    } catch (error) {
      if (isStorageError(error, 'STORAGE_LOCKED')) this.lose(error);
      throw error;
    }
  }

  /**
   * Nothing is written before every database was judged: a start that is refused leaves all as it
   * was.
   */
  async readAll(): Promise<void> {
    const { fileSystem, root } = this.context;
    const found: Found[] = [];
    await eachOf(await listDatabases(fileSystem, root), async (name) => {
      found.push({ name, recovered: await readDatabase(fileSystem, join(root, directoryOf(name)), name) });
    });
    for (const { recovered } of found)
      if (Number.isFinite(recovered.time.time)) this.context.time.found(recovered.time);
    this.#warnOfClock();
    await eachOf(found, (each) => this.#take(each));
  }

  /** Rows expire by the time stored, never by a clock that was put back. */
  #warnOfClock(): void {
    const ahead = this.context.time.ahead();
    if (ahead === undefined || ahead.time - ahead.wall < farMs) return;
    const [stored, now] = [ahead.time, ahead.wall].map(timeOfDay);
    this.context.warn(
      `The times stored in ${this.context.root} are ahead of this machine's clock: ${stored}, where it says ${now}. The clock was far ahead when something was written, or it is wrong now. What expires is counted on from the time stored.`,
    );
  }

  /**
   * Whether the clock is far behind where it was when this was stored: what passes from here on is
   * only known if that is written down.
   */
  #isPutBack({ time: { wall } }: Recovered): boolean {
    return wall - this.#clock.now() >= farMs;
  }

  async #take({ name, recovered }: Found): Promise<void> {
    const { fileSystem, warn } = this.context;
    for (const warning of recovered.warnings) warn(warning);
    const database = new DatabaseFile(name, this.context, recovered);
    this.#databases.set(name, database);
    if (this.context.readOnly) return;
    // the page cache of a killed process proves nothing: what was read is only known to be on disk
    // if its owner closed it
    if (!recovered.closed || this.#lock.inherited || this.#isPutBack(recovered)) await database.recover();
    for (const file of recovered.stale)
      await fileSystem.remove(join(database.directory, file)).catch(() => undefined);
  }
}

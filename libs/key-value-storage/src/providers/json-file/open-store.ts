/**
 * Opens a store: first the lock, then the root, then every database, by the opening rules of
 * `readDatabase`. A database that was not closed is written as a new generation.
 */
import { join } from 'node:path';
import { SteadyTime, type Clock } from '../../core/base/clock.js';
import { isStorageError, storageError, type StorageError } from '../../core/base/errors.js';
import { feedStart } from '../../core/port/feed-position.js';
import { HintSource } from '../../core/providers/hint-source.js';
import { DatabaseFile } from './database/database-file.js';
import { hasManyJournals } from './database/file-sizes.js';
import type { CompactionOptions, StoreContext } from './database/store-context.js';
import { corrupt, reasonOf, unavailable } from './disk/disk-errors.js';
import { directoryOf } from './disk/file-name.js';
import type { FileSystem } from './disk/file-system.js';
import { FileStore } from './file-store.js';
import { SpareBuffer } from './format/commit-lines.js';
import { reservationName } from './format/layout.js';
import { acquireLock, type HeldLock } from './lock/lock-file.js';
import { OpenJournals } from './database/open-journals.js';
import type { Processes } from './lock/process-identity.js';
import { readDatabase, type RecoveredDatabase } from './database/read-database.js';
import { joinFeed } from './place-old-rows.js';
import { StoreFeed } from './database/store-feed.js';
import {
  listDatabases,
  ensureRoot,
  markFeed,
  readMarker,
  prepareRoot,
  warnOfPermissions,
} from './store-root.js';

interface OpenOptions {
  readonly fileSystem: FileSystem;
  readonly root: string;
  readonly clock: Clock;
  readonly processes: Processes;
  readonly lockTimeoutMs: number;
  readonly compaction: CompactionOptions;
  readonly openJournalsMax: number;
  readonly create: 'if-missing' | 'never';
  /** Changes nothing but the lock. */
  readonly readOnly: boolean;
  /** The mode of new directories; a root that other users may write to causes a warning. */
  readonly directoryMode: number;
  readonly warn: (message: string) => void;
  /** The id of the store that this provider opened before. */
  readonly expectedId: string | undefined;
}

/** Events whose positions are reported at once, in a store that is older than the feed. */
const progressEach = 10_000;

/** How many databases are read at the same time. */
const concurrency = 4;

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
  await ensureRoot(fileSystem, root, expectedId === undefined && !readOnly ? create : 'never');
  await warnOfPermissions(fileSystem, root, directoryMode, warn);
  const lock = await acquireLock({
    fileSystem,
    directory: root,
    clock,
    processes,
    timeoutMs: lockTimeoutMs,
    restore: readOnly,
  });
  const databases = new Map<string, DatabaseFile>();
  const opening = new Opening(options, lock, databases);
  try {
    lock.start(opening.onLockLost, () => opening.store.noteOnDisk());
    const marker = await (readOnly ? readMarker : prepareRoot)(fileSystem, root);
    const { id, feed = false } = marker;
    if (expectedId !== undefined && id !== expectedId) throw anotherStore(root);
    await opening.readAll(feed);
    if (!feed && !readOnly) {
      await markFeed(fileSystem, root, marker, true);
    }
    await opening.context.verifyOwner();
    if (!readOnly) await lock.recovered();
    return { store: opening.store, id };
  } catch (error) {
    await opening.store.close();
    throw error;
  }
}

const anotherStore = (root: string): StorageError =>
  storageError(
    'STORAGE_UNAVAILABLE',
    `The store in ${root} is not the one that this provider opened before. Is the right disk mounted?`,
    {},
  );

interface Found {
  readonly name: string;
  readonly recovered: RecoveredDatabase;
}

/** A few at a time; after a failure no further one is started. */
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
  const results = await Promise.allSettled(Array.from({ length: concurrency }, worker));
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}

/**
 * A clock that is this far behind the stored time causes a warning; small corrections are usual.
 */
const clockWarningMs = 60_000;

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
    const hints = new HintSource();
    this.context = {
      fileSystem,
      root,
      time: new SteadyTime(clock),
      hints,
      feed: new StoreFeed({ fileSystem, root, verifyOwner, hints }),
      compaction,
      journals: new OpenJournals(openJournalsMax),
      spareBuffer: new SpareBuffer(),
      onIdle: (database) => this.store.forget(database),
      readOnly,
      verifyOwner,
      warn,
    };
    this.store = new FileStore(this.context, lock, databases);
  }

  readonly onLockLost = (error: unknown): void => {
    this.#lost = unavailable(`The lock of the store in ${this.context.root} was lost`, error);
    this.store.onLockLost(this.#lost);
  };

  async #verifyOwner(): Promise<void> {
    if (this.#lost !== undefined) throw this.#lost;
    try {
      await this.#lock.verify();
    } catch (error) {
      if (isStorageError(error, 'STORAGE_LOCKED')) this.onLockLost(error);
      throw error;
    }
  }

  /**
   * Writes nothing before all databases are read, so a refused start changes nothing. `hasFeed`:
   * the events have positions.
   */
  async readAll(hasFeed: boolean): Promise<void> {
    const { fileSystem, root, feed } = this.context;
    const found: Found[] = [];
    if (!(await feed.found()) && hasFeed)
      throw corrupt(
        join(root, reservationName(feedStart)),
        'a file of this kind is missing: it reserves the positions of the feed',
      );
    await eachOf(await listDatabases(fileSystem, root), async (name) => {
      found.push({ name, recovered: await readDatabase(fileSystem, join(root, directoryOf(name)), name) });
    });
    for (const { recovered } of found)
      if (Number.isFinite(recovered.time.time)) this.context.time.found(recovered.time);
    this.#warnOfClock();
    const tables = found.map(({ name, recovered: { table } }) => ({ name, table }));
    const { changed, placed } = await joinFeed(tables, feed, !hasFeed);
    // a new position is not given again, also where its row is deleted before the next opening
    if (!this.context.readOnly && (!hasFeed || changed.size > 0)) await feed.reserve();
    const written = this.#reportOf(placed);
    await eachOf(found, async (each) => {
      await this.#add(each, changed.has(each.name));
      written(each.name);
    });
  }

  /** What is called when a database is on the disk: it reports the events that have positions. */
  #reportOf(placed: ReadonlyMap<string, number>): (name: string) => void {
    const { root, readOnly, warn } = this.context;
    const total = [...placed.values()].reduce((sum, events) => sum + events, 0);
    if (readOnly || total === 0) return () => undefined;
    if (total >= progressEach)
      warn(
        `The store in ${root} is older than the feed: ${total} stored events get positions in it, and ${placed.size} databases are written.`,
      );
    let done = 0;
    return (name) => {
      const before = done;
      done += placed.get(name) ?? 0;
      if (done === before) return;
      if (done === total)
        warn(`The store in ${root}: ${total} stored events have got their positions in the feed.`);
      else if (Math.floor(done / progressEach) > Math.floor(before / progressEach))
        warn(
          `The store in ${root}: ${done} of ${total} stored events have got their positions in the feed so far.`,
        );
    };
  }

  /** Rows expire by the stored time, never by a clock that was set back. */
  #warnOfClock(): void {
    const ahead = this.context.time.ahead();
    if (ahead === undefined || ahead.time - ahead.wall < clockWarningMs) return;
    const [stored, now] = [ahead.time, ahead.wall].map(timeOfDay);
    this.context.warn(
      `The times stored in ${this.context.root} are ahead of this machine's clock: ${stored} is stored, the clock is ${now}. Either the clock was ahead when a row was written, or it is wrong now. Expiry continues from the stored time.`,
    );
  }

  /**
   * Whether the clock is far behind the clock at the last commit. The time that passes from now on
   * is only known if that is stored.
   */
  #isSetBack({ time: { wall } }: RecoveredDatabase): boolean {
    return wall - this.#clock.now() >= clockWarningMs;
  }

  async #add({ name, recovered }: Found, hasChanged: boolean): Promise<void> {
    const { fileSystem, warn } = this.context;
    for (const warning of recovered.warnings) warn(warning);
    const database = new DatabaseFile(name, this.context, recovered);
    this.#databases.set(name, database);
    if (this.context.readOnly) return;
    // rows that were read may be in the page cache only, unless their owner closed the database
    if (!recovered.closed || hasChanged || this.#lock.inherited || this.#isSetBack(recovered))
      await database.recover();
    else if (hasManyJournals(recovered))
      await database.compact().catch((error: unknown) => warn(`${reasonOf(error)} Its journals are kept.`));
    for (const file of recovered.stale)
      await fileSystem.remove(join(database.directory, file)).catch(() => undefined);
  }
}

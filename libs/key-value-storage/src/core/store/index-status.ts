/**
 * Whether an index may be read, and by which definition its rows are made. Each database has one
 * status row for each index. The protocol (decision 18):
 *
 * - The first process with a definition that writes, or finds entries, claims the index, and builds
 *   it. It is read once it is ready. Without a status and without entries it is empty, which each
 *   read finds out anew: so what only reads writes nothing.
 * - Processes rely on a status for `leaseMs` after they have read it. Who changes a status so that
 *   an index must not be read any more waits `leaveMs` before the first write that the index would
 *   miss. By then no reader relies on the old status.
 * - A process whose definition is no longer the current one makes the index unready before it
 *   writes, and leaves a row with a time to live. While that row is there, the index stays unready.
 *   So does who writes without index rows (`UnindexedWriter`).
 */
import { throwIfAborted, untilAborted } from '../base/abort.js';
import type { Clock } from '../base/clock.js';
import { isStorageError, storageError } from '../base/errors.js';
import { RecentMap } from '../base/recent-map.js';
import { Waiters } from '../base/waiters.js';
import { withAbort } from '../base/with-abort.js';
import type { StorageAccess } from '../commit/storage-access.js';
import { buildIndex } from './index-build.js';
import type { ResolvedIndex } from './index-definition.js';
import type { ResolvedState } from './state-definition.js';
import type { Row, RowAddress } from '../port/storage-provider.js';
import { readStatus, statusChange, type IndexStatus, type ReadStatus } from './index-status-row.js';
import type { ValueCodec } from './value-codec.js';

/** How long a process relies on a status. Each database in use costs one read in this time. */
const leaseMs = 500;
/** Longer than a lease: clocks of two machines run at slightly different rates. */
const leaveMs = 2 * leaseMs;
/** After its last write, how long a process with another definition keeps an index unready. */
const otherWriterTtlMs = 10_000;
/** Databases whose statuses are kept; those of another one are read again. */
const databasesMax = 1_000;
/** How long a read waits for a build. */
const buildWaitMs = 5_000;
const attemptsMax = 20;

/** What was read of all indexes of a state, and until when it may be relied on. */
interface Known {
  /** An index that is not claimed has none. */
  readonly statuses: ReadonlyMap<ResolvedIndex, ReadStatus>;
  readonly until: number;
}

/** A build may take long: a call that stops waiting for it leaves nothing with its promise. */
interface RunningBuild {
  readonly done: Promise<void>;
  /** Notified when it is done. */
  readonly waiters: Waiters;
}

export class IndexStatuses<T> {
  readonly #access: StorageAccess;
  readonly #clock: Clock;
  readonly #state: ResolvedState<T>;
  readonly #indexes: readonly ResolvedIndex[];
  readonly #codec: ValueCodec<T>;
  readonly #known = new RecentMap<string, Known>(databasesMax);
  readonly #reading = new Map<string, Promise<Known>>();
  readonly #building = new Map<string, RunningBuild>();
  /**
   * By database. A definition claims once in a process, so that two definitions do not alternate.
   */
  readonly #claimed = new RecentMap<string, Set<ResolvedIndex>>(databasesMax);

  /** `access`: outside of any transaction. */
  constructor(
    access: StorageAccess,
    state: ResolvedState<T>,
    indexes: readonly ResolvedIndex[],
    codec: ValueCodec<T>,
  ) {
    this.#access = access;
    this.#clock = access.clock;
    this.#state = state;
    this.#indexes = indexes;
    this.#codec = codec;
  }

  /**
   * Must be awaited before each write. Undefined, and nothing is read, where the statuses are
   * known.
   */
  beforeWrite(database: string, signal: AbortSignal | undefined): Promise<void> | undefined {
    const known = this.#known.get(database);
    if (known !== undefined && known.until > this.#clock.monotonic() && this.#mayWrite(known))
      return undefined;
    // what other calls wait for too continues: the status that is read, and the wait to leave
    return untilAborted('A write', 'none', signal, this.#prepareWrite(database, signal));
  }

  /**
   * Must be awaited after a write that was prepared at `begun`: one that took longer than a lease
   * may have been missed by the build of another definition.
   */
  afterWrite(database: string, begun: number): Promise<void> | undefined {
    if (this.#clock.monotonic() - begun < leaseMs) return undefined;
    this.#known.delete(database);
    return this.#prepareWrite(database, undefined);
  }

  /** Whether the index has a status. Without one, it is known only of a state without entries. */
  async isClaimed(index: ResolvedIndex, database: string, signal: AbortSignal | undefined): Promise<boolean> {
    const known = await untilAborted('A read', 'none', signal, this.#current(database, 'any'));
    return known.statuses.has(index);
  }

  /** Whether all indexes are known to be ready: then each entry has its rows. */
  isComplete(database: string): boolean {
    const known = this.#known.get(database);
    return (
      known !== undefined &&
      known.until > this.#clock.monotonic() &&
      this.#indexes.every((index) => isReady(index, known.statuses.get(index)))
    );
  }

  /** The same, by the rows of the statuses that a transaction sees. */
  isCompleteIn(database: string, rowAt: (address: RowAddress) => Row | undefined): boolean {
    return this.#indexes.every((index) => {
      const { statusRow } = index;
      return isReady(index, readStatus({ database, ...statusRow }, rowAt(statusRow), 0));
    });
  }

  /** Forgets what is known of a database that was dropped. */
  forget(database: string): void {
    this.#known.delete(database);
    this.#claimed.delete(database);
  }

  /**
   * The status of a ready index; waits for a build. `INDEX_NOT_READY`. A page that was read may be
   * used if `isReady` holds afterwards.
   */
  async ready(
    index: ResolvedIndex,
    database: string,
    signal: AbortSignal | undefined,
  ): Promise<{ readonly isStillReady: () => boolean | Promise<boolean> }> {
    const current = async () => await untilAborted('A read', 'none', signal, this.#statusOf(index, database));
    let { status, until } = await current();
    if (isMine(index, status) && status.status === 'building') {
      await this.#waitForBuild(index, database, signal);
      this.#known.delete(database);
      ({ status, until } = await current());
    }
    if (!isMine(index, status) || status.status !== 'ready') throw this.#notReady(index, status);
    const { rowVersion } = status;
    const isStillReady = async (): Promise<boolean> => (await current()).status.rowVersion === rowVersion;
    return { isStillReady: () => (this.#clock.monotonic() < until ? true : isStillReady()) };
  }

  /** Builds every index of the state again. `INDEX_NOT_READY` where that was not possible. */
  async rebuild(database: string): Promise<void> {
    for (const index of this.#indexes) {
      for (let attempt = 1; ; attempt += 1) {
        const { status } = await this.#statusOf(index, database);
        const change = statusChange(index, {
          hash: index.hash,
          status: 'building',
          old: oldOf(index, status),
        });
        const check = { address: index.statusRow, expected: { version: status.rowVersion } };
        const result = await this.#access.commit(database, { checks: [check], changes: [change] });
        this.#known.delete(database);
        if (result.outcome === 'committed') break;
        if (attempt === attemptsMax) throw this.#notReady(index, status);
      }
      await this.#waitToLeave();
      await this.#build(index, database).done;
      this.#known.delete(database);
      const { status } = await this.#statusOf(index, database);
      if (status.status !== 'ready') throw this.#notReady(index, status);
    }
  }

  async #statusOf(
    index: ResolvedIndex,
    database: string,
  ): Promise<{ readonly status: ReadStatus; readonly until: number }> {
    const { statuses, until } = await this.#current(database);
    return { status: statuses.get(index) as ReadStatus, until };
  }

  /** `needed`: 'claimed' claims each index that has no status. */
  async #current(database: string, needed: 'any' | 'claimed' = 'claimed'): Promise<Known> {
    const known = this.#known.get(database);
    if (known !== undefined && known.until > this.#clock.monotonic() && this.#suffices(known, needed))
      return known;
    const name = `${needed}\0${database}`;
    let reading = this.#reading.get(name);
    if (reading === undefined) {
      reading = this.#access
        .detached(database, async () => await this.#read(database, needed))
        .finally(() => this.#reading.delete(name));
      this.#reading.set(name, reading);
    }
    return await reading;
  }

  #suffices({ statuses }: Known, needed: 'any' | 'claimed'): boolean {
    return needed === 'any' || statuses.size === this.#indexes.length;
  }

  async #read(database: string, needed: 'any' | 'claimed'): Promise<Known> {
    for (let attempt = 1; attempt <= attemptsMax; attempt += 1) {
      const begun = this.#clock.monotonic();
      const addresses = this.#indexes.map(({ statusRow }) => ({ database, ...statusRow }));
      const { rows, time } = await this.#access.read(addresses);
      const statuses = new Map<ResolvedIndex, ReadStatus>();
      let isChanged = false;
      for (const [position, index] of this.#indexes.entries()) {
        const read = readStatus({ database, ...index.statusRow }, rows[position], time);
        if (read === undefined) {
          if (needed === 'any') continue;
          await this.#claim(index, database, undefined);
          isChanged = true;
        } else if (await this.#claimsAfter(index, database, read)) isChanged = true;
        else statuses.set(index, read);
      }
      if (isChanged) continue;
      const known = { statuses, until: begun + leaseMs };
      this.#known.set(database, known);
      return known;
    }
    throw storageError(
      'STORAGE_UNAVAILABLE',
      `The statuses of the indexes of '${this.#state.name}' kept changing.`,
      {},
    );
  }

  /** Whether the status was changed, so that it must be read again. */
  async #claimsAfter(index: ResolvedIndex, database: string, read: ReadStatus): Promise<boolean> {
    const isFirst = this.#claimed.get(database)?.has(index) !== true;
    if (read.hash === index.hash) {
      this.#addClaim(index, database);
      // the data may have been corrected: each process tries once
      const isAgain = read.status === 'failed' && isFirst;
      if (read.status !== 'claimed' && !isAgain) return false;
      // the process that claimed it may have stopped: every process with the definition continues
      if (!isAgain) await this.#clock.wait(Math.max(0, leaveMs - read.ageMs));
      const { hash, old } = read;
      await this.#write(index, database, read.rowVersion, { hash, status: 'building', old });
      return true;
    }
    if (!isFirst) return false;
    await this.#claim(index, database, read);
    return true;
  }

  #addClaim(index: ResolvedIndex, database: string): void {
    const claimed = this.#claimed.get(database) ?? new Set<ResolvedIndex>();
    this.#claimed.set(database, claimed.add(index));
  }

  async #claim(index: ResolvedIndex, database: string, read: ReadStatus | undefined): Promise<void> {
    this.#addClaim(index, database);
    // no process relies on an index without a status, and an engine of one process has no other
    const isRead = read !== undefined && this.#access.provider.features.shared;
    const old = oldOf(index, read);
    const status = { hash: index.hash, status: isRead ? 'claimed' : 'building', old } as const;
    await this.#write(index, database, read?.rowVersion, status);
  }

  /**
   * Writes a status over the one that was read; nothing is written where it has changed. After a
   * lost answer it is false too: the status is read again, and shows what was written. So a write
   * of an entry does not report the outcome of a status as its own.
   */
  async #write(
    index: ResolvedIndex,
    database: string,
    version: string | undefined,
    status: IndexStatus,
  ): Promise<boolean> {
    const expected = version === undefined ? ('absent' as const) : { version };
    const checks = [{ address: index.statusRow, expected }];
    const batch = { checks, changes: [statusChange(index, status)] };
    try {
      return (await this.#access.commit(database, batch)).outcome === 'committed';
    } catch (error) {
      if (isStorageError(error, 'STORAGE_OUTCOME_UNKNOWN')) return false;
      throw error;
    }
  }

  #mayWrite({ statuses }: Known): boolean {
    if (statuses.size < this.#indexes.length) return false;
    for (const [index, status] of statuses)
      if (!isMine(index, status) || (index.unique && status.status === 'building')) return false;
    return true;
  }

  async #prepareWrite(database: string, signal: AbortSignal | undefined): Promise<void> {
    throwIfAborted('A write', signal);
    const { statuses } = await this.#current(database);
    for (const [index, status] of statuses) {
      if (!isMine(index, status)) await this.#leave(index, database, status);
      // an unindexed entry may have the key: without it a second one would not be found
      else if (index.unique && status.status === 'building')
        await this.#builtBeforeWrite(index, database, signal);
    }
  }

  async #builtBeforeWrite(
    index: ResolvedIndex,
    database: string,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    await this.#waitForBuild(index, database, signal);
    this.#known.delete(database);
    const { status } = await this.#statusOf(index, database);
    if (isMine(index, status) && status.status === 'building') throw this.#notReady(index, status);
  }

  /** Makes an index unready that the writes of this process do not change. */
  async #leave(index: ResolvedIndex, database: string, status: ReadStatus): Promise<void> {
    let left: ReadStatus | undefined = status;
    for (let attempt = 1; left !== undefined; attempt += 1) {
      try {
        return await this.#tryLeave(index, database, left);
      } catch (error) {
        if (!isStorageError(error, 'STORAGE_OUTCOME_UNKNOWN')) throw error;
        // the entry was not tried: the lost answer is not the outcome of its write
        if (attempt === attemptsMax) throw this.#unleft(index, error);
      }
      // the index may be unready by now, and readers may rely on it as before
      await this.#waitToLeave();
      this.#known.delete(database);
      const { status: now } = await this.#statusOf(index, database);
      left = isMine(index, now) ? undefined : now;
    }
  }

  async #tryLeave(index: ResolvedIndex, database: string, status: ReadStatus): Promise<void> {
    const isRead = status.status === 'ready';
    const { hash, old } = status;
    const value = { kind: 'json', text: '1' } as const;
    const marker = { kind: 'put', address: index.otherWriterRow, value, ttl: otherWriterTtlMs } as const;
    const unready = statusChange(index, { hash, status: 'building', old });
    const checks = isRead ? [{ address: index.statusRow, expected: { version: status.rowVersion } }] : [];
    const changes = isRead ? [marker, unready] : [marker];
    const result = await this.#access.commit(database, { checks, changes });
    if (result.outcome === 'conflict') throw this.#notReady(index, status);
    if (!isRead) return;
    await this.#waitToLeave();
    this.#known.delete(database);
    await this.#current(database);
  }

  /** Afterwards no process relies on a status that it read before. */
  async #waitToLeave(): Promise<void> {
    if (this.#access.provider.features.shared) await this.#clock.wait(leaveMs);
  }

  async #waitForBuild(
    index: ResolvedIndex,
    database: string,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    throwIfAborted('A call that waited for an index', signal);
    const { done, waiters } = this.#build(index, database);
    try {
      await waiters.join(
        async (notified) =>
          await withAbort(signal, async (own) => {
            await Promise.race([notified.then(() => done), this.#clock.wait(buildWaitMs, own)]);
          }),
      );
    } catch (error) {
      throwIfAborted('A call that waited for an index', signal);
      throw error;
    }
  }

  /** One build of an index at a time; other processes may build the same. */
  #build(index: ResolvedIndex, database: string): RunningBuild {
    const name = buildName(index, database);
    const running = this.#building.get(name);
    if (running !== undefined) return running;
    const parts = { access: this.#access, state: this.#state, codec: this.#codec, index, database };
    const waiters = new Waiters();
    const done = this.#access
      .detached(database, async () => await buildIndex(parts))
      .finally(() => {
        this.#building.delete(name);
        waiters.notify();
      });
    // a build continues when its reader has stopped waiting
    done.catch(() => undefined);
    const build = { done, waiters };
    this.#building.set(name, build);
    return build;
  }

  #unleft(index: ResolvedIndex, cause: unknown): Error {
    const message = `Nothing was written: the answers to the status of the index '${index.name}' of '${this.#state.name}' were lost.`;
    return storageError('STORAGE_UNAVAILABLE', message, {}, { cause });
  }

  #notReady(index: ResolvedIndex, status: ReadStatus): Error {
    const why = !isMine(index, status)
      ? 'a process with another definition of it has started later'
      : (status.why ?? 'it is being built');
    const message = `The index '${index.name}' of '${this.#state.name}' is not ready: ${why}.`;
    return storageError('INDEX_NOT_READY', message, { state: this.#state.name, index: index.name });
  }
}

const isReady = (index: ResolvedIndex, status: ReadStatus | undefined): boolean =>
  status?.status === 'ready' && isMine(index, status);
const isMine = (index: ResolvedIndex, { hash }: ReadStatus): boolean => hash === index.hash;
const buildName = ({ name }: ResolvedIndex, database: string): string => `${database}\0${name}`;

/** The definitions whose rows are to be deleted, the current one included where it is another. */
function oldOf(index: ResolvedIndex, read: ReadStatus | undefined): readonly string[] {
  if (read === undefined) return [];
  return [...new Set([...read.old, read.hash])].filter((hash) => hash !== index.hash);
}

/** One for each state and storage access, shared by its stores, also those in transactions. */
const statusesOf = new WeakMap<StorageAccess, Map<ResolvedState, IndexStatuses<never>>>();

/** Forgets what is known of the indexes of a database that was dropped. */
export function forgetIndexes({ root }: StorageAccess, database: string): void {
  for (const statuses of statusesOf.get(root)?.values() ?? []) statuses.forget(database);
}

export function indexStatuses<T>(
  access: StorageAccess,
  state: ResolvedState<T>,
  indexes: readonly ResolvedIndex[],
  codec: ValueCodec<T>,
): IndexStatuses<T> {
  const { root } = access;
  let byState = statusesOf.get(root);
  if (byState === undefined) statusesOf.set(root, (byState = new Map<ResolvedState, IndexStatuses<never>>()));
  let statuses = byState.get(state) as IndexStatuses<T> | undefined;
  if (statuses === undefined) {
    statuses = new IndexStatuses(root, state, indexes, codec);
    byState.set(state, statuses as unknown as IndexStatuses<never>);
  }
  return statuses;
}

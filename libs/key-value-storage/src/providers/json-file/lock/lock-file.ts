/**
 * The lock: one process owns a store. It is a file created with O_EXCL. Each second the owner
 * writes a heartbeat through the descriptor that created it, never by path: an owner that was
 * declared dead writes to a file that is no longer the lock. A takeover renames the lock away and
 * then compares it with the one that was found dead, so two processes cannot take each other's new
 * lock.
 *
 * The renamed lock stays until the databases of its owner are recovered. Until then each new owner
 * finds it, and inherits, also if the process that renamed it fails, or is not the next owner.
 *
 * Correctness does not depend on the lock alone: after each sync the owner compares the lock at the
 * path with its own, before it acknowledges the commit.
 */
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { backgroundClock, systemClock, type Clock } from '../../../core/base/clock.js';
import { isStorageError, storageError, type StorageError } from '../../../core/base/errors.js';
import { codeOf, unavailable, unreadable } from '../disk/disk-errors.js';
import type { FileSystem, OpenFile } from '../disk/file-system.js';
import { asideName, isUnreleasedLock, lockName } from '../format/layout.js';
import { readWhole, writeAll } from '../disk/line-reader.js';
import { OwnerLiveness, pollMs } from './liveness.js';
import {
  heartbeatText,
  describeOwner,
  lockText,
  newOwner,
  ownerText,
  readOwner,
  type Owner,
} from './lock-text.js';
import type { Processes } from './process-identity.js';

const heartbeatMs = 1_000;
/** A takeover needs 3 s without a heartbeat: a younger check need not be repeated. */
const freshMs = 2_000;
/** Reads of a missing lock: one that was renamed away by mistake is restored at once. */
const readsMax = 50;
const lockBytesMax = 4_096;

interface LockOptions {
  readonly fileSystem: FileSystem;
  readonly directory: string;
  readonly clock: Clock;
  readonly processes: Processes;
  readonly timeoutMs: number;
  /**
   * Whether the lock of a dead owner is restored on release: for a reader, which recovers nothing.
   */
  readonly restore?: boolean;
}

/** A lock that this process renamed, because its owner was dead. */
interface DeadLock {
  readonly aside: string;
  readonly text: string;
}

/**
 * Waits for the lock of a directory. `STORAGE_LOCKED` names the owner after the timeout, or later,
 * when it is known to live: at its next heartbeat. Without one the lock is taken over after 3 s.
 */
export async function acquireLock(options: LockOptions): Promise<HeldLock> {
  const { fileSystem, directory, clock, processes, timeoutMs } = options;
  const path = join(directory, lockName);
  const liveness = new OwnerLiveness(processes);
  const deadline = clock.monotonic() + timeoutMs;
  let dead: DeadLock | undefined;
  for (;;) {
    const held = await tryCreate(options, path, dead);
    if (held !== undefined) return held;
    dead = undefined;
    const text = await readLock(fileSystem, path);
    if (text === undefined) continue;
    if (liveness.isDead(text, clock.monotonic())) {
      const aside = join(directory, asideName('lock'));
      if (await moveLock(fileSystem, path, aside, text)) dead = { aside, text };
    } else {
      const left = deadline - clock.monotonic();
      if (left <= 0 && liveness.isAlive(text)) throw locked(directory, text);
      await clock.wait(left <= 0 ? pollMs : Math.min(pollMs, Math.max(1, left)));
    }
  }
}

async function tryCreate(
  { fileSystem, directory, clock, processes, restore = false }: LockOptions,
  path: string,
  dead: DeadLock | undefined,
): Promise<HeldLock | undefined> {
  let file: OpenFile;
  try {
    file = await fileSystem.open(path, 'create');
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return undefined;
    throw unavailable(`The lock ${path} could not be created`, error);
  }
  const owner = newOwner(processes.own);
  try {
    await writeAll(file, Buffer.from(lockText(owner, 0)), 0);
    // listed once the lock is there: what is renamed away later is this lock
    const unreleased = ((await fileSystem.list(directory)) ?? []).filter(isUnreleasedLock);
    const restored = restore ? dead : undefined;
    return new HeldLock({ fileSystem, directory, path, file, owner, clock, unreleased, restored });
  } catch (error) {
    await file.close().catch(() => undefined);
    await fileSystem.remove(path).catch(() => undefined);
    throw unavailable(`The lock ${path} could not be written`, error);
  }
}

async function readLock(fileSystem: FileSystem, path: string): Promise<string | undefined> {
  let file: OpenFile;
  try {
    file = await fileSystem.open(path, 'read');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw unreadable(`The lock ${path}`, path, error);
  }
  try {
    return (await readWhole(file, lockBytesMax)).toString();
  } catch (error) {
    throw unreadable(`The lock ${path}`, path, error);
  } finally {
    await file.close().catch(() => undefined);
  }
}

/**
 * Renames the lock away, and back if its text is not the expected one. Returns whether it was
 * moved.
 */
async function moveLock(
  fileSystem: FileSystem,
  path: string,
  aside: string,
  expected: string,
): Promise<boolean> {
  if ((await readLock(fileSystem, path)) !== expected) return false;
  try {
    await fileSystem.rename(path, aside);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false;
    throw unavailable(`The lock ${path} could not be removed`, error);
  }
  const same = (await readLock(fileSystem, aside).catch(() => undefined)) === expected;
  // a lock that was created in the meantime stays: the other owner notices before it acknowledges
  if (!same && (await readLock(fileSystem, path)) === undefined)
    await fileSystem.rename(aside, path).catch(() => undefined);
  return same;
}

const locked = (directory: string, text: string): StorageError =>
  storageError(
    'STORAGE_LOCKED',
    `The store in ${directory} belongs to ${describeOwner(text)}; it is used by one process at a time.`,
    {},
  );

interface Held {
  readonly fileSystem: FileSystem;
  readonly directory: string;
  readonly path: string;
  readonly file: OpenFile;
  readonly owner: Owner;
  readonly clock: Clock;
  /** The names of the locks of dead owners whose databases are not recovered. */
  readonly unreleased: readonly string[];
  /** The lock that is restored on release. */
  readonly restored: DeadLock | undefined;
}

export class HeldLock {
  /**
   * Whether a previous owner did not release the lock: its databases were not closed, and it may
   * still write to the files that it has open.
   */
  readonly inherited: boolean;
  readonly #held: Held;
  readonly #ownerText: string;
  readonly #stop = new AbortController();
  #heartbeats: Promise<void> | undefined;
  #heartbeat = 0;
  #verifiedAt: number;

  constructor(held: Held) {
    this.#held = held;
    this.inherited = held.unreleased.length > 0;
    this.#ownerText = ownerText(held.owner);
    this.#verifiedAt = held.clock.monotonic();
  }

  /** Whether the last check and heartbeat are so recent that no takeover is possible. */
  get isFresh(): boolean {
    return this.#held.clock.monotonic() - this.#verifiedAt < freshMs;
  }

  /**
   * Rejects with `STORAGE_LOCKED` if the lock at the path is not ours any more. It is compared
   * during the call: it is open, so its bytes are in memory, and four calls to a thread took longer
   * than the sync that they followed.
   */
  async verify(): Promise<void> {
    const { path, directory } = this.#held;
    let text: string | undefined;
    for (let reads = 0; text === undefined && reads < readsMax; reads += 1) {
      if (reads > 0) await setImmediate();
      try {
        text = this.#read();
      } catch (error) {
        // it cannot be read (too many open files): a recent check is still valid
        if (this.isFresh) return;
        throw unreadable(`The lock ${path}`, path, error);
      }
    }
    if (text?.startsWith(this.#ownerText)) return;
    const by = text === undefined ? 'the lock is gone' : `it belongs to ${describeOwner(text)} now`;
    const then = 'Its rows in memory may be outdated: every call is refused until the store is opened again.';
    throw storageError(
      'STORAGE_LOCKED',
      `The store in ${directory} was taken from this process: ${by}. ${then}`,
      {},
    );
  }

  #read(): string | undefined {
    const { fileSystem, path } = this.#held;
    try {
      return Buffer.from(fileSystem.readNow(path, lockBytesMax)).toString();
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  /**
   * Writes a heartbeat each second until it is released. `onLost` is called once if the lock is
   * lost, `onHeartbeat` after each heartbeat.
   */
  start(onLost: (error: unknown) => void, onHeartbeat: () => void): void {
    const clock = this.#held.clock === systemClock ? backgroundClock : this.#held.clock;
    const loop = async (): Promise<void> => {
      while (!this.#stop.signal.aborted) {
        await clock.wait(heartbeatMs, this.#stop.signal);
        await this.#writeHeartbeat();
        onHeartbeat();
      }
    };
    this.#heartbeats = loop().catch((error: unknown) => {
      if (!this.#stop.signal.aborted) onLost(error);
    });
  }

  async #writeHeartbeat(): Promise<void> {
    const verifiedAt = this.#held.clock.monotonic();
    try {
      await this.verify();
      this.#heartbeat += 1;
      await writeAll(
        this.#held.file,
        Buffer.from(heartbeatText(this.#heartbeat)),
        Buffer.byteLength(this.#ownerText),
      );
      this.#verifiedAt = verifiedAt;
    } catch (error) {
      if (isStorageError(error, 'STORAGE_LOCKED')) throw error;
      // without a heartbeat the lock is not fresh, so each call verifies it
    }
  }

  /** Call it when the databases are recovered and on disk: later owners do not inherit them. */
  async recovered(): Promise<void> {
    const { fileSystem, directory, unreleased } = this.#held;
    // one that stays costs the next owner a recovery
    for (const name of unreleased) await fileSystem.remove(join(directory, name)).catch(() => undefined);
  }

  /**
   * Removes the lock, unless it belongs to another owner by now. If `recovered` was not called, the
   * next owner inherits too.
   */
  async release(): Promise<void> {
    const { fileSystem, path, file, restored } = this.#held;
    this.#stop.abort();
    await this.#heartbeats;
    const text = await readLock(fileSystem, path).catch(() => undefined);
    if (text !== undefined && readOwner(text)?.owner === this.#held.owner.owner) {
      const work = restored === undefined ? this.#remove(text) : this.#restore(restored);
      await work.catch(() => undefined);
    }
    await file.close().catch(() => undefined);
  }

  async #remove(text: string): Promise<void> {
    const { fileSystem, directory, path } = this.#held;
    const aside = join(directory, asideName('lock-released'));
    if (await moveLock(fileSystem, path, aside, text)) await fileSystem.remove(aside);
  }

  /** Through the descriptor that created the lock, like a heartbeat. */
  async #restore({ aside, text }: DeadLock): Promise<void> {
    const { fileSystem, file } = this.#held;
    await file.truncate(0);
    await writeAll(file, Buffer.from(text), 0);
    await fileSystem.remove(aside);
  }
}

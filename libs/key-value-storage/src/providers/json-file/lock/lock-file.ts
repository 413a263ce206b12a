/**
 * The lock: one process owns a store. It is a file made with O_EXCL, in which the owner writes a
 * beat each second through the descriptor that made it, never by path: an owner that was taken for
 * dead beats into a file that nobody looks at any more. Taking over renames the lock away and looks
 * whether it is the one that was judged, so two judges cannot take each other's new lock.
 *
 * What is right never rests on the lock alone: the owner compares the lock at the path with its own
 * after each sync, before it answers.
 */
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { systemClock, type Clock } from '../../../core/base/clock.js';
import { isStorageError, storageError, type StorageError } from '../../../core/base/errors.js';
import { codeOf, unavailable, unreadable } from '../disk/disk-errors.js';
import type { FileSystem, OpenFile } from '../disk/file-system.js';
import { asideName, lockName } from '../format/layout.js';
import { readWhole, writeAll } from '../disk/line-reader.js';
import { LockJudge, lookEveryMs } from './liveness.js';
import {
  beatText,
  describeOwner,
  lockText,
  newOwner,
  ownerText,
  readOwner,
  type Owner,
} from './lock-text.js';
import type { Processes } from './process-identity.js';

const beatEveryMs = 1_000;
/** Nobody takes over before 3 s without a beat: younger than this, a look need not be repeated. */
const freshMs = 2_000;
/** How long a new owner may take to write its name into its lock. */
const namelessMs = 1_000;
/** A lock that was renamed away by mistake is put back at once. */
const looksMax = 50;

interface LockOptions {
  readonly fileSystem: FileSystem;
  readonly directory: string;
  readonly clock: Clock;
  readonly processes: Processes;
  readonly timeoutMs: number;
  /**
   * Whether the lock of a dead owner is put back when this one is released: for who changes
   * nothing, and settles nothing that the dead one left.
   */
  readonly giveBack?: boolean;
}

/** Waits for the lock of a directory. `STORAGE_LOCKED` names the owner when the time is up. */
export async function acquireLock(options: LockOptions): Promise<HeldLock> {
  const { fileSystem, directory, clock, processes, timeoutMs } = options;
  const path = join(directory, lockName);
  const judge = new LockJudge((process) => processes.isGone(process));
  const deadline = clock.monotonic() + timeoutMs;
  let inherited: string | undefined;
  for (;;) {
    const held = await tryCreate(options, path, inherited);
    if (held !== undefined) return held;
    const text = await readLock(fileSystem, path);
    if (text === undefined) continue;
    if (judge.isDead(text, clock.monotonic())) {
      if (await takeAway(fileSystem, directory, text)) inherited = text;
    } else {
      // made a moment ago, and not written yet: its owner says who it is before anybody is refused
      const patience = readOwner(text) === undefined ? namelessMs : 0;
      const left = deadline + patience - clock.monotonic();
      if (left <= 0) throw locked(directory, text);
      await clock.wait(Math.min(lookEveryMs, Math.max(1, left)));
    }
  }
}

async function tryCreate(
  { fileSystem, directory, clock, processes, giveBack = false }: LockOptions,
  path: string,
  inherited: string | undefined,
): Promise<HeldLock | undefined> {
  let file: OpenFile;
  try {
    file = await fileSystem.open(path, 'create');
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return undefined;
    throw unavailable(`The lock ${path} could not be made`, error);
  }
  const owner = newOwner(processes.own);
  try {
    await writeAll(file, Buffer.from(lockText(owner, 0)), 0);
  } catch (error) {
    await file.close().catch(() => undefined);
    await fileSystem.remove(path).catch(() => undefined);
    throw unavailable(`The lock ${path} could not be written`, error);
  }
  return new HeldLock({ fileSystem, directory, path, file, owner, clock, inherited, giveBack });
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
    return (await readWhole(file, 4_096)).toString();
  } catch (error) {
    throw unreadable(`The lock ${path}`, path, error);
  } finally {
    await file.close().catch(() => undefined);
  }
}

/**
 * Renames the lock away, looks whether it is the one that was judged, and puts it back if it is
 * not. Answers whether it is gone.
 */
async function takeAway(fileSystem: FileSystem, directory: string, judged: string): Promise<boolean> {
  const path = join(directory, lockName);
  const aside = join(directory, asideName('lock'));
  if ((await readLock(fileSystem, path)) !== judged) return false;
  try {
    await fileSystem.rename(path, aside);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false;
    throw unavailable(`The lock ${path} could not be taken away`, error);
  }
  const same = (await readLock(fileSystem, aside).catch(() => undefined)) === judged;
  // whoever made a lock meanwhile keeps it: the other notices before it answers anybody
  if (same || (await readLock(fileSystem, path)) !== undefined)
    await fileSystem.remove(aside).catch(() => undefined);
  else await fileSystem.rename(aside, path).catch(() => undefined);
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
  /** The lock of the owner before, who did not let go by itself. */
  readonly inherited: string | undefined;
  readonly giveBack: boolean;
}

export class HeldLock {
  /** Whether the owner before did not let go by itself: what it left behind was not closed. */
  readonly inherited: boolean;
  readonly #held: Held;
  readonly #ownerText: string;
  readonly #stop = new AbortController();
  #looking: Promise<void> | undefined;
  #next: Promise<void> | undefined;
  #beating: Promise<void> | undefined;
  #beat = 0;
  #seenAt: number;

  constructor(held: Held) {
    this.#held = held;
    this.inherited = held.inherited !== undefined;
    this.#ownerText = ownerText(held.owner);
    this.#seenAt = held.clock.monotonic();
  }

  /** Whether it was seen to be ours, and beat, so lately that nobody can have taken over. */
  get isFresh(): boolean {
    return this.#held.clock.monotonic() - this.#seenAt < freshMs;
  }

  /**
   * Rejects with `STORAGE_LOCKED` if the lock at the path is not ours any more: what its caller has
   * on the way, the caller knows.
   */
  verify(): Promise<void> {
    // one look at a time, and one behind it: whoever asks meanwhile shares that one, for it begins
    // after they asked
    if (this.#next !== undefined) return this.#next;
    const before = this.#looking;
    if (before === undefined) return this.#look();
    this.#next = before
      .catch(() => undefined)
      .then(() => {
        this.#next = undefined;
        return this.#look();
      });
    return this.#next;
  }

  #look(): Promise<void> {
    const look = this.#compare().finally(() => {
      if (this.#looking === look) this.#looking = undefined;
    });
    this.#looking = look;
    return look;
  }

  async #compare(): Promise<void> {
    const { fileSystem, path, directory } = this.#held;
    let text: string | undefined;
    for (let look = 0; text === undefined && look < looksMax; look += 1) {
      if (look > 0) await setImmediate();
      try {
        text = await readLock(fileSystem, path);
      } catch (error) {
        // it cannot be looked at (too many open files): as long as the last look holds, so does the
        // lock
        if (this.isFresh) return;
        throw error;
      }
    }
    if (text?.startsWith(this.#ownerText)) return;
    const by = text === undefined ? 'the lock is gone' : `it belongs to ${describeOwner(text)} now`;
    const then = 'What is in memory may be out of date: nothing is answered until the store is opened again.';
    throw storageError(
      'STORAGE_LOCKED',
      `The store in ${directory} was taken from this process: ${by}. ${then}`,
      {},
    );
  }

  /**
   * Beats each second until it is released. `lost` is called once, when the lock is another's;
   * `each` after every beat.
   */
  keep(lost: (error: unknown) => void, each: () => void): void {
    const clock = this.#held.clock === systemClock ? unreferenced : this.#held.clock;
    const beats = async (): Promise<void> => {
      while (!this.#stop.signal.aborted) {
        await clock.wait(beatEveryMs, this.#stop.signal);
        await this.#beatOnce();
        each();
      }
    };
    this.#beating = beats().catch((error: unknown) => {
      if (!this.#stop.signal.aborted) lost(error);
    });
  }

  async #beatOnce(): Promise<void> {
    const seenAt = this.#held.clock.monotonic();
    try {
      await this.verify();
      this.#beat += 1;
      await writeAll(this.#held.file, Buffer.from(beatText(this.#beat)), Buffer.byteLength(this.#ownerText));
      this.#seenAt = seenAt;
    } catch (error) {
      if (isStorageError(error, 'STORAGE_LOCKED')) throw error;
      // no beat: the lock is not fresh any more, and every answer looks for itself
    }
  }

  /** Lets go, unless it is another's already. */
  async release(): Promise<void> {
    const { fileSystem, directory, file, inherited, giveBack } = this.#held;
    this.#stop.abort();
    await this.#beating;
    const text = await readLock(fileSystem, this.#held.path).catch(() => undefined);
    if (text !== undefined && readOwner(text)?.owner === this.#held.owner.owner) {
      if (giveBack && inherited !== undefined) await this.#putBack(inherited).catch(() => undefined);
      else await takeAway(fileSystem, directory, text).catch(() => undefined);
    }
    await file.close().catch(() => undefined);
  }

  /** Through the descriptor that made the lock, as a beat. */
  async #putBack(inherited: string): Promise<void> {
    const { file } = this.#held;
    const bytes = Buffer.from(inherited);
    await file.truncate(0);
    await writeAll(file, bytes, 0);
  }
}

/** Timers that keep no process alive. */
const unreferenced: Clock = {
  ...systemClock,
  wait: (ms, signal) =>
    new Promise((resolve, reject) => {
      const stop = (): void => {
        clearTimeout(timer);
        reject(signal?.reason as Error);
      };
      const timer = setTimeout(() => {
        signal?.removeEventListener('abort', stop);
        resolve();
      }, ms).unref();
      signal?.addEventListener('abort', stop, { once: true });
    }),
};

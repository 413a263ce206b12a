/**
 * The locks that one caller holds while it repeats its work: that of its own row, and that of the
 * other row at which its last commit conflicted. Hold at most one such other lock: holding several
 * while waiting would block both queues.
 */
import { throwIfAborted } from '../base/abort.js';
import { systemClock } from '../base/clock.js';
import type { KeyedLock } from './keyed-lock.js';
import type { RetryPolicy } from './retry-on-conflict.js';

/**
 * Continuing without the lock causes the conflicts that locks avoid, so this is long beside a
 * commit, on a busy machine too. It is short beside the retry budget.
 */
const stallTimeoutMs = 1_000;

/** Given the lock of the row at which a commit conflicted. */
export type OnConflict = (lock: string) => void;

export class HeldLocks {
  readonly #locks: KeyedLock;
  readonly #policy: RetryPolicy;
  readonly #deadline: number;
  readonly #own: string | undefined;
  readonly #held = new Set<string>();
  #contended: string | undefined;

  /** `own`: the lock of the caller's own row, and whether it was acquired already. */
  constructor(
    locks: KeyedLock,
    policy: RetryPolicy,
    own?: { readonly lock: string; readonly acquired: boolean },
  ) {
    this.#locks = locks;
    this.#policy = policy;
    this.#deadline = systemClock.monotonic() + policy.budgetMs;
    this.#own = own?.lock;
    if (own?.acquired === true) this.#held.add(own.lock);
  }

  readonly onConflict: OnConflict = (lock) => {
    this.#contended = lock;
  };

  /**
   * Before the next attempt: waits for the locks that are missing, or for `ms` where none is.
   * Returns whether it waited for a lock.
   */
  async wait(ms: number): Promise<boolean> {
    const { signal } = this.#policy;
    const wanted = new Set([this.#own, this.#contended].filter((lock) => lock !== undefined));
    for (const lock of this.#held) if (!wanted.has(lock)) this.#release(lock);
    const missing = [...wanted].filter((lock) => !this.#held.has(lock));
    try {
      if (missing.length === 0) await systemClock.wait(ms, signal);
      const wait = { stallTimeoutMs: Math.max(ms, stallTimeoutMs), deadline: this.#deadline };
      for (const lock of missing)
        if (await this.#locks.acquire(lock, wait, systemClock, signal)) this.#held.add(lock);
    } catch (error) {
      throwIfAborted('A call that waited for a lock', signal);
      throw error;
    }
    return missing.length > 0;
  }

  releaseAll(): void {
    for (const lock of this.#held) this.#release(lock);
  }

  #release(lock: string): void {
    this.#held.delete(lock);
    this.#locks.release(lock);
  }
}

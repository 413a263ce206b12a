/** Retries with the lock of a row: concurrent calls of this process queue instead of racing. */
import { systemClock } from '../base/clock.js';
import { isConflict } from '../base/errors.js';
import { HeldLocks, type OnConflict } from './held-locks.js';
import type { KeyedLock } from './keyed-lock.js';
import { retrying, type RetryPolicy } from './retry-on-conflict.js';

/**
 * Repeats work that reads and writes one row while it conflicts. The first attempt holds the row's
 * lock too: a concurrent call that begins later waits, because it would be sure to conflict.
 * Without contention there is one attempt, and no loop is set up.
 */
export async function retryWithLock<R>(
  locks: KeyedLock,
  lock: string,
  policy: RetryPolicy,
  attempt: (onConflict: OnConflict) => Promise<R>,
): Promise<R> {
  let contended = lock;
  let failed: Error | undefined;
  const acquired = locks.tryAcquire(lock);
  if (acquired) {
    try {
      return await attempt((other) => (contended = other));
    } catch (error) {
      if (!isConflict(error)) throw error;
      failed = error;
    } finally {
      if (failed === undefined) locks.release(lock);
    }
  }
  const held = new HeldLocks(locks, policy, { lock, acquired });
  held.onConflict(contended);
  try {
    if (!acquired) await held.wait(0);
    const wait = async (ms: number): Promise<void> => void (await held.wait(ms));
    const context = { clock: systemClock, wait, failed };
    return await retrying(async () => await attempt(held.onConflict), policy, context);
  } finally {
    held.releaseAll();
  }
}

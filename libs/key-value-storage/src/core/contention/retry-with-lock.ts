/**
 * Rivals of one process: who lost once waits in line for the next attempt, instead of racing again.
 */
import { systemClock } from '../base/clock.js';
import type { StorageAccess } from '../commit/commit.js';
import { isConflict } from '../base/errors.js';
import { HeldLocks } from './held-locks.js';
import { retrying, type RetryPolicy } from './retry-on-conflict.js';

/**
 * Repeats read-and-write work at one row while it conflicts; `name` is the row's turn. The first
 * caller has the turn already: rivals that come meanwhile wait, rather than commit behind it what
 * is sure to conflict. Most calls meet no rival, and pay nothing for the loop.
 */
export async function retryWithLock<R>(
  access: StorageAccess,
  name: string,
  policy: RetryPolicy,
  attempt: () => Promise<R>,
): Promise<R> {
  const { locks } = access;
  if (locks.isHeld(name)) return await inTurn(access, name, policy, attempt, undefined);
  locks.acquireFree(name);
  let handed = false;
  try {
    return await attempt();
  } catch (error) {
    if (!isConflict(error)) throw error;
    handed = true;
    return await inTurn(access, name, policy, attempt, error);
  } finally {
    if (!handed) locks.release(name);
  }
}

/**
 * The retry loop, in turn with the rivals of this process. `first`: the conflict of a first attempt
 * that was made already, in possession of the turn.
 */
async function inTurn<R>(
  { locks }: StorageAccess,
  name: string,
  policy: RetryPolicy,
  attempt: () => Promise<R>,
  first: Error | undefined,
): Promise<R> {
  const own = new HeldLocks(locks, policy, { turn: name, held: first !== undefined });
  const work = async (number: number): Promise<R> =>
    await own.noting(async () => {
      if (number === 1 && first !== undefined) throw first;
      return await attempt();
    });
  try {
    if (first === undefined) await own.wait(0);
    return await retrying(work, policy, {
      clock: systemClock,
      waitForTurn: async (ms) => void (await own.wait(ms)),
    });
  } finally {
    own.leave();
  }
}

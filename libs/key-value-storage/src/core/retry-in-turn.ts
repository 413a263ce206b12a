/** Rivals of one process at one row: who lost once waits in line for the next attempt, instead of racing again. */
import { throwIfAborted } from './abort.js';
import { systemClock } from './clock.js';
import type { Engine } from './commit.js';
import { isConflict, type StorageError } from './errors.js';
import { retrying, type RetryPolicy } from './retry-on-conflict.js';

/**
 * Repeats read-and-write work at one row while it conflicts; `name` is the row's. The first caller has the turn already: rivals that come meanwhile wait,
 * rather than commit behind it what is sure to conflict. Most calls meet no rival, and pay nothing for the loop.
 */
export async function retryInTurn<R>(engine: Engine, name: string, policy: RetryPolicy, attempt: () => Promise<R>): Promise<R> {
  const { turns } = engine;
  if (turns.isTaken(name)) return await inTurn(engine, name, policy, attempt, undefined, false);
  turns.begin(name);
  let handed = false;
  try {
    return await attempt();
  } catch (error) {
    if (!isConflict(error)) throw error;
    handed = true;
    return await inTurn(engine, name, policy, attempt, error, true);
  } finally {
    if (!handed) turns.leave(name);
  }
}

/** The retry loop, in turn with the rivals of this process. `lost`: the conflict of a first attempt that was made already. `held`: it has the turn. */
async function inTurn<R>(
  { turns }: Engine,
  name: string,
  policy: RetryPolicy,
  attempt: () => Promise<R>,
  lost: StorageError | undefined,
  held: boolean,
): Promise<R> {
  const deadline = systemClock.monotonic() + policy.budgetMs;
  let mine = held;
  const waitForTurn = async (ms: number): Promise<void> => {
    try {
      if (mine) await systemClock.wait(ms, policy.signal);
      else mine = await turns.take(name, { patienceMs: Math.max(ms, policy.delayMsMax), deadline }, systemClock, policy.signal);
    } catch (error) {
      throwIfAborted('A call that waited for its turn', policy.signal);
      throw error;
    }
  };
  try {
    if (lost === undefined) await waitForTurn(0);
    const work = async (number: number): Promise<R> => {
      if (number === 1 && lost !== undefined) throw lost;
      return await attempt();
    };
    return await retrying(work, policy, { clock: systemClock, waitForTurn });
  } finally {
    if (mine) turns.leave(name);
  }
}

/**
 * Sweeps of several parts: the providers of a storage, the databases of a provider. One that cannot
 * be swept must not keep the expired rows of the others, so the number of removed rows reaches the
 * caller beside the error, in `done`.
 */
import { isStorageError, stoppedAfter } from '../base/errors.js';
import { eachInTurn } from '../base/each-in-turn.js';

/**
 * Calls `sweep` for one part after the other, with the number of rows that were removed until then,
 * and returns their number. The first failure is thrown at the end.
 */
export async function sweepParts<P>(
  parts: Iterable<P>,
  sweep: (part: P, swept: number) => Promise<number>,
): Promise<number> {
  let swept = 0;
  const sweepPart = async (part: P): Promise<void> => {
    try {
      swept += await sweep(part, swept);
    } catch (error) {
      swept += sweptBefore(error);
      throw error;
    }
  };
  await eachInTurn(parts, sweepPart).catch((error: unknown) => stopSweep(error, swept));
  return swept;
}

/** Throws the error of a sweep that had removed `swept` rows. */
export function stopSweep(error: unknown, swept: number): never {
  throw isStorageError(error)
    ? stoppedAfter(error, swept, `Some expired rows could not be removed, others were: ${error.message}`)
    : error;
}

/** How many rows a sweep had removed before it failed, as far as its error says so. */
export const sweptBefore = (error: unknown): number => (isStorageError(error) ? (error.done ?? 0) : 0);

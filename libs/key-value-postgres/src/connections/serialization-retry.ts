/**
 * Statements that the server undoes because other sessions were faster: deadlocks, serialization
 * failures, and the failure on purpose.
 */
import { storageError, systemClock, type StorageError } from '@kvent/key-value-storage/provider';
import { retrying } from '@kvent/key-value-storage/internal';
import { mayRunAgain } from './failure.js';

/** How often the server may be asked again. */
const rivalry = { attempts: 40, delayMs: 2, delayMsMax: 50, budgetMs: 10_000 };

/**
 * Runs it again while other sessions are faster, with a budget; then rejects with what the server
 * said last.
 */
export async function whileRivalsWin<R>(run: () => Promise<R>): Promise<R> {
  let last: unknown;
  const attempt = async (): Promise<R> => {
    try {
      return await run();
    } catch (error) {
      last = error;
      throw mayRunAgain(error) ? rival() : error;
    }
  };
  try {
    return await retrying(attempt, rivalry, { clock: systemClock });
  } catch (error) {
    throw mayRunAgain(last) ? last : error;
  }
}

/** What the one retry loop repeats. */
const rival = (): StorageError =>
  storageError('STORAGE_CONFLICT', 'Another session was faster.', {
    key: '',
    expected: '',
    actual: undefined,
    check: 'own',
  });

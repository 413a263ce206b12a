/** The error of a copy that had begun to write: what is there now, and how to begin again. */
import { isStorageError, StorageError, storageError, titleOf } from '../core/base/errors.js';
import { messageOf } from '../core/base/kinds.js';

/**
 * As the error was, code and fields, but for its effect: something was written. `rows`: how many
 * were handed to the target, as `done`.
 */
export function brokenOff(error: unknown, from: string, to: string, rows: number): StorageError {
  const cause = isStorageError(error)
    ? error
    : storageError('STORAGE_OUTCOME_UNKNOWN', messageOf(error), {}, { cause: error });
  const { code, effect: _effect, retryable, status, help: _help, ...details } = cause;
  const message =
    `The copy from ${from} to ${to} broke off after ${rows} rows: ${code === 'ABORTED' ? 'its caller gave it up.' : cause.message} ` +
    `The source is as it was; what came into the target is marked as unfinished. To begin again: ifPresent: 'resume' (kvent: --resume).`;
  const broken = new StorageError(code, message, { status, title: titleOf(cause), retryable }, details, {
    effect: 'unknown',
    cause: error,
  });
  broken.done = rows;
  return broken;
}

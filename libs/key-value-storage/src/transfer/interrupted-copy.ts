/** The error of a copy that was interrupted after its first write. */
import { isStorageError, StorageError, storageError, titleOf } from '../core/base/errors.js';
import { messageOf } from '../core/base/kinds.js';

/** Without how many rows the import has stored: the copy says how many it has passed to it. */
const reasonOf = ({ message, code, done, cause }: StorageError): string =>
  done !== undefined && isStorageError(cause) && cause.code === code ? cause.message : message;

/**
 * The error with its code and fields, but with effect `unknown`, since rows were written. `rows`:
 * how many were passed to the target; it becomes `done`.
 */
export function interruptedCopy(error: unknown, from: string, to: string, rows: number): StorageError {
  const cause = isStorageError(error)
    ? error
    : storageError('STORAGE_OUTCOME_UNKNOWN', messageOf(error), {}, { cause: error });
  const { code, effect: _effect, retryable, status, help: _help, ...details } = cause;
  const message =
    `The copy from ${from} to ${to} was interrupted after ${rows} rows: ${code === 'ABORTED' ? 'its caller aborted it.' : reasonOf(cause)} ` +
    `The source was not changed; the databases in the target are marked as unfinished. To continue: ifPresent: 'resume' (kvent: --resume).`;
  const broken = new StorageError(code, message, { status, title: titleOf(cause), retryable }, details, {
    effect: 'unknown',
    cause: error,
  });
  broken.done = rows;
  return broken;
}

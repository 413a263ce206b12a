/** The command was called with wrong arguments: exit code 2. */
import { isStorageError } from '@kvent/key-value-storage/internal/rows';

export class UsageError extends Error {
  /** `USAGE`, or the code of the storage error that the argument caused. */
  readonly code: string;

  constructor(message: string, cause?: unknown) {
    super(message, { cause });
    this.code = isStorageError(cause) ? cause.code : 'USAGE';
  }
}

/** What `read` returns; a storage error of it is an error of the argument. */
export function fromArgument<R>(name: string, read: () => R): R {
  try {
    return read();
  } catch (error) {
    if (!isStorageError(error)) throw error;
    throw new UsageError(`${name}: ${error.message} [${error.code}, ${error.help}]`, error);
  }
}

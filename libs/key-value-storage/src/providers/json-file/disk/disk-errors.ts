/** Errors of the disk as errors of this library. */
import { isStorageError, storageError, type StorageError } from '../../../core/base/errors.js';
import { messageOf } from '../../../core/base/kinds.js';

const words: Readonly<Record<string, string>> = {
  ENOSPC: 'there is no space left on the disk',
  EDQUOT: 'the disk quota is used up',
  EACCES: 'this process may not write or read there',
  EPERM: 'this process may not write or read there',
  EROFS: 'the disk is read-only',
  ENOTDIR: 'there is a file in place of a directory',
  EISDIR: 'there is a directory in place of a file',
  EMFILE: 'this process has too many files open',
  ENFILE: 'this machine has too many files open',
  ELOOP: 'there is a link in place of a file',
  ENOTFILE: 'there is a FIFO, a socket or a device in place of a file',
  EIO: 'the disk reports a failure',
};

export const codeOf = (error: unknown): string | undefined => {
  const code =
    typeof error === 'object' && error !== null ? (error as NodeJS.ErrnoException).code : undefined;
  return typeof code === 'string' ? code : undefined;
};

export function reasonOf(error: unknown): string {
  const code = codeOf(error) ?? '';
  return words[code] === undefined ? messageOf(error) : `${words[code]} (${code})`;
}

/**
 * A failed sync. It is never retried: the kernel may regard unwritten pages as written after it.
 */
export class SyncFailure extends Error {
  constructor(path: string, cause: unknown) {
    super(`${path} could not be synced: ${reasonOf(cause)}`, { cause });
    this.name = 'SyncFailure';
  }
}

export async function synced(path: string, sync: Promise<void>): Promise<void> {
  try {
    await sync;
  } catch (error) {
    throw new SyncFailure(path, error);
  }
}

/** Nothing was written. An error with an unknown effect becomes the cause. */
export function unavailable(what: string, error: unknown): StorageError {
  if (isStorageError(error) && error.effect === 'none') return error;
  return storageError(
    'STORAGE_UNAVAILABLE',
    `${what}: ${reasonOf(error)}.`,
    {},
    { effect: 'none', cause: error },
  );
}

/** A write or a sync failed: the data may or may not be on disk. */
export function outcomeUnknown(what: string, error: unknown): StorageError {
  return storageError(
    'STORAGE_OUTCOME_UNKNOWN',
    `${what}: ${reasonOf(error)}. It is not known whether it was done.`,
    {},
    { cause: error },
  );
}

/** `place`: the file, and the line if there is one. */
export function corrupt(place: string, what: string, cause?: unknown): StorageError {
  const then = 'Nothing was changed. salvageJsonFile copies the readable rows to a new directory.';
  return storageError(
    'STORAGE_CORRUPT',
    `${place}: ${what}. ${then}`,
    { place },
    cause === undefined ? {} : { cause },
  );
}

/** Something else is in place of a file or directory of the store. It is not followed or read. */
export function misplaced(path: string, what: string, cause?: unknown): StorageError {
  const message = `${path}: ${what}. Nothing was changed. Check what it is, and remove it.`;
  return storageError('STORAGE_CORRUPT', message, { place: path }, cause === undefined ? {} : { cause });
}

const misplacedCodes = new Set(['ELOOP', 'ENOTFILE', 'EISDIR']);

/**
 * A file that cannot be read: `STORAGE_CORRUPT` if it is not a file, else `STORAGE_UNAVAILABLE`.
 */
export const unreadable = (what: string, path: string, error: unknown): StorageError =>
  misplacedCodes.has(codeOf(error) ?? '')
    ? misplaced(path, reasonOf(error), error)
    : unavailable(`${what} cannot be read`, error);

/** What a disk says, in the words of the library: the subject, what is, and what then holds. */
import { isStorageError, storageError, type StorageError } from '../../../core/base/errors.js';
import { messageOf } from '../../../core/base/kinds.js';

const words: Readonly<Record<string, string>> = {
  ENOSPC: 'there is no space left on the disk',
  EDQUOT: 'the disk quota is used up',
  EACCES: 'this process may not write or read there',
  EPERM: 'this process may not write or read there',
  EROFS: 'the disk is read-only',
  ENOTDIR: 'a file is where a directory should be',
  EISDIR: 'a directory is where a file should be',
  EMFILE: 'this process has too many files open',
  ENFILE: 'this machine has too many files open',
  ELOOP: 'a link is where a file should be',
  ENOTFILE: 'a FIFO, a socket or a device is where a file should be',
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
 * A sync that failed. It is never tried again: what the kernel could not write it may take for
 * written from then on.
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

/** Nothing was written. An error of which that is not certain is only the cause. */
export function unavailable(what: string, error: unknown): StorageError {
  if (isStorageError(error) && error.effect === 'none') return error;
  return storageError(
    'STORAGE_UNAVAILABLE',
    `${what}: ${reasonOf(error)}.`,
    {},
    { effect: 'none', cause: error },
  );
}

/** A write or a sync failed on the way: it may or may not be on disk. */
export function outcomeUnknown(what: string, error: unknown): StorageError {
  return storageError(
    'STORAGE_OUTCOME_UNKNOWN',
    `${what}: ${reasonOf(error)}. Whether it was done is not known.`,
    {},
    { cause: error },
  );
}

/** `place`: file, and line where there is one. */
export function corrupt(place: string, what: string, cause?: unknown): StorageError {
  const then = 'Nothing was changed; salvageJsonFile copies what is readable to a new place.';
  return storageError(
    'STORAGE_CORRUPT',
    `${place}: ${what}. ${then}`,
    { place },
    cause === undefined ? {} : { cause },
  );
}

/**
 * Something else is where this library keeps a file or a directory. It is never followed, read or
 * waited for.
 */
export function misplaced(path: string, what: string, cause?: unknown): StorageError {
  const message = `${path}: ${what}. Nothing was changed: look at what it is, and take it away.`;
  return storageError('STORAGE_CORRUPT', message, { place: path }, cause === undefined ? {} : { cause });
}

const misplacedCodes = new Set(['ELOOP', 'ENOTFILE', 'EISDIR']);

/**
 * A file that cannot be opened or read: `STORAGE_CORRUPT` where it is no file, else
 * `STORAGE_UNAVAILABLE`.
 */
export const unreadable = (what: string, path: string, error: unknown): StorageError =>
  misplacedCodes.has(codeOf(error) ?? '')
    ? misplaced(path, reasonOf(error), error)
    : unavailable(`${what} cannot be read`, error);

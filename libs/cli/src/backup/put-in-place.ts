/** Gives a complete temporary file its name. */
import { constants } from 'node:fs';
import { copyFile, link, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { isError } from '@kvent/key-value-storage/internal';
import { assertTargetFile } from '../input/assert-target-file.js';
import { UsageError } from '../input/usage-error.js';

interface PutOptions {
  /** @default false */
  readonly replace?: boolean;
  /** Whether there is nothing in it. @default false */
  readonly isEmpty?: boolean;
  /** Whether it replaces a file even if there is nothing in it. @default false */
  readonly allowEmpty?: boolean;
  /** For specs: that of a file system without hard links. */
  readonly linkFile?: typeof link;
}

/**
 * Resolves when the new name is on disk, and the temporary one is gone. `UsageError` if there is a
 * file with this name, also one that has appeared since the command began, without `replace`, and
 * without `allowEmpty` where nothing would replace it: the storage may be another one than meant.
 */
export async function putInPlace(
  temporary: string,
  path: string,
  { replace = false, isEmpty = false, allowEmpty = false, linkFile = link }: PutOptions,
): Promise<void> {
  if (replace && (!isEmpty || allowEmpty)) {
    assertTargetFile(path, { replace });
    await rename(temporary, path);
  } else {
    try {
      await nameNew(temporary, path, linkFile);
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error;
      throw replace ? replacedByNothing(path, error) : existing(path, error);
    }
    await rm(temporary);
  }
  await syncPath(dirname(path));
}

/** Never overwrites. Without hard links it copies: the file has its name before it is complete. */
async function nameNew(temporary: string, path: string, linkFile: typeof link): Promise<void> {
  try {
    await linkFile(temporary, path);
  } catch (error) {
    if (!withoutLinks.has(codeOf(error) ?? '')) throw error;
    await copyFile(temporary, path, constants.COPYFILE_EXCL);
    await syncPath(path);
  }
}

const withoutLinks: ReadonlySet<string> = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK']);

const codeOf = (error: unknown): string | undefined =>
  isError(error) ? (error as NodeJS.ErrnoException).code : undefined;

const existing = (path: string, cause: unknown): Error =>
  new UsageError(`${path} exists. To overwrite it: --replace.`, cause);

const replacedByNothing = (path: string, cause: unknown): Error =>
  new UsageError(
    `${path} exists, and was not replaced: there is nothing to write. To replace it all the same: --allow-empty.`,
    cause,
  );

async function syncPath(path: string): Promise<void> {
  const file = await open(path);
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

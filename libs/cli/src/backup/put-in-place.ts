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
  /** For specs: that of a file system without hard links. */
  readonly linkFile?: typeof link;
}

/**
 * Resolves when the new name is on disk, and the temporary one is gone. `UsageError` if there is a
 * file with this name, also one that has appeared since the command began, without `replace`.
 */
export async function putInPlace(
  temporary: string,
  path: string,
  { replace = false, linkFile = link }: PutOptions,
): Promise<void> {
  if (replace) {
    assertTargetFile(path, { replace });
    await rename(temporary, path);
  } else {
    try {
      await nameNew(temporary, path, linkFile);
    } catch (error) {
      throw codeOf(error) === 'EEXIST' ? existing(path, error) : error;
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

async function syncPath(path: string): Promise<void> {
  const file = await open(path);
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/**
 * A JSON-file provider for one test, in a new directory, which is removed when it is disposed.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '../core.js';
import { JsonFileProvider } from '../providers/json-file/json-file-provider.js';

/** A `JsonFileProvider` with its directory, which it removes when it is disposed. */
export type TemporaryJsonFile = JsonFileProvider & AsyncDisposable & { readonly directory: string };

/**
 * `await using provider = await temporaryJsonFile()`: not opened yet; hand it to `openStorage` or
 * to `forRoot`. Disposing closes it, then removes the directory.
 */
export async function temporaryJsonFile(
  options: { readonly clock?: Clock } = {},
): Promise<TemporaryJsonFile> {
  const directory = await mkdtemp(join(tmpdir(), 'kvent-'));
  const provider = new JsonFileProvider({ ...options, directory });
  return Object.assign(provider, {
    directory,
    [Symbol.asyncDispose]: async (): Promise<void> => {
      await provider.close();
      await rm(directory, { recursive: true, force: true });
    },
  });
}

/** `--fresh`: the demo data of earlier runs are removed. */
import { SetupError } from './setup-error.js';
import { isOwnDirectory, ownDirectory, type ChosenStorage } from './storage.js';

/**
 * Empties the shop's own directory and no other. It is opened for that, so nothing is removed under another process: its lock is held until the
 * last database is gone, and somebody else's is `STORAGE_LOCKED`.
 */
export async function startAfresh(storage: ChosenStorage): Promise<void> {
  if (storage.directory === undefined) return;
  if (!isOwnDirectory(storage))
    throw new SetupError(`--fresh empties ${ownDirectory} and no other directory: remove ${storage.directory} yourself.`);
  const provider = storage.create();
  await provider.open();
  try {
    for (const database of await provider.administration.databases()) await provider.administration.drop(database);
  } finally {
    await provider.close();
  }
}

/** `--fresh`: deletes the demo data of earlier runs. */
import { SetupError } from './setup-error.js';
import { ownDirectory, type ChosenStorage } from './storage.js';

/**
 * Empties the storage of the demo, and no other. The storage is open while it is emptied, so a
 * directory in use by another process is `STORAGE_LOCKED`.
 */
export async function resetDemo(storage: ChosenStorage): Promise<void> {
  const { directory, isOwn = false } = storage;
  if (!isOwn && directory === undefined) return;
  if (!isOwn)
    throw new SetupError(
      `--fresh empties ${ownDirectory} and no other directory: remove ${directory} yourself.`,
    );
  const provider = await storage.create();
  await provider.open();
  try {
    for (const database of await provider.administration.databases())
      await provider.administration.drop(database);
  } finally {
    await provider.close();
  }
}

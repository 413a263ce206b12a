/** `--fresh`: the demo data of earlier runs are removed. */
import { SetupError } from './setup-error.js';
import { ownDirectory, type ChosenStorage } from './storage.js';

/**
 * Empties what is the shop's own, and nothing else. It is opened for that, so nothing is removed
 * under another process that owns its directory: its lock is held until the last database is gone,
 * and somebody else's is `STORAGE_LOCKED`.
 */
export async function startAfresh(storage: ChosenStorage): Promise<void> {
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

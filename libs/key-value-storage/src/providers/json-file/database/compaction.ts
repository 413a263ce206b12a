/**
 * Compaction starts a new generation. First comes the journal, which takes the next commits; then
 * the snapshot, which gets its name once it is complete and on disk; older files are removed once
 * that name is on disk. The directory can be opened after each step.
 */
import { join } from 'node:path';
import { synced } from '../disk/disk-errors.js';
import { JournalFile } from './journal-file.js';
import { generationsOf, journalName, snapshotName, temporaryName } from '../format/layout.js';
import { writeSnapshot } from './snapshot-file.js';
import type { CompactionTarget, GenerationStart } from './store-context.js';

/** Returns the bytes of the snapshot. `throwIfStopped` throws to cancel it. */
export async function compact(
  database: CompactionTarget,
  generation: number,
  throwIfStopped: () => void,
): Promise<number> {
  const { fileSystem, verifyOwner } = database.context;
  const { directory, name } = database;
  const journal = await JournalFile.create(fileSystem, directory, {
    database: name,
    generation,
    after: database.onDisk,
  });
  const start = await startGeneration(database, journal);
  const snapshot = join(directory, snapshotName(generation));
  const temporary = join(directory, temporaryName(snapshotName(generation)));
  let bytes: number;
  try {
    const header = { database: name, generation, upTo: start.upTo, ...start.time };
    bytes = await writeSnapshot(fileSystem, temporary, header, start.view.pages(), throwIfStopped);
  } finally {
    start.view.release();
  }
  try {
    await verifyOwner();
    await fileSystem.rename(temporary, snapshot);
  } catch (error) {
    await fileSystem.remove(temporary).catch(() => undefined);
    throw error;
  }
  await synced(directory, fileSystem.syncDirectory(directory));
  await verifyOwner();
  await removeOlder(database, generation);
  return bytes;
}

async function startGeneration(database: CompactionTarget, journal: JournalFile): Promise<GenerationStart> {
  const { fileSystem } = database.context;
  try {
    await synced(database.directory, fileSystem.syncDirectory(database.directory));
  } catch (error) {
    await journal.discard(fileSystem);
    throw error;
  }
  try {
    return await database.switchTo(journal);
  } catch (error) {
    // the new journal stays: the one before it may already name it as the next
    await journal.close().catch(() => undefined);
    throw error;
  }
}

/** A file that cannot be removed now is removed with the next generation. */
async function removeOlder({ context, directory }: CompactionTarget, generation: number): Promise<void> {
  const { snapshots, journals } = generationsOf((await context.fileSystem.list(directory)) ?? []);
  const older = [
    ...snapshots.filter((each) => each < generation).map(snapshotName),
    ...journals.filter((each) => each < generation).map(journalName),
  ];
  for (const name of older) await context.fileSystem.remove(join(directory, name)).catch(() => undefined);
}

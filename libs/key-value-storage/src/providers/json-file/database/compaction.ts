/**
 * Compaction: a new generation. The journal comes first, so that commits have a place to go; the
 * snapshot takes its name only when it is whole and on disk; older files go only when that name is
 * on disk. Between any two steps the directory can be opened.
 */
import { join } from 'node:path';
import { synced } from '../disk/disk-errors.js';
import { JournalFile } from './journal-file.js';
import { generationsOf, journalName, snapshotName, temporaryName } from '../format/layout.js';
import { writeSnapshot } from './snapshot-file.js';
import type { CompactionTarget, GenerationStart } from './store-context.js';

/** Answers the bytes of the snapshot. `stopIfDue` throws when it is to be given up. */
export async function compact(
  database: CompactionTarget,
  generation: number,
  stopIfDue: () => void,
): Promise<number> {
  const { fileSystem, verifyOwner } = database.context;
  const { directory, name } = database;
  const journal = await JournalFile.create(fileSystem, directory, {
    database: name,
    generation,
    after: database.onDisk,
  });
  const start = await beginGeneration(database, journal);
  const snapshot = join(directory, snapshotName(generation));
  const temporary = join(directory, temporaryName(snapshotName(generation)));
  let bytes: number;
  try {
    const header = { database: name, generation, upTo: start.upTo, ...start.time };
    bytes = await writeSnapshot(fileSystem, temporary, header, start.view.pages(), stopIfDue);
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

async function beginGeneration(database: CompactionTarget, journal: JournalFile): Promise<GenerationStart> {
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
    // it stays: the journal before it may already say that it goes on here
    await journal.close().catch(() => undefined);
    throw error;
  }
}

/** What cannot be taken away now is when the next generation begins. */
async function removeOlder({ context, directory }: CompactionTarget, generation: number): Promise<void> {
  const { snapshots, journals } = generationsOf((await context.fileSystem.list(directory)) ?? []);
  const older = [
    ...snapshots.filter((each) => each < generation).map(snapshotName),
    ...journals.filter((each) => each < generation).map(journalName),
  ];
  for (const name of older) await context.fileSystem.remove(join(directory, name)).catch(() => undefined);
}

/**
 * The root of a store: a directory with a marker. An empty directory without one is a new store, or
 * a disk that is not mounted. A directory with databases and without a marker is refused: this
 * library does not leave one behind.
 */
import { randomUUID } from 'node:crypto';
import { dirname, join } from 'node:path';
import { isStorageError, storageError, type StorageError } from '../../core/base/errors.js';
import { sharedDatabase, tenantIn } from '../../core/store/tenant.js';
import { codeOf, corrupt, misplaced, unavailable } from './disk/disk-errors.js';
import { databaseOf } from './disk/file-name.js';
import type { FileSystem } from './disk/file-system.js';
import {
  droppedAs,
  isLeftover,
  markerName,
  mayBeDirectory,
  newestGeneration,
  temporaryName,
} from './format/layout.js';
import { readWhole, writeAll } from './disk/line-reader.js';
import { withFile } from './database/read-database.js';

interface Marker {
  readonly kvent: 'store';
  readonly format: 1;
  /** Distinguishes this store from another one at the same path. */
  readonly id: string;
  /**
   * Whether its events have positions in the feed. A store that is older than the feed lacks it.
   */
  readonly feed?: boolean;
}

/** Creates the directory if it is missing. Without a marker it must not contain databases. */
export async function ensureRoot(
  fileSystem: FileSystem,
  root: string,
  create: 'if-missing' | 'never',
): Promise<void> {
  try {
    const names = await fileSystem.list(root);
    if (names?.includes(markerName) === true) return;
    if (create === 'never') throw missingStore(root);
    if (names === undefined) await createWithParents(fileSystem, root);
    else await assertNoDatabases(fileSystem, root, names);
  } catch (error) {
    throw unavailable(`The store's directory ${root} cannot be used`, error);
  }
}

const missingStore = (root: string): StorageError =>
  storageError(
    'STORAGE_UNAVAILABLE',
    `There is no store in ${root}, and create is 'never'. Is the disk mounted?`,
    {},
  );

async function assertNoDatabases(
  fileSystem: FileSystem,
  root: string,
  names: readonly string[],
): Promise<void> {
  for (const name of names) {
    const database = databaseOf(name);
    if (database === undefined) continue;
    const inside = await namesInDatabase(fileSystem, join(root, name), database);
    if (inside === undefined || inside.length === 0 || isForeign(database, inside)) continue;
    throw corrupt(
      join(root, markerName),
      `the marker of the store is missing, but there is the database '${database}'`,
    );
  }
}

/** Whether stores use a database of this name. Any other name in the root may be foreign. */
const isOfStores = (database: string): boolean =>
  database === sharedDatabase || tenantIn(database) !== undefined;

/**
 * Whether a directory contains only foreign files. An empty one, and one with a name of ours, is a
 * database without its files.
 */
const isForeign = (database: string, names: readonly string[]): boolean =>
  !isOfStores(database) && newestGeneration(names) === 0 && names.length > 0;

/**
 * The databases with a directory. `onMisplaced` gets a link or a file in place of one, and one that
 * was dropped late; by default they are refused.
 */
export async function listDatabases(
  fileSystem: FileSystem,
  root: string,
  onMisplaced?: (database: string, place: string, error: StorageError) => void,
): Promise<readonly string[]> {
  const databases: string[] = [];
  try {
    for (const name of (await fileSystem.list(root)) ?? []) {
      const droppedLate = await nameBeforeLateDrop(fileSystem, root, name);
      const database = databaseOf(droppedLate ?? name);
      if (database === undefined) continue;
      try {
        if (droppedLate !== undefined)
          throw corrupt(
            join(root, name),
            `it has commits of the database '${database}' that are newer than its drop, and gets its name back when the store is opened without readOnly`,
          );
        const inside = await namesInDatabase(fileSystem, join(root, name), database);
        if (inside !== undefined && !isForeign(database, inside)) databases.push(database);
      } catch (error) {
        if (onMisplaced === undefined || !isStorageError(error, 'STORAGE_CORRUPT')) throw error;
        onMisplaced(database, join(root, name), error);
      }
    }
  } catch (error) {
    throw unavailable(`The store's directory ${root} cannot be read`, error);
  }
  return databases.sort();
}

/**
 * The names in a directory; `undefined` if it is not one. A link is refused: it may lead anywhere.
 * So is a file with a name of ours.
 */
async function namesInDatabase(
  fileSystem: FileSystem,
  path: string,
  database: string,
): Promise<readonly string[] | undefined> {
  const kind = (await fileSystem.status(path))?.kind;
  if (kind === 'directory') return await fileSystem.list(path);
  if (kind === 'link' || (kind !== undefined && isOfStores(database)))
    throw misplaced(
      path,
      `there is a ${kind === 'link' ? 'link' : 'file'} in place of the directory of a database`,
    );
  return undefined;
}

/** Warns if another user could change the store. */
export async function warnOfPermissions(
  fileSystem: FileSystem,
  root: string,
  directoryMode: number,
  warn: (message: string) => void,
): Promise<void> {
  const found = await fileSystem.status(root, 'follow').catch(() => undefined);
  if (found === undefined) return;
  if (!found.isOurs)
    warn(`The store's directory ${root} belongs to another user, who can read and change all data in it.`);
  const others = (found.permissions ?? 0) & 0o022 & ~directoryMode;
  if (others !== 0) {
    const mode = (found.permissions ?? 0).toString(8).padStart(4, '0');
    warn(
      `The store's directory ${root} can be written to by other users (mode ${mode}). Run chmod go-w, or allow it with the option directoryMode.`,
    );
  }
}

/** Creates a directory and its parents, each synced into its parent. */
async function createWithParents(fileSystem: FileSystem, path: string): Promise<void> {
  const parent = dirname(path);
  if (parent !== path && (await fileSystem.list(parent)) === undefined)
    await createWithParents(fileSystem, parent);
  if (!(await fileSystem.makeDirectory(path))) return;
  try {
    await fileSystem.syncDirectory(parent);
  } catch (error) {
    // a name whose sync failed may never reach the disk: the next attempt creates it again
    await fileSystem.removeDirectory(path).catch(() => undefined);
    throw error;
  }
}

/**
 * Reads or creates the marker, and removes leftovers of earlier owners; returns the marker. Only
 * for the owner of the lock. All names in the root are on disk when it resolves.
 */
export async function prepareRoot(fileSystem: FileSystem, root: string): Promise<Marker> {
  try {
    const names = (await fileSystem.list(root)) ?? [];
    if (names.includes(markerName)) {
      for (const name of names)
        if (!(await undoLateDrop(fileSystem, root, name))) await renewDrop(fileSystem, root, name);
      await fileSystem.syncDirectory(root);
    } else {
      await assertNoDatabases(fileSystem, root, names);
      await syncParents(fileSystem, root);
      await createMarker(fileSystem, root);
    }
    // only now, when the renames of dropped databases are on disk
    for (const name of names.filter(isLeftover)) {
      if (mayBeDirectory(name)) await removeTree(fileSystem, join(root, name));
      else await fileSystem.remove(join(root, name)).catch(() => undefined);
    }
  } catch (error) {
    throw unavailable(`The store's directory ${root} cannot be used`, error);
  }
  return await readMarker(fileSystem, root);
}

/**
 * A process that ended may have created them without a sync. A parent that cannot be opened is not
 * one of them.
 */
async function syncParents(fileSystem: FileSystem, path: string): Promise<void> {
  const parent = dirname(path);
  if (parent === path) return;
  try {
    await fileSystem.syncDirectory(parent);
  } catch (error) {
    if (!['EACCES', 'EPERM', 'EROFS', 'EINVAL'].includes(codeOf(error) ?? '')) throw error;
  }
  await syncParents(fileSystem, parent);
}

/**
 * The earlier name of a dropped directory that has a generation that is newer than the drop: an
 * owner that was suspended dropped it after its successor had opened it, and the successor may have
 * acknowledged commits. `undefined` for any other name.
 */
async function nameBeforeLateDrop(
  fileSystem: FileSystem,
  root: string,
  name: string,
): Promise<string | undefined> {
  const dropped = droppedAs(name);
  if (dropped === undefined || databaseOf(dropped.directory) === undefined) return undefined;
  const path = join(root, name);
  if ((await fileSystem.status(path))?.kind !== 'directory') return undefined;
  const newest = newestGeneration((await fileSystem.list(path)) ?? []);
  return newest > dropped.generation ? dropped.directory : undefined;
}

/** Gives a directory its name back if it was dropped late. Returns whether it was so. */
export async function undoLateDrop(fileSystem: FileSystem, root: string, name: string): Promise<boolean> {
  const directory = await nameBeforeLateDrop(fileSystem, root, name);
  if (directory === undefined) return false;
  const [path, before] = [join(root, name), join(root, directory)];
  if ((await fileSystem.status(before)) !== undefined)
    throw corrupt(path, `it has commits that are newer than its drop, and there is ${before} too`);
  await fileSystem.rename(path, before);
  return true;
}

/**
 * Changes the name of a dropped database once more, so that the next sync stores the drop even if
 * the sync of the drop itself failed. If the process ends here, an empty directory is left.
 */
async function renewDrop(fileSystem: FileSystem, root: string, name: string): Promise<void> {
  const directory = droppedAs(name)?.directory;
  if (directory === undefined || databaseOf(directory) === undefined) return;
  const path = join(root, directory);
  const found = await fileSystem.status(path);
  if (found === undefined) await fileSystem.makeDirectory(path);
  else if (found.kind !== 'directory' || ((await fileSystem.list(path)) ?? []).length > 0) return;
  await fileSystem.removeDirectory(path);
}

async function createMarker(fileSystem: FileSystem, root: string): Promise<void> {
  try {
    await writeMarker(fileSystem, root, { kvent: 'store', format: 1, id: randomUUID() });
    await fileSystem.syncDirectory(root);
  } catch (error) {
    // a name whose sync failed may never reach the disk: the next attempt creates it again
    await fileSystem.remove(join(root, markerName)).catch(() => undefined);
    throw error;
  }
}

/**
 * Notes whether the events have positions. Call it when these, and a reservation, are on disk: from
 * then on a store without a reservation is damaged.
 */
export async function markFeed(
  fileSystem: FileSystem,
  root: string,
  marker: Marker,
  feed: boolean,
): Promise<void> {
  try {
    await writeMarker(fileSystem, root, { ...marker, feed });
    await fileSystem.syncDirectory(root);
  } catch (error) {
    throw unavailable(`The marker of the store in ${root} cannot be written`, error);
  }
}

async function writeMarker(fileSystem: FileSystem, root: string, marker: Marker): Promise<void> {
  const temporary = join(root, temporaryName(markerName));
  const file = await fileSystem.open(temporary, 'create');
  try {
    await writeAll(file, Buffer.from(`${JSON.stringify(marker)}\n`), 0);
    await file.sync();
  } finally {
    await file.close();
  }
  await fileSystem.rename(temporary, join(root, markerName));
}

export async function readMarker(fileSystem: FileSystem, root: string): Promise<Marker> {
  const path = join(root, markerName);
  const text = (await withFile(fileSystem, path, (file) => readWhole(file))).toString();
  try {
    const marker = JSON.parse(text) as Marker;
    if (marker.kvent === 'store' && typeof marker.id === 'string') {
      if (marker.format === 1) return marker;
      throw corrupt(path, `the store is of format ${String(marker.format)}; this release reads format 1`);
    }
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw corrupt(path, 'the marker of the store cannot be read');
}

/**
 * Removes a file, or a directory of files, if possible; the next start removes the rest. A link is
 * removed, never followed.
 */
export async function removeTree(fileSystem: FileSystem, path: string): Promise<void> {
  try {
    if ((await fileSystem.status(path))?.kind !== 'directory') return await fileSystem.remove(path);
    for (const name of (await fileSystem.list(path)) ?? []) await fileSystem.remove(join(path, name));
    await fileSystem.removeDirectory(path);
  } catch {
    // the next start tries again
  }
}

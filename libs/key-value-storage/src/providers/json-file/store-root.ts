/**
 * The root of a store: a directory with a marker. An empty store has the marker; an empty directory
 * without it is a new store, or a disk that is not mounted. A directory with databases and no
 * marker is no store that this library left behind.
 */
import { randomUUID } from 'node:crypto';
import { dirname, join } from 'node:path';
import { isStorageError, storageError, type StorageError } from '../../core/base/errors.js';
import { codeOf, corrupt, misplaced, unavailable } from './disk/disk-errors.js';
import { databaseOf } from './disk/file-name.js';
import type { FileSystem } from './disk/file-system.js';
import {
  directoryDropped,
  generationsOf,
  isLeftover,
  markerName,
  mayBeDirectory,
  temporaryName,
} from './format/layout.js';
import { readWhole, writeAll } from './disk/line-reader.js';
import { withFile } from './database/read-database.js';

interface Marker {
  readonly kvent: 'store';
  readonly format: 1;
  /** Tells this store from another one at the same path. */
  readonly id: string;
}

/** Makes the directory where there is none. Without a marker it must not hold databases. */
export async function makeRoot(
  fileSystem: FileSystem,
  root: string,
  create: 'if-missing' | 'never',
): Promise<void> {
  try {
    const names = await fileSystem.list(root);
    if (names?.includes(markerName) === true) return;
    if (create === 'never') throw notThere(root);
    if (names === undefined) await makeWithParents(fileSystem, root);
    else await assertNoDatabases(fileSystem, root, names);
  } catch (error) {
    throw unavailable(`The store's directory ${root} cannot be used`, error);
  }
}

const notThere = (root: string): StorageError =>
  storageError(
    'STORAGE_UNAVAILABLE',
    `There is no store in ${root} (is the disk mounted?), and with create: 'never' none is made.`,
    {},
  );

async function assertNoDatabases(
  fileSystem: FileSystem,
  root: string,
  names: readonly string[],
): Promise<void> {
  for (const name of names) {
    if (databaseOf(name) === undefined) continue;
    const inside = await insideDatabase(fileSystem, join(root, name));
    if (inside === undefined || isForeign(inside) || inside.length === 0) continue;
    throw corrupt(
      join(root, markerName),
      `the marker of the store is missing, but there is the database '${String(databaseOf(name))}'`,
    );
  }
}

/**
 * Directories that only hold what this library does not write are somebody else's. An empty one is
 * a database whose files are missing.
 */
const isForeign = (names: readonly string[]): boolean => {
  const { snapshots, journals } = generationsOf(names);
  return snapshots.length + journals.length === 0 && names.length > 0;
};

/**
 * The databases that have a directory. `onLink` hears of a link in the place of one; without it
 * that is refused.
 */
export async function listDatabases(
  fileSystem: FileSystem,
  root: string,
  onLink?: (database: string, error: StorageError) => void,
): Promise<readonly string[]> {
  const databases: string[] = [];
  try {
    for (const name of (await fileSystem.list(root)) ?? []) {
      const database = databaseOf(name);
      if (database === undefined) continue;
      try {
        const inside = await insideDatabase(fileSystem, join(root, name));
        if (inside !== undefined && !isForeign(inside)) databases.push(database);
      } catch (error) {
        if (onLink === undefined || !isStorageError(error, 'STORAGE_CORRUPT')) throw error;
        onLink(database, error);
      }
    }
  } catch (error) {
    throw unavailable(`The store's directory ${root} cannot be read`, error);
  }
  return databases.sort();
}

/**
 * The names in a directory, `undefined` for what is none. A link is refused: it may lead to
 * somebody else's files.
 */
async function insideDatabase(fileSystem: FileSystem, path: string): Promise<readonly string[] | undefined> {
  const kind = (await fileSystem.status(path))?.kind;
  if (kind === 'link') throw misplaced(path, 'a link is where the directory of a database should be');
  return kind === 'directory' ? await fileSystem.list(path) : undefined;
}

/** Says so where others than the user of this process could change the store behind its back. */
export async function warnOfOthers(
  fileSystem: FileSystem,
  root: string,
  directoryMode: number,
  warn: (message: string) => void,
): Promise<void> {
  const found = await fileSystem.status(root, 'follow').catch(() => undefined);
  if (found === undefined) return;
  if (!found.isOurs)
    warn(
      `The store's directory ${root} belongs to another user: whoever owns it can read and change what is stored, and where it leads.`,
    );
  const others = (found.permissions ?? 0) & 0o022 & ~directoryMode;
  if (others !== 0) {
    const mode = (found.permissions ?? 0).toString(8).padStart(4, '0');
    warn(
      `The store's directory ${root} can be written to by other users (mode ${mode}): chmod go-w, or say so with the option directoryMode.`,
    );
  }
}

/** Each new directory is on disk, in the one above it, before anything is answered. */
async function makeWithParents(fileSystem: FileSystem, path: string): Promise<void> {
  const parent = dirname(path);
  if (parent !== path && (await fileSystem.list(parent)) === undefined)
    await makeWithParents(fileSystem, parent);
  if (!(await fileSystem.makeDirectory(path))) return;
  try {
    await fileSystem.syncDirectory(parent);
  } catch (error) {
    // a name whose sync failed may never reach the disk: the next attempt makes it anew
    await fileSystem.removeDirectory(path).catch(() => undefined);
    throw error;
  }
}

/**
 * Reads the marker, or makes it, and clears away what earlier owners left unfinished; answers the
 * id of the store. Only for the owner of the lock. What is seen here is on disk when it answers.
 */
export async function settleRoot(fileSystem: FileSystem, root: string): Promise<string> {
  try {
    const names = (await fileSystem.list(root)) ?? [];
    if (names.includes(markerName)) {
      for (const name of names) await touchDropped(fileSystem, root, directoryDropped(name));
      await fileSystem.syncDirectory(root);
    } else {
      await assertNoDatabases(fileSystem, root, names);
      await syncParents(fileSystem, root);
      await makeMarker(fileSystem, root);
    }
    // only now: what was renamed away is gone from the disk too
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
 * A process that died may have made them and not have synced them. Those that may not be opened
 * were there before.
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
 * The name of a dropped database changes once more, so that the sync that follows holds it even if
 * the one of the drop failed. Should the process end on the way, an empty directory is left of it,
 * beside what was dropped.
 */
async function touchDropped(
  fileSystem: FileSystem,
  root: string,
  directory: string | undefined,
): Promise<void> {
  if (directory === undefined || databaseOf(directory) === undefined) return;
  const path = join(root, directory);
  const found = await fileSystem.status(path);
  if (found === undefined) await fileSystem.makeDirectory(path);
  else if (found.kind !== 'directory' || ((await fileSystem.list(path)) ?? []).length > 0) return;
  await fileSystem.removeDirectory(path);
}

async function makeMarker(fileSystem: FileSystem, root: string): Promise<void> {
  try {
    await writeMarker(fileSystem, root);
    await fileSystem.syncDirectory(root);
  } catch (error) {
    // a name whose sync failed may never reach the disk: the next attempt makes it anew
    await fileSystem.remove(join(root, markerName)).catch(() => undefined);
    throw error;
  }
}

async function writeMarker(fileSystem: FileSystem, root: string): Promise<void> {
  const temporary = join(root, temporaryName(markerName));
  const marker: Marker = { kvent: 'store', format: 1, id: randomUUID() };
  const file = await fileSystem.open(temporary, 'create');
  try {
    await writeAll(file, Buffer.from(`${JSON.stringify(marker)}\n`), 0);
    await file.sync();
  } finally {
    await file.close();
  }
  await fileSystem.rename(temporary, join(root, markerName));
}

export async function readMarker(fileSystem: FileSystem, root: string): Promise<string> {
  const path = join(root, markerName);
  const text = (await withFile(fileSystem, path, (file) => readWhole(file))).toString();
  try {
    const marker = JSON.parse(text) as Marker;
    if (marker.kvent === 'store' && typeof marker.id === 'string') {
      if (marker.format === 1) return marker.id;
      throw corrupt(path, `the store is of format ${String(marker.format)}; this release reads format 1`);
    }
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw corrupt(path, 'the marker of the store cannot be read');
}

/**
 * Removes a file, or a directory of files, as far as it can: what stays is tried again at the next
 * start. A link is removed, never followed.
 */
export async function removeTree(fileSystem: FileSystem, path: string): Promise<void> {
  try {
    if ((await fileSystem.status(path))?.kind !== 'directory') return await fileSystem.remove(path);
    for (const name of (await fileSystem.list(path)) ?? []) await fileSystem.remove(join(path, name));
    await fileSystem.removeDirectory(path);
  } catch {
    // see above
  }
}

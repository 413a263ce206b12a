/**
 * The file system of this machine. It wraps the callbacks of Node in one promise each:
 * `fs.promises` would add more to every commit.
 */
import fs from 'node:fs';

import { codeOf } from './disk-errors.js';
import { creates, type FileSystem, type OpenFile, type OpenMode, type PathStatus } from './file-system.js';

type Callback<T> = (error: NodeJS.ErrnoException | null, value?: T) => void;

const promised = <T>(call: (done: Callback<T>) => void): Promise<T> =>
  new Promise((resolve, reject) => {
    call((error, value) => (error ? reject(error) : resolve(value as T)));
  });

export const nodeFileSystem: FileSystem = {
  writeAhead: { fromBytes: 64 * 1_024, bytesMax: 256 * 1_024 },
  open: async (path, mode, permissions) => {
    const descriptor = creates(mode)
      ? await promised<number>((done) => fs.open(path, flagsOf(mode), permissions, done))
      : await openPlain(path, flagsOf(mode));
    return new NodeFile(descriptor, isSynced(mode) && !hasSyncedWrites);
  },
  readNow,
  status,
  rename: (from, to) => promised((done) => fs.rename(from, to, done)),
  remove: (path) => promised((done) => fs.unlink(path, done)),
  makeDirectory,
  removeDirectory: (path) => promised((done) => fs.rmdir(path, done)),
  list,
  syncDirectory,
};

/** Windows has none of the last four: it follows links, and opening does not block. */
const {
  O_RDONLY = 0,
  O_RDWR = 2,
  O_CREAT = 0,
  O_EXCL = 0,
  O_DSYNC = 0,
  O_NOFOLLOW = 0,
  O_NONBLOCK = 0,
  O_DIRECTORY = 0,
} = fs.constants as Partial<typeof fs.constants>;

/**
 * Whether one call writes and syncs: half of the time of a lone commit was the second call to a
 * thread. Elsewhere O_DSYNC does not flush the cache of the drive, as `fdatasync` does.
 */
const hasSyncedWrites = process.platform === 'linux';
const isSynced = (mode: OpenMode): boolean => mode === 'write-synced' || mode === 'create-synced';

/** Existing files are opened without blocking: opening a FIFO would wait for its writer. */
function flagsOf(mode: OpenMode): number {
  const sync = isSynced(mode) && hasSyncedWrites ? O_DSYNC : 0;
  if (creates(mode)) return O_RDWR | O_CREAT | O_EXCL | sync;
  return (mode === 'read' ? O_RDONLY : O_RDWR) | O_NOFOLLOW | O_NONBLOCK | sync;
}

async function openPlain(path: string, flags: number): Promise<number> {
  const descriptor = await promised<number>((done) => fs.open(path, flags, done)).catch((error: unknown) => {
    throw codeOf(error) === 'ENXIO' ? notPlain('ENOTFILE', path) : error;
  });
  // synchronous: it does not touch the disk, and a promise would take longer
  const found = fs.fstatSync(descriptor);
  if (found.isFile()) return descriptor;
  await promised((done) => fs.close(descriptor, done));
  throw notPlain(found.isDirectory() ? 'EISDIR' : 'ENOTFILE', path);
}

function readNow(path: string, bytesMax: number): Uint8Array {
  const descriptor = fs.openSync(path, flagsOf('read'));
  try {
    const found = fs.fstatSync(descriptor);
    if (!found.isFile()) throw notPlain(found.isDirectory() ? 'EISDIR' : 'ENOTFILE', path);
    const bytes = Buffer.allocUnsafe(bytesMax);
    return bytes.subarray(0, fs.readSync(descriptor, bytes, 0, bytesMax, 0));
  } finally {
    // it is closed also if that fails
    try {
      fs.closeSync(descriptor);
    } catch {}
  }
}

const notPlain = (code: string, path: string): Error =>
  Object.assign(new Error(`${code}: not a plain file, open '${path}'`), { code });

async function status(path: string, links?: 'follow'): Promise<PathStatus | undefined> {
  let found: fs.Stats;
  try {
    found = await promised<fs.Stats>((done) =>
      links === 'follow' ? fs.stat(path, done) : fs.lstat(path, done),
    );
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  const own = process.getuid?.();
  return {
    kind: found.isFile()
      ? 'file'
      : found.isDirectory()
        ? 'directory'
        : found.isSymbolicLink()
          ? 'link'
          : 'other',
    permissions: own === undefined ? undefined : found.mode & 0o777,
    isOurs: own === undefined || found.uid === own,
    bytes: found.size,
    modifiedMs: found.mtimeMs,
  };
}

class NodeFile implements OpenFile {
  readonly #descriptor: number;
  /** Whether each write is followed by a sync. */
  readonly #syncs: boolean;

  constructor(descriptor: number, syncs: boolean) {
    this.#descriptor = descriptor;
    this.#syncs = syncs;
  }

  read(into: Uint8Array, position: number): Promise<number> {
    return promised((done) => fs.read(this.#descriptor, into, 0, into.byteLength, position, done));
  }

  write(bytes: Uint8Array, position: number): Promise<number> {
    const written = promised<number>((done) =>
      fs.write(this.#descriptor, bytes, 0, bytes.byteLength, position, done),
    );
    return this.#syncs ? written.then((count) => this.sync().then(() => count)) : written;
  }

  truncate(length: number): Promise<void> {
    return promised((done) => fs.ftruncate(this.#descriptor, length, done));
  }

  /** The data, and the length that is needed to read it; on macOS libuv uses F_FULLFSYNC. */
  sync(): Promise<void> {
    return promised((done) => fs.fdatasync(this.#descriptor, done));
  }

  async size(): Promise<number> {
    return (await promised<fs.Stats>((done) => fs.fstat(this.#descriptor, done))).size;
  }

  close(): Promise<void> {
    return promised((done) => fs.close(this.#descriptor, done));
  }
}

async function makeDirectory(path: string, permissions?: number): Promise<boolean> {
  try {
    await promised((done) => fs.mkdir(path, permissions, done));
    return true;
  } catch (error) {
    if (codeOf(error) !== 'EEXIST' || (await list(path)) === undefined) throw error;
    return false;
  }
}

async function list(path: string): Promise<readonly string[] | undefined> {
  try {
    return await promised<string[]>((done) => fs.readdir(path, done));
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Windows cannot open a directory to flush it; NTFS logs names itself. */
async function syncDirectory(path: string): Promise<void> {
  if (process.platform === 'win32') return;
  const descriptor = await promised<number>((done) => fs.open(path, O_RDONLY | O_DIRECTORY, done));
  try {
    await promised((done) => fs.fsync(descriptor, done));
  } finally {
    await promised((done) => fs.close(descriptor, done));
  }
}

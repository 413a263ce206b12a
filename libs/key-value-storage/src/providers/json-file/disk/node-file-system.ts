/**
 * The file system of this machine. It wraps the callbacks of Node in one promise each:
 * `fs.promises` would add more to every commit.
 */
import fs from 'node:fs';

import { codeOf } from './disk-errors.js';
import type { FileSystem, OpenFile, PathStatus } from './file-system.js';

type Callback<T> = (error: NodeJS.ErrnoException | null, value?: T) => void;

const promised = <T>(call: (done: Callback<T>) => void): Promise<T> =>
  new Promise((resolve, reject) => {
    call((error, value) => (error ? reject(error) : resolve(value as T)));
  });

export const nodeFileSystem: FileSystem = {
  open: async (path, mode, permissions) =>
    mode !== 'create'
      ? await openPlain(path, mode)
      : new NodeFile(await promised((done) => fs.open(path, 'wx+', permissions, done))),
  status,
  rename: (from, to) => promised((done) => fs.rename(from, to, done)),
  remove: (path) => promised((done) => fs.unlink(path, done)),
  makeDirectory,
  removeDirectory: (path) => promised((done) => fs.rmdir(path, done)),
  list,
  syncDirectory,
};

/** Windows has none of the last three: it follows links, and opening does not block. */
const {
  O_RDONLY = 0,
  O_RDWR = 2,
  O_NOFOLLOW = 0,
  O_NONBLOCK = 0,
  O_DIRECTORY = 0,
} = fs.constants as Partial<typeof fs.constants>;

/** Opens without blocking: the thread that opens a FIFO would wait for its writer without end. */
async function openPlain(path: string, mode: 'read' | 'write'): Promise<OpenFile> {
  const flags = (mode === 'read' ? O_RDONLY : O_RDWR) | O_NOFOLLOW | O_NONBLOCK;
  const descriptor = await promised<number>((done) => fs.open(path, flags, done)).catch((error: unknown) => {
    throw codeOf(error) === 'ENXIO' ? notPlain('ENOTFILE', path) : error;
  });
  // synchronous: it does not touch the disk, and a promise would take longer
  const found = fs.fstatSync(descriptor);
  if (found.isFile()) return new NodeFile(descriptor);
  await promised((done) => fs.close(descriptor, done));
  throw notPlain(found.isDirectory() ? 'EISDIR' : 'ENOTFILE', path);
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
  };
}

class NodeFile implements OpenFile {
  readonly #descriptor: number;

  constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  read(into: Uint8Array, position: number): Promise<number> {
    return promised((done) => fs.read(this.#descriptor, into, 0, into.byteLength, position, done));
  }

  write(bytes: Uint8Array, position: number): Promise<number> {
    return promised((done) => fs.write(this.#descriptor, bytes, 0, bytes.byteLength, position, done));
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

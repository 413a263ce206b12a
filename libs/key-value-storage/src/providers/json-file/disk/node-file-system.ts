/**
 * The file system of this machine, through Node's callbacks: a promise each, and nothing that
 * `fs.promises` adds on the way of every commit.
 */
import fs from 'node:fs';

import type { FileSystem, OpenFile, PathStatus } from './file-system.js';

type Answer<T> = (error: NodeJS.ErrnoException | null, value?: T) => void;

const asked = <T>(call: (answer: Answer<T>) => void): Promise<T> =>
  new Promise((resolve, reject) => {
    call((error, value) => (error ? reject(error) : resolve(value as T)));
  });

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code;

export const nodeFileSystem: FileSystem = {
  open: async (path, mode, permissions) =>
    mode !== 'create'
      ? await openPlain(path, mode)
      : new NodeFile(await asked((answer) => fs.open(path, 'wx+', permissions, answer))),
  status,
  rename: (from, to) => asked((answer) => fs.rename(from, to, answer)),
  remove: (path) => asked((answer) => fs.unlink(path, answer)),
  makeDirectory,
  removeDirectory: (path) => asked((answer) => fs.rmdir(path, answer)),
  list,
  syncDirectory,
};

/** Windows knows neither: there a link is followed, and nothing waits. */
const {
  O_RDONLY = 0,
  O_RDWR = 2,
  O_NOFOLLOW = 0,
  O_NONBLOCK = 0,
  O_DIRECTORY = 0,
} = fs.constants as Partial<typeof fs.constants>;

/**
 * A FIFO would be waited for until somebody writes to it, in a thread that nobody can end: so it is
 * opened without waiting, and looked at.
 */
async function openPlain(path: string, mode: 'read' | 'write'): Promise<OpenFile> {
  const flags = (mode === 'read' ? O_RDONLY : O_RDWR) | O_NOFOLLOW | O_NONBLOCK;
  const descriptor = await asked<number>((answer) => fs.open(path, flags, answer)).catch((error: unknown) => {
    throw codeOf(error) === 'ENXIO' ? notPlain('ENOTFILE', path) : error;
  });
  // it answers from memory: a promise would take longer
  const found = fs.fstatSync(descriptor);
  if (found.isFile()) return new NodeFile(descriptor);
  await asked((answer) => fs.close(descriptor, answer));
  throw notPlain(found.isDirectory() ? 'EISDIR' : 'ENOTFILE', path);
}

const notPlain = (code: string, path: string): Error =>
  Object.assign(new Error(`${code}: not a plain file, open '${path}'`), { code });

async function status(path: string, links?: 'follow'): Promise<PathStatus | undefined> {
  let found: fs.Stats;
  try {
    found = await asked<fs.Stats>((answer) =>
      links === 'follow' ? fs.stat(path, answer) : fs.lstat(path, answer),
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
    return asked((answer) => fs.read(this.#descriptor, into, 0, into.byteLength, position, answer));
  }

  write(bytes: Uint8Array, position: number): Promise<number> {
    return asked((answer) => fs.write(this.#descriptor, bytes, 0, bytes.byteLength, position, answer));
  }

  truncate(length: number): Promise<void> {
    return asked((answer) => fs.ftruncate(this.#descriptor, length, answer));
  }

  /**
   * Data, and the length that is needed to read it back; on macOS libuv asks the disk itself
   * (F_FULLFSYNC).
   */
  sync(): Promise<void> {
    return asked((answer) => fs.fdatasync(this.#descriptor, answer));
  }

  async size(): Promise<number> {
    return (await asked<fs.Stats>((answer) => fs.fstat(this.#descriptor, answer))).size;
  }

  close(): Promise<void> {
    return asked((answer) => fs.close(this.#descriptor, answer));
  }
}

async function makeDirectory(path: string, permissions?: number): Promise<boolean> {
  try {
    await asked((answer) => fs.mkdir(path, permissions, answer));
    return true;
  } catch (error) {
    if (codeOf(error) !== 'EEXIST' || (await list(path)) === undefined) throw error;
    return false;
  }
}

async function list(path: string): Promise<readonly string[] | undefined> {
  try {
    return await asked<string[]>((answer) => fs.readdir(path, answer));
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Windows cannot open a directory to flush it; NTFS keeps its own log of names. */
async function syncDirectory(path: string): Promise<void> {
  if (process.platform === 'win32') return;
  const descriptor = await asked<number>((answer) => fs.open(path, O_RDONLY | O_DIRECTORY, answer));
  try {
    await asked((answer) => fs.fsync(descriptor, answer));
  } finally {
    await asked((answer) => fs.close(descriptor, answer));
  }
}

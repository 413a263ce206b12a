/** The file system of this machine, through Node's callbacks: a promise each, and nothing that `fs.promises` adds on the way of every commit. */
import fs from 'node:fs';
import { dirname } from 'node:path';
import type { FileSystem, OpenFile } from './file-system.js';

type Answer<T> = (error: NodeJS.ErrnoException | null, value?: T) => void;

const asked = <T>(call: (answer: Answer<T>) => void): Promise<T> =>
  new Promise((resolve, reject) => {
    call((error, value) => (error ? reject(error) : resolve(value as T)));
  });

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code;

export const nodeFileSystem: FileSystem = {
  open: async (path, mode) => new NodeFile(await asked((answer) => fs.open(path, mode === 'read' ? 'r' : 'wx+', answer))),
  rename: (from, to) => asked((answer) => fs.rename(from, to, answer)),
  remove: (path) => asked((answer) => fs.unlink(path, answer)),
  makeDirectory,
  removeDirectory: (path) => asked((answer) => fs.rmdir(path, answer)),
  list,
  syncDirectory,
};

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

  /** Data, and the length that is needed to read it back; on macOS libuv asks the disk itself (F_FULLFSYNC). */
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

async function makeDirectory(path: string): Promise<boolean> {
  try {
    await asked((answer) => fs.mkdir(path, answer));
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
  const descriptor = await asked<number>((answer) => fs.open(path, 'r', answer));
  try {
    await asked((answer) => fs.fsync(descriptor, answer));
  } finally {
    await asked((answer) => fs.close(descriptor, answer));
  }
}

/** A directory and everything above it, the nearest first. */
export function withParents(path: string): readonly string[] {
  const parent = dirname(path);
  return parent === path ? [path] : [path, ...withParents(parent)];
}

/**
 * The file system as a parameter: all that the JSON-file provider asks of a disk. Tests put a disk in its place that fails at the n-th call,
 * tears writes, or forgets what was not synced. Failures are Node's errors (`code`: ENOENT, EEXIST, ENOSPC, EIO …). Paths are absolute.
 */

export interface OpenFile {
  /** Bytes read from `position` on; 0 at the end. May be fewer than asked. */
  read(into: Uint8Array, position: number): Promise<number>;
  /** Bytes written at `position`. May be fewer than given: the caller goes on. */
  write(bytes: Uint8Array, position: number): Promise<number>;
  truncate(length: number): Promise<void>;
  /** The bytes written are on disk when it answers. */
  sync(): Promise<void>;
  size(): Promise<number>;
  close(): Promise<void>;
}

export interface FileSystem {
  /** `read`: an existing file; `create`: a new one, for reading and writing, EEXIST if there is one (O_EXCL). */
  open(path: string, mode: 'read' | 'create'): Promise<OpenFile>;
  /** Replaces what is at `to`. On disk once the directory is synced. */
  rename(from: string, to: string): Promise<void>;
  /** ENOENT if there is none. */
  remove(path: string): Promise<void>;
  /** One directory, not its parents; answers whether it was created by this call. */
  makeDirectory(path: string): Promise<boolean>;
  removeDirectory(path: string): Promise<void>;
  /** The names in a directory, unordered; `undefined` if there is no such directory. */
  list(path: string): Promise<readonly string[] | undefined>;
  /** The entries of a directory (creations, renames, removals) are on disk when it answers. */
  syncDirectory(path: string): Promise<void>;
}

/**
 * The file system as a parameter: all that the JSON-file provider asks of a disk. Tests put a disk
 * in its place that fails at the n-th call, tears writes, or forgets what was not synced. Failures
 * are Node's errors (`code`: ENOENT, EEXIST, ENOSPC, EIO …). Paths are absolute.
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

/** What is at a path. */
export interface PathStatus {
  readonly kind: 'file' | 'directory' | 'link' | 'other';
  /**
   * Who may do what: the last nine bits of its mode. `undefined` where there are none (Windows).
   */
  readonly permissions: number | undefined;
  /** Whether it belongs to the user of this process; true where nobody can tell. */
  readonly isOurs: boolean;
}

export type OpenMode = 'read' | 'write' | 'create';

export interface FileSystem {
  /**
   * `read`: an existing plain file, without waiting and without following a link at its end: ELOOP
   * for a link, ENOTFILE for a FIFO, a socket or a device, EISDIR for a directory. `write`: the
   * same, for reading and writing. `create`: a new file, for reading and writing, EEXIST if there
   * is anything (O_EXCL). `permissions`: of a new file, less what the umask of the process takes
   * away.
   */
  open(path: string, mode: OpenMode, permissions?: number): Promise<OpenFile>;
  /** `undefined` if there is nothing. A link is a link, unless it is to be followed. */
  status(path: string, links?: 'follow'): Promise<PathStatus | undefined>;
  /** Replaces what is at `to`. On disk once the directory is synced. */
  rename(from: string, to: string): Promise<void>;
  /** ENOENT if there is none. */
  remove(path: string): Promise<void>;
  /** One directory, not its parents; answers whether it was created by this call. */
  makeDirectory(path: string, permissions?: number): Promise<boolean>;
  removeDirectory(path: string): Promise<void>;
  /** The names in a directory, unordered; `undefined` if there is no such directory. */
  list(path: string): Promise<readonly string[] | undefined>;
  /** The entries of a directory (creations, renames, removals) are on disk when it answers. */
  syncDirectory(path: string): Promise<void>;
}

/** Who may do what with the files and directories that are made. */
interface Modes {
  readonly directoryMode: number;
  readonly fileMode: number;
}

/** The same disk; whatever is made on it gets these permissions. */
export const withModes = (disk: FileSystem, { directoryMode, fileMode }: Modes): FileSystem => ({
  open: (path, mode) => (mode === 'create' ? disk.open(path, mode, fileMode) : disk.open(path, mode)),
  status: (path, links) => disk.status(path, links),
  rename: (from, to) => disk.rename(from, to),
  remove: (path) => disk.remove(path),
  makeDirectory: (path) => disk.makeDirectory(path, directoryMode),
  removeDirectory: (path) => disk.removeDirectory(path),
  list: (path) => disk.list(path),
  syncDirectory: (path) => disk.syncDirectory(path),
});

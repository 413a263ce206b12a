/**
 * The programs of child processes, each bundled into one file. Children start about a hundred times
 * in a run, and a loader that compiles what they import takes a second of CPU time each; the bundle
 * takes less than 0.2 s.
 */
import { renameSync } from 'node:fs';
import { basename, join } from 'node:path';
import { buildSync } from 'esbuild';

const root = join(import.meta.dirname, '../..');
/** Loaded from `node_modules`, and only by the children that need them. */
const external = ['pg', 'typeorm', '@nestjs/*', '@nestjs-cls/*'];
const bundles = new Map<string, string>();

/**
 * The path of a bundle of this file, which is named relative to `test/faults`. The first call in a
 * process makes it; other processes may replace it by their own.
 */
export function childProgram(script: string): string {
  const known = bundles.get(script);
  if (known !== undefined) return known;
  const path = join(root, '.tmp/children', basename(script, '.ts') + '.mjs');
  const made = `${path}.${process.pid}`;
  buildSync({
    entryPoints: [join(import.meta.dirname, script)],
    outfile: made,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    conditions: ['kvent-source'],
    keepNames: true, // names of classes are printed
    logLevel: 'warning',
    external,
  });
  renameSync(made, path);
  bundles.set(script, path);
  return path;
}

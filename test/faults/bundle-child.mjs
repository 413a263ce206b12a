/**
 * Bundles a program with what it imports into one file: `bundle-child.mjs <program> <file>`. A
 * process of its own, because esbuild leaves one behind where it is called.
 */
import { renameSync } from 'node:fs';
import { build } from 'esbuild';

const [, , program, file] = process.argv;

await build({
  entryPoints: [program],
  outfile: `${file}.${process.pid}`,
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'esm',
  conditions: ['kvent-source'],
  keepNames: true, // names of classes are printed
  logLevel: 'warning',
  // loaded from `node_modules`, and only by the children that need them
  external: ['pg', 'typeorm', '@nestjs/*', '@nestjs-cls/*'],
});
// others may have made it at the same time
renameSync(`${file}.${process.pid}`, file);

/**
 * The command on directories as a few files: a call spends most of its time loading modules. A
 * command on Postgres uses `dist`, so that it shares its modules with the provider. The argument is
 * the folder of the package.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';

const [, , folder = 'libs/cli'] = process.argv;
const outdir = join(folder, 'bundle');
rmSync(outdir, { recursive: true, force: true });
await build({
  entryPoints: [join(folder, 'dist/main.js')],
  outdir,
  bundle: true,
  splitting: true,
  minify: true,
  // a second copy of a package is noticed by the names of its classes
  keepNames: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  sourcemap: true,
  sourcesContent: false,
  external: ['@kvent/key-value-postgres', 'commander', 'pg', 'typeorm'],
  logLevel: 'warning',
});

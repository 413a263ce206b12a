#!/usr/bin/env node
import { existsSync } from 'node:fs';

// The list of processes shows it to everybody on the machine: without the arguments, which may hold a password.
process.title = 'kvent';

// In the repository it is compiled by `npm run build`; what npm installs is compiled already.
const built = new URL('../dist/main.js', import.meta.url);
// the same in a few files, which load faster; the provider of Postgres would load its modules again
const bundled = new URL('../bundle/main.js', import.meta.url);
const usesPostgres = process.argv.some((argument) => /^postgres(ql)?:/i.test(argument));
const main = usesPostgres || !existsSync(bundled) ? built : bundled;
if (existsSync(main)) await import(main.href);
else {
  process.stderr.write('kvent: it is not compiled yet. In the root of the repository: npm run build\n');
  process.exitCode = 1;
}

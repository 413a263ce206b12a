#!/usr/bin/env node
import { existsSync } from 'node:fs';

// The list of processes shows it to everybody on the machine: without the arguments, which may hold a password.
process.title = 'kvent';

// In the repository it is compiled by `npm run build`; what npm installs is compiled already.
const main = new URL('../dist/main.js', import.meta.url);
if (existsSync(main)) await import(main.href);
else {
  process.stderr.write('kvent: it is not compiled yet. In the root of the repository: npm run build\n');
  process.exitCode = 1;
}

#!/usr/bin/env node
import { existsSync } from 'node:fs';

// In the repository it is compiled by `npm run build`; what npm installs is compiled already.
const main = new URL('../dist/main.js', import.meta.url);
if (existsSync(main)) await import(main.href);
else {
  process.stderr.write('kvent: it is not compiled yet. In the root of the repository: npm run build\n');
  process.exitCode = 1;
}

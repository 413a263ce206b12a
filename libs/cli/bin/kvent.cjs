#!/usr/bin/env node
'use strict';
const { existsSync } = require('node:fs');
const { join } = require('node:path');
const { pathToFileURL } = require('node:url');

// Every user of the machine can see it: without the arguments, which may hold a password.
process.title = 'kvent';

// In the repository it is compiled by `npm run build`; what npm installs is compiled already.
const built = join(__dirname, '../dist/main.js');
// the same in a few files, which load faster; the provider of Postgres would load its modules again
const bundled = join(__dirname, '../bundle/main.cjs');
const usesPostgres = process.argv.some((argument) =>
  /^(--[\w-]+=)?(postgres(ql)?:|pg:|socket:)/i.test(argument),
);
if (!usesPostgres && existsSync(bundled)) require(bundled);
else if (existsSync(built)) void import(pathToFileURL(built).href);
else {
  process.stderr.write('kvent: it is not compiled yet. In the root of the repository: npm run build\n');
  process.exitCode = 1;
}

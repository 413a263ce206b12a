/**
 * Measures Kvent and its peers in one run. See `--help`. On a busy machine, ratios are more
 * reliable than absolute figures, because every contender is measured in each round.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { startPostgres, type DatabaseServer } from './database-server.js';
import { describeMachine, machineOf } from './machine.js';
import { measureOpening, openingTable, type OpeningResult } from './opening.js';
import { productBytes } from './product.js';
import { measureProjections, projectionsTable, type ProjectionsResult } from './projections.js';
import { root } from './root.js';
import { runSuite, type SuiteResult } from './run-suite.js';
import { eventsEmbedded, eventsOnPostgres } from './suites/events.js';
import { feed } from './suites/feed.js';
import { file } from './suites/file.js';
import { memory } from './suites/memory.js';
import { postgres } from './suites/postgres.js';
import type { Suite } from './suite.js';
import { legendOf, tableOf } from './table.js';
import { measureWatches, watchesTable, type WatchesResult } from './watches.js';

/** The values of `--suite`. */
const suites: Readonly<Record<string, readonly Suite[]>> = {
  memory: [memory],
  file: [file],
  postgres: [postgres],
  events: [eventsOnPostgres, eventsEmbedded],
  feed,
  // has no contenders: see watches.ts
  watches: [],
};
const help = `npm run bench -- [options]
  --suite memory|file|postgres|events|feed|watches  the suite to run (all)
  --only <text>         works whose title contains this: 'get', 'save, 64'
  --rounds <n>          number of rounds; each contender is measured once per round (7)
  --ms <n>              length of a measuring window in milliseconds (200; postgres and events 500)
  --entries <n>         entries of the opening test in the file suite, and events of the long streams (100000); 0: no opening test
  --json <file>         file for the figures (.tmp/bench-results/<time>.json)
  --directory <path>    folder for data, on a disk (.tmp/bench)
`;

/** Items of watches whose delay is measured. */
const watchedItems = 100;

const { values } = parseArgs({
  options: {
    suite: { type: 'string' },
    rounds: { type: 'string', default: '7' },
    ms: { type: 'string' },
    only: { type: 'string', default: '' },
    entries: { type: 'string', default: '100000' },
    json: { type: 'string' },
    directory: { type: 'string', default: join(root, '.tmp', 'bench') },
    help: { type: 'boolean', default: false },
  },
});

if (values.help) process.stdout.write(help);
else await bench();

async function bench(): Promise<void> {
  const chosen = values.suite === undefined ? Object.values(suites).flat() : suitesOf(values.suite);
  const [rounds, entries] = [numberOf('rounds', 1), numberOf('entries', 0)];
  const ms = values.ms === undefined ? undefined : numberOf('ms', 1);
  const directory = join(resolve(values.directory), String(process.pid));
  const machine = machineOf(directory);
  process.stdout.write(
    `${describeMachine(machine)}\n${rounds} rounds, a value of ${productBytes} bytes of JSON\n\n`,
  );
  const results: SuiteResult[] = [];
  let opening: readonly OpeningResult[] = [];
  let projections: ProjectionsResult | undefined;
  let watches: WatchesResult | undefined;
  let started: Promise<DatabaseServer> | undefined;
  const server = (): Promise<DatabaseServer> => (started ??= startPostgres(directory));
  try {
    for (const suite of chosen) {
      const result = await runSuite(suite, {
        rounds,
        longEvents: Math.max(entries, 1_000),
        ms,
        only: values.only,
        directory: join(directory, suite.name),
        server,
        onServer: (description) => void process.stdout.write(`${description}\n\n`),
        onWork: (work, contenders) => void process.stdout.write(`${tableOf(work, contenders, suite.ours)}\n`),
      });
      results.push(result);
      if (suite === file && entries > 0 && values.only === '') {
        opening = await measureOpening({ directory, entries, rounds: Math.min(rounds, 3) });
        process.stdout.write(`${openingTable(opening)}\n`);
      }
      process.stdout.write(`${legendOf(result.contenders)}\n`);
    }
    if (chosen.some((suite) => feed.includes(suite)) && entries > 0 && values.only === '') {
      projections = await measureProjections({
        directory: join(directory, 'projections'),
        server: await server(),
        rounds: Math.min(rounds, 3),
        events: entries,
        appends: Math.max(1, Math.min(100, Math.floor(entries / 1_000))),
      });
      process.stdout.write(`${projectionsTable(projections)}\n`);
    }
    if (values.suite === 'watches' || (values.suite === undefined && values.only === '')) {
      watches = await measureWatches({
        directory: join(directory, 'watches'),
        server: await server(),
        rounds,
        items: watchedItems,
      });
      process.stdout.write(`${watchesTable(watches)}\n`);
    }
  } finally {
    await (await started)?.close();
    rmSync(directory, { recursive: true, force: true });
  }
  const at = new Date().toISOString();
  const path = resolve(values.json ?? join(root, '.tmp', 'bench-results', `${at.replaceAll(':', '-')}.json`));
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(
    path,
    `${JSON.stringify({ at, machine, rounds, ms, productBytes, suites: results, opening, projections, watches }, undefined, 2)}\n`,
  );
  process.stdout.write(`written to ${path}\n`);
}

function suitesOf(name: string): readonly Suite[] {
  const chosen = Object.hasOwn(suites, name) ? suites[name] : undefined;
  if (chosen === undefined)
    throw new Error(`--suite must be one of ${Object.keys(suites).join(', ')}; got '${name}'.`);
  return chosen;
}

function numberOf(name: 'rounds' | 'ms' | 'entries', least: number): number {
  const number = Number(values[name]);
  if (Number.isInteger(number) && number >= least) return number;
  throw new Error(`--${name} must be a whole number from ${least}; got '${values[name]}'.`);
}

/**
 * Measures Kvent and its peers in one run. See `--help`. On a busy machine, ratios are more
 * reliable than absolute figures, because every contender is measured in each round.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { bulkTable, measureBulk } from './bulk.js';
import { countersTable, measureCounters } from './counters.js';
import { startPostgres, type DatabaseServer } from './database-server.js';
import { describeMachine, machineOf } from './machine.js';
import { measureOpening, openingTable } from './opening.js';
import { productBytes } from './product.js';
import { runPlots } from './plots/run-plots.js';
import { measureProjections, projectionsTable } from './projections.js';
import { root } from './root.js';
import { runSuite, type SuiteResult } from './run-suite.js';
import { eventsEmbedded, eventsOnPostgres } from './suites/events.js';
import { feed } from './suites/feed.js';
import { file } from './suites/file.js';
import { memory } from './suites/memory.js';
import { postgres } from './suites/postgres.js';
import { titleOf, type Suite } from './suite.js';
import { legendOf, tableOf } from './table.js';
import { measureWatches, watchesTable } from './watches.js';

/** The values of `--suite`. */
const suites: Readonly<Record<string, readonly Suite[]>> = {
  memory: [memory],
  file: [file],
  postgres: [postgres],
  events: [eventsOnPostgres, eventsEmbedded],
  feed,
  // has no contenders: see `measurements`
  watches: [],
};
const help = `npm run bench -- [options]
  --suite memory|file|postgres|events|feed|watches  the suite to run (all)
  --only <text>         works whose title contains this: 'get', 'save, 64'; 'opening', 'bulk', 'counters' or 'projections' of the suites file, postgres and feed
  --rounds <n>          number of rounds; each contender is measured once per round (7)
  --ms <n>              length of a measuring window in milliseconds (200; postgres and events 500)
  --entries <n>         entries of the opening test, rows of bulk, events of the projections and of the long streams (100000); 0: works only
  --json <file>         file for the figures (.tmp/bench-results/<time>.json)
  --directory <path>    folder for data, on a disk (.tmp/bench)
  --plots               cost by size instead, as charts and tables of a page; with --only events, values, callers, rows, tenants, memory or start;
                        --entries: the most rows and tenants (10000000), --rounds (3), --ms (200)
  --page <file>         the page of the charts (docs/performance.md)
`;

/** What a measurement that has no contenders gets. */
interface MeasurementOptions {
  readonly directory: string;
  readonly server: () => Promise<DatabaseServer>;
  readonly rounds: number;
  /** Length of a measuring window, instead of the measurement's own. */
  readonly ms: number | undefined;
  readonly entries: number;
}
interface Measurement {
  /** The value of `--suite`. */
  readonly suite: string;
  /** The field of the results. */
  readonly name: string;
  readonly run: (
    options: MeasurementOptions,
  ) => Promise<{ readonly result: unknown; readonly table: string }>;
}

/** Items of watches whose delay is measured. */
const watchedItems = 100;
const fewRounds = 3;

/** They follow the works of their suite. */
const measurements: readonly Measurement[] = [
  {
    suite: 'file',
    name: 'opening',
    run: async ({ directory, rounds, entries }) => {
      const result = await measureOpening({ directory, entries, rounds: Math.min(rounds, fewRounds) });
      return { result, table: openingTable(result) };
    },
  },
  {
    suite: 'feed',
    name: 'projections',
    run: async ({ directory, server, rounds, entries }) => {
      const appends = Math.max(1, Math.min(100, Math.floor(entries / 1_000)));
      const result = await measureProjections({
        directory,
        server: await server(),
        rounds: Math.min(rounds, fewRounds),
        events: entries,
        appends,
      });
      return { result, table: projectionsTable(result) };
    },
  },
  {
    suite: 'postgres',
    name: 'bulk',
    run: async ({ directory, server, rounds, entries }) => {
      const result = await measureBulk({ directory, server: await server(), rounds, rows: entries });
      return { result, table: bulkTable(result) };
    },
  },
  {
    suite: 'postgres',
    name: 'counters',
    run: async ({ server, rounds, ms }) => {
      const result = await measureCounters({ server: await server(), rounds, ms });
      return { result, table: countersTable(result) };
    },
  },
  {
    suite: 'watches',
    name: 'watches',
    run: async ({ directory, server, rounds }) => {
      const result = await measureWatches({ directory, server: await server(), rounds, items: watchedItems });
      return { result, table: watchesTable(result) };
    },
  },
];

const { values } = parseArgs({
  options: {
    suite: { type: 'string' },
    rounds: { type: 'string' },
    ms: { type: 'string' },
    only: { type: 'string', default: '' },
    entries: { type: 'string' },
    json: { type: 'string' },
    directory: { type: 'string', default: join(root, '.tmp', 'bench') },
    plots: { type: 'boolean', default: false },
    page: { type: 'string', default: join(root, 'docs', 'performance.md') },
    help: { type: 'boolean', default: false },
  },
});

if (values.help) process.stdout.write(help);
else if (values.plots) await plot();
else await bench();

async function bench(): Promise<void> {
  const chosen = values.suite === undefined ? Object.keys(suites) : [values.suite];
  for (const name of chosen) assertSuite(name);
  const [rounds, entries] = [numberOf('rounds', 1, 7), numberOf('entries', 0, 100_000)];
  const ms = values.ms === undefined ? undefined : numberOf('ms', 1, 0);
  const directory = join(resolve(values.directory), String(process.pid));
  const machine = machineOf(directory);
  process.stdout.write(
    `${describeMachine(machine)}\n${rounds} rounds, a value of ${productBytes} bytes of JSON\n\n`,
  );
  const results: SuiteResult[] = [];
  const measured: Record<string, unknown> = {};
  let started: Promise<DatabaseServer> | undefined;
  const server = (): Promise<DatabaseServer> => (started ??= startPostgres(directory));
  try {
    for (const name of chosen) {
      for (const suite of suites[name] ?? []) {
        if (!suite.works.some((work) => titleOf(work).includes(values.only))) continue;
        const result = await runSuite(suite, {
          rounds,
          longEvents: Math.max(entries, 1_000),
          ms,
          only: values.only,
          directory: join(directory, suite.name),
          server,
          onServer: (description) => void process.stdout.write(`${description}\n\n`),
          onWork: (work, contenders) =>
            void process.stdout.write(`${tableOf(work, contenders, suite.ours)}\n`),
        });
        results.push(result);
        process.stdout.write(`${legendOf(result.contenders)}\n`);
      }
      for (const each of measurements) {
        if (each.suite !== name || entries === 0 || !each.name.includes(values.only)) continue;
        const folder = join(directory, each.name);
        const { result, table } = await each.run({ directory: folder, server, rounds, ms, entries });
        measured[each.name] = result;
        process.stdout.write(`${table}\n`);
      }
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
    `${JSON.stringify({ at, machine, rounds, ms, productBytes, suites: results, ...measured }, undefined, 2)}\n`,
  );
  process.stdout.write(`written to ${path}\n`);
}

async function plot(): Promise<void> {
  const directory = join(resolve(values.directory), String(process.pid));
  const machine = machineOf(directory);
  process.stdout.write(`${describeMachine(machine)}\n\n`);
  let started: Promise<DatabaseServer> | undefined;
  try {
    await runPlots({
      directory,
      machine,
      server: () => (started ??= startPostgres(directory)),
      rounds: numberOf('rounds', 1, 3),
      ms: numberOf('ms', 1, 200),
      entriesMax: numberOf('entries', 1, 10_000_000),
      only: values.only,
      page: resolve(values.page),
      onPlot: (name, seconds) => void process.stdout.write(`${name}: ${seconds.toFixed(0)} s\n`),
    });
  } finally {
    await (await started)?.close();
    rmSync(directory, { recursive: true, force: true });
  }
  process.stdout.write(`written to ${resolve(values.page)}\n`);
}

function assertSuite(name: string): void {
  if (!Object.hasOwn(suites, name))
    throw new Error(`--suite must be one of ${Object.keys(suites).join(', ')}; got '${name}'.`);
}

function numberOf(name: 'rounds' | 'ms' | 'entries', least: number, otherwise: number): number {
  const number = Number(values[name] ?? otherwise);
  if (Number.isInteger(number) && number >= least) return number;
  throw new Error(`--${name} must be a whole number from ${least}; got '${values[name]}'.`);
}

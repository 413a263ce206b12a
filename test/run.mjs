#!/usr/bin/env node
/**
 * Runs suites and ends with one line that people and CI judge by: `N passed, N failed`, with `, N
 * skipped` where something was.
 *
 *   node test/run.mjs check               what needs no database and no server, under a minute
 *   node test/run.mjs all [suite ...]     everything, or these suites
 *   node test/run.mjs soak                the faults and the plans, without leaving out a part
 *   node test/run.mjs contract memory     one suite, here on one provider
 *   node test/run.mjs jest <path> [...]   what Jest understands
 *
 * What tests choose at random follows from KVENT_SEED, which each run prints; see `seed.mjs`.
 *
 * A file of tests that leaves a handle open fails (`environment.mjs`), and so does a run that does
 * not end by itself though no test has failed, and a server that a test has started and not
 * stopped; the one that all tests share is stopped here, also when the run is interrupted.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { beginRun, endRun } from './postgres/runs.mjs';
import { root, runJest, runScript, wasInterrupted } from './run-jest.mjs';
import { seedOfRun } from './seed.mjs';

/** A suite is a folder below `test/`, but `unit`: the specs beside the sources. */
const suites = [
  'unit',
  ...readdirSync(join(root, 'test'), { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? [entry.name] : [],
  ),
];
const withoutServers = ['unit', 'architecture', 'contract'].filter((suite) => suites.includes(suite));

// TypeScript 7 compiles in a fifth of the time of 6, which the tools that need its API use.
const tsc = 'node_modules/typescript-7/bin/tsc';

const statics = [
  ['format', ['node_modules/oxfmt/bin/oxfmt', '--check', '.']],
  ['lint', ['node_modules/oxlint/bin/oxlint', '--config=oxlint.config.mjs', '--type-aware', '.']],
  ['types', [tsc, '-p', 'tsconfig.json']],
];
const build = ['build', [tsc, '-b', 'tsconfig.build.json']];

const total = { passed: 0, failed: 0, skipped: 0 };
const failures = [];

const [command = 'all', ...rest] = process.argv.slice(2);
const startedAt = Date.now();
let seed;
try {
  seed = seedOfRun();
} catch (error) {
  process.stderr.write(`${error.message}\n`);
  process.exit(2);
}
const testRun = beginRun();
if (command === 'check') {
  await Promise.all([steps(statics), jest(patterns(withoutServers), { KVENT_PROVIDER: 'memory,json-file' })]);
} else if (command === 'all') {
  await all(rest);
} else if (command === 'soak') {
  await jest([...patterns(['faults']), 'test/postgres-provider/plans', ...rest], { KVENT_SOAK: '1' });
} else if (command === 'jest') {
  await jest(rest, {});
} else if (suites.includes(command)) {
  const provider = rest[0] !== undefined && !rest[0].startsWith('-') ? rest.shift() : undefined;
  await jest([...patterns([command]), ...rest], provider === undefined ? {} : { KVENT_PROVIDER: provider });
} else {
  unknownSuite(command, ['check', 'all', 'jest', 'soak']);
}
await endServers();
conclude();

/** The suites that are named before the first option, or everything. Options are for Jest. */
async function all(args) {
  const first = args.findIndex((arg) => arg.startsWith('-'));
  const names = first === -1 ? args : args.slice(0, first);
  const options = args.slice(names.length);
  const unknown = names.find((name) => !suites.includes(name));
  if (unknown !== undefined) {
    unknownSuite(unknown, []);
  } else if (names.length > 0) {
    await jest([...patterns(names), ...options], {});
  } else {
    // Some suites start what was built. Tests that wait for servers and disks leave time for the
    // checks.
    await steps([build]);
    await Promise.all([steps(statics), jest([...patterns(suites), ...options], {})]);
  }
}

function unknownSuite(name, commands) {
  failures.push(`there is no suite "${name}": ${[...commands, ...suites].join(', ')}`);
  total.failed++;
}

function patterns(names) {
  return names.flatMap((name) =>
    name === 'unit' ? ['(libs|apps)/[^/]+/src/'] : [`<rootDir>/test/${name}/`.replace('<rootDir>', root)],
  );
}

/**
 * One after the other: each is one check that passes or fails, and a failure does not hide what
 * comes after it.
 */
async function steps(list) {
  for (const [name, args] of list) {
    const { code, output } = await runScript(args, {});
    if (code === 0) total.passed++;
    else {
      total.failed++;
      failures.push(name);
      process.stdout.write(`\n${name} failed\n${output}\n`);
    }
  }
}

async function jest(args, env) {
  const { code, report, leftOpen } = await runJest(args, env, true);
  const failed = (report?.numFailedTests ?? 0) + (report?.numRuntimeErrorTestSuites ?? 1);
  total.passed += report?.numPassedTests ?? 0;
  total.failed += failed;
  total.skipped += (report?.numPendingTests ?? 0) + (report?.numTodoTests ?? 0);
  if (report === undefined) {
    failures.push(`jest ended with ${code}, and without a report`);
  } else if (leftOpen && failed === 0) {
    total.failed++;
    failures.push('a test left a handle open (timer, socket, file, process): the run did not end by itself');
  } else if (code !== 0 && failed === 0) {
    total.failed++;
    failures.push(`jest ended with ${code}`);
  }
}

async function endServers() {
  for (const left of await endRun(testRun).catch((error) => [String(error)])) {
    total.failed++;
    failures.push(`left behind: ${left}`);
  }
}

function conclude() {
  if (wasInterrupted()) {
    total.failed++;
    failures.push('interrupted');
  }
  const forbidden = process.env.CI !== undefined && process.env.CI !== '' && total.skipped > 0;
  if (forbidden) failures.push(`${total.skipped} skipped: on CI everything runs`);
  for (const failure of failures) process.stdout.write(`FAILED: ${failure}\n`);
  if (total.failed > 0)
    process.stdout.write(`KVENT_SEED=${seed} repeats what this run has chosen at random\n`);
  process.stdout.write(`\nin ${((Date.now() - startedAt) / 1000).toFixed(1)} s\n`);
  process.stdout.write(
    `${total.passed} passed, ${total.failed} failed${total.skipped > 0 ? `, ${total.skipped} skipped` : ''}\n`,
  );
  process.exitCode = total.failed > 0 || forbidden ? 1 : 0;
}

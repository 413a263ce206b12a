#!/usr/bin/env node
/**
 * Runs suites and ends with one line that people and CI judge by: `N passed, N failed`, with `, N skipped` where something was.
 *
 *   node test/run.mjs check                everything that needs no database and no server, under a minute
 *   node test/run.mjs all                  everything
 *   node test/run.mjs soak                 the faults and the plans, leaving nothing out of what `all` takes a part of
 *   node test/run.mjs contract memory      one suite, here on one provider
 *   node test/run.mjs jest <path> [...]    whatever Jest understands
 *
 * Jest must end by itself: a handle left open, in this process's child or in one of its workers, fails the run. So does a server that a test
 * has started and not stopped; the one that all tests share is stopped here, also when the run is interrupted.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { beginRun, endRun } from './postgres/runs.mjs';

const root = join(import.meta.dirname, '..');
const results = join(root, '.tmp', `jest-${process.pid}.json`);
const exitGraceMs = 30_000;

/** A suite is a folder below `test/`, but `unit`: the specs beside the sources. */
const suites = [
  'unit',
  ...readdirSync(join(root, 'test'), { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? [entry.name] : [])),
];
const withoutServers = ['unit', 'architecture', 'contract'].filter((suite) => suites.includes(suite));

const statics = [
  ['format', ['node_modules/prettier/bin/prettier.cjs', '--check', '--log-level=warn', '.']],
  ['lint', ['node_modules/eslint/bin/eslint.js', '--cache', '--cache-location=.tmp/eslint', '--max-warnings=0', '.']],
  ['types', ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.json']],
];
const build = ['build', ['node_modules/typescript/bin/tsc', '-b', 'tsconfig.build.json']];

const total = { passed: 0, failed: 0, skipped: 0 };
const failures = [];
const interrupts = ['SIGINT', 'SIGTERM', 'SIGHUP'];
let interrupted = false;

const [command = 'all', ...rest] = process.argv.slice(2);
const startedAt = Date.now();
mkdirSync(join(root, '.tmp'), { recursive: true });
const testRun = beginRun();
if (command === 'check') {
  await Promise.all([steps(statics), jest(patterns(withoutServers), { KVENT_PROVIDER: 'memory,json-file' })]);
} else if (command === 'all') {
  await steps([...statics, build]);
  await jest(patterns(suites), {});
} else if (command === 'soak') {
  await jest([...patterns(['faults']), 'test/postgres-provider/plans', ...rest], { KVENT_SOAK: '1' });
} else if (command === 'jest') {
  await jest(rest, {});
} else if (suites.includes(command)) {
  const provider = rest[0] !== undefined && !rest[0].startsWith('-') ? rest.shift() : undefined;
  await jest([...patterns([command]), ...rest], provider === undefined ? {} : { KVENT_PROVIDER: provider });
} else {
  failures.push(`there is no suite "${command}": check, all, jest, ${suites.join(', ')}`);
  total.failed++;
}
await endServers();
conclude();

function patterns(names) {
  return names.flatMap((name) => (name === 'unit' ? ['(libs|apps)/[^/]+/src/'] : [`<rootDir>/test/${name}/`.replace('<rootDir>', root)]));
}

/** One after the other: each is one check that passes or fails, and a failure does not hide what comes after it. */
async function steps(list) {
  for (const [name, args] of list) {
    const { code, output } = await run(args, {});
    if (code === 0) total.passed++;
    else {
      total.failed++;
      failures.push(name);
      process.stdout.write(`\n${name} failed\n${output}\n`);
    }
  }
}

async function jest(args, env) {
  const flags = ['--disable-warning=ExperimentalWarning', '--experimental-vm-modules', 'node_modules/jest/bin/jest.js'];
  const { code, output } = await run([...flags, '--json', `--outputFile=${results}`, '--passWithNoTests', ...args], env, true);
  const report = readReport();
  const broken = report?.numRuntimeErrorTestSuites ?? 1;
  total.passed += report?.numPassedTests ?? 0;
  total.failed += (report?.numFailedTests ?? 0) + broken;
  total.skipped += (report?.numPendingTests ?? 0) + (report?.numTodoTests ?? 0);
  if (/failed to exit gracefully|did not exit one second after/.test(output)) {
    total.failed++;
    failures.push('a test left a handle open (timer, socket, file, process): the run did not end by itself');
  } else if (code !== 0 && total.failed === 0) {
    total.failed++;
    failures.push(`jest ended with ${code}`);
  }
}

function readReport() {
  try {
    return JSON.parse(readFileSync(results, 'utf8'));
  } catch {
    return undefined; // Jest did not come far enough to write one
  } finally {
    rmSync(results, { force: true });
  }
}

async function endServers() {
  for (const left of await endRun(testRun).catch((error) => [String(error)])) {
    total.failed++;
    failures.push(`left behind: ${left}`);
  }
}

/** Runs a script of Node; `live` shows what it prints while it runs, and ends it when it outlives its own report. */
function run(args, env, live = false) {
  if (interrupted) return Promise.resolve({ code: 'interrupted', output: '' });
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, { cwd: root, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    let watchdog;
    const pass = (signal) => {
      interrupted = true;
      child.kill(signal);
    };
    for (const signal of interrupts) process.on(signal, pass);
    const take = (chunk) => {
      output += chunk;
      if (live && watchdog === undefined && output.includes('did not exit one second after'))
        watchdog = setTimeout(() => child.kill('SIGKILL'), exitGraceMs);
    };
    child.stdout.setEncoding('utf8').on('data', (chunk) => {
      if (!live) take(chunk); // Jest's own stdout is the JSON report
    });
    child.stderr.setEncoding('utf8').on('data', (chunk) => {
      take(chunk);
      if (live) process.stdout.write(chunk);
    });
    child.on('close', (code, signal) => {
      clearTimeout(watchdog);
      for (const signal of interrupts) process.off(signal, pass);
      resolve({ code: code ?? signal, output });
    });
  });
}

function conclude() {
  if (interrupted) {
    total.failed++;
    failures.push('interrupted');
  }
  const forbidden = process.env.CI !== undefined && process.env.CI !== '' && total.skipped > 0;
  if (forbidden) failures.push(`${total.skipped} skipped: on CI everything runs`);
  for (const failure of failures) process.stdout.write(`FAILED: ${failure}\n`);
  process.stdout.write(`\nin ${((Date.now() - startedAt) / 1000).toFixed(1)} s\n`);
  process.stdout.write(`${total.passed} passed, ${total.failed} failed${total.skipped > 0 ? `, ${total.skipped} skipped` : ''}\n`);
  process.exitCode = total.failed > 0 || forbidden ? 1 : 0;
}

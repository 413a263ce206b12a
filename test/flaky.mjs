#!/usr/bin/env node
/**
 * Runs specs repeatedly while the machine is busy, and prints what failed: to find tests that fail
 * by chance.
 *
 * - `npm run flaky -- --runs 20 test/e2e`: twenty runs of one folder
 * - `npm run flaky -- --load 4 test/cli -- -w 1`: with four busy processes; options after the
 *   second `--` are for Jest
 * - `npm run flaky -- --runs 1 --seed 7 test/faults`: repeats a run by its seed
 *
 * Each run has its own seed: `--seed`, then the following numbers. Exits with 1 if a test has
 * failed.
 */
import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { relative } from 'node:path';
import { beginRun, endRun } from './postgres/runs.mjs';
import { root, runJest, wasInterrupted } from './run-jest.mjs';
import { newSeed, seedFrom } from './seed.mjs';

/** Keeps one core busy in short intervals, and ends when its parent disconnects. */
const busyLoop = `
  process.on('disconnect', () => process.exit());
  (function work() { for (const end = Date.now() + 20; Date.now() < end; ); setImmediate(work); })();
`;

const options = optionsOf(process.argv.slice(2));
if (typeof options === 'string') {
  process.stderr.write(`${options}\n`);
  process.exitCode = 2;
} else {
  process.exitCode = (await repeat(options)) ? 0 : 1;
}

/** The options, or a message about a wrong one. */
function optionsOf(args) {
  const end = args.includes('--') ? args.indexOf('--') : args.length;
  const found = {
    runs: 20,
    load: availableParallelism(),
    seed: undefined,
    patterns: [],
    forJest: args.slice(end + 1),
  };
  for (let at = 0; at < end; at += 1) {
    const arg = args[at];
    if (!arg.startsWith('-')) {
      found.patterns.push(arg);
      continue;
    }
    const [, name, inline] = /^--(runs|load|seed)(?:=(.*))?$/.exec(arg) ?? [];
    if (name === undefined)
      return `There is no option ${arg}: --runs N, --load N, --seed S; options of Jest follow a second "--".`;
    const value = inline ?? (at + 1 < end ? args[(at += 1)] : '');
    try {
      found[name] =
        name === 'seed' ? seedFrom(value, '--seed') : countFrom(value, `--${name}`, name === 'runs' ? 1 : 0);
    } catch (error) {
      return error.message;
    }
  }
  return found;
}

function countFrom(text, name, least) {
  if (/^\d{1,4}$/.test(text) && Number(text) >= least) return Number(text);
  throw new Error(
    `${name} must be a whole number from ${least} to 9999; got ${JSON.stringify(text.slice(0, 40))}.`,
  );
}

/** Repeats the specs. Returns whether every run has passed. */
async function repeat({ runs, load, seed: first = newSeed(), patterns, forJest }) {
  const busy = Array.from({ length: load }, () =>
    spawn(process.execPath, ['-e', busyLoop], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] }),
  );
  const files = new Map();
  const failures = new Map();
  let passedAll = true;
  let done = 0;
  try {
    for (; done < runs && !wasInterrupted(); done += 1) {
      const seed = (first + done) % 2 ** 31;
      const startedAt = performance.now();
      const { passed, failed } = await runOnce(seed, [...patterns, ...forJest], files);
      const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1);
      print(
        `run ${done + 1} of ${runs}, KVENT_SEED=${seed}: ${passed} passed, ${failed.length} failed, in ${seconds} s`,
      );
      for (const { name, message } of failed) {
        print(`  ${name}\n${indented(message)}`);
        failures.set(name, [...(failures.get(name) ?? []), seed]);
      }
      passedAll &&= failed.length === 0;
      if (files.size > 0) continue;
      done += 1;
      break; // no spec was found
    }
  } finally {
    for (const child of busy) child.kill('SIGKILL');
  }
  summarise(files, failures, done);
  return passedAll && !wasInterrupted();
}

/** One run of Jest, with its own Postgres server if a test needs one. */
async function runOnce(seed, args, files) {
  const run = beginRun();
  const { code, output, report, leftOpen } = await runJest(args, { KVENT_SEED: String(seed) }, false);
  const left = await endRun(run).catch((error) => [String(error)]);
  const failed = (report?.testResults ?? []).flatMap(failuresOf);
  const addFailure = (message) => failed.push({ name: 'the run', message });
  if (wasInterrupted()) addFailure('interrupted');
  else if (report === undefined) addFailure(`Jest ended with ${code}:\n${output.slice(-4_000)}`);
  else if (report.numTotalTests === 0 && failed.length === 0)
    addFailure(`No test was found: ${args.join(' ')}`);
  else if (failed.length === 0 && leftOpen)
    addFailure('A test left a handle open (timer, socket, file, process).');
  else if (failed.length === 0 && code !== 0) addFailure(`Jest ended with ${code}:\n${output.slice(-4_000)}`);
  for (const what of left) addFailure(`left behind: ${what}`);
  for (const result of report?.testResults ?? []) count(files, result);
  return { passed: report?.numPassedTests ?? 0, failed };
}

/** The failed tests of a file, or the file itself if it could not be run. */
function failuresOf({ name, message, status, assertionResults }) {
  const file = relative(root, name);
  const tests = assertionResults.filter((test) => test.status === 'failed');
  if (tests.length === 0) return status === 'failed' ? [{ name: file, message }] : [];
  return tests.map(({ ancestorTitles, title, failureMessages }) => ({
    name: [file, ...ancestorTitles, title].join(' › '),
    message: failureMessages.join('\n'),
  }));
}

function count(files, { name, status, startTime, endTime }) {
  const file = relative(root, name);
  const { runs, failed, ms } = files.get(file) ?? { runs: 0, failed: 0, ms: 0 };
  files.set(file, {
    runs: runs + 1,
    failed: failed + (status === 'failed' ? 1 : 0),
    ms: ms + endTime - startTime,
  });
}

/** Prints how often each file ran and failed, and how often each test failed, with the seeds. */
function summarise(files, failures, runs) {
  print(`\n${'runs'.padStart(5)} ${'failed'.padStart(6)} ${'seconds each'.padStart(12)}  file`);
  for (const [file, { runs: ran, failed, ms }] of [...files].sort(
    ([, one], [, other]) => other.failed - one.failed || other.ms - one.ms,
  ))
    print(
      `${String(ran).padStart(5)} ${String(failed).padStart(6)} ${(ms / 1_000 / ran).toFixed(1).padStart(12)}  ${file}`,
    );
  if (failures.size === 0) print(`\nNothing failed in ${runs} runs.`);
  else print('\nfailed  test');
  for (const [name, seeds] of [...failures].sort(([, one], [, other]) => other.length - one.length))
    print(
      `${`${seeds.length}/${runs}`.padStart(6)}  ${name}  (KVENT_SEED=${seeds.slice(0, 3).join(', ')}${seeds.length > 3 ? ', …' : ''})`,
    );
}

function indented(text) {
  return text
    .replaceAll(/\u001b\[\d*m/g, '') // the colours of Jest
    .split('\n')
    .map((line) => `    ${line}`)
    .join('\n');
}

function print(line) {
  process.stdout.write(`${line}\n`);
}

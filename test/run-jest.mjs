/**
 * Runs Jest, or another script of Node, and returns its outcome. Used by `run.mjs` and `flaky.mjs`.
 *
 * An interrupt (Ctrl+C, SIGTERM, SIGHUP) is forwarded to the running child; afterwards no other
 * child is started.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

export const root = join(import.meta.dirname, '..');
const results = join(root, '.tmp', `jest-${process.pid}.json`);
const exitGraceMs = 30_000;
/**
 * The message of Jest about its own process. Its message about a worker that did not end within
 * half a second is ignored: a busy machine takes longer, and `environment.mjs` finds what tests
 * leave open in a worker.
 */
const didNotExit = /did not exit \S+ seconds? after/;
const interrupts = ['SIGINT', 'SIGTERM', 'SIGHUP'];
let interrupted = false;

/** Whether this run was interrupted. */
export const wasInterrupted = () => interrupted;

/**
 * Runs Jest with these arguments. `live` shows its output while it runs.
 *
 * `report` is the report of Jest, `undefined` if Jest wrote none. `leftOpen`: the process of Jest
 * did not end by itself.
 */
export async function runJest(args, env, live) {
  mkdirSync(join(root, '.tmp'), { recursive: true });
  const flags = [
    // Also for the workers. Short-lived objects of a larger file of tests are collected before V8
    // moves them to the old generation: 12 s of CPU time instead of 16 s where files load much.
    '--max-semi-space-size=64',
    // test/security measures on a collected heap.
    '--expose-gc',
    '--disable-warning=ExperimentalWarning',
    '--experimental-vm-modules',
    'node_modules/jest/bin/jest.js',
  ];
  const { code, output } = await runScript(
    [...flags, '--json', `--outputFile=${results}`, '--passWithNoTests', ...args],
    env,
    {
      live,
      isJest: true,
    },
  );
  return { code, output, report: readReport(), leftOpen: didNotExit.test(output) };
}

/**
 * Runs a script of Node. `live` shows its stderr while it runs. Jest is killed if it does not end
 * after its report.
 */
export function runScript(args, env, { live = false, isJest = false } = {}) {
  if (interrupted) return Promise.resolve({ code: 'interrupted', output: '' });
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, {
      cwd: root,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    let watchdog;
    const forward = (signal) => {
      interrupted = true;
      child.kill(signal);
    };
    for (const signal of interrupts) process.on(signal, forward);
    const collect = (chunk) => {
      output += chunk;
      if (isJest && watchdog === undefined && didNotExit.test(output))
        watchdog = setTimeout(() => child.kill('SIGKILL'), exitGraceMs);
    };
    child.stdout.setEncoding('utf8').on('data', (chunk) => {
      if (!isJest) collect(chunk); // the stdout of Jest is the JSON report
    });
    child.stderr.setEncoding('utf8').on('data', (chunk) => {
      collect(chunk);
      if (live) process.stdout.write(chunk);
    });
    child.on('close', (code, signal) => {
      clearTimeout(watchdog);
      for (const each of interrupts) process.off(each, forward);
      resolve({ code: code ?? signal, output });
    });
  });
}

function readReport() {
  try {
    return JSON.parse(readFileSync(results, 'utf8'));
  } catch {
    return undefined;
  } finally {
    rmSync(results, { force: true });
  }
}

/**
 * Starts Jest, or another script of Node, and answers how it ended. Shared by `run.mjs` and
 * `flaky.mjs`.
 *
 * An interrupt (Ctrl+C, SIGTERM, SIGHUP) is passed on to the child that runs; after it nothing more
 * is started.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

export const root = join(import.meta.dirname, '..');
const results = join(root, '.tmp', `jest-${process.pid}.json`);
const exitGraceMs = 30_000;
/**
 * What Jest says of its own process. What it says of a worker that did not end within half a second
 * is no matter: a busy machine takes longer, and what tests leave open in a worker,
 * `environment.mjs` has found.
 */
const didNotExit = /did not exit \S+ seconds? after/;
const interrupts = ['SIGINT', 'SIGTERM', 'SIGHUP'];
let interrupted = false;

/** Whether somebody has ended this run. */
export const wasInterrupted = () => interrupted;

/**
 * Runs Jest with these arguments; `live` shows what it prints while it runs.
 *
 * `report` is Jest's own, `undefined` where Jest did not come far enough to write one. `leftOpen`:
 * Jest's process did not end by itself.
 */
export async function runJest(args, env, live) {
  mkdirSync(join(root, '.tmp'), { recursive: true });
  const flags = [
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
 * Runs a script of Node. `live` shows what it prints on stderr while it runs. Jest is ended when it
 * outlives its own report.
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
    const pass = (signal) => {
      interrupted = true;
      child.kill(signal);
    };
    for (const signal of interrupts) process.on(signal, pass);
    const take = (chunk) => {
      output += chunk;
      if (isJest && watchdog === undefined && didNotExit.test(output))
        watchdog = setTimeout(() => child.kill('SIGKILL'), exitGraceMs);
    };
    child.stdout.setEncoding('utf8').on('data', (chunk) => {
      if (!isJest) take(chunk); // Jest's own stdout is the JSON report
    });
    child.stderr.setEncoding('utf8').on('data', (chunk) => {
      take(chunk);
      if (live) process.stdout.write(chunk);
    });
    child.on('close', (code, signal) => {
      clearTimeout(watchdog);
      for (const each of interrupts) process.off(each, pass);
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

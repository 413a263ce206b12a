/**
 * The shared server of a run of tests, for all workers of Jest. The first caller starts it; the
 * process that began the run stops it (`runs.mjs`). With `TEST_POSTGRES_URL`, no server is started.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isRunning, self, type Identity } from './processes.mjs';
import { currentRun, ownerOf, runsFolder } from './runs.mjs';
import { PostgresServer } from './server.js';

export interface RunServer {
  /** The address of a superuser, or `TEST_POSTGRES_URL`. */
  readonly url: string;
  /** The path of its log, if the run has started it. */
  readonly logFile?: string;
}
type Outcome = RunServer | { readonly reason: string };

/** Rejects with the reason if there is no server, so that tests fail and are not skipped. */
export async function serverOfRun(): Promise<RunServer> {
  const named = process.env['TEST_POSTGRES_URL'];
  if (named) return { url: named };
  const run = currentRun();
  if (run === undefined)
    throw new Error(
      'There is no run of tests that would stop the server. Use `npm run jest`, or set TEST_POSTGRES_URL.',
    );
  const outcome = takeLock(run) ? await start(run) : await wait(run);
  if ('reason' in outcome) throw new Error(`The tests have no Postgres server: ${outcome.reason}`);
  return outcome;
}

/** The log so far. */
export async function logOfRun(): Promise<string> {
  const { logFile } = await serverOfRun();
  if (logFile === undefined)
    throw new Error('The log of a server that TEST_POSTGRES_URL names cannot be read.');
  return readFile(logFile, 'utf8');
}

/** The process that creates this file starts the server; the others wait for the outcome. */
function takeLock(run: string): boolean {
  try {
    writeFileSync(lockFile(run), JSON.stringify(self()), { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    return false;
  }
}

async function start(run: string): Promise<Outcome> {
  const outcome = await PostgresServer.create({ lentBy: ownerOf(run) }).then(
    (server): Outcome => ({ url: server.url(), logFile: server.logFile }),
    (error: unknown): Outcome => ({ reason: String(error) }),
  );
  writeFileSync(`${outcomeFile(run)}.new`, JSON.stringify(outcome));
  renameSync(`${outcomeFile(run)}.new`, outcomeFile(run));
  return outcome;
}

async function wait(run: string): Promise<Outcome> {
  for (;;) {
    // Read first: the process may write its outcome and end between the two reads.
    const isStarterRunning = isStarting(run);
    const outcome = read<Outcome>(outcomeFile(run));
    if (outcome !== undefined) return outcome;
    if (!isStarterRunning) return { reason: 'the process that started it has ended.' };
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function isStarting(run: string): boolean {
  const starter = read<Identity>(lockFile(run));
  return starter === undefined || isRunning(starter); // undefined: not written yet
}

function read<T>(path: string): T | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as T;
  } catch {
    return undefined;
  }
}

const lockFile = (run: string): string => join(runsFolder, `${run}.starting`);
const outcomeFile = (run: string): string => join(runsFolder, `${run}.server.json`);

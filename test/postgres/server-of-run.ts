/**
 * The one server of a run of tests, for all of Jest's workers. The first one that asks starts it,
 * so a run that needs none starts none; whoever began the run ends it (`runs.mjs`).
 * `TEST_POSTGRES_URL` names another server instead: then none is started at all.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isRunning, self, type Identity } from './processes.mjs';
import { currentRun, ownerOf, runsFolder } from './runs.mjs';
import { PostgresServer } from './server.js';

export interface RunServer {
  /** How to connect as superuser, or as whoever `TEST_POSTGRES_URL` names. */
  readonly url: string;
  /** Where its log is; a server that is not ours keeps its own. */
  readonly logFile?: string;
}
type Answer = RunServer | { readonly reason: string };

/**
 * Rejects with the reason if there is no server: tests that need one fail then, they are never
 * skipped.
 */
export async function serverOfRun(): Promise<RunServer> {
  const named = process.env['TEST_POSTGRES_URL'];
  if (named) return { url: named };
  const run = currentRun();
  if (run === undefined)
    throw new Error(
      'Who would stop the server? Run tests by `npm run jest`, or name a server by TEST_POSTGRES_URL.',
    );
  const answer = takeLock(run) ? await start(run) : await wait(run);
  if ('reason' in answer) throw new Error(`The tests have no Postgres server: ${answer.reason}`);
  return answer;
}

/** What it has said so far. */
export async function logOfRun(): Promise<string> {
  const { logFile } = await serverOfRun();
  if (logFile === undefined)
    throw new Error('The log of a server that TEST_POSTGRES_URL names cannot be read.');
  return readFile(logFile, 'utf8');
}

/** Whoever makes this file starts the server; all others wait for what becomes of it. */
function takeLock(run: string): boolean {
  try {
    writeFileSync(lockFile(run), JSON.stringify(self()), { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    return false;
  }
}

async function start(run: string): Promise<Answer> {
  const answer = await PostgresServer.create({ lentBy: ownerOf(run) }).then(
    (server): Answer => ({ url: server.url(), logFile: server.logFile }),
    (error: unknown): Answer => ({ reason: String(error) }),
  );
  writeFileSync(`${answerFile(run)}.new`, JSON.stringify(answer));
  renameSync(`${answerFile(run)}.new`, answerFile(run));
  return answer;
}

async function wait(run: string): Promise<Answer> {
  for (;;) {
    // looked at first: it may answer and end between the two looks
    const alive = starterIsAlive(run);
    const answer = read<Answer>(answerFile(run));
    if (answer !== undefined) return answer;
    if (!alive) return { reason: 'the process that was starting it has died.' };
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function starterIsAlive(run: string): boolean {
  const starter = read<Identity>(lockFile(run));
  return starter === undefined || isRunning(starter); // undefined: it is just writing its name
}

function read<T>(path: string): T | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as T;
  } catch {
    return undefined;
  }
}

const lockFile = (run: string): string => join(runsFolder, `${run}.starting`);
const answerFile = (run: string): string => join(runsFolder, `${run}.server.json`);

/**
 * Records of all test servers, one file each, so that the next run finds and stops a server whose
 * run was killed: its process, its data, and its owner. JavaScript, because `test/run.mjs` stops
 * what a run has left.
 */
import { mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { commandOf, ended, identify, isOfThisMachine, isRunning, send } from './processes.mjs';

/** @typedef {import('./processes.mjs').Identity} Identity */

/**
 * - `directory`: all files of the server, removed with it; its data are in `data`
 * - `owner`: the process that stops it; a server whose owner has ended is an orphan
 * - `run`: the run of tests it was started in; `lent`: to all of that run's workers, so that the
 *   run itself stops it
 * - `server`: its first process, after it was started
 *
 * @typedef {{ readonly directory: string, readonly owner: Identity, readonly run: string, readonly lent: boolean, readonly server?: Identity }} ServerRecord
 */

const root = join(import.meta.dirname, '../..');

/** The default folder of records, within the checkout. */
export const recordsFolder = join(root, '.tmp/postgres/servers');
const timeoutMs = 20_000;

/** @param {string} folder @param {ServerRecord} record */
export function remember(folder, record) {
  mkdirSync(folder, { recursive: true });
  const path = pathOf(folder, record);
  writeFileSync(`${path}.new`, JSON.stringify(record));
  renameSync(`${path}.new`, path); // complete or absent
}

/** @param {string} folder @param {ServerRecord} record */
export function forget(folder, record) {
  rmSync(pathOf(folder, record), { force: true });
}

/** @param {string} folder @returns {readonly ServerRecord[]} */
export function recorded(folder) {
  return namesIn(folder).flatMap((name) => read(join(folder, name)) ?? []);
}

/**
 * Stops every server whose owner has ended, and removes its data.
 *
 * @param {string} folder
 * @returns {Promise<readonly ServerRecord[]>} the stopped servers
 */
export async function reapOrphans(folder = recordsFolder) {
  const orphans = recorded(folder).filter(({ owner }) => isOfThisMachine(owner) && !isRunning(owner));
  await Promise.all(orphans.map((record) => end(folder, record)));
  return orphans;
}

/**
 * Stops every server of a run. A server that was not lent to the run should have been stopped by
 * the test that started it.
 *
 * @param {string} run
 * @param {string} folder
 * @returns {Promise<readonly ServerRecord[]>} the servers that tests have not stopped
 */
export async function endServersOf(run, folder = recordsFolder) {
  const records = recorded(folder).filter((record) => record.run === run);
  await Promise.all(records.map((record) => end(folder, record)));
  return records.filter(({ lent }) => !lent);
}

/**
 * Stops a server, then removes its data and its record.
 *
 * @param {string} folder @param {ServerRecord} record
 */
async function end(folder, record) {
  const server = serverOf(record);
  if (server !== undefined) {
    // `immediate`: its children end too, and it removes its shared memory, which SIGKILL would
    // leave.
    send(server, 'SIGQUIT');
    if (!(await ended([server], timeoutMs))) send(server, 'SIGKILL');
    if (!(await ended([server], timeoutMs)))
      throw new Error(`The Postgres server ${server.pid} in ${record.directory} cannot be ended.`);
  }
  rmSync(record.directory, { recursive: true, force: true, maxRetries: 10 });
  forget(folder, record);
}

/**
 * The process of the server, if it is really this one: the recorded pid (or the pid that the server
 * wrote, if its starter was killed before it could record it), with the same start time and this
 * data directory on its command line.
 *
 * @param {ServerRecord} record
 */
function serverOf(record) {
  const server = record.server ?? identify(pidIn(join(record.directory, 'data/postmaster.pid')));
  return server !== undefined &&
    isRunning(server) &&
    commandOf(server.pid).includes(join(record.directory, 'data'))
    ? server
    : undefined;
}

/** @param {string} path */
function pidIn(path) {
  try {
    return Number.parseInt(readFileSync(path, 'utf8'), 10) || -1;
  } catch {
    return -1; // never started, or stopped normally
  }
}

/** @param {string} folder */
function namesIn(folder) {
  try {
    return readdirSync(folder).filter((name) => name.endsWith('.json'));
  } catch {
    return []; // no server was started here
  }
}

/**
 * @param {string} path
 * @returns {ServerRecord | undefined} undefined if another process has just removed it
 */
function read(path) {
  try {
    return /** @type {ServerRecord} */ (JSON.parse(readFileSync(path, 'utf8')));
  } catch {
    return undefined;
  }
}

/** @param {string} folder @param {ServerRecord} record */
function pathOf(folder, record) {
  return join(folder, `${basename(record.directory)}.json`);
}

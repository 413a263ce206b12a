/**
 * What is remembered of every server under test, in a file each, so that one whose run was killed
 * is found and ended by the next run: which process it is, where its data are, and who is to stop
 * it. JavaScript, because `test/run.mjs` ends what a run has left.
 */
import { mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { commandOf, ended, identify, isOfThisMachine, isRunning, send } from './processes.mjs';

/** @typedef {import('./processes.mjs').Identity} Identity */

/**
 * - `directory`: everything of the server, removed with it; its data are in `data`
 * - `owner`: the process that stops it; a server without a living owner is an orphan
 * - `run`: the run of tests it was started in; `lent`: to all of that run's workers, so that the
 *   run itself stops it
 * - `server`: its first process, once it was started
 *
 * @typedef {{ readonly directory: string, readonly owner: Identity, readonly run: string, readonly lent: boolean, readonly server?: Identity }} ServerRecord
 */

const root = join(import.meta.dirname, '../..');

/** Where records are, unless told otherwise: nothing outside the checkout knows of its servers. */
export const recordsFolder = join(root, '.tmp/postgres/servers');
const patienceMs = 20_000;

/** @param {string} folder @param {ServerRecord} record */
export function remember(folder, record) {
  mkdirSync(folder, { recursive: true });
  const path = pathOf(folder, record);
  writeFileSync(`${path}.new`, JSON.stringify(record));
  renameSync(`${path}.new`, path); // whole, or not there
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
 * Ends every server whose owner is gone, and removes its data.
 *
 * @param {string} folder
 * @returns {Promise<readonly ServerRecord[]>} what was reaped
 */
export async function reapOrphans(folder = recordsFolder) {
  const orphans = recorded(folder).filter(({ owner }) => isOfThisMachine(owner) && !isRunning(owner));
  await Promise.all(orphans.map((record) => end(folder, record)));
  return orphans;
}

/**
 * Ends every server of a run. What was not lent to all of it should have been stopped by the test
 * that started it.
 *
 * @param {string} run
 * @param {string} folder
 * @returns {Promise<readonly ServerRecord[]>} what tests have left behind
 */
export async function endServersOf(run, folder = recordsFolder) {
  const records = recorded(folder).filter((record) => record.run === run);
  await Promise.all(records.map((record) => end(folder, record)));
  return records.filter(({ lent }) => !lent);
}

/**
 * Ends one server as gently as may be, then its data and its record.
 *
 * @param {string} folder @param {ServerRecord} record
 */
async function end(folder, record) {
  const server = serverOf(record);
  if (server !== undefined) {
    // 'immediate': children end with it and it clears its shared memory away, which SIGKILL would
    // leave
    send(server, 'SIGQUIT');
    if (!(await ended([server], patienceMs))) send(server, 'SIGKILL');
    if (!(await ended([server], patienceMs)))
      throw new Error(`The Postgres server ${server.pid} in ${record.directory} cannot be ended.`);
  }
  rmSync(record.directory, { recursive: true, force: true, maxRetries: 10 });
  forget(folder, record);
}

/**
 * The server's process, if it is really that one: the pid that was noted (or that the server noted
 * itself, when whoever started it was killed before it could), started when it was, with this data
 * directory on its command line.
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
    return -1; // it was never started, or has ended properly
  }
}

/** @param {string} folder */
function namesIn(folder) {
  try {
    return readdirSync(folder).filter((name) => name.endsWith('.json'));
  } catch {
    return []; // no server was ever started here
  }
}

/**
 * @param {string} path
 * @returns {ServerRecord | undefined} nothing when another process has just removed it
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

/**
 * A run of tests: the process that began it, and a unique name for what belongs to it. The process
 * that began a run ends it: `test/run.mjs`, or Jest itself if it was started directly. Concurrent
 * runs share nothing.
 */
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isOfThisMachine, isRunning, self } from './processes.mjs';
import { endServersOf, reapOrphans, recordsFolder } from './records.mjs';

/** @typedef {import('./processes.mjs').Identity} Identity */

/** The folder where the workers of a run share its server. */
export const runsFolder = join(recordsFolder, '../runs');

/** Begins a run for the tests of this process and its children. @returns {string} its name */
export function beginRun() {
  const run = `${process.pid}_${Math.random().toString(36).slice(2, 8)}`;
  mkdirSync(runsFolder, { recursive: true });
  writeFileSync(ownerFile(run), JSON.stringify(self()));
  process.env['KVENT_RUN'] = run;
  return run;
}

/** @returns {string | undefined} */
export function currentRun() {
  return process.env['KVENT_RUN'];
}

/** The process that began a run. @param {string} run @returns {Identity} */
export function ownerOf(run) {
  return JSON.parse(readFileSync(ownerFile(run), 'utf8'));
}

/** The databases of a run start with this. @param {string} run */
export function databasePrefix(run) {
  return `kvent_${run}_`;
}

/**
 * Stops the servers of the run and of killed runs; drops its databases on a server
 * that is not ours.
 *
 * @param {string} run
 * @returns {Promise<readonly string[]>} what tests have not stopped
 */
export async function endRun(run) {
  const left = await endServersOf(run);
  await reapOrphans();
  if (process.env['TEST_POSTGRES_URL']) await dropDatabasesOf(run, process.env['TEST_POSTGRES_URL']);
  for (const name of readdirSync(runsFolder)) {
    const other = name.split('.')[0] ?? '';
    if (other === run || isOver(other)) rmSync(join(runsFolder, name), { force: true });
  }
  return left.map(({ directory }) => `a Postgres server in ${directory}`);
}

/** @param {string} run */
function isOver(run) {
  try {
    const owner = ownerOf(run);
    return isOfThisMachine(owner) && !isRunning(owner);
  } catch {
    return false; // beginning or ending at this moment
  }
}

/** @param {string} run @param {string} url */
async function dropDatabasesOf(run, url) {
  const { default: pg } = await import('pg');
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query('select datname from pg_database where starts_with(datname, $1)', [
      databasePrefix(run),
    ]);
    for (const { datname } of rows)
      await client.query(`drop database if exists ${client.escapeIdentifier(datname)} with (force)`);
  } finally {
    await client.end();
  }
}

/** @param {string} run */
function ownerFile(run) {
  return join(runsFolder, `${run}.owner.json`);
}

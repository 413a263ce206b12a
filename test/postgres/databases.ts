/**
 * Databases for tests, on the server of the run (`server-of-run.ts`).
 *
 *   await using database = await freshDatabase(); // empty, for this test only, dropped at the end
 *   new PostgresProvider({ url: database.url });
 *
 *   const url = await workerDatabase(); // one for all tests of this Jest worker: bring a schema or
 *   tenant of your own
 */
import { randomBytes } from 'node:crypto';
import { Client } from 'pg';
import { currentRun, databasePrefix } from './runs.mjs';
import { serverOfRun } from './server-of-run.js';

export interface FreshDatabase extends AsyncDisposable {
  readonly url: string;
}

/** A new, empty database. Disposing of it drops it, with the connections that are left. */
export async function freshDatabase(): Promise<FreshDatabase> {
  const server = (await serverOfRun()).url;
  const name = nameFor(randomBytes(6).toString('hex'));
  await asAdmin(server, (client) => create(client, name));
  return {
    url: withDatabase(server, name),
    [Symbol.asyncDispose]: () =>
      asAdmin(server, async (client) => {
        await client.query(`drop database if exists ${client.escapeIdentifier(name)} with (force)`);
      }),
  };
}

/**
 * The database of this Jest worker: empty when the worker's first test asks for it, and kept until
 * the run ends.
 */
export async function workerDatabase(): Promise<string> {
  const server = (await serverOfRun()).url;
  const name = nameFor(`worker_${process.env['JEST_WORKER_ID'] ?? '0'}`);
  await asAdmin(server, async (client) => {
    const { rowCount } = await client.query('select 1 from pg_database where datname = $1', [name]);
    if (rowCount === 0) await create(client, name);
  });
  return withDatabase(server, name);
}

/** The same server, another database. */
export function withDatabase(url: string, database: string): string {
  const changed = new URL(url);
  changed.pathname = `/${encodeURIComponent(database)}`;
  return changed.href;
}

/** Does something with a connection that is closed afterwards. */
export async function asAdmin<T>(url: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/**
 * A role that row-level security binds, with a schema of its own in this database; the url with
 * which it connects. Roles are the server's: several workers may ask.
 */
export async function roleWithoutBypass(url: string, role: string, schema: string): Promise<string> {
  await asAdmin(url, async (client) => {
    const name = client.escapeIdentifier(role);
    await client.query(`select pg_advisory_lock(hashtext('${role}'))`);
    const { rowCount } = await client.query('select from pg_roles where rolname = $1', [role]);
    if (rowCount === 0)
      await client.query(`create role ${name} login password 'bound' nosuperuser nobypassrls`);
    await client.query(
      `create schema if not exists ${client.escapeIdentifier(schema)} authorization ${name}`,
    );
  });
  const bound = new URL(url);
  [bound.username, bound.password] = [role, 'bound'];
  return bound.href;
}

/** `template0` can be copied by many at once, because it has no connections. */
async function create(client: Client, name: string): Promise<void> {
  await client.query(`create database ${client.escapeIdentifier(name)} template template0`);
}

const nameFor = (what: string): string => `${databasePrefix(currentRun() ?? `alone_${process.pid}`)}${what}`;

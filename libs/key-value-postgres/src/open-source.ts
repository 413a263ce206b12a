/** The data source while a provider is open: the application's own, or one that was made for it. */
import { invalidOption, isStorageError, storageError } from '@kvent/key-value-storage/core';
import { DataSource, type DataSourceOptions } from 'typeorm';
import type { Connection } from './connections/connection.js';
import { Connections, type Pool } from './connections/connections.js';
import { PlanGeneration } from './plan-generation.js';
import { missingTable, NotConnected, refusalOf, unavailable } from './connections/failure.js';
import type { ResolvedPostgres } from './postgres-options.js';
import { parsePostgresUrl, withoutParameter } from './postgres-url.js';
import { isMigrated, migrate } from './schema/migrate.js';
import type { TableName } from './schema/table-name.js';

export interface OpenSource {
  readonly dataSource: DataSource;
  readonly connections: Connections;
  readonly staleReads: boolean;
  /** Connections of the primary's pool at most. */
  readonly poolSize: number;
  /** Only where connections are shared with the application: our own are set up so that plans cannot go stale. */
  readonly plans: PlanGeneration | undefined;
  /** As the server is set: whether a commit waits for its disk, and for those of its standbys. */
  readonly durable: false | 'fsync' | 'quorum';
  /** Ends what was opened here. */
  close(): Promise<void>;
}

/** What TypeORM's Postgres driver keeps: a pool for the primary, and one for each replica. */
interface PostgresDriver {
  readonly master: Pool & { readonly options?: { readonly max?: number } };
  readonly slaves?: readonly Pool[];
}

/** The planner has no better way than the key for any of our statements: it must not think of another while the table is small. */
const byTheKey = '-c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off';

export async function openSource(options: ResolvedPostgres, name: string): Promise<OpenSource> {
  const own = options.dataSource === undefined;
  const source = options.dataSource ?? new DataSource(ownOptions(options));
  if (own) await source.initialize().catch((error: unknown) => Promise.reject(unreachable(error, name)));
  else if (!source.isInitialized)
    throw storageError('INVALID_OPTION', 'The dataSource is not initialised: initialise it before the storage opens.', {});
  const { master, slaves = [] } = source.driver as unknown as PostgresDriver;
  const { preparedStatements: prepare, acquireTimeoutMs, requestTimeoutMs, migrate: when, table } = options;
  const plans = own || !prepare ? undefined : new PlanGeneration();
  const ended = (): string | undefined => whyEnded(source, master, name);
  const connections = new Connections({
    name,
    primary: master,
    replicas: slaves,
    prepare,
    plans,
    acquireTimeoutMs,
    requestTimeoutMs,
    ended,
  });
  const close = async (): Promise<void> => {
    const cut = connections.close();
    if (own) await destroy(source, cut, acquireTimeoutMs);
  };
  try {
    const durable = await connections.with(async (connection) => {
      if (connection.isOpenToReaders) options.warn(unencrypted(name));
      await assertUnicode(connection, name);
      if (when === 'on-open') await bringUpToDate(connection, table, name);
      return await look(connection, table, name);
    });
    return { dataSource: source, connections, staleReads: slaves.length > 0, poolSize: master.options?.max ?? 10, plans, durable, close };
  } catch (error) {
    await close();
    throw unreachable(error, name);
  }
}

/** Bounded: a server that does not answer the goodbye has its sockets cut. */
async function destroy(source: DataSource, cut: () => void, withinMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const destroyed = source.destroy();
  const late = async (): Promise<void> =>
    await new Promise<void>((resolve) => {
      timer = setTimeout(resolve, withinMs);
    });
  try {
    if ((await Promise.race([destroyed.then(() => true), late()])) === true) return;
    cut();
    clearTimeout(timer);
    await Promise.race([destroyed, late()]);
  } finally {
    clearTimeout(timer);
    // whoever waits no longer must not leave a rejection behind
    destroyed.catch(() => undefined);
  }
}

/** Where a data source of the application was destroyed, its pool is not the one that the storage was opened on. */
function whyEnded(source: DataSource, pool: Pool, name: string): string | undefined {
  const { master } = source.driver as unknown as Partial<PostgresDriver>;
  if (pool.ending !== true && master === pool) return undefined;
  const what = master === undefined || master === pool ? 'destroyed' : 'destroyed and initialised again';
  return `${name}: the dataSource was ${what} while the storage was open. Close the storage first, and open it again on the new connections.`;
}

function ownOptions({ connection, preparedStatements, acquireTimeoutMs, lockTimeoutMs }: ResolvedPostgres): DataSourceOptions {
  const { extra = {}, url, ...rest } = connection;
  // poolers refuse such settings, and keep no plans
  const settings = preparedStatements ? withOptions(url, extra, `${byTheKey} -c lock_timeout=${lockTimeoutMs}`) : { url, extra };
  return {
    type: 'postgres',
    ...rest,
    connectTimeoutMS: acquireTimeoutMs,
    // not as TypeORM's `url`, which it reads in a way of its own: what `pg` takes is taken
    extra: { keepAlive: true, ...(settings.url === undefined ? {} : { connectionString: settings.url }), ...settings.extra },
  } as DataSourceOptions;
}

/**
 * Settings of ours before those of the application, which win. Of these `pg` takes one source alone: those of a url hide those beside it, and these
 * the environment's.
 */
function withOptions(url: string | undefined, extra: object, ours: string): { readonly url: string | undefined; readonly extra: object } {
  const parsed = parsePostgresUrl(url);
  const { options } = extra as { readonly options?: string };
  const theirs = [parsed?.searchParams.getAll('options').at(-1), options, process.env['PGOPTIONS']].find((each) => (each ?? '') !== '');
  return {
    url: url === undefined ? undefined : withoutParameter(url, 'options'),
    extra: { ...extra, options: `${ours} ${theirs ?? ''}`.trimEnd() },
  };
}

const unencrypted = (name: string): string =>
  `${name} is on another machine, and the connection is not encrypted: passwords and data can be read on the way. Set ssl, or sslmode=verify-full in the url.`;

async function bringUpToDate(connection: Connection, table: TableName, name: string): Promise<void> {
  try {
    if (!(await isMigrated(connection, table))) await migrate(connection, table);
  } catch (error) {
    throw refusalOf(error) === '42501' ? notAllowed(name) : error;
  }
}

const notAllowed = (name: string): Error =>
  storageError(
    'STORAGE_UNAVAILABLE',
    `${name} cannot be brought up to date: the role may not do that. Run kventMigrations with a role that may, and open with migrate: 'never'.`,
    {},
    { retryable: false, cause: new Error('Postgres refused the statement with SQLSTATE 42501.') },
  );

/**
 * Keys and values are any text, and in the order of UTF-8: another encoding lacks most characters, orders them differently, or (`SQL_ASCII`)
 * does not know what a character is. `INVALID_OPTION` before anything is created.
 */
async function assertUnicode(connection: Connection, name: string): Promise<void> {
  const [line = []] = await connection.query(`select ${settings('server_encoding', 'client_encoding')}`);
  const [server, client] = line;
  if (server !== 'UTF8')
    throw invalidOption(
      `${name} is in a database whose encoding is ${server ?? 'unknown'}; allowed is UTF8: create a database with encoding 'UTF8'.`,
    );
  if (client !== 'UTF8')
    throw invalidOption(`${name} is reached over connections whose client_encoding is ${client ?? 'unknown'}; allowed is UTF8.`);
}

const settings = (...names: readonly string[]): string => names.map((name) => `pg_catalog.current_setting('${name}')`).join(', ');

/** Whether the table is there, with the columns that the statements need, and what the server promises. */
async function look(connection: Connection, table: TableName, name: string): Promise<OpenSource['durable']> {
  const columns = 'version, updated_at, expires_at, ttl_ms, number, database, container, entity, key, value, bytes';
  await connection.query(`select ${columns} from ${table.quoted} limit 0`).catch((error: unknown) => {
    const state = refusalOf(error);
    throw state === '42P01' || state === '3F000' || state === '42703' ? missingTable(name) : error;
  });
  const [line = []] = await connection.query(`select ${settings('fsync', 'synchronous_commit', 'synchronous_standby_names')}`);
  const [fsync, commit = '', standbys] = line;
  if (fsync !== 'on' || commit === 'off') return false;
  return standbys !== '' && commit !== 'local' ? 'quorum' : 'fsync';
}

function unreachable(error: unknown, name: string): Error {
  if (isStorageError(error)) return error;
  if (error instanceof NotConnected) return error.failure;
  const { message, code } = error as { readonly message?: string; readonly code?: string };
  return unavailable(`${name} cannot be opened${code === undefined ? '' : ` (${code})`}`, new Error(message ?? String(error)));
}

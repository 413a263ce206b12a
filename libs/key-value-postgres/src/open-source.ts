/** The data source while a provider is open: the application's own, or one that was made for it. */
import { invalidOption, isStorageError, storageError } from '@kvent/key-value-storage/core';
import { DataSource, type DataSourceOptions } from 'typeorm';
import type { Connection } from './connections/connection.js';
import { Connections, type Pool } from './connections/connections.js';
import { PlanGeneration } from './plan-generation.js';
import { missingTable, NotConnected, refusalOf, unavailable } from './connections/failure.js';
import type { ResolvedPostgres } from './postgres-options.js';
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
  const connections = new Connections({ name, primary: master, replicas: slaves, prepare, plans, acquireTimeoutMs, requestTimeoutMs });
  const close = async (): Promise<void> => {
    connections.close();
    if (own) await source.destroy();
  };
  try {
    const durable = await connections.with(async (connection) => {
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

function ownOptions({ connection, preparedStatements, acquireTimeoutMs, lockTimeoutMs }: ResolvedPostgres): DataSourceOptions {
  const { extra, ...rest } = connection;
  const { options: theirs = '' } = { ...extra } as { readonly options?: string };
  // poolers refuse such settings, and keep no plans; the application's own come last, and win
  const planner = preparedStatements ? { options: `${byTheKey} -c lock_timeout=${lockTimeoutMs} ${theirs}`.trimEnd() } : {};
  return {
    type: 'postgres',
    ...rest,
    connectTimeoutMS: acquireTimeoutMs,
    extra: { keepAlive: true, ...extra, ...planner },
  } as DataSourceOptions;
}

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

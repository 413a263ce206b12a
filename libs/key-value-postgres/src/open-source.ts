/** The data source while a provider is open: the application's own, or one that was made for it. */
import { storageError } from '@kvent/key-value-storage/core';
import { DataSource, type DataSourceOptions } from 'typeorm';
import { textOnly, type Client, type Pool } from './connections/connections.js';
import { missingTable, refusalOf, unavailable } from './connections/failure.js';
import type { ResolvedPostgres } from './postgres-options.js';
import { isMigrated, migrate } from './schema/migrate.js';

export interface OpenSource {
  readonly dataSource: DataSource;
  readonly primary: Pool;
  readonly replicas: readonly Pool[];
  /** Connections of the primary's pool at most. */
  readonly poolSize: number;
  /** Whether its connections are set up for our statements, so that no plan of theirs goes stale. */
  readonly own: boolean;
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
  const close = async (): Promise<void> => {
    if (own) await source.destroy();
  };
  try {
    const { master, slaves = [] } = source.driver as unknown as PostgresDriver;
    if (options.migrate === 'on-open') await bringUpToDate(options, name, master);
    const durable = await look(options, name, master);
    return {
      dataSource: source,
      primary: master,
      replicas: slaves,
      poolSize: master.options?.max ?? 10,
      own,
      durable,
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

function ownOptions({ connection, preparedStatements, acquireTimeoutMs, lockTimeoutMs }: ResolvedPostgres): DataSourceOptions {
  const { extra, ...rest } = connection;
  // poolers refuse such settings, and keep no plans
  const planner = preparedStatements ? { options: `${byTheKey} -c lock_timeout=${lockTimeoutMs}` } : {};
  return { type: 'postgres', ...rest, connectTimeoutMS: acquireTimeoutMs, extra: { ...planner, ...extra } } as DataSourceOptions;
}

async function bringUpToDate({ table }: ResolvedPostgres, name: string, pool: Pool): Promise<void> {
  await withClient(pool, name, async (client) => {
    try {
      if (!(await isMigrated(client, table))) await migrate(client, table);
    } catch (error) {
      throw refusalOf(error) === '42501' ? notAllowed(name) : error;
    }
  });
}

const notAllowed = (name: string): Error =>
  storageError(
    'STORAGE_UNAVAILABLE',
    `${name} cannot be brought up to date: the role may not do that. Run kventMigrations with a role that may, and open with migrate: 'never'.`,
    {},
    { retryable: false, cause: new Error('Postgres refused the statement with SQLSTATE 42501.') },
  );

/** Whether the table is there, with the columns that the statements need, and what the server promises. */
async function look({ table }: ResolvedPostgres, name: string, pool: Pool): Promise<OpenSource['durable']> {
  const columns = 'version, updated_at, expires_at, ttl_ms, number, database, container, entity, key, value, bytes';
  return await withClient(pool, name, async (client) => {
    await client.query({ text: `select ${columns} from ${table.quoted} limit 0`, ...textOnly }).catch((error: unknown) => {
      const state = refusalOf(error);
      throw state === '42P01' || state === '3F000' || state === '42703' ? missingTable(name) : error;
    });
    const text = "select current_setting('fsync'), current_setting('synchronous_commit'), current_setting('synchronous_standby_names')";
    const [fsync, commit = '', standbys] = (await client.query({ text, ...textOnly })).rows[0] ?? [];
    if (fsync !== 'on' || commit === 'off') return false;
    return standbys !== '' && commit !== 'local' ? 'quorum' : 'fsync';
  });
}

async function withClient<R>(pool: Pool, name: string, work: (client: Client) => Promise<R>): Promise<R> {
  const client = await pool.connect().catch((error: unknown) => Promise.reject(unreachable(error, name)));
  // one that breaks would end the process if nobody listened; its query rejects all the same
  const broke = (): void => undefined;
  client.on('error', broke);
  try {
    return await work(client);
  } catch (error) {
    throw unreachable(error, name);
  } finally {
    client.off('error', broke);
    client.release();
  }
}

function unreachable(error: unknown, name: string): Error {
  if (error instanceof Error && 'effect' in error) return error;
  const { message, code } = error as { readonly message?: string; readonly code?: string };
  return unavailable(`${name} cannot be opened${code === undefined ? '' : ` (${code})`}`, new Error(message ?? String(error)));
}

/**
 * The pools of a provider: those of the application's data source, or one of its own. A provider
 * with a url does not load TypeORM: 0.3 s of CPU time at each start of a process become 0.1 s.
 */
import { storageError } from '@kvent/key-value-storage/provider';
import pg from 'pg';
import type { DataSource } from 'typeorm';
import { connectWithAttempts } from './first-connection.js';
import type { ResolvedPostgres } from './postgres-options.js';
import { parsePostgresUrl, withoutParameter } from './postgres-url.js';
import type { Pool } from './connections/connections.js';

interface Pools {
  readonly primary: Pool;
  readonly replicas: readonly Pool[];
  /** Why the pools have ended, if they have. */
  ended(): string | undefined;
  /** Absent where the application ends them. */
  end?(): Promise<void>;
}

/** The pools of TypeORM's Postgres driver: one for the primary, and one for each replica. */
interface PostgresDriver {
  readonly master: Pool;
  readonly slaves?: readonly Pool[];
}

/**
 * No plan is better than the key for any of the statements: the planner must not choose another
 * while the table is small.
 */
const byTheKey = '-c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off';

/** `INVALID_OPTION` when the data source is not initialised. */
export function poolsOf(source: DataSource, name: string): Pools {
  if (!source.isInitialized)
    throw storageError(
      'INVALID_OPTION',
      'The dataSource is not initialised; initialise it before the storage opens.',
      {},
    );
  const { master, slaves = [] } = source.driver as unknown as PostgresDriver;
  return { primary: master, replicas: slaves, ended: () => whyEnded(source, master, name) };
}

/** Rejects with the driver's error when the server cannot be reached. */
export async function openPools(options: ResolvedPostgres, name: string): Promise<Pools> {
  const pool = new pg.Pool(poolOptions(options));
  // A connection that breaks is replaced. Without a listener its error would end the process: that
  // of an idle one, and that of one whose session the server ends as it begins.
  pool.on('error', () => undefined);
  pool.on('connect', (client) => client.on('error', () => undefined));
  const connect = async (): Promise<void> => (await pool.connect()).release();
  await connectWithAttempts(connect, options, name).catch(async (error: unknown) => {
    await pool.end();
    throw error;
  });
  return {
    primary: pool as unknown as Pool,
    replicas: [],
    ended: () => undefined,
    end: async () => await pool.end(),
  };
}

/** Why the pool has ended. A data source that was initialised again has another pool. */
function whyEnded(source: DataSource, pool: Pool, name: string): string | undefined {
  const { master } = source.driver as unknown as Partial<PostgresDriver>;
  if (pool.ending !== true && master === pool) return undefined;
  const what = master === undefined || master === pool ? 'destroyed' : 'destroyed and initialised again';
  return `${name}: the dataSource was ${what} while the storage was open. Close the storage first; open it again on the new connections.`;
}

function poolOptions({
  connection,
  preparedStatements,
  acquireTimeoutMs,
  lockTimeoutMs,
}: ResolvedPostgres): pg.PoolConfig {
  const {
    extra = {},
    url,
    username,
    applicationName,
    poolSize,
    host,
    port,
    password,
    database,
    ssl,
  } = connection;
  // poolers refuse these settings, and keep no plans
  const settings = preparedStatements
    ? withOptions(url, extra, `${byTheKey} -c lock_timeout=${lockTimeoutMs}`)
    : { url, extra };
  return {
    connectionString: settings.url,
    host,
    port,
    user: username,
    password,
    database,
    ssl,
    application_name: applicationName,
    max: poolSize,
    connectionTimeoutMillis: acquireTimeoutMs,
    keepAlive: true,
    ...settings.extra,
  };
}

/**
 * The provider's settings before those of the application, which win. `pg` uses only one source of
 * the latter: the url, else the option, else the environment.
 */
function withOptions(
  url: string | undefined,
  extra: object,
  defaults: string,
): { readonly url: string | undefined; readonly extra: object } {
  const parsed = parsePostgresUrl(url);
  const { options } = extra as { readonly options?: string };
  const own = [parsed?.searchParams.getAll('options').at(-1), options, process.env['PGOPTIONS']].find(
    (each) => (each ?? '') !== '',
  );
  return {
    url: url === undefined ? undefined : withoutParameter(url, 'options'),
    extra: { ...extra, options: `${defaults} ${own ?? ''}`.trimEnd() },
  };
}

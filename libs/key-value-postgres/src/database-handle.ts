/** The data source of an open provider: the application's own, or one of the provider. */
import { invalidOption, isStorageError, storageError } from '@kvent/key-value-storage/provider';
import { inspect } from '@kvent/key-value-storage/internal';
import { DataSource, type DataSourceOptions } from 'typeorm';
import type { Connection } from './connections/connection.js';
import { Connections, type Pool } from './connections/connections.js';
import { PlanGeneration } from './connections/plan-generation.js';
import { missingTable, NotConnected, refusalOf, unavailable } from './connections/failure.js';
import { initializeWithAttempts, serverOf } from './first-connection.js';
import type { ResolvedPostgres } from './postgres-options.js';
import { parsePostgresUrl, withoutParameter } from './postgres-url.js';
import { isMigrated, migrate, type SecuredTable } from './schema/migrate.js';
import { policies } from './schema/migrations.js';
import type { TableName } from './sql/table-name.js';

export interface DatabaseHandle {
  readonly dataSource: DataSource;
  readonly connections: Connections;
  readonly staleReads: boolean;
  /** Connections of the primary's pool at most. */
  readonly poolSize: number;
  /**
   * Only where connections are shared with the application: those of the provider are set up so
   * that plans cannot become stale.
   */
  readonly plans: PlanGeneration | undefined;
  /** By the server's settings: whether a commit waits for its disk, and for those of standbys. */
  readonly durable: false | 'fsync' | 'quorum';
  /**
   * Whether the table's rows are under row-level security that binds the role of the connections.
   */
  readonly isSecured: boolean;
  /** Closes what was opened here. */
  close(): Promise<void>;
}

/** The pools of TypeORM's Postgres driver: one for the primary, and one for each replica. */
interface PostgresDriver {
  readonly master: Pool & { readonly options?: { readonly max?: number } };
  readonly slaves?: readonly Pool[];
}

/**
 * No plan is better than the key for any of the statements: the planner must not choose another
 * while the table is small.
 */
const byTheKey = '-c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off';

export async function openDatabase(options: ResolvedPostgres, name: string): Promise<DatabaseHandle> {
  const own = options.dataSource === undefined;
  const source = options.dataSource ?? new DataSource(ownOptions(options));
  if (own)
    await initializeWithAttempts(source, options, name).catch((error: unknown) =>
      Promise.reject(unreachable(error, name, serverOf(options.connection))),
    );
  else if (!source.isInitialized)
    throw storageError(
      'INVALID_OPTION',
      'The dataSource is not initialised; initialise it before the storage opens.',
      {},
    );
  const { master, slaves = [] } = source.driver as unknown as PostgresDriver;
  const { preparedStatements: prepare, acquireTimeoutMs, requestTimeoutMs, migrate: when, table } = options;
  const plans = own || !prepare ? undefined : new PlanGeneration();
  const ended = (): string | undefined => whyEnded(source, master, name);
  let isSecured = false;
  const connections = new Connections({
    name,
    isSecured: () => isSecured,
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
      const secured = { ...table, rowLevelSecurity: options.rowLevelSecurity };
      if (options.rowLevelSecurity) await assertBound(connection, name);
      if (when === 'on-open') await migrateOnOpen(connection, secured, name);
      const durability = await checkTable(connection, table, name);
      isSecured = await checkPolicies(connection, secured, name, options.warn);
      return durability;
    });
    return {
      dataSource: source,
      connections,
      isSecured,
      staleReads: slaves.length > 0,
      poolSize: master.options?.max ?? 10,
      plans,
      durable,
      close,
    };
  } catch (error) {
    await close();
    throw unreachable(error, name);
  }
}

/** With a limit: when the server does not respond, its sockets are destroyed. */
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
    // it may reject later, when nothing waits for it
    destroyed.catch(() => undefined);
  }
}

/** Why the pool has ended. A data source that was initialised again has another pool. */
function whyEnded(source: DataSource, pool: Pool, name: string): string | undefined {
  const { master } = source.driver as unknown as Partial<PostgresDriver>;
  if (pool.ending !== true && master === pool) return undefined;
  const what = master === undefined || master === pool ? 'destroyed' : 'destroyed and initialised again';
  return `${name}: the dataSource was ${what} while the storage was open. Close the storage first; open it again on the new connections.`;
}

function ownOptions({
  connection,
  preparedStatements,
  acquireTimeoutMs,
  lockTimeoutMs,
}: ResolvedPostgres): DataSourceOptions {
  const { extra = {}, url, ...rest } = connection;
  // poolers refuse these settings, and keep no plans
  const settings = preparedStatements
    ? withOptions(url, extra, `${byTheKey} -c lock_timeout=${lockTimeoutMs}`)
    : { url, extra };
  return {
    type: 'postgres',
    ...rest,
    connectTimeoutMS: acquireTimeoutMs,
    // not as TypeORM's `url`, whose parser differs from that of `pg`
    extra: {
      keepAlive: true,
      ...(settings.url === undefined ? {} : { connectionString: settings.url }),
      ...settings.extra,
    },
  } as DataSourceOptions;
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

const unencrypted = (name: string): string =>
  `${name} is on another machine, and the connection is not encrypted: others may read passwords and data in transit. Set ssl, or sslmode=verify-full in the url.`;

async function migrateOnOpen(connection: Connection, table: SecuredTable, name: string): Promise<void> {
  try {
    if (!(await isMigrated(connection, table))) await migrate(connection, table);
  } catch (error) {
    throw refusalOf(error) === '42501' ? notAllowed(name) : error;
  }
}

const notAllowed = (name: string): Error =>
  storageError(
    'STORAGE_UNAVAILABLE',
    `${name} cannot be migrated: the role has no right to do that. Run kventMigrations with a role that has it, and open with migrate: 'never'.`,
    {},
    { retryable: false, cause: new Error('Postgres refused the statement with SQLSTATE 42501.') },
  );

/**
 * Keys and values are any text, in the order of UTF-8. Other encodings lack most characters, have
 * another order, or (`SQL_ASCII`) have no characters. `INVALID_OPTION` before anything is created.
 */
async function assertUnicode(connection: Connection, name: string): Promise<void> {
  const [line = []] = await connection.query(`select ${settings('server_encoding', 'client_encoding')}`);
  const [server, client] = line;
  if (server !== 'UTF8')
    throw invalidOption(
      `${name} needs a database with encoding UTF8; got encoding ${server ?? 'unknown'}. Create a database with encoding 'UTF8'.`,
    );
  if (client !== 'UTF8')
    throw invalidOption(
      `${name} needs connections with client_encoding UTF8; got client_encoding ${client ?? 'unknown'}.`,
    );
}

const settings = (...names: readonly string[]): string =>
  names.map((name) => `pg_catalog.current_setting('${name}')`).join(', ');

/**
 * Checks that the table exists with the columns of the statements, and returns how durable the
 * server is.
 */
async function checkTable(
  connection: Connection,
  table: TableName,
  name: string,
): Promise<DatabaseHandle['durable']> {
  const columns =
    'version, updated_at, expires_at, ttl_ms, number, database, container, entity, key, value, bytes, feed_transaction, feed_sequence';
  await connection.query(`select ${columns} from ${table.quoted} limit 0`).catch((error: unknown) => {
    const state = refusalOf(error);
    throw state === '42P01' || state === '3F000' || state === '42703' ? missingTable(name) : error;
  });
  const [line = []] = await connection.query(
    `select ${settings('fsync', 'synchronous_commit', 'synchronous_standby_names')}`,
  );
  const [fsync, commit = '', standbys] = line;
  if (fsync !== 'on' || commit === 'off') return false;
  return standbys !== '' && commit !== 'local' ? 'quorum' : 'fsync';
}

/** Policies do not bind every role. */
async function assertBound(connection: Connection, name: string): Promise<void> {
  const text =
    'select rolsuper or rolbypassrls, rolname from pg_catalog.pg_roles where rolname operator(pg_catalog.=) current_user';
  const [[bypasses, role = ''] = []] = await connection.query(text);
  if (bypasses === 't')
    throw invalidOption(
      `${name}: rowLevelSecurity needs a role that cannot bypass it; got ${inspect(role)}, which is a superuser or has BYPASSRLS.`,
    );
  if (!connection.takesOwnQueries)
    throw invalidOption(
      `${name}: rowLevelSecurity needs connections of pg without pipeline; pg-native does not support it.`,
    );
}

/**
 * Whether statements must set their database. A secured table is used as such, whether the option
 * is set or not.
 */
async function checkPolicies(
  connection: Connection,
  { quoted, rowLevelSecurity }: SecuredTable,
  name: string,
  warn: (message: string) => void,
): Promise<boolean> {
  const found = await connection.query(
    `select p.polname, c.relrowsecurity and c.relforcerowsecurity, pg_catalog.row_security_active(c.oid), p.polpermissive
from pg_catalog.pg_class c left join pg_catalog.pg_policy p on p.polrelid operator(pg_catalog.=) c.oid
where c.oid operator(pg_catalog.=) ($1::pg_catalog.text)::pg_catalog.regclass`,
    [quoted],
  );
  const names = found.map(([policy]) => policy);
  const isComplete = policies.every((policy) => names.includes(policy)) && found[0]?.[1] === 't';
  const isActive = found[0]?.[2] === 't';
  if (rowLevelSecurity && !(isComplete && isActive))
    throw storageError(
      'STORAGE_UNAVAILABLE',
      `${name} is not under row-level security: run kventMigrations({ rowLevelSecurity: true }) as the owner of the table, or leave migrate at 'on-open' with that role.`,
      {},
      { retryable: false },
    );
  const others = found.filter(
    ([policy, , , permissive]) => permissive === 't' && !(policies as readonly unknown[]).includes(policy),
  );
  if (isComplete && isActive && others.length > 0)
    warn(
      `${name} has other policies, which may show rows of other databases: ${others.map(([policy]) => inspect(policy)).join(', ')}.`,
    );
  return isComplete && isActive;
}

function unreachable(error: unknown, name: string, server?: string): Error {
  if (isStorageError(error)) return error;
  if (error instanceof NotConnected) return error.failure;
  const { message, code } = error as { readonly message?: string; readonly code?: string };
  return unavailable(
    `${name} cannot be opened${server === undefined ? '' : ` at ${server}`}${code === undefined ? '' : ` (${code})`}`,
    new Error(message ?? String(error)),
  );
}

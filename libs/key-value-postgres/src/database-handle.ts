/** The data source while a provider is open: the application's own, or one that was made for it. */
import { invalidOption, isStorageError, storageError } from '@kvent/key-value-storage/provider';
import { inspect } from '@kvent/key-value-storage/internal';
import { DataSource, type DataSourceOptions } from 'typeorm';
import type { Connection } from './connections/connection.js';
import { Connections, type Pool } from './connections/connections.js';
import { PlanGeneration } from './connections/plan-generation.js';
import { missingTable, NotConnected, refusalOf, unavailable } from './connections/failure.js';
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
   * Only where connections are shared with the application: our own are set up so that plans cannot
   * go stale.
   */
  readonly plans: PlanGeneration | undefined;
  /** As the server is set: whether a commit waits for its disk, and for those of its standbys. */
  readonly durable: false | 'fsync' | 'quorum';
  /**
   * Whether the table's rows are under row-level security that binds the role of the connections.
   */
  readonly isSecured: boolean;
  /** Ends what was opened here. */
  close(): Promise<void>;
}

/** What TypeORM's Postgres driver keeps: a pool for the primary, and one for each replica. */
interface PostgresDriver {
  readonly master: Pool & { readonly options?: { readonly max?: number } };
  readonly slaves?: readonly Pool[];
}

/**
 * The planner has no better way than the key for any of our statements: it must not think of
 * another while the table is small.
 */
const byTheKey = '-c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off';

export async function openDatabase(options: ResolvedPostgres, name: string): Promise<DatabaseHandle> {
  const own = options.dataSource === undefined;
  const source = options.dataSource ?? new DataSource(ownOptions(options));
  if (own) await source.initialize().catch((error: unknown) => Promise.reject(unreachable(error, name)));
  else if (!source.isInitialized)
    throw storageError(
      'INVALID_OPTION',
      'The dataSource is not initialised: initialise it before the storage opens.',
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
      if (when === 'on-open') await bringUpToDate(connection, secured, name);
      const promised = await look(connection, table, name);
      isSecured = await lookAtPolicies(connection, secured, name, options.warn);
      return promised;
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

/**
 * Where a data source of the application was destroyed, its pool is not the one that the storage
 * was opened on.
 */
function whyEnded(source: DataSource, pool: Pool, name: string): string | undefined {
  const { master } = source.driver as unknown as Partial<PostgresDriver>;
  if (pool.ending !== true && master === pool) return undefined;
  const what = master === undefined || master === pool ? 'destroyed' : 'destroyed and initialised again';
  return `${name}: the dataSource was ${what} while the storage was open. Close the storage first, and open it again on the new connections.`;
}

function ownOptions({
  connection,
  preparedStatements,
  acquireTimeoutMs,
  lockTimeoutMs,
}: ResolvedPostgres): DataSourceOptions {
  const { extra = {}, url, ...rest } = connection;
  // poolers refuse such settings, and keep no plans
  const settings = preparedStatements
    ? withOptions(url, extra, `${byTheKey} -c lock_timeout=${lockTimeoutMs}`)
    : { url, extra };
  return {
    type: 'postgres',
    ...rest,
    connectTimeoutMS: acquireTimeoutMs,
    // not as TypeORM's `url`, which it reads in a way of its own: what `pg` takes is taken
    extra: {
      keepAlive: true,
      ...(settings.url === undefined ? {} : { connectionString: settings.url }),
      ...settings.extra,
    },
  } as DataSourceOptions;
}

/**
 * Settings of ours before those of the application, which win. Of these `pg` takes one source
 * alone: those of a url hide those beside it, and these the environment's.
 */
function withOptions(
  url: string | undefined,
  extra: object,
  ours: string,
): { readonly url: string | undefined; readonly extra: object } {
  const parsed = parsePostgresUrl(url);
  const { options } = extra as { readonly options?: string };
  const theirs = [parsed?.searchParams.getAll('options').at(-1), options, process.env['PGOPTIONS']].find(
    (each) => (each ?? '') !== '',
  );
  return {
    url: url === undefined ? undefined : withoutParameter(url, 'options'),
    extra: { ...extra, options: `${ours} ${theirs ?? ''}`.trimEnd() },
  };
}

const unencrypted = (name: string): string =>
  `${name} is on another machine, and the connection is not encrypted: passwords and data can be read on the way. Set ssl, or sslmode=verify-full in the url.`;

async function bringUpToDate(connection: Connection, table: SecuredTable, name: string): Promise<void> {
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
 * Keys and values are any text, and in the order of UTF-8: another encoding lacks most characters,
 * orders them differently, or (`SQL_ASCII`) does not know what a character is. `INVALID_OPTION`
 * before anything is created.
 */
async function assertUnicode(connection: Connection, name: string): Promise<void> {
  const [line = []] = await connection.query(`select ${settings('server_encoding', 'client_encoding')}`);
  const [server, client] = line;
  if (server !== 'UTF8')
    throw invalidOption(
      `${name} is in a database whose encoding is ${server ?? 'unknown'}; allowed is UTF8: create a database with encoding 'UTF8'.`,
    );
  if (client !== 'UTF8')
    throw invalidOption(
      `${name} is reached over connections whose client_encoding is ${client ?? 'unknown'}; allowed is UTF8.`,
    );
}

const settings = (...names: readonly string[]): string =>
  names.map((name) => `pg_catalog.current_setting('${name}')`).join(', ');

/**
 * Whether the table is there, with the columns that the statements need, and what the server
 * promises.
 */
async function look(
  connection: Connection,
  table: TableName,
  name: string,
): Promise<DatabaseHandle['durable']> {
  const columns =
    'version, updated_at, expires_at, ttl_ms, number, database, container, entity, key, value, bytes';
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

/** A role that passes by the policies makes them worth nothing. */
async function assertBound(connection: Connection, name: string): Promise<void> {
  const text =
    'select rolsuper or rolbypassrls, rolname from pg_catalog.pg_roles where rolname operator(pg_catalog.=) current_user';
  const [[bypasses, role = ''] = []] = await connection.query(text);
  if (bypasses === 't')
    throw invalidOption(
      `${name}: rowLevelSecurity needs a role that cannot bypass it, and ${inspect(role)} is a superuser or has BYPASSRLS; connect as another role.`,
    );
  if (!connection.takesOwnQueries)
    throw invalidOption(
      `${name}: rowLevelSecurity needs connections of pg without pipeline, and is not for pg-native.`,
    );
}

/**
 * Whether statements have to say for which database they are. A table that is secured is used as
 * such, whether it was asked for or not.
 */
async function lookAtPolicies(
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
      `${name} has further policies, each of which may show rows of other databases: ${others.map(([policy]) => inspect(policy)).join(', ')}.`,
    );
  return isComplete && isActive;
}

function unreachable(error: unknown, name: string): Error {
  if (isStorageError(error)) return error;
  if (error instanceof NotConnected) return error.failure;
  const { message, code } = error as { readonly message?: string; readonly code?: string };
  return unavailable(
    `${name} cannot be opened${code === undefined ? '' : ` (${code})`}`,
    new Error(message ?? String(error)),
  );
}

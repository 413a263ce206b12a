/** The database of an open provider: its connections, and what the server and the table are. */
import { invalidOption, isStorageError, storageError } from '@kvent/key-value-storage/provider';
import { inspect } from '@kvent/key-value-storage/internal';
import type { Connection } from './connections/connection.js';
import { Connections } from './connections/connections.js';
import { PlanGeneration } from './connections/plan-generation.js';
import { missingTable, NotConnected, refusalOf, unavailable } from './connections/failure.js';
import { openPools, poolsOf } from './pools.js';
import { serverOf } from './first-connection.js';
import type { ResolvedPostgres } from './postgres-options.js';
import { isMigrated, migrate, type SecuredTable } from './schema/migrate.js';
import { policies } from './schema/migrations.js';
import type { TableName } from './sql/table-name.js';

export interface DatabaseHandle {
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

export async function openDatabase(options: ResolvedPostgres, name: string): Promise<DatabaseHandle> {
  const { dataSource } = options;
  const own = dataSource === undefined;
  const pools = own
    ? await openPools(options, name).catch((error: unknown) =>
        Promise.reject(unreachable(error, name, serverOf(options.connection))),
      )
    : poolsOf(dataSource, name);
  const { preparedStatements: prepare, acquireTimeoutMs, requestTimeoutMs, migrate: when, table } = options;
  const plans = own || !prepare ? undefined : new PlanGeneration();
  let isSecured = false;
  const connections = new Connections({
    name,
    isSecured: () => isSecured,
    primary: pools.primary,
    replicas: pools.replicas,
    prepare,
    plans,
    acquireTimeoutMs,
    mayBeStandby: options.standby === 'allow',
    requestTimeoutMs,
    openToReaders: () => options.warn(unencrypted(name)),
    ended: pools.ended,
  });
  const close = async (): Promise<void> => {
    const cut = connections.close();
    if (pools.end !== undefined) await endWithin(acquireTimeoutMs, pools.end(), cut);
  };
  try {
    const durable = await connections.with(async (connection) => {
      await assertUnicode(connection, name);
      const secured = { ...table, rowLevelSecurity: options.rowLevelSecurity };
      if (options.rowLevelSecurity) await assertBound(connection, name);
      if (when === 'on-open') await migrateOnOpen(connection, secured, name, options.warn);
      const durability = await checkTable(connection, table, name);
      isSecured = await checkPolicies(connection, secured, name, options.warn);
      return durability;
    });
    return {
      connections,
      isSecured,
      staleReads: pools.replicas.length > 0,
      poolSize: pools.primary.options?.max ?? 10,
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
async function endWithin(withinMs: number, ended: Promise<void>, cut: () => void): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = async (): Promise<void> =>
    await new Promise<void>((resolve) => {
      timer = setTimeout(resolve, withinMs);
    });
  try {
    if ((await Promise.race([ended.then(() => true), late()])) === true) return;
    cut();
    clearTimeout(timer);
    await Promise.race([ended, late()]);
  } finally {
    clearTimeout(timer);
    // it may reject later, when nothing waits for it
    ended.catch(() => undefined);
  }
}

const unencrypted = (name: string): string =>
  `${name} or a replica of it is on another machine, and the connection is not encrypted: others may read passwords and data in transit. Set ssl, or sslmode=verify-full in the url.`;

async function migrateOnOpen(
  connection: Connection,
  table: SecuredTable,
  name: string,
  warn: (message: string) => void,
): Promise<void> {
  const blocked = (): void =>
    warn(
      `${name}: the migration of ${table.quoted} waits for transactions that use the table (a backup with pg_dump, for instance); it tries again every few seconds, and other calls go on.`,
    );
  try {
    if (!(await isMigrated(connection, table))) await migrate(connection, table, blocked);
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

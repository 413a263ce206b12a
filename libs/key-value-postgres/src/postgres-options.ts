/** The options of a `PostgresProvider`, and how they are checked and resolved. */
import { invalidOption, resolveOptions, type Clock } from '@kvent/key-value-storage/provider';
import { safely, timerMsMax } from '@kvent/key-value-storage/internal';
import type { DataSource } from 'typeorm';
import { parametersOf, parsePostgresUrl } from './postgres-url.js';
import type { AmbientTransactions } from './transactions/ambient-transactions.js';
import { tableName, type TableName, type TableOptions } from './sql/table-name.js';

/** How to reach the server, in the terms of TypeORM. */
export interface PostgresConnection {
  /**
   * `postgres://user:password@host:port/database`, or `postgres://user@/database?host=/folder` for
   * a socket, with the parameters of `pg`. The other forms of `pg` are taken too:
   * `socket:/folder?db=database`, `/folder database`, and `pg` for `postgres`.
   */
  readonly url?: string | undefined;
  readonly host?: string | undefined;
  readonly port?: number | undefined;
  readonly username?: string | undefined;
  readonly password?: string | (() => string) | (() => Promise<string>) | undefined;
  readonly database?: string | undefined;
  /**
   * TLS: true verifies the server's certificate with the authorities of Node; an object has options
   * of `tls.connect` (`{ ca }`). A url can set it too (`?sslmode=verify-full`); both are
   * `INVALID_OPTION`. A connection to another machine without TLS causes a warning.
   * @default `PGSSLMODE`, else no TLS
   */
  readonly ssl?: boolean | object | undefined;
  readonly applicationName?: string | undefined;
  /**
   * How often `open` tries to reach a server that is absent, starts, or has no address yet. A
   * server that refuses the connection for another reason, such as a wrong password, is asked once.
   * @default 5
   */
  readonly connectAttempts?: number | undefined;
  /** Milliseconds between two attempts. @default 1_000 */
  readonly connectDelayMs?: number | undefined;
  /** Connections at most. @default 10 */
  readonly poolSize?: number | undefined;
  /**
   * Further options of `pg`. One that has an option here, or is in the url, is `INVALID_OPTION`.
   */
  readonly extra?: object | undefined;
}

export interface PostgresProviderOptions extends PostgresConnection, TableOptions {
  /**
   * The application's own data source, initialised, instead of connection options: its pool is
   * used, and `within` can join its transactions. It is not closed.
   */
  readonly dataSource?: DataSource | undefined;
  /**
   * Whether stores and streams join the transaction of their caller without `within`. 'ambient':
   * that of `@Transactional()` of `@nestjs-cls/transactional` (TypeORM adapter) or of
   * `typeorm-transactional`, on the `dataSource`. `current`: that of any other library; it returns
   * the `EntityManager` of the current transaction. @default only with `within`
   */
  readonly transactions?: 'ambient' | AmbientTransactions | undefined;
  /**
   * Whether `open` creates or updates the table; with 'never' the table must exist: see
   * `kventMigrations`. @default 'on-open'
   */
  readonly migrate?: 'on-open' | 'never' | undefined;
  /**
   * Whether the server separates tenants too: by policies on the table that bind the role of the
   * connection, its owner included. They are created when the provider opens (`migrate: 'on-open'`,
   * by the table's owner) or by `kventMigrations({ rowLevelSecurity: true })`. A role that may
   * bypass them is `INVALID_OPTION`. @default as the table is
   */
  readonly rowLevelSecurity?: true | undefined;
  /**
   * Whether the server may be a standby. It only reads, and what it has not replayed yet is missing
   * in 'current' reads too: for a process that only reads. By default each new connection asks, and
   * one to a standby is `STORAGE_UNAVAILABLE`. Replicas for `stale` reads are those of the
   * `dataSource`. @default 'refuse'
   */
  readonly standby?: 'refuse' | 'allow' | undefined;
  /**
   * Whether statements are prepared once for each connection. False behind a pooler that shares
   * connections between transactions (PgBouncer). @default true
   */
  readonly preparedStatements?: boolean | undefined;
  /**
   * Milliseconds to wait for a connection of the pool; then `STORAGE_UNAVAILABLE`, nothing done.
   * @default 5_000
   */
  readonly acquireTimeoutMs?: number | undefined;
  /**
   * Milliseconds to wait for a response; then the connection is closed, and a write is
   * `STORAGE_OUTCOME_UNKNOWN`. @default 30_000, or 5_000 more than a longer `lockTimeoutMs`
   */
  readonly requestTimeoutMs?: number | undefined;
  /**
   * Milliseconds to wait for a row that an open transaction holds; then `STORAGE_UNAVAILABLE`,
   * nothing done. It must be below `requestTimeoutMs`. @default 5_000, or the half of a shorter
   * `requestTimeoutMs`
   */
  readonly lockTimeoutMs?: number | undefined;
  /**
   * Milliseconds that an export waits for its reader to read a page, which has at most 1,000 rows;
   * then its connection returns to the pool, and the reader gets `STORAGE_UNAVAILABLE` instead of
   * the next page. @default 300_000
   */
  readonly readerTimeoutMs?: number | undefined;
  /**
   * Whether processes wake each other's watches by NOTIFY, after each commit; they must all have
   * it. It takes one connection of the pool once there is a watch, and does not work behind a
   * pooler that shares connections between transactions. A notification names no row, so watches
   * look for changes at most once in 200 ms. Without it watches see the writes of other
   * processes after 200 ms to 1 s. @default false
   */
  readonly notify?: boolean | undefined;
  /**
   * Receives warnings, such as a connection to another machine without TLS. Exceptions in it are
   * ignored.
   * @default `process.emitWarning`
   */
  readonly warn?: ((message: string) => void) | undefined;
  /** The clock, for tests. @default the database's */
  readonly clock?: Clock | undefined;
}

const postgresDefaults = {
  migrate: 'on-open',
  standby: 'refuse',
  preparedStatements: true,
  acquireTimeoutMs: 5_000,
  requestTimeoutMs: 30_000,
  lockTimeoutMs: 5_000,
  readerTimeoutMs: 300_000,
  connectAttempts: 5,
  connectDelayMs: 1_000,
  poolSize: 10,
  notify: false,
  warn: (message: string): void =>
    process.emitWarning(message, { type: 'PostgresWarning', code: 'KVENT_POSTGRES' }),
} as const;

const connectionNames = [
  'url',
  'host',
  'port',
  'username',
  'password',
  'database',
  'ssl',
  'applicationName',
  'extra',
] as const;

/** They mean nothing for a data source of the application. */
const connectionOptions = [...connectionNames, 'poolSize', 'connectAttempts', 'connectDelayMs'] as const;

export interface ResolvedPostgres {
  readonly table: TableName;
  readonly dataSource: DataSource | undefined;
  readonly transactions: 'ambient' | AmbientTransactions | undefined;
  readonly connection: PostgresConnection;
  readonly connectAttempts: number;
  readonly connectDelayMs: number;
  readonly migrate: 'on-open' | 'never';
  readonly rowLevelSecurity: boolean;
  readonly standby: 'refuse' | 'allow';
  readonly preparedStatements: boolean;
  readonly acquireTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly lockTimeoutMs: number;
  readonly readerTimeoutMs: number;
  readonly notify: boolean;
  readonly warn: (message: string) => void;
  readonly clock: Clock | undefined;
}

/** For each option: a test of its value, and the allowed values in words. */
const rules: Readonly<Record<string, readonly [(value: unknown) => boolean, string]>> = {
  host: [
    (value) => isText(value) && !isUrl(value),
    'the name or address of a machine, or the folder of a socket',
  ],
  port: [isWhole(1, 65_535), 'a whole number from 1 to 65535'],
  username: [isText, 'a string that is not empty'],
  password: [
    (value) => typeof value === 'string' || typeof value === 'function',
    'a string, or a function that returns one',
  ],
  database: [isText, 'a string that is not empty'],
  ssl: [
    (value) => typeof value === 'boolean' || isObject(value),
    'true, false, or the options of a TLS connection',
  ],
  applicationName: [isText, 'a string that is not empty'],
  poolSize: [isWhole(1, 2 ** 31 - 1), 'a whole number from 1'],
  connectAttempts: [isWhole(1, 2 ** 31 - 1), 'a whole number from 1'],
  connectDelayMs: [isWhole(1, timerMsMax), 'a whole number of milliseconds from 1 below 2^31'],
  extra: [isObject, 'an object of options of pg'],
  migrate: [(value) => value === 'on-open' || value === 'never', "'on-open' or 'never'"],
  standby: [(value) => value === 'refuse' || value === 'allow', "'refuse' or 'allow'"],
  transactions: [isTransactions, "'ambient', or { current } with a function"],
  rowLevelSecurity: [(value) => value === true, 'true or absent'],
  preparedStatements: [(value) => typeof value === 'boolean', 'true or false'],
  acquireTimeoutMs: [isWhole(1, timerMsMax), 'a whole number of milliseconds from 1 below 2^31'],
  requestTimeoutMs: [isWhole(1, timerMsMax), 'a whole number of milliseconds from 1 below 2^31'],
  lockTimeoutMs: [isWhole(1, timerMsMax), 'a whole number of milliseconds from 1 below 2^31'],
  readerTimeoutMs: [isWhole(1, timerMsMax), 'a whole number of milliseconds from 1 below 2^31'],
  notify: [(value) => typeof value === 'boolean', 'true or false'],
  warn: [(value) => typeof value === 'function', 'a function that takes a message'],
  clock: [isClock, 'a Clock, with now(), monotonic() and wait()'],
};

export function resolvePostgres(options: PostgresProviderOptions): ResolvedPostgres {
  const all = resolveOptions('PostgresProvider', options, postgresDefaults, [
    'dataSource',
    'transactions',
    'schema',
    'table',
    'rowLevelSecurity',
    'clock',
    ...connectionNames,
  ]);
  const given = connectionOptions.filter((name) => options[name] !== undefined);
  assertOneSource(options.dataSource, given);
  if (all.dataSource !== undefined) assertPostgres(all.dataSource);
  for (const [name, rule] of Object.entries(rules)) assertRule(name, rule, all[name as keyof typeof all]);
  const { requestTimeoutMs, lockTimeoutMs } = timeoutsOf(options);
  if (all.transactions !== undefined && all.dataSource === undefined)
    throw invalidOption(
      'PostgresProvider: transactions needs the dataSource option; a provider with connections of its own joins none.',
    );
  assertSetOnce(options, all.url === undefined ? undefined : urlOf(all.url));
  const {
    dataSource,
    transactions,
    migrate,
    standby,
    preparedStatements,
    connectAttempts,
    connectDelayMs,
    acquireTimeoutMs,
    readerTimeoutMs,
    notify,
    warn,
    clock,
  } = all;
  return {
    table: tableName(all),
    dataSource,
    transactions,
    connection: {
      poolSize: all.poolSize,
      ...Object.fromEntries(
        connectionNames.flatMap((name) => (options[name] === undefined ? [] : [[name, options[name]]])),
      ),
    },
    connectAttempts,
    connectDelayMs,
    migrate,
    rowLevelSecurity: all.rowLevelSecurity === true,
    standby,
    preparedStatements,
    acquireTimeoutMs,
    requestTimeoutMs,
    lockTimeoutMs,
    readerTimeoutMs,
    notify,
    // it is called while a connection is held
    warn: (message) => void safely(() => warn(message)),
    clock,
  };
}

/**
 * A wait for a row ends before the wait for the response, after which the outcome of its write is
 * unknown: so the one that is not given follows the one that is.
 */
function timeoutsOf({ lockTimeoutMs, requestTimeoutMs }: PostgresProviderOptions): {
  readonly lockTimeoutMs: number;
  readonly requestTimeoutMs: number;
} {
  const { requestTimeoutMs: request, lockTimeoutMs: lock } = postgresDefaults;
  if (lockTimeoutMs === undefined)
    return {
      requestTimeoutMs: requestTimeoutMs ?? request,
      lockTimeoutMs: Math.max(1, Math.min(lock, Math.floor((requestTimeoutMs ?? request) / 2))),
    };
  const limit = requestTimeoutMs ?? Math.min(Math.max(request, lockTimeoutMs + lock), timerMsMax);
  if (lockTimeoutMs < limit) return { requestTimeoutMs: limit, lockTimeoutMs };
  throw invalidOption(
    `PostgresProvider: lockTimeoutMs must be below requestTimeoutMs, after which the outcome of a write that waits is unknown; got ${lockTimeoutMs} and ${limit}.`,
  );
}

/** A part of the url must not be an option as well: the driver would ignore one silently. */
const urlParts: readonly string[] = ['host', 'port', 'username', 'password', 'database'];

function assertOneSource(dataSource: unknown, given: readonly string[]): void {
  if (dataSource !== undefined && given.length > 0)
    throw invalidOption(
      `PostgresProvider takes a dataSource or connection options, not both; got dataSource and ${given.join(', ')}.`,
    );
  const twice = given.filter((name) => urlParts.includes(name));
  if (given.includes('url') && twice.length > 0)
    throw invalidOption(
      `PostgresProvider takes a url or its parts, not both; got url and ${twice.join(', ')}.`,
    );
  if (dataSource === undefined && !given.includes('url') && !given.includes('host'))
    throw invalidOption('PostgresProvider needs a dataSource, a url, or a host.');
}

/** By its driver: several copies of TypeORM have different classes. */
function assertPostgres(dataSource: unknown): void {
  const options = isObject(dataSource) ? (dataSource as Partial<DataSource>).options : undefined;
  if (options === undefined)
    throw invalidOption(
      `PostgresProvider: dataSource must be a DataSource of TypeORM; got ${shown(dataSource)}.`,
    );
  const type: string = options.type;
  if (type !== 'postgres')
    throw invalidOption(
      `PostgresProvider needs a data source of type 'postgres', new DataSource({ type: 'postgres', … }); got ${shown(type)}.`,
    );
}

function urlOf(given: unknown): URL {
  const url = parsePostgresUrl(given);
  if (url !== undefined) return url;
  throw invalidOption(
    'PostgresProvider: url must be postgres://user:password@host:port/database, with %25 for a %, or socket:/folder?db=database; got something else.',
  );
}

/** The names of options in the parameters of a url and in `extra`. */
const synonyms: Readonly<Record<string, readonly string[]>> = {
  url: ['connectionString'],
  host: ['host'],
  port: ['port'],
  username: ['user'],
  password: ['password'],
  database: ['database'],
  ssl: ['ssl', 'sslmode', 'sslcert', 'sslkey', 'sslrootcert', 'sslnegotiation', 'uselibpqcompat'],
  applicationName: ['application_name'],
  poolSize: ['max'],
  acquireTimeoutMs: ['connectionTimeoutMillis'],
};

/**
 * `pg` silently ignores one of two settings: `sslmode=disable` in the url wins over `ssl: true`,
 * and `extra.ssl` over both.
 */
function assertSetOnce(options: PostgresProviderOptions, url: URL | undefined): void {
  const inUrl = [...(url === undefined ? [] : parametersOf(url).keys())];
  const inExtra = Object.entries(options.extra ?? {}).flatMap(([name, value]) =>
    value === undefined ? [] : [name],
  );
  for (const [option, names] of Object.entries(synonyms)) {
    const parameter = names.find((name) => inUrl.includes(name));
    const further = names.find((name) => inExtra.includes(name));
    const sources = [
      ...(options[option as keyof PostgresProviderOptions] === undefined ? [] : [option]),
      // a url sets all of its parts: those that it leaves out have defaults
      ...(url !== undefined && urlParts.includes(option)
        ? ['url']
        : parameter === undefined
          ? []
          : [`${parameter} in the url`]),
      ...(further === undefined ? [] : [`extra.${further}`]),
    ];
    if (sources.length > 1) throw setTwice(sources);
  }
  const twice = inExtra.find((name) => inUrl.includes(name));
  if (twice !== undefined) throw setTwice([`${twice} in the url`, `extra.${twice}`]);
}

const setTwice = (sources: readonly string[]): Error =>
  invalidOption(
    `PostgresProvider takes each setting once, because pg would ignore one of them; got ${sources.join(' and ')}.`,
  );

function assertRule(
  name: string,
  [allows, words]: readonly [(given: unknown) => boolean, string],
  given: unknown,
): void {
  if (given === undefined || allows(given)) return;
  throw invalidOption(
    `PostgresProvider: ${name} must be ${words}; got ${name === 'password' ? typeof given : shown(given)}.`,
  );
}

function isText(given: unknown): boolean {
  return typeof given === 'string' && given !== '';
}

function isObject(given: unknown): boolean {
  return typeof given === 'object' && given !== null;
}

function isTransactions(given: unknown): boolean {
  return (
    given === 'ambient' || (isObject(given) && typeof (given as AmbientTransactions).current === 'function')
  );
}

function isWhole(from: number, to: number): (given: unknown) => boolean {
  return (given) => Number.isInteger(given) && (given as number) >= from && (given as number) <= to;
}

function isClock(given: unknown): boolean {
  return (
    isObject(given) &&
    (['now', 'monotonic', 'wait'] as const).every((name) => typeof (given as Clock)[name] === 'function')
  );
}

/** A url may have a password. */
function isUrl(given: unknown): boolean {
  return typeof given === 'string' && given.includes('://');
}

/** A value in a message: objects and urls may have secrets. */
function shown(given: unknown): string {
  if (isUrl(given)) return 'a url';
  if (typeof given === 'string') return JSON.stringify(given);
  return (typeof given === 'object' && given !== null) || typeof given === 'function'
    ? typeof given
    : `${given as number | null}`;
}

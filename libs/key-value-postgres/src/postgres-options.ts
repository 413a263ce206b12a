/** What a `PostgresProvider` takes, and what it makes of it. */
import { invalidOption, resolveOptions, type Clock } from '@kvent/key-value-storage/provider';
import { timerMsMax } from '@kvent/key-value-storage/internal';
import { type DataSource } from 'typeorm';
import { parametersOf, parsePostgresUrl } from './postgres-url.js';
import { tableName, type TableName, type TableOptions } from './sql/table-name.js';

/** How to reach the server, in TypeORM's words. */
export interface PostgresConnection {
  /**
   * `postgres://user:password@host:port/database`, or `postgres://user@/database?host=/folder` for
   * a socket, with the parameters that `pg` takes.
   */
  readonly url?: string | undefined;
  readonly host?: string | undefined;
  readonly port?: number | undefined;
  readonly username?: string | undefined;
  readonly password?: string | (() => string) | (() => Promise<string>) | undefined;
  readonly database?: string | undefined;
  /**
   * TLS: true verifies the server's certificate against the authorities that Node knows; an object
   * holds options of `tls.connect` (`{ ca }`). A url says it itself (`?sslmode=verify-full`); both
   * are `INVALID_OPTION`. Without TLS to another machine there is a warning.
   * @default what `PGSSLMODE` says, else no TLS
   */
  readonly ssl?: boolean | object | undefined;
  readonly applicationName?: string | undefined;
  /** Connections at most. @default 10 */
  readonly poolSize?: number | undefined;
  /**
   * Whatever else `pg` takes. What has an option here, and what the url says, is `INVALID_OPTION`.
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
   * Whether `open` brings the table up to date; with 'never' it has to be there: see
   * `kventMigrations`. @default 'on-open'
   */
  readonly migrate?: 'on-open' | 'never' | undefined;
  /**
   * Whether the server itself keeps tenants apart, besides Kvent: with policies on the table that
   * bind the role of the connection, its owner included. The policies are made when it opens
   * (`migrate: 'on-open'`, by the table's owner) or by `kventMigrations({ rowLevelSecurity: true
   * })`. A role that may bypass them is `INVALID_OPTION`. Left out: as the table is. @default as
   * the table is
   */
  readonly rowLevelSecurity?: true | undefined;
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
   * Milliseconds to wait for an answer; then the connection is given up, and a write is
   * `STORAGE_OUTCOME_UNKNOWN`. @default 30_000
   */
  readonly requestTimeoutMs?: number | undefined;
  /**
   * Milliseconds to wait for a row that somebody's open transaction holds; then
   * `STORAGE_UNAVAILABLE`, nothing done. @default 5_000
   */
  readonly lockTimeoutMs?: number | undefined;
  /**
   * Receives what should be known and is no error: a connection to another machine without TLS.
   * @default `process.emitWarning`
   */
  readonly warn?: ((message: string) => void) | undefined;
  /** The time it runs on, for tests. @default the database's */
  readonly clock?: Clock | undefined;
}

const postgresDefaults = {
  migrate: 'on-open',
  preparedStatements: true,
  acquireTimeoutMs: 5_000,
  requestTimeoutMs: 30_000,
  lockTimeoutMs: 5_000,
  poolSize: 10,
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

export interface ResolvedPostgres {
  readonly table: TableName;
  readonly dataSource: DataSource | undefined;
  readonly connection: PostgresConnection;
  readonly migrate: 'on-open' | 'never';
  readonly rowLevelSecurity: boolean;
  readonly preparedStatements: boolean;
  readonly acquireTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly lockTimeoutMs: number;
  readonly warn: (message: string) => void;
  readonly clock: Clock | undefined;
}

/** What each option may be: the test of it, and its words. */
const rules: Readonly<Record<string, readonly [(given: unknown) => boolean, string]>> = {
  host: [
    (given) => isText(given) && !isUrl(given),
    'the name or address of a machine, or the folder of a socket',
  ],
  port: [isWhole(1, 65_535), 'a whole number from 1 to 65535'],
  username: [isText, 'a text that is not empty'],
  password: [
    (given) => typeof given === 'string' || typeof given === 'function',
    'a text, or a function that answers one',
  ],
  database: [isText, 'a text that is not empty'],
  ssl: [
    (given) => typeof given === 'boolean' || isObject(given),
    'true, false, or the options of a TLS connection',
  ],
  applicationName: [isText, 'a text that is not empty'],
  poolSize: [isWhole(1, 2 ** 31 - 1), 'a whole number from 1'],
  extra: [isObject, 'an object of what pg takes'],
  migrate: [(given) => given === 'on-open' || given === 'never', "'on-open' or 'never'"],
  rowLevelSecurity: [(given) => given === true, 'true, or left out'],
  preparedStatements: [(given) => typeof given === 'boolean', 'true or false'],
  acquireTimeoutMs: [isWhole(1, timerMsMax), 'a whole number of milliseconds from 1 below 2^31'],
  requestTimeoutMs: [isWhole(1, timerMsMax), 'a whole number of milliseconds from 1 below 2^31'],
  lockTimeoutMs: [isWhole(1, timerMsMax), 'a whole number of milliseconds from 1 below 2^31'],
  warn: [(given) => typeof given === 'function', 'a function that takes a message'],
  clock: [isClock, 'a Clock, with now(), monotonic() and wait()'],
};

export function resolvePostgres(options: PostgresProviderOptions): ResolvedPostgres {
  const all = resolveOptions('PostgresProvider', options, postgresDefaults, [
    'dataSource',
    'schema',
    'table',
    'rowLevelSecurity',
    'clock',
    ...connectionNames,
  ]);
  const given = [...connectionNames, 'poolSize' as const].filter((name) => options[name] !== undefined);
  assertOneSource(options.dataSource, given);
  if (all.dataSource !== undefined) assertPostgres(all.dataSource);
  for (const [name, rule] of Object.entries(rules)) assertRule(name, rule, all[name as keyof typeof all]);
  assertSaidOnce(options, all.url === undefined ? undefined : urlOf(all.url));
  const {
    dataSource,
    migrate,
    preparedStatements,
    acquireTimeoutMs,
    requestTimeoutMs,
    lockTimeoutMs,
    warn,
    clock,
  } = all;
  return {
    table: tableName(all),
    dataSource,
    connection: { poolSize: all.poolSize, ...Object.fromEntries(given.map((name) => [name, options[name]])) },
    migrate,
    rowLevelSecurity: all.rowLevelSecurity === true,
    preparedStatements,
    acquireTimeoutMs,
    requestTimeoutMs,
    lockTimeoutMs,
    warn,
    clock,
  };
}

/** What stands in a url must not be said again: the driver would pass over it in silence. */
const urlParts: readonly string[] = ['host', 'port', 'username', 'password', 'database'];

function assertOneSource(dataSource: unknown, given: readonly string[]): void {
  if (dataSource !== undefined && given.length > 0)
    throw invalidOption(
      `PostgresProvider takes a dataSource or connection options, not both; given were dataSource and ${given.join(', ')}.`,
    );
  const twice = given.filter((name) => urlParts.includes(name));
  if (given.includes('url') && twice.length > 0)
    throw invalidOption(
      `PostgresProvider takes a url or its parts, not both; given were url and ${twice.join(', ')}.`,
    );
  if (dataSource === undefined && !given.includes('url') && !given.includes('host'))
    throw invalidOption('PostgresProvider needs a dataSource, a url, or a host.');
}

/** Copies of TypeORM differ in their classes; what counts is the driver. */
function assertPostgres(dataSource: unknown): void {
  const options = isObject(dataSource) ? (dataSource as Partial<DataSource>).options : undefined;
  if (options === undefined)
    throw invalidOption(
      `PostgresProvider: dataSource is a DataSource of TypeORM; given was ${shown(dataSource)}.`,
    );
  const type: string = options.type;
  if (type !== 'postgres')
    throw invalidOption(`PostgresProvider needs a data source of type 'postgres'; given was ${shown(type)}.`);
}

function urlOf(given: unknown): URL {
  const url = parsePostgresUrl(given);
  if (url !== undefined) return url;
  throw invalidOption(
    'PostgresProvider: url is postgres://user:password@host:port/database, with %25 for a %; what was given is no such address.',
  );
}

/** What parameters of a url, and what `extra`, call that which has an option here. */
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
 * `pg` passes over one of two, in silence: a `sslmode=disable` in the url over `ssl: true`, and
 * `extra.ssl` over that.
 */
function assertSaidOnce(options: PostgresProviderOptions, url: URL | undefined): void {
  const inUrl = [...(url === undefined ? [] : parametersOf(url).keys())];
  const inExtra = Object.entries(options.extra ?? {}).flatMap(([name, value]) =>
    value === undefined ? [] : [name],
  );
  for (const [option, names] of Object.entries(synonyms)) {
    const parameter = names.find((name) => inUrl.includes(name));
    const further = names.find((name) => inExtra.includes(name));
    const sources = [
      ...(options[option as keyof PostgresProviderOptions] === undefined ? [] : [option]),
      // a url says its parts, whether they stand in it or are left to what is usual
      ...(url !== undefined && urlParts.includes(option)
        ? ['url']
        : parameter === undefined
          ? []
          : [`${parameter} in the url`]),
      ...(further === undefined ? [] : [`extra.${further}`]),
    ];
    if (sources.length > 1) throw saidTwice(sources);
  }
  const twice = inExtra.find((name) => inUrl.includes(name));
  if (twice !== undefined) throw saidTwice([`${twice} in the url`, `extra.${twice}`]);
}

const saidTwice = (sources: readonly string[]): Error =>
  invalidOption(
    `PostgresProvider takes each setting once, for pg would pass over one of them; given were ${sources.join(' and ')}.`,
  );

function assertRule(
  name: string,
  [allows, words]: readonly [(given: unknown) => boolean, string],
  given: unknown,
): void {
  if (given === undefined || allows(given)) return;
  throw invalidOption(
    `PostgresProvider: ${name} is ${words}; given was ${name === 'password' ? typeof given : shown(given)}.`,
  );
}

function isText(given: unknown): boolean {
  return typeof given === 'string' && given !== '';
}

function isObject(given: unknown): boolean {
  return typeof given === 'object' && given !== null;
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

/** Such a text may hold a password. */
function isUrl(given: unknown): boolean {
  return typeof given === 'string' && given.includes('://');
}

/** What was given, in a message: objects and urls may hold secrets. */
function shown(given: unknown): string {
  if (isUrl(given)) return 'a url';
  if (typeof given === 'string') return JSON.stringify(given);
  return (typeof given === 'object' && given !== null) || typeof given === 'function'
    ? typeof given
    : `${given as number | null}`;
}

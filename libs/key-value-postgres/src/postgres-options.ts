/** What a `PostgresProvider` takes, and what it makes of it. */
import { invalidOption, resolveOptions, type Clock } from '@kvent/key-value-storage/core';
import { type DataSource } from 'typeorm';
import { tableName, type TableName, type TableOptions } from './schema/table-name.js';

/** How to reach the server, in TypeORM's words. */
export interface PostgresConnection {
  /** `postgres://user:password@host:port/database` */
  readonly url?: string | undefined;
  readonly host?: string | undefined;
  readonly port?: number | undefined;
  readonly username?: string | undefined;
  readonly password?: string | (() => string) | (() => Promise<string>) | undefined;
  readonly database?: string | undefined;
  readonly ssl?: boolean | object | undefined;
  readonly applicationName?: string | undefined;
  /** Connections at most. @default 10 */
  readonly poolSize?: number | undefined;
  /** Whatever else `pg` takes. */
  readonly extra?: object | undefined;
}

export interface PostgresProviderOptions extends PostgresConnection, TableOptions {
  /** The application's own data source, initialised, instead of connection options: its pool is used, and `within` can join its transactions. It is not closed. */
  readonly dataSource?: DataSource | undefined;
  /** Whether `open` brings the table up to date; with 'never' it has to be there: see `kventMigrations`. @default 'on-open' */
  readonly migrate?: 'on-open' | 'never' | undefined;
  /** Whether statements are prepared once for each connection. False behind a pooler that shares connections between transactions (PgBouncer). @default true */
  readonly preparedStatements?: boolean | undefined;
  /** Milliseconds to wait for a connection of the pool; then `STORAGE_UNAVAILABLE`, nothing done. @default 5_000 */
  readonly acquireTimeoutMs?: number | undefined;
  /** Milliseconds to wait for an answer; then the connection is given up, and a write is `STORAGE_OUTCOME_UNKNOWN`. @default 30_000 */
  readonly requestTimeoutMs?: number | undefined;
  /** Milliseconds to wait for a row that somebody's open transaction holds; then `STORAGE_UNAVAILABLE`, nothing done. @default 5_000 */
  readonly lockTimeoutMs?: number | undefined;
  /** The time it runs on, for tests. @default the database's */
  readonly clock?: Clock | undefined;
}

export const postgresDefaults = {
  migrate: 'on-open',
  preparedStatements: true,
  acquireTimeoutMs: 5_000,
  requestTimeoutMs: 30_000,
  lockTimeoutMs: 5_000,
  poolSize: 10,
} as const;

const connectionNames = ['url', 'host', 'port', 'username', 'password', 'database', 'ssl', 'applicationName', 'extra'] as const;

export interface ResolvedPostgres {
  readonly table: TableName;
  readonly dataSource: DataSource | undefined;
  readonly connection: PostgresConnection;
  readonly migrate: 'on-open' | 'never';
  readonly preparedStatements: boolean;
  readonly acquireTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly lockTimeoutMs: number;
  readonly clock: Clock | undefined;
}

export function resolvePostgres(options: PostgresProviderOptions): ResolvedPostgres {
  const all = resolveOptions('PostgresProvider', options, postgresDefaults, ['dataSource', 'schema', 'table', 'clock', ...connectionNames]);
  const { dataSource, migrate, preparedStatements, acquireTimeoutMs, requestTimeoutMs, lockTimeoutMs, clock } = all;
  const given = [...connectionNames, 'poolSize' as const].filter((name) => options[name] !== undefined);
  if (dataSource !== undefined && given.length > 0)
    throw invalidOption(
      `PostgresProvider takes a dataSource or connection options, not both; given were dataSource and ${given.join(', ')}.`,
    );
  if (dataSource === undefined && options.url === undefined && options.host === undefined)
    throw invalidOption('PostgresProvider needs a dataSource, a url, or a host.');
  if (dataSource !== undefined) assertPostgres(dataSource);
  if (options.url !== undefined) assertUrl(options.url);
  for (const name of ['acquireTimeoutMs', 'requestTimeoutMs', 'lockTimeoutMs'] as const) assertMs(name, all[name]);
  if (!Number.isInteger(all.poolSize) || all.poolSize < 1)
    throw invalidOption(`PostgresProvider: poolSize is a whole number from 1; given was ${String(all.poolSize)}.`);
  if (!['on-open', 'never'].includes(migrate))
    throw invalidOption(`PostgresProvider: migrate is 'on-open' or 'never'; given was ${JSON.stringify(migrate)}.`);
  if (typeof preparedStatements !== 'boolean')
    throw invalidOption(`PostgresProvider: preparedStatements is true or false; given was ${JSON.stringify(preparedStatements)}.`);
  const connection = { poolSize: all.poolSize, ...Object.fromEntries(given.map((name) => [name, options[name]])) };
  return {
    table: tableName(all),
    dataSource,
    connection,
    migrate,
    preparedStatements,
    acquireTimeoutMs,
    requestTimeoutMs,
    lockTimeoutMs,
    clock,
  };
}

/** It may hold a password: it is never in a message. */
function assertUrl(url: unknown): void {
  if (typeof url === 'string' && /^postgres(ql)?:\/\/./.test(url) && URL.canParse(url) && isDecodable(url)) return;
  throw invalidOption(
    'PostgresProvider: url is postgres://user:password@host:port/database, with %25 for a %; what was given is no such address.',
  );
}

function isDecodable(url: string): boolean {
  try {
    const { username, password, pathname, hostname } = new URL(url);
    for (const part of [username, password, pathname, hostname]) decodeURIComponent(part);
    return true;
  } catch {
    return false;
  }
}

/** Copies of TypeORM differ in their classes; what counts is the driver. */
function assertPostgres(dataSource: DataSource): void {
  const type: unknown = (dataSource as Partial<DataSource>).options?.type;
  if (type !== 'postgres') throw invalidOption(`PostgresProvider needs a data source of type 'postgres'; given was '${String(type)}'.`);
}

function assertMs(name: string, given: number): void {
  if (Number.isInteger(given) && given > 0 && given < 2 ** 31) return;
  throw invalidOption(`PostgresProvider: ${name} is a whole number of milliseconds from 1 below 2^31; given was ${String(given)}.`);
}

/**
 * Runs the migrations when a provider opens: exactly once, however many instances start together.
 */
import { setTimeout } from 'node:timers/promises';
import type { Connection } from '../connections/connection.js';
import { refusalOf } from '../connections/failure.js';
import { kventMigrations } from './migrations.js';
import { journalTable, quoted, type TableName } from '../sql/table-name.js';

/** The part of TypeORM's `QueryRunner` that the migrations use. */
interface Runner {
  query(text: string, values?: readonly unknown[]): Promise<unknown>;
}

interface NamedMigration {
  readonly name: string;
  up(runner: Runner): Promise<void>;
}

/** The table, and whether its rows must be under row-level security. */
export type SecuredTable = TableName & { readonly rowLevelSecurity: boolean };

/**
 * Milliseconds that a change of the table waits for its lock. While it waits, it holds up all later
 * calls, also those that only read.
 */
const lockTimeoutMs = 1_000;
/** Milliseconds until the next attempt, in which these calls go on. */
const pauseMs = 5_000;

/** Whether every migration has run. Then the role needs no right to change the schema. */
export async function isMigrated(connection: Connection, table: SecuredTable): Promise<boolean> {
  return (
    (await exists(connection, table.schema, journalTable)) && (await missing(connection, table)).length === 0
  );
}

/**
 * Runs the missing migrations in one transaction that takes a lock first. A transaction's lock
 * works behind poolers too, and ends with the connection of a process that crashes. It is a lock of
 * the schema, because the tables of a schema share its journal. TypeORM does not run them: the
 * migrations and settings of the application's data source must not apply, and it would split a
 * schema named `a.b`. While another transaction uses the table, such as that of `pg_dump`, it tries
 * again, without a limit; `blocked` is called the first time.
 */
export async function migrate(
  connection: Connection,
  table: SecuredTable,
  blocked: () => void,
): Promise<void> {
  for (let attempt = 1; ; attempt += 1)
    try {
      await migrateOnce(connection, table);
      return;
    } catch (error) {
      if (refusalOf(error) !== lockNotAvailable) throw error;
      if (attempt === 1) blocked();
      await setTimeout(pauseMs);
    }
}

const lockNotAvailable = '55P03';

async function migrateOnce(connection: Connection, table: SecuredTable): Promise<void> {
  // a snapshot of the whole transaction would miss what was committed during the wait for the lock
  await connection.query('begin isolation level read committed');
  try {
    await connection.query('set local lock_timeout = 0');
    // instances that start together wait for each other; and a migration that were cut short would
    // begin anew at each start
    await connection.withoutLimit(async () => {
      await connection.query('select pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended($1, 0))', [
        `kvent:${table.schema}`,
      ]);
      await connection.query(`set local lock_timeout = ${lockTimeoutMs}`);
      await runMissing(connection, table);
    });
    await connection.query('commit');
  } catch (error) {
    // a failing rollback is a lost connection, which the first error describes better
    await connection.query('rollback').catch(() => undefined);
    throw error;
  }
}

async function runMissing(connection: Connection, table: SecuredTable): Promise<void> {
  const journal = journalOf(table);
  for (const migration of (await exists(connection, table.schema, journalTable))
    ? await missing(connection, table)
    : migrationsOf(table)) {
    await migration.up({ query: async (text, values) => await connection.query(text, values) });
    await connection.query(
      `create table if not exists ${journal} (id serial primary key, "timestamp" bigint not null, name varchar not null)`,
    );
    await connection.query(`insert into ${journal} ("timestamp", name) values ($1, $2)`, [
      migration.name.slice(-13),
      migration.name,
    ]);
  }
}

async function missing(connection: Connection, table: SecuredTable): Promise<readonly NamedMigration[]> {
  const done = new Set(
    (await connection.query(`select name from ${journalOf(table)}`)).map(([name]) => name),
  );
  return migrationsOf(table).filter(({ name }) => !done.has(name));
}

async function exists(connection: Connection, schema: string, name: string): Promise<boolean> {
  const text =
    'select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) c.relnamespace where n.nspname operator(pg_catalog.=) $1 and c.relname operator(pg_catalog.=) $2';
  return (await connection.query(text, [schema, name])).length > 0;
}

const journalOf = ({ schema }: TableName): string => `${quoted(schema)}.${quoted(journalTable)}`;
const migrationsOf = (table: SecuredTable): readonly NamedMigration[] =>
  kventMigrations(table).map((migration) => new migration() as unknown as NamedMigration);

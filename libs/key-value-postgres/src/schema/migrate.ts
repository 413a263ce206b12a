/** Running the migrations when a provider opens: exactly once, however many instances start together. */
import { DataSource, type DataSourceOptions } from 'typeorm';
import type { Client } from '../connections/connections.js';
import { refusalOf } from '../connections/failure.js';
import { kventMigrations } from './migrations.js';
import { quoted, type TableName } from './table-name.js';

/** What the migrations table is called, in the schema of the rows. */
const migrationsTable = 'kvent_migrations';

/** Whether nothing is left to do. Then no right to change the schema is needed. */
export async function isMigrated(client: Client, table: TableName): Promise<boolean> {
  const names = kventMigrations(table).map((migration) => new migration().name);
  const text = `select name from ${quoted(table.schema)}.${quoted(migrationsTable)}`;
  try {
    const { rows } = await client.query({ text, rowMode: 'array' });
    return names.every((name) => rows.some(([done]) => done === name));
  } catch (error) {
    const state = refusalOf(error);
    if (state === '42P01' || state === '3F000') return false;
    throw error;
  }
}

/**
 * Brings the table up to date, over a data source of its own: the application's migrations are not touched. The lock belongs to a transaction,
 * so that it works behind poolers too, and ends with the connection of whoever dies holding it.
 */
export async function migrate(options: DataSourceOptions, table: TableName): Promise<void> {
  const { schema } = table;
  const source = new DataSource({
    ...options,
    schema,
    entities: [],
    subscribers: [],
    migrations: kventMigrations(table),
    migrationsTableName: migrationsTable,
    migrationsRun: false,
    synchronize: false,
    dropSchema: false,
    cache: false,
    poolSize: 2,
    extra: { ...(options.extra as object | undefined), max: 2 },
  } as DataSourceOptions);
  await source.initialize();
  try {
    await source.transaction(async (manager) => {
      await manager.query(`select pg_advisory_xact_lock(hashtextextended($1, 0))`, [`kvent:${table.quoted}`]);
      // on the other connection: TypeORM wants the schema before its migrations table
      await source.query(`create schema if not exists ${quoted(schema)}`);
      await source.runMigrations({ transaction: 'each' });
    });
  } finally {
    await source.destroy();
  }
}

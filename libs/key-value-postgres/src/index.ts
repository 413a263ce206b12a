/**
 * Kvent on Postgres: the provider, and its entities and migrations for your own data source.
 *
 * @module @kvent/key-value-postgres
 */

export { PostgresProvider } from './postgres-provider.js';
export type { PostgresConnection, PostgresProviderOptions } from './postgres-options.js';
export { kventEntities, type StoredRow } from './schema/row-entity.js';
export { kventMigrations, type Migration } from './schema/migrations.js';
export type { AmbientTransactions } from './transactions/ambient-transactions.js';
export type { TableOptions } from './sql/table-name.js';

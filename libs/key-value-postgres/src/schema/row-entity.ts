/** The table as TypeORM knows it: for applications that let TypeORM compare their schema with the database. Rows are never read or written through it. */
import { invalidOption } from '@kvent/key-value-storage/core';
import { EntitySchema } from 'typeorm';
import { tableName, type TableOptions } from './table-name.js';

/** A row, as `value::jsonb` queries of an application may want it. */
export interface StoredRow {
  readonly database: string;
  readonly container: string;
  readonly entity: string;
  readonly key: string;
  readonly version: string;
  readonly updatedAt: Date;
  readonly expiresAt: Date | null;
  readonly ttlMs: string | null;
  readonly number: string | null;
  readonly value: unknown;
  readonly bytes: Buffer | null;
}

const text = { type: 'text', collation: 'C', primary: true } as const;

/**
 * The entities of a table, for the `entities` of a data source with `synchronize`, or whose migrations are generated: then TypeORM finds
 * nothing to change. `INVALID_OPTION` when a name is none, or holds a dot or a quote: TypeORM would look for another table.
 */
export function kventEntities(options: TableOptions = {}): EntitySchema<StoredRow>[] {
  const { schema, table } = tableName(options);
  for (const name of [schema, table]) assertComparable(name);
  return [
    new EntitySchema<StoredRow>({
      name: `kvent:${schema}.${table}`,
      schema,
      tableName: table,
      columns: {
        version: { type: 'bigint' },
        updatedAt: { name: 'updated_at', type: 'timestamptz' },
        expiresAt: { name: 'expires_at', type: 'timestamptz', nullable: true },
        ttlMs: { name: 'ttl_ms', type: 'bigint', nullable: true },
        number: { type: 'bigint', nullable: true },
        database: { ...text, primaryKeyConstraintName: `${table}_pkey` },
        container: { ...text, primaryKeyConstraintName: `${table}_pkey` },
        entity: { ...text, primaryKeyConstraintName: `${table}_pkey` },
        key: { ...text, primaryKeyConstraintName: `${table}_pkey` },
        value: { type: 'json', nullable: true },
        bytes: { type: 'bytea', nullable: true },
      },
      indices: [{ name: `${table}_expires_at`, columns: ['expiresAt'], where: 'expires_at IS NOT NULL' }],
    }),
  ];
}

/** TypeORM splits names at dots, and quotes nothing within them. */
function assertComparable(name: string): void {
  if (/[.'"]/.test(name))
    throw invalidOption(`kventEntities: TypeORM compares no table whose names hold a dot or a quote; given was ${JSON.stringify(name)}.`);
}

/**
 * The table as TypeORM knows it: for applications that let TypeORM compare their schema with the
 * database. Rows are never read or written through it.
 */
import { invalidOption } from '@kvent/key-value-storage/provider';
import { EntitySchema } from 'typeorm';
import { tableName, type TableOptions } from '../sql/table-name.js';

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

/**
 * The entities of a table, for the `entities` of a data source with `synchronize`, or whose
 * migrations are generated: then TypeORM finds nothing to change. `INVALID_OPTION` when a name is
 * none, or holds a dot or a quote: TypeORM would look for another table.
 */
export function kventEntities(options: TableOptions = {}): EntitySchema<StoredRow>[] {
  const { schema, table } = tableName(options);
  for (const name of [schema, table]) assertComparable(name);
  const part = (name: string) =>
    ({
      name,
      type: 'text',
      collation: 'C',
      primary: true,
      primaryKeyConstraintName: `${table}_pkey`,
    }) as const;
  return [
    new EntitySchema<StoredRow>({
      name: `kvent:${schema}.${table}`,
      schema,
      tableName: table,
      // every name is said, so that no naming strategy of the application makes up another
      columns: {
        version: { name: 'version', type: 'bigint' },
        updatedAt: { name: 'updated_at', type: 'timestamptz' },
        expiresAt: { name: 'expires_at', type: 'timestamptz', nullable: true },
        ttlMs: { name: 'ttl_ms', type: 'bigint', nullable: true },
        number: { name: 'number', type: 'bigint', nullable: true },
        database: part('database'),
        container: part('container'),
        entity: part('entity'),
        key: part('key'),
        value: { name: 'value', type: 'json', nullable: true },
        bytes: { name: 'bytes', type: 'bytea', nullable: true },
      },
      indices: [
        {
          name: `${table}_expires_at`,
          columns: unprefixed(schema, table, 'expiresAt'),
          where: 'expires_at IS NOT NULL',
        },
      ],
    }),
  ];
}

/** What TypeORM knows of the entity that an index belongs to. */
interface IndexOfEntity {
  readonly entityMetadata?: { tableName: string; tablePath: string };
}

/**
 * The columns of an index, as a function: TypeORM calls it as a method of what it knows of the
 * index, once it has put the application's `entityPrefix` before the name of the table and before
 * anything uses that name. Our table is called what it is called, so it is put right here. An
 * entity has no other way to be left out of the prefix.
 */
function unprefixed(schema: string, table: string, column: string): () => string[] {
  return function (this: IndexOfEntity | undefined): string[] {
    if (this?.entityMetadata !== undefined)
      Object.assign(this.entityMetadata, { tableName: table, tablePath: `${schema}.${table}` });
    return [column];
  };
}

/** TypeORM splits names at dots, and quotes nothing within them. */
function assertComparable(name: string): void {
  if (/[.'"]/.test(name))
    throw invalidOption(
      `kventEntities: TypeORM compares no table whose names hold a dot or a quote; given was ${JSON.stringify(name)}.`,
    );
}

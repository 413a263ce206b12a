/**
 * The table as a TypeORM entity, for applications that let TypeORM compare their schema with the
 * database. The provider does not read or write rows through it.
 */
import { createRequire } from 'node:module';
import { invalidOption } from '@kvent/key-value-storage/provider';
import type * as TypeOrm from 'typeorm';
import { tableName, type TableOptions } from '../sql/table-name.js';

// Loaded when it is called for: a provider with a url needs no TypeORM.
const typeorm = (): typeof TypeOrm => createRequire(import.meta.url)('typeorm') as typeof TypeOrm;

/** A row, for the queries of an application. */
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
  readonly feedTransaction: string | null;
  readonly feedSequence: string | null;
}

/**
 * The entities of a table, for the `entities` of a data source with `synchronize` or generated
 * migrations: TypeORM then finds nothing to change. `INVALID_OPTION` when a name is invalid, or has
 * a dot or a quote, with which TypeORM would look for another table.
 */
export function kventEntities(options: TableOptions = {}): TypeOrm.EntitySchema<StoredRow>[] {
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
  const { EntitySchema } = typeorm();
  return [
    new EntitySchema<StoredRow>({
      name: `kvent:${schema}.${table}`,
      schema,
      tableName: table,
      // with every name, so that a naming strategy of the application changes none
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
        feedTransaction: { name: 'feed_transaction', type: 'bigint', nullable: true },
        feedSequence: { name: 'feed_sequence', type: 'bigint', nullable: true },
      },
      indices: [
        {
          name: `${table}_expires_at`,
          columns: unprefixed(schema, table, 'expiresAt'),
          where: 'expires_at IS NOT NULL',
        },
        {
          name: `${table}_feed_order`,
          columns: unprefixed(schema, table, 'feedTransaction', 'feedSequence'),
          where: 'feed_sequence IS NOT NULL',
        },
      ],
    }),
  ];
}

/** TypeORM's metadata of an index. */
interface IndexOfEntity {
  readonly entityMetadata?: { tableName: string; tablePath: string };
}

/**
 * The columns of an index, as a function, which corrects the name of the table. TypeORM adds the
 * application's `entityPrefix` to it, and then calls this as a method of its index metadata, before
 * it uses the name. An entity cannot opt out of the prefix in another way.
 */
function unprefixed(schema: string, table: string, ...columns: string[]): () => string[] {
  return function (this: IndexOfEntity | undefined): string[] {
    if (this?.entityMetadata !== undefined)
      Object.assign(this.entityMetadata, { tableName: table, tablePath: `${schema}.${table}` });
    return columns;
  };
}

/** TypeORM splits names at dots, and quotes nothing within them. */
function assertComparable(name: string): void {
  if (/[.'"]/.test(name))
    throw invalidOption(
      `kventEntities: names must be without dots and quotes, which TypeORM does not support; got ${JSON.stringify(name)}.`,
    );
}

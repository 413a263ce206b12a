/** The migrations of the table for TypeORM: `open` runs them, or a team in its own pipeline. */
import type { MigrationInterface, QueryRunner } from 'typeorm';
import { quoted, tableName, type TableName, type TableOptions } from '../sql/table-name.js';

/** TypeORM runs classes, and identifies them by a name that ends with a timestamp. */
export type Migration = new () => MigrationInterface;

/**
 * The migrations of a table, for the `migrations` of your own data source (then set the provider's
 * `migrate: 'never'`). Each runs once. `INVALID_OPTION` for an invalid name.
 */
export function kventMigrations(options: MigrationOptions = {}): Migration[] {
  const table = tableName(options);
  return [createTable(table), ...(options.rowLevelSecurity === true ? [secureTable(table)] : [])];
}

interface MigrationOptions extends TableOptions {
  /**
   * Whether to put the rows under row-level security, for `rowLevelSecurity` of the provider.
   * @default false
   */
  readonly rowLevelSecurity?: boolean | undefined;
}

/**
 * `fillfactor` leaves room in each page, so that a new version of a row needs no new index entry (a
 * heap-only update). Columns of fixed width come first, which avoids padding.
 */
function createTable({ schema, table, quoted: name }: TableName): Migration {
  return class implements MigrationInterface {
    // quoted, so that the migrations of two tables never have the same name
    readonly name = `KventCreate ${name} 1763683200000`;

    async up(runner: QueryRunner): Promise<void> {
      await createSchema(runner, schema);
      await runner.query(`create table if not exists ${name} (
        version bigint not null,
        updated_at pg_catalog.timestamptz not null,
        expires_at pg_catalog.timestamptz,
        ttl_ms bigint,
        number bigint,
        database pg_catalog.text collate pg_catalog."C" not null,
        container pg_catalog.text collate pg_catalog."C" not null,
        entity pg_catalog.text collate pg_catalog."C" not null,
        key pg_catalog.text collate pg_catalog."C" not null,
        value pg_catalog.json,
        bytes pg_catalog.bytea,
        constraint ${quoted(`${table}_pkey`)} primary key (database, container, entity, key)
      ) with (fillfactor = 90)`);
      await runner.query(
        `create index if not exists ${quoted(`${table}_expires_at`)} on ${name} (expires_at) where expires_at is not null`,
      );
    }

    async down(runner: QueryRunner): Promise<void> {
      await runner.query(`drop table ${name}`);
    }
  };
}

/** Checked first: `if not exists` needs the right to create schemas even if the schema exists. */
async function createSchema(runner: QueryRunner, schema: string): Promise<void> {
  const found = (await runner.query(
    'select 1 from pg_catalog.pg_namespace where nspname operator(pg_catalog.=) $1',
    [schema],
  )) as readonly unknown[];
  if (found.length === 0) await runner.query(`create schema if not exists ${quoted(schema)}`);
}

/** The names of the policies, which `open` checks. */
export const policies = ['kvent_database', 'kvent_list', 'kvent_sweep'] as const;

/**
 * A second barrier between tenants. A statement sees and writes the rows of the database in
 * `kvent.database`, and none without that setting. Two kinds of work concern all databases, with
 * the fewest rights: listing their names only reads; the sweep sees only rows with an expiry, and
 * writes none. Owners are bound too. The settings are read once for each statement.
 */
function secureTable({ quoted: name }: TableName): Migration {
  const setting = (of: string): string => `(select pg_catalog.current_setting('kvent.${of}', true))`;
  const own = `database operator(pg_catalog.=) ${setting('database')}`;
  const isWork = (work: string): string => `${setting('work')} operator(pg_catalog.=) '${work}'`;
  const made = {
    kvent_database: `using (${own}) with check (${own})`,
    kvent_list: `for select using (${isWork('list')})`,
    kvent_sweep: `using (${isWork('sweep')} and expires_at is not null) with check (false)`,
  };
  return class implements MigrationInterface {
    readonly name = `KventSecure ${name} 1764417600000`;

    async up(runner: QueryRunner): Promise<void> {
      for (const policy of policies) {
        await runner.query(`drop policy if exists ${policy} on ${name}`);
        await runner.query(`create policy ${policy} on ${name} ${made[policy]}`);
      }
      await runner.query(`alter table ${name} enable row level security`);
      await runner.query(`alter table ${name} force row level security`);
    }

    async down(runner: QueryRunner): Promise<void> {
      await runner.query(`alter table ${name} no force row level security`);
      await runner.query(`alter table ${name} disable row level security`);
      for (const policy of policies) await runner.query(`drop policy if exists ${policy} on ${name}`);
    }
  };
}

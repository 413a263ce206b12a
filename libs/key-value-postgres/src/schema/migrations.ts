/** The migrations of the table, as TypeORM's: `open` runs them, or a team in its own pipeline. */
import type { MigrationInterface, QueryRunner } from 'typeorm';
import { quoted, tableName, type TableName, type TableOptions } from '../sql/table-name.js';

/** TypeORM runs classes, and knows them by a name that ends with the time of their making. */
export type Migration = new () => MigrationInterface;

/**
 * The migrations of a table, for the `migrations` of your own data source (then give the provider
 * `migrate: 'never'`). Each runs once. `INVALID_OPTION` when a name is none.
 */
export function kventMigrations(options: MigrationOptions = {}): Migration[] {
  const table = tableName(options);
  return [createTable(table), ...(options.rowLevelSecurity === true ? [secureTable(table)] : [])];
}

interface MigrationOptions extends TableOptions {
  /**
   * Whether the rows are put under row-level security, as `rowLevelSecurity` of the provider needs
   * it. @default false
   */
  readonly rowLevelSecurity?: boolean | undefined;
}

/**
 * `fillfactor` leaves room beside each row, so that a new version of it needs no new entry in an
 * index (a heap-only update). The fixed columns stand first: no padding between them.
 */
function createTable({ schema, table, quoted: name }: TableName): Migration {
  return class implements MigrationInterface {
    // quoted, so that no two tables have a migration of one name
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

/**
 * Not by `if not exists` alone: that asks for the right to create schemas, also when there is
 * nothing to create.
 */
async function createSchema(runner: QueryRunner, schema: string): Promise<void> {
  const found = (await runner.query(
    'select 1 from pg_catalog.pg_namespace where nspname operator(pg_catalog.=) $1',
    [schema],
  )) as readonly unknown[];
  if (found.length === 0) await runner.query(`create schema if not exists ${quoted(schema)}`);
}

/** The names of the policies: `open` looks for them. */
export const policies = ['kvent_database', 'kvent_list', 'kvent_sweep'] as const;

/**
 * A second wall between tenants. A statement sees and writes rows of the database that it was sent
 * for (`kvent.database`), and none without. Two kinds of work are about all databases, each with as
 * little as it needs: listing their names only reads, and the sweep meets no row but those that
 * have an expiry, and stores none. Owners are bound too. The settings are asked once for each
 * statement.
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

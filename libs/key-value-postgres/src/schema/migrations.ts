/** The migrations of the table for TypeORM: `open` runs them, or a team in its own pipeline. */
import type { MigrationInterface, QueryRunner } from 'typeorm';
import { feedNames, quoted, tableName, type TableName, type TableOptions } from '../sql/table-name.js';

/** TypeORM runs classes, and identifies them by a name that ends with a timestamp. */
export type Migration = new () => MigrationInterface;

/**
 * The migrations of a table, for the `migrations` of your own data source (then set the provider's
 * `migrate: 'never'`). Each runs once. `INVALID_OPTION` for an invalid name.
 */
export function kventMigrations(options: MigrationOptions = {}): Migration[] {
  const table = tableName(options);
  return [
    createTable(table),
    addFeed(table),
    ...(options.rowLevelSecurity === true ? [secureTable(table)] : []),
  ];
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
export const policies = ['kvent_database', 'kvent_list', 'kvent_sweep', 'kvent_feed'] as const;
const workOf = (work: string): string =>
  `(select pg_catalog.current_setting('kvent.work', true)) operator(pg_catalog.=) '${work}'`;
const feedPolicy = `for select using (${workOf('feed')} and feed_sequence is not null)`;

/**
 * A second barrier between tenants. A statement sees and writes the rows of the database in
 * `kvent.database`, and none without that setting. Three kinds of work concern all databases, with
 * the fewest rights: listing their names only reads; the sweep sees only rows with an expiry, and
 * writes none; the feed only reads, and sees only rows that are in it. Owners are bound too. The
 * settings are read once for each statement.
 */
function secureTable({ quoted: name }: TableName): Migration {
  const setting = (of: string): string => `(select pg_catalog.current_setting('kvent.${of}', true))`;
  const own = `database operator(pg_catalog.=) ${setting('database')}`;
  const made = {
    kvent_database: `using (${own}) with check (${own})`,
    kvent_list: `for select using (${workOf('list')})`,
    kvent_sweep: `using (${workOf('sweep')} and expires_at is not null) with check (false)`,
    kvent_feed: feedPolicy,
  };
  return class implements MigrationInterface {
    readonly name = `KventSecure ${name} 1764417600000`;

    async up(runner: QueryRunner): Promise<void> {
      for (const [policy, rule] of Object.entries(made)) {
        await runner.query(`drop policy if exists ${policy} on ${name}`);
        await runner.query(`create policy ${policy} on ${name} ${rule}`);
      }
      await runner.query(`alter table ${name} enable row level security`);
      await runner.query(`alter table ${name} force row level security`);
    }

    async down(runner: QueryRunner): Promise<void> {
      await runner.query(`alter table ${name} no force row level security`);
      await runner.query(`alter table ${name} disable row level security`);
      for (const policy of Object.keys(made))
        await runner.query(`drop policy if exists ${policy} on ${name}`);
    }
  };
}

/**
 * Columns without a default change no row, so the table is locked for a moment only. The index is
 * of rows in the feed, and there are none yet. A table with rows is `pending`: `open` gives its
 * events positions, page by page. They stand before everything that is written later, because
 * `base` is a time in the future then, and their first number is the time of the event.
 */
function addFeed(table: TableName): Migration {
  const name = table.quoted;
  const { base, sequence, index } = feedNames(table);
  return class implements MigrationInterface {
    readonly name = `KventFeed ${name} 1764374400000`;

    async up(runner: QueryRunner): Promise<void> {
      const [added] = (await runner.query(
        "select from pg_catalog.pg_attribute where attrelid operator(pg_catalog.=) ($1::pg_catalog.text)::pg_catalog.regclass and attname operator(pg_catalog.=) 'feed_sequence'",
        [name],
      )) as readonly unknown[];
      await runner.query(
        `alter table ${name} add column if not exists feed_transaction bigint, add column if not exists feed_sequence bigint`,
      );
      await runner.query(`create sequence if not exists ${sequence} cache 1`);
      await runner.query(
        `create index if not exists ${index} on ${name} (feed_transaction, feed_sequence) where feed_sequence is not null`,
      );
      await runner.query(`create sequence if not exists ${base} minvalue 0 start 0`);
      const [secured] = (await runner.query(
        'select from pg_catalog.pg_class where oid operator(pg_catalog.=) ($1::pg_catalog.text)::pg_catalog.regclass and relrowsecurity',
        [name],
      )) as readonly unknown[];
      if (secured !== undefined) {
        await runner.query(`drop policy if exists kvent_feed on ${name}`);
        await runner.query(`create policy kvent_feed on ${name} ${feedPolicy}`);
      }
      // under row-level security, this setting shows whether there are rows
      await runner.query("select w from pg_catalog.set_config('kvent.work', 'list', true) w");
      // not where TypeORM has made the columns, or another journal of migrations has them
      if (added === undefined)
        await runner.query(
          `select pg_catalog.setval('${base.replaceAll("'", "''")}'::pg_catalog.regclass, (pg_catalog.date_part('epoch', pg_catalog.now()) operator(pg_catalog.*) 1000)::pg_catalog.int8 operator(pg_catalog.+) 86400000, true)
where exists (select from ${name})`,
        );
      await runner.query("select w from pg_catalog.set_config('kvent.work', '', true) w");
    }

    async down(runner: QueryRunner): Promise<void> {
      await runner.query(`drop policy if exists kvent_feed on ${name}`);
      await runner.query(`drop sequence ${base}`);
      await runner.query(`drop index if exists ${quoted(table.schema)}.${index}`);
      await runner.query(`drop sequence ${sequence}`);
      await runner.query(`alter table ${name} drop column feed_transaction, drop column feed_sequence`);
    }
  };
}

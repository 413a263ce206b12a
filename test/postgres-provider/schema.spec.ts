/**
 * The migration of the table: exactly once, with any names, with the minimal rights, and beside the
 * migrations of the application.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { kventMigrations, PostgresProvider, type PostgresProviderOptions } from '@kvent/key-value-postgres';
import { DataSource, type MigrationInterface, type QueryRunner } from 'typeorm';
import { asAdmin, freshDatabase, type FreshDatabase } from '../postgres/databases.js';
import { opened, textAt, write } from './rows.js';

type Line = Record<string, unknown>;
const query = async (url: string, sql: string, values: readonly unknown[] = []): Promise<Line[]> =>
  await asAdmin(url, async (client) => (await client.query<Line>(sql, [...values])).rows);

const ten = Array.from({ length: 10 }, (_, index) => index);

/** Records every created table and index. */
const recordCreated = `
  create table public.created (what text);
  create function public.note() returns event_trigger language plpgsql security definer as $$
  begin insert into public.created select object_identity from pg_event_trigger_ddl_commands() where object_type in ('schema', 'table', 'index'); end $$;
  create event trigger witness on ddl_command_end execute function public.note()`;

let database: FreshDatabase;
const provider = (options: Partial<PostgresProviderOptions> = {}): PostgresProvider =>
  new PostgresProvider({ url: database.url, poolSize: 2, ...options });

describe('ten instances that start together', () => {
  beforeAll(async () => {
    database = await freshDatabase();
    await query(database.url, recordCreated);
  });
  afterAll(async () => await database[Symbol.asyncDispose]());

  it('on an empty database create its table once, and all of them work', async () => {
    const instances = ten.map(() => provider());
    await opened(instances, async () => {
      await Promise.all(
        instances.map(async (instance, index) => await write(instance, `key-${index}`, String(index))),
      );
      for (const index of ten)
        expect(await textAt(instances[9 - index] as PostgresProvider, `key-${index}`)).toBe(String(index));
    });
    const created = (
      await query(
        database.url,
        `select what from created where what not like '%kvent_migrations%' order by 1`,
      )
    ).map(({ what }) => what);
    expect(created).toEqual([
      'kvent',
      'kvent."row"',
      'kvent."row"',
      'kvent.row_expires_at',
      'kvent.row_feed_order',
      'kvent.row_pkey',
    ]);
    expect(await query(database.url, 'select name, "timestamp" from kvent.kvent_migrations')).toEqual([
      { name: 'KventCreate "kvent"."row" 1763683200000', timestamp: '1763683200000' },
      { name: 'KventFeed "kvent"."row" 1764374400000', timestamp: '1764374400000' },
    ]);
  });

  it('with their own tables in a missing schema, all work', async () => {
    const instances = ten.map((index) => provider({ schema: 'many', table: `table_${index}` }));
    await opened(instances, async () => {
      await Promise.all(
        instances.map(async (instance, index) => await write(instance, 'key', String(index))),
      );
      for (const [index, instance] of instances.entries())
        expect(await textAt(instance, 'key')).toBe(String(index));
    });
    expect(await query(database.url, 'select count(*)::int count from many.kvent_migrations')).toEqual([
      { count: 20 },
    ]);
  });

  it('work on the table of a deployment pipeline and create nothing with `migrate: never`', async () => {
    const source = new DataSource({
      type: 'postgres',
      url: database.url,
      migrations: kventMigrations({ schema: 'team' }),
    });
    await source.initialize();
    await source.runMigrations();
    await source.destroy();
    await query(database.url, 'delete from created');
    const instances = ten.map(() => provider({ schema: 'team', migrate: 'never' }));
    await opened(instances, async () => {
      await Promise.all(
        instances.map(async (instance, index) => await write(instance, `key-${index}`, String(index))),
      );
      expect(await textAt(instances[0] as PostgresProvider, 'key-9')).toBe('9');
    });
    expect(await query(database.url, 'select what from created')).toEqual([]);
  });
});

describe('the names of the schema and the table', () => {
  beforeAll(async () => {
    database = await freshDatabase();
  });
  afterAll(async () => await database[Symbol.asyncDispose]());

  it.each([
    { schema: 'Upper Case', table: 'Row' },
    { schema: "o'clock", table: 'say "row"' },
    { schema: 'with.dots', table: 'a.b' },
    { schema: 'back\\slash', table: 'new\nline' },
    { schema: 'größe', table: '行🚀' },
    { schema: '"; drop schema public; --', table: "'; select 1/0; --" },
    { schema: 'select', table: 'table' },
    { schema: 's'.repeat(63), table: 't'.repeat(52) },
    { schema: 'é'.repeat(31), table: 'é'.repeat(26) },
  ])('are quoted: $schema, $table', async (names) => {
    const source = new DataSource({ type: 'postgres', url: database.url, extra: { max: 2 } });
    await source.initialize();
    try {
      for (const options of [
        { ...names, url: database.url, poolSize: 2 },
        { ...names, dataSource: source },
      ]) {
        const instance = new PostgresProvider(options);
        await opened(instance, async () => {
          await write(instance, 'key', '1');
          expect(await textAt(instance, 'key')).toBe('1');
          expect((await instance.administration.spaces('shared')).length).toBe(1);
          expect(await instance.sweep(10)).toBe(0);
        });
      }
    } finally {
      await source.destroy();
    }
    const found = await query(
      database.url,
      'select tablename from pg_tables where schemaname = $1 order by 1',
      [names.schema],
    );
    expect(found).toEqual(['kvent_migrations', names.table].toSorted().map((tablename) => ({ tablename })));
  });

  it('are distinguished even if they are equal when joined', async () => {
    const pairs = [
      { schema: 'a', table: 'b_c' },
      { schema: 'a_b', table: 'c' },
      { schema: 'a.b', table: 'c' },
      { schema: 'a', table: 'b.c' },
    ];
    const names = pairs.flatMap((pair) => kventMigrations(pair)).map((migration) => new migration().name);
    expect(new Set(names).size).toBe(2 * pairs.length);
    const instances = pairs.map((pair) => provider(pair));
    await opened(instances, async () => {
      for (const [index, instance] of instances.entries()) await write(instance, 'key', String(index));
      for (const [index, instance] of instances.entries())
        expect(await textAt(instance, 'key')).toBe(String(index));
    });
  });
});

describe('a role without the right to create', () => {
  let url: string;
  beforeAll(async () => {
    database = await freshDatabase();
    const role = `plain_${new URL(database.url).pathname.slice(-12)}`;
    await query(database.url, `create role ${role} login password 'plain'`);
    const changed = new URL(database.url);
    [changed.username, changed.password] = [role, 'plain'];
    url = changed.href;
  });
  afterAll(async () => {
    const { username } = new URL(url);
    await query(database.url, `drop owned by ${username} cascade`);
    await query(database.url, `drop role ${username}`);
    await database[Symbol.asyncDispose]();
  });
  const grant = async (...lines: readonly string[]): Promise<void> => {
    for (const line of lines) await query(database.url, `grant ${line} to ${new URL(url).username}`);
  };

  it('gets an error that says what to do, and leaves nothing behind', async () => {
    await expect(provider({ url }).open()).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      effect: 'none',
      retryable: false,
      message: expect.stringContaining(`migrate: 'never'`),
    });
    expect(await query(database.url, `select from pg_namespace where nspname = 'kvent'`)).toEqual([]);
  });

  it('creates the table in an existing schema of its own, without the right to create schemas', async () => {
    await query(database.url, 'create schema given');
    await grant('usage, create on schema given');
    const instance = provider({ url, schema: 'given' });
    await opened(instance, async () => await write(instance, 'key', '1'));
  });

  it('opens a migrated table, and works with only the rights to read and write rows', async () => {
    await opened(provider(), async () => undefined);
    await expect(provider({ url }).open()).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      retryable: false,
    });
    await grant(
      'usage on schema kvent',
      'select, insert, update, delete on kvent.row',
      'usage, select, update on sequence kvent.row_feed_seq, kvent.row_feed_base',
    );
    // The role cannot read the record of migrations.
    await expect(provider({ url }).open()).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      retryable: false,
    });
    const never = provider({ url, migrate: 'never' });
    await opened(never, async () => await write(never, 'key', '1'));
    await grant('select on kvent.kvent_migrations');
    const onOpen = provider({ url });
    await opened(onOpen, async () => expect(await textAt(onOpen, 'key')).toBe('1'));
  });
});

describe('a missing or wrong table', () => {
  beforeAll(async () => {
    database = await freshDatabase();
  });
  afterAll(async () => await database[Symbol.asyncDispose]());

  it('is a coded error if it cannot be created', async () => {
    const refused = {
      code: 'STORAGE_UNAVAILABLE',
      effect: 'none',
      retryable: false,
      message: expect.stringContaining('kventMigrations'),
    };
    await expect(provider({ schema: 'nowhere', migrate: 'never' }).open()).rejects.toMatchObject(refused);
    await query(database.url, 'create schema empty');
    await expect(provider({ schema: 'empty', migrate: 'never' }).open()).rejects.toMatchObject(refused);
    expect(await query(database.url, `select from pg_namespace where nspname = 'nowhere'`)).toEqual([]);
  });

  it.each(['on-open', 'never'] as const)(
    'is a coded error if a column is missing (migrate: %s), and keeps its rows',
    async (migrate) => {
      const schema = `older_${migrate.slice(0, 2)}`;
      const first = provider({ schema });
      await opened(first, async () => await write(first, 'key', '1'));
      await query(database.url, `alter table ${schema}.row drop column ttl_ms`);
      await expect(provider({ schema, migrate }).open()).rejects.toMatchObject({
        code: 'STORAGE_UNAVAILABLE',
        retryable: false,
      });
      expect(await query(database.url, `select value from ${schema}.row`)).toEqual([{ value: 1 }]);
    },
  );

  it('is not created again silently after it was dropped', async () => {
    await opened(provider({ schema: 'lost' }), async () => undefined);
    await query(database.url, 'drop table lost.row');
    await expect(provider({ schema: 'lost' }).open()).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      retryable: false,
    });
  });

  it('can be opened by the same provider after a failure', async () => {
    const instance = provider({ schema: 'late', migrate: 'never' });
    await expect(instance.open()).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
    await opened(provider({ schema: 'late' }), async () => undefined);
    await opened(instance, async () => await write(instance, 'key', '1'));
  });
});

describe('the migrations of an application', () => {
  beforeAll(async () => {
    database = await freshDatabase();
  });
  afterAll(async () => await database[Symbol.asyncDispose]());

  const ran: string[] = [];
  class CreateOrders1700000000000 implements MigrationInterface {
    async up(runner: QueryRunner): Promise<void> {
      ran.push('up');
      await runner.query('create table orders (id int primary key)');
    }
    async down(runner: QueryRunner): Promise<void> {
      ran.push('down');
      await runner.query('drop table orders');
    }
  }
  const connect = async (migrations: readonly (new () => MigrationInterface)[]): Promise<DataSource> =>
    await new DataSource({
      type: 'postgres',
      url: database.url,
      migrations: [...migrations],
      extra: { max: 2 },
    }).initialize();

  it('are not run by `open`, and do not affect it', async () => {
    const source = await connect([CreateOrders1700000000000]);
    const instance = new PostgresProvider({ dataSource: source, schema: 'beside' });
    await opened(instance, async () => {
      expect(ran).toEqual([]);
      expect(
        await query(database.url, `select tablename from pg_tables where schemaname = 'public'`),
      ).toEqual([]);
      await source.runMigrations();
      await write(instance, 'key', '1');
      await source.undoLastMigration();
      expect(ran).toEqual(['up', 'down']);
      expect(await textAt(instance, 'key')).toBe('1');
    });
    await source.destroy();
  });

  it('can include those of Kvent, before or after `open`, and revert them', async () => {
    const source = await connect([CreateOrders1700000000000, ...kventMigrations({ schema: 'ours' })]);
    const onOpen = new PostgresProvider({ dataSource: source, schema: 'ours' });
    // An instance with `migrate: on-open` has run first.
    await opened(onOpen, async () => await write(onOpen, 'key', '1'));
    await source.runMigrations();
    await opened(onOpen, async () => expect(await textAt(onOpen, 'key')).toBe('1'));

    for (const _ of kventMigrations({ schema: 'ours' })) await source.undoLastMigration();
    expect(await query(database.url, `select tablename from pg_tables where schemaname = 'ours'`)).toEqual([
      { tablename: 'kvent_migrations' },
    ]);
    expect(await source.showMigrations()).toBe(true);
    await source.runMigrations();
    expect(await source.showMigrations()).toBe(false);
    await opened(onOpen, async () => expect(await textAt(onOpen, 'key')).toBeUndefined());
    await source.destroy();
  });
});

/**
 * TypeORM compares its entities with the database, on `synchronize` and to generate migrations: it
 * must find nothing to do about our table.
 */
import { createRequire } from 'node:module';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { kventEntities, PostgresProvider, type StoredRow } from '@kvent/key-value-postgres';
import { DataSource, DefaultNamingStrategy, EntitySchema, type DataSourceOptions } from 'typeorm';
import { asAdmin, freshDatabase, type FreshDatabase } from '../postgres/databases.js';
import { addressOf, batchOf, commitOne, opened, textAt, write } from './rows.js';

/** Everything that a comparison could want to change, as the catalog has it. */
const everything = `
  with c as (select * from pg_class where relnamespace = $1::regnamespace)
  select 'column' kind, c.relname of, a.attname what,
    concat_ws(' ', a.attnum, format_type(a.atttypid, a.atttypmod), l.collname, a.attnotnull, pg_get_expr(d.adbin, d.adrelid)) how
  from c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped left join pg_collation l on l.oid = a.attcollation
    left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
  union all select 'index', c.relname, '', pg_get_indexdef(c.oid) from c join pg_index i on i.indexrelid = c.oid
  union all select 'constraint', c.relname, conname, pg_get_constraintdef(k.oid) from c join pg_constraint k on k.conrelid = c.oid
  union all select 'relation', c.relname, relkind::text, concat_ws(' ', c.oid, relfilenode, reloptions::text, relpersistence) from c
  order by 1, 2, 3`;

interface Line {
  readonly kind: string;
  readonly of: string;
  readonly what: string;
  readonly how: string;
}
const catalog = async (url: string, schema = 'kvent'): Promise<readonly Line[]> =>
  await asAdmin(url, async (client) => (await client.query<Line>(everything, [schema])).rows);

/** An entity of the application. */
const orders = new EntitySchema<{ id: number; total: number }>({
  name: 'Order',
  columns: { id: { type: 'int', primary: true }, total: { type: 'int' } },
});

class Shouting extends DefaultNamingStrategy {
  override columnName(property: string, given: string, prefixes: string[]): string {
    return given || super.columnName(property, given, prefixes).toUpperCase();
  }
  override tableName(target: string, given: string): string {
    return given || target.toUpperCase();
  }
}

/**
 * TypeORM 0.3 under its alias: another copy of every class. As an application of 0.3 has it, with
 * our package beside it: test/packaging.
 */
const old = createRequire(import.meta.url)('typeorm-0.3') as { readonly DataSource: typeof DataSource };

describe.each([
  ['1.x', DataSource],
  ['0.3', old.DataSource],
])('TypeORM %s', (version, Source) => {
  let database: FreshDatabase;
  let before: readonly Line[];
  beforeAll(async () => {
    database = await freshDatabase();
    // the tests' user is called as our schema is
    const name = new URL(database.url).pathname.slice(1);
    await asAdmin(
      database.url,
      async (client) =>
        await client.query(`alter database ${client.escapeIdentifier(name)} set search_path = public`),
    );
    const provider = new PostgresProvider({ url: database.url, poolSize: 1 });
    await opened(provider, async () => await write(provider, 'key', '1'));
    before = await catalog(database.url);
    expect(before.length).toBeGreaterThan(11 + 2 + 2);
  });
  afterAll(async () => await database[Symbol.asyncDispose]());

  const connected = async <R>(
    options: Partial<DataSourceOptions>,
    work: (source: DataSource) => Promise<R>,
  ): Promise<R> => {
    const source = await new Source({
      type: 'postgres',
      url: database.url,
      extra: { max: 2 },
      ...options,
    } as DataSourceOptions).initialize();
    try {
      return await work(source);
    } finally {
      await source.destroy();
    }
  };
  const pending = async (source: DataSource): Promise<readonly string[]> => {
    const { upQueries, downQueries } = await source.driver.createSchemaBuilder().log();
    return [...upQueries, ...downQueries].map(({ query }) => query);
  };

  it.each<[string, Partial<DataSourceOptions>]>([
    ['with our entities among its own', { entities: [orders, ...kventEntities()] }],
    [
      'with our entities, and a naming strategy and a schema of its own',
      { entities: kventEntities(), namingStrategy: new Shouting(), schema: 'public' },
    ],
    [
      'with our entities, and a prefix for its tables',
      { entities: [orders, ...kventEntities()], entityPrefix: 'shop_' },
    ],
    ['that knows nothing of our table', { entities: [orders] }],
  ])('a data source %s finds nothing to do, and changes nothing', async (_, options) => {
    await connected(options, async (source) => {
      const own = (query: string): boolean => /"(shop_)?order"/i.test(query);
      expect((await pending(source)).filter((query) => !own(query))).toEqual([]);
      await source.synchronize();
      expect(await catalog(database.url)).toEqual(before);
      expect(await pending(source)).toEqual([]);
    });
  });

  it.each([{}, { entityPrefix: 'shop_' }])(
    'with `synchronize: true` changes nothing when it starts, and rows can be looked at through the entity (%j)',
    async (options) => {
      const [entity] = kventEntities();
      await connected(
        { entities: [entity as EntitySchema<StoredRow>], synchronize: true, ...options },
        async (source) => {
          expect(await catalog(database.url)).toEqual(before);
          const provider = new PostgresProvider({ dataSource: source });
          await opened(provider, async () => {
            const rows = await source.getRepository(entity as EntitySchema<StoredRow>).find();
            expect(rows).toMatchObject([
              { database: 'shared', entity: 'thing', key: 'key', value: 1, expiresAt: null, number: null },
            ]);
            expect(rows[0]?.updatedAt).toBeInstanceOf(Date);
          });
        },
      );
    },
  );

  it('notices when the table is another one than we say: the comparison is no empty word', async () => {
    for (const [change, back] of [
      [
        'alter table kvent.row drop constraint row_pkey',
        'alter table kvent.row add constraint row_pkey primary key (database, container, entity, key)',
      ],
      [
        'drop index kvent.row_expires_at',
        'create index row_expires_at on kvent.row (expires_at) where expires_at is not null',
      ],
      ['alter table kvent.row alter number type int', 'alter table kvent.row alter number type bigint'],
      [
        'alter table kvent.row alter key type text collate "de-x-icu"',
        'alter table kvent.row alter key type text collate "C"',
      ],
    ] as const) {
      await asAdmin(database.url, async (client) => await client.query(change));
      expect([change, await connected({ entities: kventEntities() }, pending)]).not.toEqual([change, []]);
      await asAdmin(database.url, async (client) => await client.query(back));
    }
    expect(await connected({ entities: kventEntities() }, pending)).toEqual([]);
  });

  it('makes the same table by `synchronize` where there is none, but for the room beside each row, and it serves as well', async () => {
    const schema = `made_${version.replace('.', '_')}`;
    // which is not TypeORM's to create
    await asAdmin(database.url, async (client) => await client.query(`create schema ${schema}`));
    await connected({ entities: kventEntities({ schema }), synchronize: true }, async (source) => {
      const same = (lines: readonly Line[]): readonly Line[] =>
        lines
          .filter(({ kind, of }) => kind !== 'relation' && /^row(?!_feed_(seq|base))/.test(of))
          .map((line) => ({ ...line, how: line.how.replace(`${schema}.`, 'kvent.') }));
      expect(same(await catalog(database.url, schema))).toEqual(same(before));
      const provider = new PostgresProvider({ dataSource: source, schema });
      await opened(provider, async () => {
        await write(provider, 'key', '1');
        const { container, entity, key } = addressOf('counter');
        await commitOne(
          provider,
          batchOf([{ kind: 'sum', address: { container, entity, key }, operand: 5n, ttlMs: 60_000 }]),
        );
        expect(await textAt(provider, 'key')).toBe('1');
      });
      expect(await pending(source)).toEqual([]);
    });
  });
});

it.each([{ schema: 'with.dot' }, { table: 'with.dot' }, { table: "o'clock" }, { schema: 'say "hi"' }])(
  'what TypeORM would take for another name is INVALID_OPTION: %j',
  (names) => {
    expect(() => kventEntities(names)).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION', message: expect.stringContaining('TypeORM') }),
    );
  },
);

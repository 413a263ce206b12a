/**
 * A role that may create objects in a schema of the `search_path` can put functions, operators,
 * types and collations there that match better than those of Postgres; they would run with the
 * rights of the caller. So every name in a statement of Kvent is qualified. This test parses each
 * statement that is sent, and runs all of them beside a role that shadows every name.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { kventMigrations, PostgresProvider } from '@kvent/key-value-postgres';
import type { StorageProvider } from '@kvent/key-value-storage/core';
import { feedPositionOf, systemClock } from '@kvent/key-value-storage/provider';
import pg from 'pg';
import { DataSource, type QueryRunner } from 'typeorm';
import { asAdmin, freshDatabase, type FreshDatabase } from '../postgres/databases.js';
import { everyBatch, everyRead, everyTenant, everyVerb } from './every-verb.js';
import { batchOf, opened } from './rows.js';
import { unqualifiedNames } from './unqualified-names.js';

let database: FreshDatabase;
const sources: DataSource[] = [];
beforeAll(async () => {
  database = await freshDatabase();
  await asAdmin(
    database.url,
    async (client) =>
      await client.query(roles.map((role) => `create role ${role} login password 'x'`).join(';')),
  );
});
afterEach(async () => {
  for (const source of sources.splice(0)) await source.destroy();
});
afterAll(async () => {
  await asAdmin(database.url, async (client) => {
    for (const role of roles) await client.query(`drop owned by ${role} cascade; drop role ${role}`);
  });
  await database[Symbol.asyncDispose]();
});

const suffix = String(process.pid);
const intruder = `intruder_${suffix}`;
const victim = `victim_${suffix}`;
const roles = [intruder, victim];

async function sourceOf(url: string): Promise<DataSource> {
  const source = await new DataSource({ type: 'postgres', url, extra: { max: 4 } }).initialize();
  sources.push(source);
  return source;
}

/** The address of the first database for a role that is no superuser and may create a schema. */
async function asVictim(): Promise<string> {
  const address = new URL(database.url);
  await asAdmin(database.url, async (client) => {
    await client.query(
      `grant create on database ${client.escapeIdentifier(address.pathname.slice(1))} to ${victim}`,
    );
  });
  [address.username, address.password] = [victim, 'x'];
  return address.href;
}

/**
 * The configurations of a provider whose statements differ: by the source of the time, and by the
 * owner of the connections.
 */
const configurations: Readonly<Record<string, (url: string) => Promise<() => PostgresProvider>>> = {
  'its own connections': async (url) =>
    await Promise.resolve(() => new PostgresProvider({ url, poolSize: 4 })),
  'its own connections, nothing prepared': async (url) =>
    await Promise.resolve(() => new PostgresProvider({ url, poolSize: 4, preparedStatements: false })),
  'a data source': async (url) => {
    const dataSource = await sourceOf(url);
    return () => new PostgresProvider({ dataSource });
  },
  'a data source, and a clock': async (url) => {
    const dataSource = await sourceOf(url);
    return () => new PostgresProvider({ dataSource, clock: systemClock });
  },
};

/** All batches and reads within a transaction of the application. */
async function everyBatchWithin(url: string): Promise<void> {
  const source = await sourceOf(url);
  const provider = new PostgresProvider({ dataSource: source });
  await opened(provider, async () => {
    await source.transaction(async (manager) => {
      const inside: StorageProvider = provider.within(manager);
      const tenant = everyTenant();
      await everyBatch(inside, tenant);
      await everyRead(inside, tenant);
    });
  });
}

/**
 * The same with row-level security, where settings are sent with each statement: outside a
 * transaction, and in one. `url` is of a role that may create.
 */
async function everyBatchSecured(url: string): Promise<void> {
  const dataSource = await sourceOf(url);
  const provider = new PostgresProvider({ dataSource, schema: 'secured', rowLevelSecurity: true });
  await opened(provider, async () => {
    const [outside, inside] = [everyTenant(), everyTenant()];
    await everyBatch(provider, outside);
    await everyRead(provider, outside);
    await provider.administration.databases();
    await provider.sweep(10);
    await dataSource.transaction(async (manager) => {
      const joined = provider.within(manager);
      await everyBatch(joined, inside);
      await everyRead(joined, inside);
    });
  });
}

/** What is sent for the feed: in a transaction, after a restored dump, and for an older table. */
async function everyFeed(url: string): Promise<void> {
  const dataSource = await sourceOf(url);
  const open = () => new PostgresProvider({ dataSource, schema: 'feeding' });
  const database = everyTenant();
  const address = { container: 'event:spec', entity: 'a', key: 'one' };
  const row = { version: '7', value: { kind: 'json', text: '1' }, updatedAt: 1 } as const;
  const provider = open();
  await opened(provider, async () => {
    await dataSource.transaction(async (manager) => {
      const change = { kind: 'put', address, value: row.value, ttl: 'never', feed: true } as const;
      await provider.within(manager).commit([batchOf([change], [], database)]);
    });
    // a short page, and one that is sent as one line
    for (const limit of [1, 100])
      await provider.feed({ limit, databases: [database], containers: [address.container] });
    await provider.administration.import(database, [
      { ...address, row: { ...row, position: feedPositionOf(2n ** 60n, 1n) } },
      { ...address, key: 'older', row },
    ]);
  });
  await dataSource.query(
    `select setval('feeding.row_feed_base', last_value, true) from feeding.row_feed_base`,
  );
  const again = open();
  await opened(again, async () => {
    const { entries } = await again.feed({ limit: 10 });
    expect(entries.map((entry) => entry.address.key)).toEqual(['older', 'one']);
  });
}

/**
 * The settings that are sent with a statement: they have a name in the sources, and are sent
 * without it.
 */
const unnamed: readonly string[] = ['scope', 'scope_outer', 'scope_restore'];

/** Only sent in transactions of the application, where statements have no names. */
const inTransactions: readonly string[] = ['feed_later'];

describe('every statement that is sent', () => {
  const sent = new Map<string, string>();
  const client = pg.Client.prototype as unknown as { query: (...args: unknown[]) => unknown };
  const originalQuery = client.query;
  const connection = pg.Connection.prototype as unknown as { parse: (...args: unknown[]) => unknown };
  const parse = connection.parse;
  beforeEach(() => {
    jest.spyOn(client, 'query').mockImplementation(function (this: unknown, ...args: unknown[]): unknown {
      const {
        name = '',
        text,
        submit,
      } = args[0] as { readonly name?: string; readonly text?: string; readonly submit?: unknown };
      // Statements of TypeORM itself are texts.
      if (typeof submit === 'function' && typeof text === 'string') sent.set(text, name);
      return originalQuery.apply(this, args);
    });
    // Settings and checks around a statement are no separate queries.
    jest.spyOn(connection, 'parse').mockImplementation(function (this: unknown, ...args: unknown[]): unknown {
      const { name = '', text } = args[0] as { readonly name?: string; readonly text: string };
      if (name.startsWith('kvent_') || /'kvent[.:]/.test(text)) sent.set(text, name);
      return parse.apply(this, args);
    });
  });
  afterEach(() => {
    jest.restoreAllMocks();
  });

  it('uses no name that Postgres would look up in the search_path', async () => {
    for (const configuration of Object.values(configurations))
      await everyVerb(await configuration(database.url), database.url);
    await everyBatchWithin(database.url);
    await everyFeed(database.url);
    await everyBatchSecured(await asVictim());
    expect([...sent.keys()].flatMap((text) => unqualifiedNames(text))).toEqual([]);
    // Every statement of the sources was sent.
    const names = [...sent.values()].map((name) => name.replace(/^kvent_|_[0-9a-f]{12}(_\d+)?$/g, ''));
    const inSources = statementsOfSources();
    expect(inSources.flatMap(({ text }) => (text === undefined ? [] : unqualifiedNames(text)))).toEqual([]);
    const missing = inSources.filter(
      ({ name, text }) => text === undefined && !names.some((each) => each.startsWith(name)),
    );
    expect(missing.map(({ name }) => name).sort()).toEqual([...inTransactions, ...unnamed]);
    expect([...sent.keys()].filter((each) => each.startsWith('select pg_catalog.set_config('))).toHaveLength(
      unnamed.length,
    );
    expect(new Set(names).size).toBeGreaterThan(30);
  });

  it('nor do the migrations for a deployment pipeline', async () => {
    const texts: string[] = [];
    const runner = {
      query: async (text: string) => {
        texts.push(text);
        return await Promise.resolve([]);
      },
    } as unknown as QueryRunner;
    for (const migration of kventMigrations({ schema: 'a', table: 'b' })) {
      await new migration().up(runner);
      await new migration().down(runner);
    }
    expect(texts.length).toBeGreaterThan(3);
    expect(texts.flatMap((text) => unqualifiedNames(text))).toEqual([]);
  });
});

/**
 * The statements in the sources of the library: by name, and with their text if it is a literal.
 */
function statementsOfSources(): readonly { readonly name: string; readonly text?: string }[] {
  const folder = join(import.meta.dirname, '../../libs/key-value-postgres/src');
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter(
    (name) => name.endsWith('.ts') && !name.endsWith('.spec.ts'),
  );
  const found = files.flatMap((name) => [
    ...readFileSync(join(folder, name), 'utf8').matchAll(
      /[^\w]statement\(\s*['`]([a-z_]+)[^'`]*['`],\s*(?:'([^']*)'\))?/g,
    ),
  ]);
  expect(found.length).toBeGreaterThan(25);
  return found.map(([, name = '', text]) => ({ name, ...(text !== undefined && { text }) }));
}

describe('the search for names that are not qualified', () => {
  it.each([
    'select concat_ws($1, $2)',
    'select 1 = 2',
    'select a from "s"."t" where a operator(pg_catalog.=) 1 and b > 2',
    'select $1::text',
    'select $1::text[]',
    "select timestamptz 'epoch'",
    'select a from t',
    'update "s"."t" set a = b + 1',
    'update "s"."t" set a = 1 where b = 2',
    'update "s"."t" set a = (b = c)',
    'select a from "s"."t" where a between 1 and 2',
    'select a from "s"."t" where a in (1, 2)',
    'select case a when 1 then 2 end',
    'select a is distinct from b',
    'with v as (select 1 a) select from v join v w using (a)',
    'select -a',
    'select a - 1',
    'create table "s"."t" (a text)',
    'create table "s"."t" (a pg_catalog.text collate "C")',
    'select count(*) filter (where true)',
    'select a from "t"',
    'delete from "s"."t" where a <> 1',
    'select public.f(1)',
  ])('finds one in %s', (statement) => {
    expect(unqualifiedNames(statement)).not.toEqual([]);
  });

  it('finds none if all are qualified', () => {
    const statement = `with v as materialized (select pg_catalog.count(*) n, o.* from rows from (pg_catalog.unnest((select $1::pg_catalog.text[]))) with ordinality o(a, i)
      where a operator(pg_catalog.=) any ($2) and n operator(pg_catalog.>) -1)
      update "s"."t" set a = v.a, b = coalesce(b operator(pg_catalog.+) 1, 0) from v where i is not null returning a, interval '1 day', (select 'x' from v)`;
    expect(unqualifiedNames(statement)).toEqual([]);
  });
});

/**
 * Shadows in a schema of the intruder, with the exact types of the arguments: the functions of
 * Postgres by the names that statements could use, an operator for each two types, domains with the
 * names of types, a collation, and an implicit cast. Each fails when it is used.
 */
const shadows = (schema: string): string => `
do $do$
declare
  types text[] := '{text,int4,int8,numeric,float8,bool,timestamptz,interval,tid,bytea,json,oid,name,text[]}';
  symbols text[] := '{=,<,<=,>,>=,+,-,*,/,||}';
  l text; r text; s text; f record;
begin
  foreach l in array types loop foreach r in array types loop
    execute format('create function ${schema}.truth(%1$s, %2$s) returns bool language plpgsql as $$ begin raise exception ''an operator of the intruder''; end $$', l, r);
    execute format('create function ${schema}.value(%1$s, %2$s) returns %1$s language plpgsql as $$ begin raise exception ''an operator of the intruder''; end $$', l, r);
    foreach s in array symbols loop
      execute format('create operator ${schema}.%s (leftarg = %s, rightarg = %s, function = ${schema}.%s)', s, l, r, case when s in ('+', '-', '*', '/', '||') then 'value' else 'truth' end);
    end loop;
  end loop; end loop;
  for f in select distinct on (proname, oidvectortypes(proargtypes)) proname, oidvectortypes(proargtypes) args, format_type(prorettype, null) ret, proretset from pg_proc
    where pronamespace = 'pg_catalog'::regnamespace and prorettype <> 'internal'::regtype and prorettype <> 'trigger'::regtype
    and proname = any ('{concat_ws,encode,decode,date_part,date_trunc,statement_timestamp,clock_timestamp,unnest,set_config,current_setting,cardinality,count,min,max,bool_and,bool_or,pg_relation_size,pg_advisory_xact_lock,hashtextextended}')
    and oidvectortypes(proargtypes) !~ '"any"|internal|range' loop
    execute format('create function ${schema}.%I(%s) returns %s %s language plpgsql as $$ begin raise exception ''a function of the intruder''; end $$',
      f.proname, f.args, case when f.proretset then 'setof' else '' end, f.ret);
  end loop;
  foreach l in array array['text, text', 'text, text, text', 'text, bigint, text', 'text, text, text, text', 'text, text, text, text, text', 'text, bigint, text, text, text'] loop
    execute format('create function ${schema}.concat_ws(%s) returns text language plpgsql as $$ begin raise exception ''a function of the intruder''; end $$', l);
  end loop;
  foreach l in array array['text', 'json', 'bytea', 'timestamptz', 'bool', 'int4', 'int8', 'float8', 'regclass'] loop
    execute format('create domain ${schema}.%I as pg_catalog.%I check (false)', l, l);
  end loop;
end $do$;
create collation ${schema}."C" from pg_catalog."POSIX";
create type ${schema}.trap as enum ('a');
create function ${schema}.trapped(pg_catalog.int8) returns ${schema}.trap language plpgsql as $$ begin raise exception 'a cast of the intruder'; end $$;
create cast (pg_catalog.int8 as ${schema}.trap) with function ${schema}.trapped(pg_catalog.int8) as implicit;
create table ${schema}.row (version pg_catalog.int8);`;

describe.each([
  ['after pg_catalog, as by default', '"$user", public'],
  ['before pg_catalog, if the path names it last', 'public, pg_catalog'],
])('beside a role that shadows every name, in a schema %s', (_, path) => {
  let url: string;
  let fresh: FreshDatabase;
  beforeAll(async () => {
    fresh = await freshDatabase();
    const address = new URL(fresh.url);
    await asAdmin(fresh.url, async (client) => {
      const name = client.escapeIdentifier(address.pathname.slice(1));
      await client.query(
        `grant create on database ${name} to ${victim}; grant create on schema public to ${intruder}`,
      );
      await client.query(`set role ${intruder}; set search_path = pg_catalog, pg_temp`);
      await client.query(shadows('public'));
      await client.query(`reset role; alter role ${victim} set search_path = ${path}`);
    });
    [address.username, address.password] = [victim, 'x'];
    url = address.href;
  });
  afterAll(async () => {
    await asAdmin(
      fresh.url,
      async (client) => await client.query(`drop owned by ${intruder}, ${victim} cascade`),
    );
    await fresh[Symbol.asyncDispose]();
  });

  it.each(Object.entries(configurations))(
    'no shadow is used by a provider on %s',
    async (_name, configuration) => {
      await everyVerb(await configuration(url), url);
    },
  );

  it('nor within a transaction of the application', async () => {
    await everyBatchWithin(url);
  });

  it('nor with row-level security', async () => {
    await everyBatchSecured(url);
  });

  it('and the table has the types, the collation and the operators of Postgres', async () => {
    await opened(
      new PostgresProvider({ url, poolSize: 1, schema: 'made' }),
      async () => await Promise.resolve(),
    );
    const foreign = await asAdmin(fresh.url, async (client) => {
      const { rows } = await client.query<{ name: string }>(
        `select attname name from pg_attribute a join pg_type t on t.oid = a.atttypid left join pg_collation c on c.oid = a.attcollation
         where attrelid = any ('{made.row,made.kvent_migrations,made.row_pkey,made.row_expires_at}'::regclass[])
           and (typnamespace <> 'pg_catalog'::regnamespace or collnamespace <> 'pg_catalog'::regnamespace)
         union all select opcname from pg_index join pg_opclass o on o.oid = any (indclass) where indrelid = 'made.row'::regclass and opcnamespace <> 'pg_catalog'::regnamespace`,
      );
      return rows;
    });
    expect(foreign).toEqual([]);
  });

  it('which would be used if a name were not qualified', async () => {
    const used = /of the intruder|violates check constraint/;
    await asAdmin(url, async (client) => {
      await expect(client.query(`select concat_ws(' ', 'a'::text, 'b'::text)`)).rejects.toThrow(used);
      await expect(client.query(`select 1::bigint * interval '1 day'`)).rejects.toThrow(used);
    });
  });
});

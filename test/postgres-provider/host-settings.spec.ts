/**
 * An application configures its sessions and its driver: formats of dates, parsers of numbers,
 * isolation. None of this may change the results of the provider.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { PostgresProvider } from '@kvent/key-value-postgres';
import type { StorageProvider } from '@kvent/key-value-storage/core';
import { decodeKey, type Batch, type RawRow } from '@kvent/key-value-storage/provider';
import { clauses, describeStorageProvider } from '@kvent/key-value-storage/testing';
import pg from 'pg';
import { DataSource } from 'typeorm';
import { asAdmin, freshDatabase, type FreshDatabase } from '../postgres/databases.js';
import { addressOf, batchOf, commitOne, opened, putBatch } from './rows.js';

const settings = {
  DateStyle: 'SQL, DMY',
  IntervalStyle: 'sql_standard',
  TimeZone: 'Asia/Kathmandu',
  extra_float_digits: '-15',
  bytea_output: 'escape',
  standard_conforming_strings: 'off',
  search_path: 'decoy',
  lc_messages: 'C',
  client_min_messages: 'debug1',
  transform_null_equals: 'on',
} as const;

/**
 * The types of the results of the provider, and those that applications parse: int8, int4, bool,
 * bytea, text, json, floats, times, numeric …
 */
const parsed = [
  16, 17, 19, 20, 21, 23, 25, 26, 114, 700, 701, 1043, 1082, 1114, 1184, 1186, 1700, 3802, 1005, 1007, 1009,
  1016, 1115, 1185,
];

let database: FreshDatabase;
const sources: DataSource[] = [];
const roles: string[] = [];

/** A data source of a role with these settings. */
async function hostOf(isolation: string): Promise<DataSource> {
  const url = new URL(database.url);
  const role = `host_${roles.length}_${url.pathname.slice(-12)}`;
  roles.push(role);
  await asAdmin(database.url, async (client) => {
    await client.query(`create role ${role} superuser login password 'host'`);
    for (const [name, value] of Object.entries({ ...settings, default_transaction_isolation: isolation }))
      await client.query(`alter role ${role} set ${name} to ${client.escapeLiteral(value)}`);
  });
  [url.username, url.password] = [role, 'host'];
  const source = await new DataSource({
    type: 'postgres',
    url: url.href,
    parseInt8: true,
    extra: { max: 6, allowExitOnIdle: true },
  }).initialize();
  sources.push(source);
  // After the queries of TypeORM itself.
  for (const type of parsed) pg.types.setTypeParser(type, () => 'parsed by the application');
  return source;
}

let plain: PostgresProvider;
beforeAll(async () => {
  database = await freshDatabase();
  await asAdmin(
    database.url,
    async (client) => await client.query('create schema decoy; create table decoy.row (decoy int)'),
  );
  plain = new PostgresProvider({ url: database.url, poolSize: 2 });
  await opened(
    new PostgresProvider({ url: database.url, table: 'template' }),
    async () => await Promise.resolve(),
  );
});
afterAll(async () => {
  for (const source of sources) await source.destroy();
  await asAdmin(database.url, async (client) => {
    for (const role of roles) await client.query(`drop owned by ${role} cascade; drop role ${role}`);
  });
  await database[Symbol.asyncDispose]();
});

const everyByte = Uint8Array.from({ length: 256 }, (_, index) => index);
const most = 2n ** 63n - 1n;

/** One row of each kind, in one batch. */
function batchOfEveryKind(): Batch {
  const at = (key: string) => ({ container: 'state:spec', entity: 'thing', key });
  return batchOf([
    {
      kind: 'put',
      address: at('json'),
      value: {
        kind: 'json',
        text: ' {"b":1.10,"a":"\\u0000\\ud800\\\\ \\" é","long":12345678901234567890.12345}\n',
      },
      ttl: 'never',
    },
    { kind: 'put', address: at('ttl'), value: { kind: 'json', text: 'null' }, ttl: 86_399_999 },
    { kind: 'put', address: at('bytes'), value: { kind: 'bytes', bytes: everyByte }, ttl: 1_234_567 },
    { kind: 'put', address: at('nothing'), value: { kind: 'bytes', bytes: new Uint8Array() }, ttl: 'never' },
    { kind: 'put', address: at('most'), value: { kind: 'number', number: most }, ttl: 'never' },
    { kind: 'put', address: at('least'), value: { kind: 'number', number: -most - 1n }, ttl: 3_600_000 },
    { kind: 'sum', address: at('sum'), operand: -5n, ttlMs: 60_001 },
    {
      kind: 'put',
      address: at('back\\slash "quoted" \'key\' {1,2} NULL é 🚀'),
      value: { kind: 'json', text: '"\\\\"' },
      ttl: 'never',
    },
  ]);
}

/** The results of all reads of a provider. */
async function resultsOf(provider: StorageProvider, batch: Batch): Promise<object> {
  const addresses = batch.changes.map(({ address }) => ({ database: batch.database, ...address }));
  const exported: RawRow[] = [];
  for await (const row of provider.administration.export(batch.database)) exported.push(row);
  const namespace = { database: batch.database, container: 'state:spec', entity: 'thing' };
  return {
    read: (await provider.read(addresses)).rows,
    single: await Promise.all(addresses.map(async (address) => (await provider.read([address])).rows[0])),
    omitted: (await provider.read(addresses, { values: 'omit' })).rows,
    scanned: (
      await provider.scan([
        { ...namespace, limit: 5 },
        { ...namespace, limit: 100, reverse: true },
      ])
    ).map(({ rows, more }) => ({ rows, more })),
    exported,
    spaces: await provider.administration.spaces(batch.database),
    databases: await provider.administration.databases(),
  };
}

describe.each(['serializable', 'repeatable read', 'read committed'])(
  'an application with its own settings (%s)',
  (isolation) => {
    let source: DataSource;
    beforeAll(async () => {
      source = await hostOf(isolation);
    });

    it('really has these settings', async () => {
      const [line] = await source.query<object[]>('select now() t, 1::int8 n, true b, 1.5::float8 f');
      expect(line).toEqual({
        t: 'parsed by the application',
        n: 'parsed by the application',
        b: 'parsed by the application',
        f: 'parsed by the application',
      });
      const query = {
        text: `select current_setting('extra_float_digits') a, current_setting('default_transaction_isolation') b, '1\\\\2' c`,
        types: { getTypeParser: () => String },
      };
      const pool = (source.driver as unknown as { readonly master: pg.Pool }).master;
      expect((await pool.query(query)).rows).toEqual([{ a: '-15', b: isolation, c: '1\\2' }]);
    });

    it('gets the same results as one without them, whichever of both wrote', async () => {
      const hosted = new PostgresProvider({ dataSource: source });
      await opened([plain, hosted], async () => {
        for (const writer of [plain, hosted]) {
          await hosted.administration.drop('shared');
          const batch = batchOfEveryKind();
          const now = Date.now();
          const result = await commitOne(writer, batch);
          if (result.outcome !== 'committed') throw new Error(result.outcome);
          expect(Math.abs(result.time - now)).toBeLessThan(60_000);
          expect(
            result.rows.map(({ existed, number, expiresAt = Number.NaN }) => [
              existed,
              number,
              expiresAt - result.time,
            ]),
          ).toEqual([
            [false, undefined, Number.NaN],
            [false, undefined, 86_399_999],
            [false, undefined, 1_234_567],
            [false, undefined, Number.NaN],
            [false, most, Number.NaN],
            [false, -most - 1n, 3_600_000],
            [false, -5n, 60_001],
            [false, undefined, Number.NaN],
          ]);
          const expected = await resultsOf(plain, batch);
          expect(await resultsOf(hosted, batch)).toEqual(expected);
          expect(expected).toMatchObject({
            read: batch.changes.map((change, index) => ({
              version: batch.version,
              updatedAt: result.time,
              value: change.kind === 'put' ? change.value : { kind: 'number', number: -5n },
              ...(result.rows[index]?.expiresAt === undefined
                ? {}
                : { expiresAt: result.rows[index].expiresAt }),
            })),
          });
        }
      });
    });

    it('gets the same results in its own transaction', async () => {
      const hosted = new PostgresProvider({ dataSource: source });
      await opened([plain, hosted], async () => {
        await plain.administration.drop('shared');
        const batch = batchOfEveryKind();
        const inside = await source.transaction(async (manager) => {
          const within = hosted.within(manager);
          expect((await within.commit([batch]))[0]?.outcome).toBe('committed');
          const addresses = batch.changes.map(({ address }) => ({ database: 'shared', ...address }));
          return (await within.read(addresses)).rows;
        });
        expect(((await resultsOf(plain, batch)) as { readonly read: unknown }).read).toEqual(inside);
      });
    });

    it('copies rows unchanged', async () => {
      const hosted = new PostgresProvider({ dataSource: source });
      await opened([plain, hosted], async () => {
        await plain.administration.drop('shared');
        await commitOne(plain, batchOfEveryKind());
        const rows = async (provider: StorageProvider, name: string): Promise<readonly RawRow[]> => {
          const found: RawRow[] = [];
          for await (const row of provider.administration.export(name)) found.push(row);
          return found;
        };
        // One key is no valid encoding: no verb writes it, and `import` refuses it.
        const moved = (await rows(hosted, 'shared')).filter(({ key }) => decodeKey(key) !== undefined);
        expect(await hosted.administration.import('tenant:moved', moved)).toBe(7);
        expect(await rows(plain, 'tenant:moved')).toEqual(moved);
        expect(await hosted.administration.drop('tenant:moved')).toBe(true);
      });
    });

    it('gets conflicts with the current version, and of concurrent writes exactly one succeeds', async () => {
      const hosted = new PostgresProvider({ dataSource: source });
      await opened([plain, hosted], async () => {
        await plain.administration.drop('shared');
        const first = putBatch('one', '1');
        await commitOne(hosted, first);
        const check = { version: '17' };
        for (const provider of [plain, hosted])
          expect(await commitOne(provider, putBatch('one', '2', check))).toMatchObject({
            outcome: 'conflict',
            actual: first.version,
          });
        const writes = Array.from({ length: 20 }, (_, index) =>
          commitOne(index % 2 === 0 ? plain : hosted, putBatch('one', '3', { version: first.version })),
        );
        const outcomes = (await Promise.all(writes)).map(({ outcome }) => outcome);
        expect(outcomes.filter((outcome) => outcome === 'committed').length).toBe(1);
        const { container, entity, key } = addressOf('counter');
        const increments = Array.from({ length: 30 }, (_, index) =>
          commitOne(
            index % 3 === 0 ? plain : hosted,
            batchOf([{ kind: 'sum', address: { container, entity, key }, operand: 1n }]),
          ),
        );
        await Promise.all(increments);
        expect((await plain.read([addressOf('counter')])).rows[0]?.value).toEqual({
          kind: 'number',
          number: 30n,
        });
      });
    });
  },
);

/** The kit runs with these settings too: the laws about numbers, times and concurrent writes. */
const laws = new Set([1, 3, 5, 6, 8]);
let kit: Promise<DataSource> | undefined;
describeStorageProvider(
  'Postgres in an application with its own settings',
  {
    create: async ({ clock, location: table }) => {
      const source = await (kit ??= hostOf('serializable'));
      await source.query(`create table if not exists kvent."${table}" (like kvent.template including all);
        create sequence if not exists kvent."${table}_feed_seq";
        create sequence if not exists kvent."${table}_feed_base" minvalue 0 start 0`);
      return new PostgresProvider({ dataSource: source, table, migrate: 'never', clock });
    },
    dispose: async (table) => {
      await (await kit)?.query(`drop table kvent."${table}"`);
    },
    only: (clause) =>
      laws.has(clause.law) &&
      (clauses as readonly unknown[]).includes(clause) &&
      clause.capability !== 'transactions',
  },
  { describe, it },
);

/**
 * Good handwritten code with `pg`: a table with the tenant in the key, named prepared statements,
 * one statement per call, a pool. The reference of the Postgres suite; every choice was made in its
 * favour.
 */
import { setTimeout as wait } from 'node:timers/promises';
import { Pool, type QueryResultRow } from 'pg';
import type { Opening } from '../contender.js';
import { poolSize } from '../database-server.js';
import { assertNoLostUpdate, counterKeys, hotKeys, savedKeys } from '../database-keys.js';
import { keyAt, product, type Product } from '../product.js';

const tenant = 'acme';
const retry = { delayMs: 5, delayMsMax: 200 };

export const openPgByHand: Opening = async ({ keys, database }) => {
  const { url = '', schema = '' } = database ?? {};
  const pool = new Pool({ connectionString: url, max: poolSize });
  const saved = savedKeys(keys);
  await pool.query(`
    create table ${schema}.product (tenant text not null, key text not null, version bigint not null, value json not null,
      updated_at timestamptz not null, primary key (tenant, key));
    create table ${schema}.indexed (like ${schema}.product including all);
    create index on ${schema}.indexed (tenant, (value ->> 'currency'), key);
    create table ${schema}.counter (tenant text not null, key text not null, number bigint not null, primary key (tenant, key))`);
  await pool.query(`insert into ${schema}.product select $1, key, 1, $2, now() from unnest($3::text[]) key`, [
    tenant,
    JSON.stringify(product),
    [...keys, ...saved, ...hotKeys],
  ]);
  await pool.query(`insert into ${schema}.indexed select * from ${schema}.product where key = any($1)`, [
    keys,
  ]);
  const texts = {
    get: `select value, version from ${schema}.product where tenant = $1 and key = $2`,
    set: `insert into ${schema}.product as p (tenant, key, version, value, updated_at) values ($1, $2, 1, $3, now())
      on conflict (tenant, key) do update set version = p.version + 1, value = excluded.value, updated_at = excluded.updated_at returning version`,
    save: `update ${schema}.product set version = version + 1, value = $4, updated_at = now()
      where tenant = $1 and key = $2 and version = $3 returning version`,
    get_many: `select key, value, version from ${schema}.product where tenant = $1 and key = any($2::text[])`,
    index_page: `select key, value, version from ${schema}.indexed
      where tenant = $1 and value ->> 'currency' = $2 order by key limit 101`,
    increment: `insert into ${schema}.counter as c (tenant, key, number) values ($1, $2, $3)
      on conflict (tenant, key) do update set number = c.number + excluded.number returning number`,
  };
  const run = async <R extends QueryResultRow>(
    name: keyof typeof texts,
    ...values: readonly unknown[]
  ): Promise<R[]> => (await pool.query<R>({ name, text: texts[name], values: [tenant, ...values] })).rows;

  const get = async (key: string): Promise<Stored | undefined> => (await run<Stored>('get', key))[0];
  const save = async (key: string, version: string, value: Product): Promise<string | undefined> =>
    (await run<Stored>('save', key, version, JSON.stringify(value)))[0]?.version;
  const increment = async (key: string): Promise<string | undefined> =>
    (await run<{ number: string }>('increment', key, 1))[0]?.number;
  const versions = new Map(saved.map((key) => [key, '1']));
  const contention = { done: 0, repeated: 0 };
  const counted = new Map<string, number>();
  const many = keys.slice(0, 100);

  return {
    name: 'pg by hand',
    traits: {
      survives: 'power loss',
      comparesAndSets: true,
      returns: 'fresh copy',
      note: 'prepared, one statement per call',
    },
    verbs: {
      get: (call) => get(keyAt(keys, call)),
      set: (call) => run('set', keyAt(keys, call), JSON.stringify(product)),
      save: async (call) => {
        const key = keyAt(saved, call);
        const version = await save(key, versions.get(key) as string, product);
        if (version === undefined) throw new Error(`${key} has another version than expected.`);
        versions.set(key, version);
      },
      getMany: async () => {
        const found = new Map(
          (await run<Stored & { key: string }>('get_many', many)).map((row) => [row.key, row]),
        );
        return many.map((key) => found.get(key));
      },
      'index page': () => run('index_page', 'EUR'),
      increment: (call) => increment(keyAt(counterKeys, call)),
      'one counter': () => increment('one'),
      'hot update': async (call) => {
        const key = keyAt(hotKeys, call);
        for (let attempt = 0; ; attempt += 1) {
          const { value, version } = (await get(key)) as Stored;
          if ((await save(key, version, { ...value, stock: value.stock + 1 })) !== undefined) break;
          contention.repeated += 1;
          await wait(Math.random() * Math.min(retry.delayMsMax, retry.delayMs * 2 ** attempt));
        }
        contention.done += 1;
      },
      'hot increment': async (call) => {
        const key = keyAt(hotKeys, call);
        await increment(key);
        counted.set(key, (counted.get(key) ?? 0) + 1);
      },
    },
    contention,
    verify: async () => {
      const stocks = await Promise.all(
        hotKeys.map(async (key) => (await get(key))?.value.stock ?? Number.NaN),
      );
      const { rows } = await pool.query<{ key: string; number: string }>(
        `select key, number from ${schema}.counter`,
      );
      const numbers = new Map(rows.map(({ key, number }) => [key, Number(number)]));
      assertNoLostUpdate('pg by hand', { contention, stocks, counted, numbers });
    },
    close: () => pool.end(),
  };
};

interface Stored {
  readonly value: Product;
  readonly version: string;
}

/**
 * Good handwritten code for event streams with `pg`: one row per stream with its version, one row
 * per event, and an append that checks the version and inserts the events in one prepared
 * statement. What Kvent stores
 * too, it stores: ids, metadata, times; every other choice was made in its favour.
 */
import { Pool, type QueryResultRow } from 'pg';
import { randomUUID } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import type { Opening } from '../contender.js';
import { poolSize } from '../database-server.js';
import { keyAt, product, type Product } from '../product.js';
import {
  bulkIds,
  event as changed,
  hotIds,
  hundred,
  longId,
  keyedIds,
  readEvents,
  readIds,
  streamIds,
  Versions,
} from '../stream-work.js';

const tenant = 'acme';
const retry = { delayMs: 5, delayMsMax: 100 };

export const openPgStreamsByHand: Opening = async ({ database, longEvents }) => {
  const { url = '', schema = '' } = database ?? {};
  const pool = new Pool({ connectionString: url, max: poolSize });
  await pool.query(`
    create table ${schema}.stream (tenant text not null, id text not null, version bigint not null, primary key (tenant, id));
    create table ${schema}.event (tenant text not null, stream text not null, version bigint not null, id uuid not null, type text not null, data json not null,
      metadata json not null, recorded_at timestamptz not null, primary key (tenant, stream, version));
    create table ${schema}.idempotency (tenant text not null, stream text not null, key text not null, version bigint not null, content text not null,
      at timestamptz not null, primary key (tenant, stream, key))`);
  const advance = (condition: string): string => `insert into ${schema}.stream as s (tenant, id, version)
      select $1, $2, $4 where $3::bigint is null or $3 = 0 or exists (select from ${schema}.stream where tenant = $1 and id = $2)
      on conflict (tenant, id) do update set version = s.version + $4 ${condition} returning version`;
  const inserted = `insert into ${schema}.event (tenant, stream, version, id, type, data, metadata, recorded_at)
      select $1, $2, u.version - $4 + e.i, e.id, e.type, e.data::json, '{}'::json, now() from u, unnest($5::uuid[], $6::text[], $7::text[]) with ordinality e(id, type, data, i)`;
  const texts = {
    append: `with u as (${advance('where s.version = $3')}), n as (${inserted}) select version from u`,
    append_any: `with u as (${advance('where $3::bigint is null')}), n as (${inserted}) select version from u`,
    append_keyed: `with u as (${advance('where s.version = $3')}), n as (${inserted}),
      m as (insert into ${schema}.idempotency select $1, $2, $8, u.version, $9, now() from u) select version from u`,
    read: `select version, id, type, data, metadata, recorded_at from ${schema}.event where tenant = $1 and stream = $2 order by version`,
    version: `select version from ${schema}.stream where tenant = $1 and id = $2`,
  };
  const run = async <R extends QueryResultRow>(
    name: keyof typeof texts,
    ...values: readonly unknown[]
  ): Promise<R[]> => (await pool.query<R>({ name, text: texts[name], values: [tenant, ...values] })).rows;
  const columns = (events: readonly (typeof changed)[]) =>
    [
      events.length,
      events.map(() => randomUUID()),
      events.map(({ type }) => type),
      events.map(({ data }) => JSON.stringify(data)),
    ] as const;

  const versions = new Versions();
  let keys = 0;
  const append = async (id: string, events: readonly (typeof changed)[]): Promise<void> => {
    const [appended] = await run('append', id, versions.of(id), ...columns(events));
    if (appended === undefined) throw new Error(`${id} has another version than expected.`);
    versions.add(id, events.length);
  };
  const versionOf = async (id: string): Promise<number> =>
    Number((await run<{ version: string }>('version', id))[0]?.version ?? 0);
  for (const id of readIds)
    await run('append_any', id, null, ...columns(Array.from({ length: readEvents }, () => changed)));
  for (let index = 0; index < longEvents; index += readEvents)
    await run(
      'append_any',
      longId,
      null,
      ...columns(Array.from({ length: Math.min(readEvents, longEvents - index) }, () => changed)),
    );
  const contention = { done: 0, repeated: 0 };

  return {
    name: 'pg by hand',
    traits: {
      survives: 'power loss',
      comparesAndSets: true,
      returns: 'fresh copy',
      note: 'prepared, one statement per append; its decisions read only the version',
    },
    verbs: {
      append: (call) => append(keyAt(streamIds, call), [changed]),
      'append 100': (call) => append(keyAt(bulkIds, call), hundred),
      'append, marked': async (call) => {
        const id = keyAt(keyedIds, call);
        const [appended] = await run(
          'append_keyed',
          id,
          versions.of(id),
          ...columns([changed]),
          `key-${(keys += 1)}`,
          'digest',
        );
        if (appended === undefined) throw new Error(`${id} has another version than expected.`);
        versions.add(id, 1);
      },
      'hot append': async (call) => {
        const id = keyAt(hotIds, call);
        await run('append_any', id, null, ...columns([changed]));
        versions.add(id, 1);
      },
      'hot transact': async (call) => {
        const id = keyAt(hotIds, call);
        for (let attempt = 0; ; attempt += 1) {
          const [appended] = await run('append', id, await versionOf(id), ...columns([changed]));
          if (appended !== undefined) break;
          contention.repeated += 1;
          await wait(Math.random() * Math.min(retry.delayMsMax, retry.delayMs * 2 ** attempt));
        }
        contention.done += 1;
        versions.add(id, 1);
      },
      'read 1,000': async (call) => {
        const rows = await run<{ data: Product }>('read', keyAt(readIds, call));
        if (rows.filter(({ data }) => data.stock === product.stock).length !== readEvents)
          throw new Error('Events are missing.');
      },
      'load, no snapshots': async () => {
        let count = 0;
        for (const { data } of await run<{ data: Product }>('read', longId))
          if (data.stock === product.stock) count += 1;
        if (count !== longEvents) throw new Error('Events are missing.');
      },
      version: () => versionOf(longId),
    },
    contention,
    verify: () => versions.assertLengths('pg by hand', versionOf),
    close: () => pool.end(),
  };
};

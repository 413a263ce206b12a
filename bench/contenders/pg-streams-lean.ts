/**
 * The leanest code for event streams with `pg`, as in other comparisons: one table, and an append
 * of one statement. Events have no ids, no metadata and no row for their stream, and there are no
 * tenants. `pg-streams-by-hand.ts` is the same with what Kvent stores.
 */
import { Pool } from 'pg';
import type { Opening } from '../contender.js';
import { poolSize } from '../database-server.js';
import { keyAt, product, type Product } from '../product.js';
import {
  bulkIds,
  event as changed,
  hundred,
  longId,
  once,
  readEvents,
  readIds,
  streamIds,
  Versions,
} from '../stream-work.js';

export const openLeanPgStreams: Opening = async ({ database, longEvents }) => {
  const { url = '', schema = '' } = database ?? {};
  const name = 'pg by hand, lean';
  const pool = new Pool({ connectionString: url, max: poolSize });
  await pool.query(`create table ${schema}.event (position bigint generated always as identity primary key,
    stream text not null, version int not null, type text not null, data jsonb not null,
    recorded_at timestamptz not null default now(), unique (stream, version))`);
  const append = {
    name: 'append',
    text: `insert into ${schema}.event (stream, version, type, data)
      select $1, $2::int + e.n, e.event ->> 'type', e.event -> 'data' from jsonb_array_elements($3::jsonb) with ordinality e(event, n)
      where coalesce((select max(version) from ${schema}.event where stream = $1), 0) = $2 returning position`,
  };
  const read = {
    name: 'read',
    text: `select version, type, data from ${schema}.event where stream = $1 order by version`,
  };
  const versions = new Versions();
  const appendTo = async (id: string, events: readonly (typeof changed)[]): Promise<void> => {
    const { rowCount } = await pool.query({
      ...append,
      values: [id, versions.of(id), JSON.stringify(events)],
    });
    if (rowCount !== events.length) throw new Error(`${id} has another version than expected.`);
    versions.add(id, events.length);
  };
  const readAll = async (id: string, expected: number): Promise<void> => {
    const { rows } = await pool.query<{ data: Product }>({ ...read, values: [id] });
    if (rows.filter(({ data }) => data.stock === product.stock).length !== expected)
      throw new Error('Events are missing.');
  };
  const fill = async (id: string, events: number): Promise<void> => {
    for (let index = 0; index < events; index += hundred.length) await appendTo(id, hundred);
  };
  for (const id of readIds) await fill(id, readEvents);
  const filled = once(async () => await fill(longId, longEvents));
  return {
    name,
    traits: {
      survives: 'power loss',
      comparesAndSets: true,
      returns: 'fresh copy',
      note: 'prepared, one statement and one table; no ids, no metadata, no tenants',
    },
    verbs: {
      append: (call) => appendTo(keyAt(streamIds, call), [changed]),
      'append 100': (call) => appendTo(keyAt(bulkIds, call), hundred),
      'read 1,000': (call) => readAll(keyAt(readIds, call), readEvents),
      'load, no snapshots': async () => {
        await filled();
        await readAll(longId, longEvents);
      },
    },
    verify: () =>
      versions.assertLengths(name, async (id) => {
        const text = `select max(version) as version from ${schema}.event where stream = $1`;
        return (await pool.query<{ version: number }>(text, [id])).rows[0]?.version ?? 0;
      }),
    close: () => pool.end(),
  };
};

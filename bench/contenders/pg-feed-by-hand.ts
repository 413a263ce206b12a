/**
 * A feed by hand: all events in one table, numbered by a sequence, and a page as one indexed
 * `select`. Such a reader skips an event whose transaction ends after that of a later number; the
 * reference does without the guard in its favour.
 */
import { Pool } from 'pg';
import type { Contender, Opening, Setup } from '../contender.js';
import { poolSize } from '../database-server.js';
import { keyAt, product, type Product } from '../product.js';
import { longId, pageEvents } from '../stream-work.js';

export const selectByHand = 'select by hand';

async function open(name: string, columns: string, { database, longEvents }: Setup): Promise<Contender> {
  const { url = '', schema = '' } = database ?? {};
  const pool = new Pool({ connectionString: url, max: poolSize });
  await pool.query(`create table ${schema}.event (position bigint generated always as identity primary key,
    stream text not null, version bigint not null, type text not null, data json not null,
    id uuid not null default gen_random_uuid(), metadata json not null default '{}', recorded_at timestamptz not null default now())`);
  await pool.query(
    `insert into ${schema}.event (stream, version, type, data)
      select $1, version, 'changed', $2::json from generate_series(1, $3::int) version`,
    [longId, JSON.stringify(product), longEvents],
  );
  const text = `select ${columns} from ${schema}.event where position > $1 order by position limit ${pageEvents}`;
  const starts = Array.from({ length: Math.floor(longEvents / pageEvents) }, (_, page) => page * pageEvents);
  return {
    name,
    traits: { survives: 'power loss', comparesAndSets: false, returns: 'fresh copy', note: columns },
    verbs: {
      'feed page': async (call) => {
        const values = [keyAt(starts, call)];
        const { rows } = await pool.query<{ data: Product }>({ name: 'page', text, values });
        if (rows.filter(({ data }) => data.stock === product.stock).length !== pageEvents)
          throw new Error('Events are missing.');
      },
    },
    close: () => pool.end(),
  };
}

const lean = 'position, stream, version, type, data';

export const openFeedByHand: Opening = (setup) =>
  open(selectByHand, `${lean}, id, metadata, recorded_at`, setup);
export const openLeanFeedByHand: Opening = (setup) => open(`${selectByHand}, lean`, lean, setup);

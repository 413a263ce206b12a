/**
 * A dump of the table of rows and its sequences, restored into the database of another server. The
 * binaries from npm have no `pg_dump`; its statements are the same: COPY and `setval`.
 */
import { pipeline } from 'node:stream/promises';
import { openStorage } from '@kvent/key-value-storage/core';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import { asAdmin } from '../postgres/databases.js';

const table = 'kvent.row';
const sequences = ['kvent.row_feed_seq', 'kvent.row_feed_base'];

/** No storage may be open on the target. */
export async function dumpAndRestore(source: string, target: string): Promise<void> {
  // creates the empty tables
  await (await openStorage(new PostgresProvider({ url: target }))).close();
  await asAdmin(source, async (from) => {
    await asAdmin(target, async (to) => {
      await to.query(`truncate ${table}`);
      const rows = from.query(copyTo(`copy ${table} to stdout`));
      await pipeline(rows, to.query(copyFrom(`copy ${table} from stdin`)));
      for (const sequence of sequences) {
        const found = await from.query<{ last_value: string; is_called: boolean }>(
          `select last_value, is_called from ${sequence}`,
        );
        const [state] = found.rows;
        await to.query('select setval($1::regclass, $2, $3)', [
          sequence,
          state?.last_value,
          state?.is_called,
        ]);
      }
    });
  });
}

/** Other work of the server: its next transaction has at least this id. */
export async function passTransactions(url: string, upTo: bigint): Promise<void> {
  await asAdmin(url, async (client) => {
    await client.query(`do $$ begin
  while pg_current_xact_id()::text::int8 < ${upTo} loop commit; end loop; end $$`);
  });
}

export async function nextTransaction(url: string): Promise<bigint> {
  return await asAdmin(url, async (client) => {
    const found = await client.query<{ id: string }>('select pg_current_xact_id()::text id');
    return BigInt(found.rows[0]?.id ?? 0);
  });
}

/**
 * Serialization failures and deadlocks are retried within the provider; callers do not see them.
 */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  defineState,
  openStorage,
  retryOnConflict,
  type KeyValueStorage,
} from '@kvent/key-value-storage/core';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { Client } from 'pg';
import { asAdmin, freshDatabase, type FreshDatabase } from '../postgres/databases.js';
import { until } from '../postgres/until.js';

const Thing = defineState<{ count: number }>('thing');
/** Enough attempts for any number of conflicts: only the stored rows matter. */
const manyAttempts = { attempts: 1_000, budgetMs: 120_000 };
const other = 'pid <> pg_backend_pid() and datname = current_database()';

describe('concurrent writers of a storage on Postgres', () => {
  let database: FreshDatabase;
  beforeEach(async () => {
    database = await freshDatabase();
  });
  afterEach(async () => {
    await database[Symbol.asyncDispose]();
  });

  const open = (): Promise<KeyValueStorage> => openStorage(new PostgresProvider({ url: database.url }));
  const configure = (setting: string): Promise<unknown> =>
    asAdmin(database.url, async (client) => {
      const { rows } = await client.query<{ name: string }>('select current_database() as name');
      await client.query(`alter database ${client.escapeIdentifier(rows[0]?.name ?? '')} set ${setting}`);
    });

  it.each(['repeatable read', 'serializable'])(
    'never see a serialization failure if transactions are %s',
    async (level) => {
      await configure(`default_transaction_isolation = '${level}'`);
      // Two pools, like two processes: callers of one storage queue for a row.
      await using one = await open();
      await using two = await open();
      const keys = ['a', 'b', 'c'];
      await one.store(Thing).setMany(keys.map((key) => ({ key, value: { count: 0 } })));
      const before = await rollbacks(database.url);
      const add = async (storage: KeyValueStorage, caller: number): Promise<void> => {
        const things = storage.store(Thing);
        for (let round = 0; round < 10; round += 1) {
          const [first = '', second = ''] = [keys[(caller + round) % 3], keys[(caller + round + 1) % 3]];
          await things.update(first, ({ count }) => ({ count: count + 1 }), { retry: manyAttempts });
          await retryOnConflict(async () => {
            const [from, to] = await things.getMany([first, second]);
            if (from === undefined || to === undefined) throw new Error('A row is missing.');
            const batch = storage.atomic().save(things, from.with({ count: from.value.count - 1 }));
            await batch.save(things, to.with({ count: to.value.count + 1 })).commit();
          }, manyAttempts);
        }
      };
      let repetitions = 0;
      await until('the server has counted a rollback', async () => {
        repetitions += 1;
        await Promise.all(
          [one, two].flatMap((storage) => Array.from({ length: 5 }, (_, caller) => add(storage, caller))),
        );
        return (await rollbacks(database.url)) > before;
      });
      const counts = (await one.store(Thing).getMany(keys)).map((entry) => entry?.value.count ?? Number.NaN);
      expect(counts.reduce((sum, count) => sum + count)).toBe(repetitions * 2 * 5 * 10);
    },
  );

  it('cause no deadlock: a writer that waits for a row holds no other', async () => {
    // If there were a deadlock, the statement of the storage would be cancelled.
    await configure("deadlock_timeout = '5s'");
    await using storage = await openStorage(
      new PostgresProvider({ url: database.url, lockTimeoutMs: 120_000, requestTimeoutMs: 180_000 }),
    );
    const things = storage.store(Thing);
    await things.setMany(['a', 'b'].map((key) => ({ key, value: { count: 0 } })));
    const otherWriter = new Client({ connectionString: database.url });
    await otherWriter.connect();
    try {
      await otherWriter.query("set deadlock_timeout = '5min'");
      await otherWriter.query('begin');
      await otherWriter.query("select 1 from kvent.row where key like '%b' for update");
      const written = things.setMany(['a', 'b'].map((key) => ({ key, value: { count: 1 } })));
      await until('the write waits for the locked row', () => waitsAlone(database.url));
      await otherWriter.query("update kvent.row set updated_at = updated_at where key like '%a'");
      expect(await waitsAlone(database.url)).toBe(true);
      await otherWriter.query('commit');
      await written;
    } finally {
      await otherWriter.end();
    }
    expect((await things.getMany(['a', 'b'])).map((entry) => entry?.value.count)).toEqual([1, 1]);
  });
});

/** The number of rollbacks in this database. */
const rollbacks = (url: string): Promise<number> => statistic(url, 'xact_rollback');

function statistic(url: string, name: string): Promise<number> {
  return asAdmin(url, async (client) => {
    const { rows } = await client.query<{ count: number }>(
      `select ${name}::int as count from pg_stat_database where datname = current_database()`,
    );
    return rows[0]?.count ?? -1;
  });
}

/** Whether a write waits alone, after the short lock wait of its group. */
async function waitsAlone(url: string): Promise<boolean> {
  const sql = `select 1 from pg_stat_activity where ${other} and wait_event_type = 'Lock' and query_start < now() - interval '150 ms'`;
  return await asAdmin(url, async (client) => (await client.query(sql)).rowCount === 1);
}

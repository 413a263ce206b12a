/**
 * Indexes that are built while entries change. A batch that replaces an entry removes its row in an
 * index, and a build may write that row where the batch does not see it: after the beginning of its
 * statement, or of its transaction.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { PostgresProvider } from '@kvent/key-value-postgres';
import {
  defineState,
  isStorageError,
  openStorage,
  type KeyValueStorage,
} from '@kvent/key-value-storage/core';
import { DataSource } from 'typeorm';
import { freshDatabase, type FreshDatabase } from '../postgres/databases.js';
import { until } from '../postgres/until.js';

interface Slot {
  readonly doctor: string;
}
const Plain = defineState<Slot>('slot');
const indexes = { byDoctor: ({ doctor }: Slot) => doctor };
const Slots = defineState<Slot, string, typeof indexes>('slot', { indexes });

let database: FreshDatabase;
let source: DataSource;
beforeAll(async () => {
  database = await freshDatabase();
  source = await new DataSource({ type: 'postgres', url: database.url, extra: { max: 8 } }).initialize();
});
afterAll(async () => {
  await source.destroy();
  await database[Symbol.asyncDispose]();
});

const open = async (schema: string): Promise<KeyValueStorage> =>
  await openStorage(new PostgresProvider({ dataSource: source, schema }));

/** The doctors of the entries by the index, however long its build takes. */
async function indexed(storage: KeyValueStorage): Promise<readonly string[]> {
  for (;;)
    try {
      const found: string[] = [];
      for await (const { key, value } of storage.store(Slots).index('byDoctor').list())
        found.push(`${key} ${value.doctor}`);
      return found;
    } catch (error) {
      if (!isStorageError(error, 'INDEX_NOT_READY')) throw error;
    }
}

describe('an index that is built while an entry changes', () => {
  const changes = {
    'is replaced': async (storage: KeyValueStorage) => await storage.store(Slots).set('a', { doctor: 'y' }),
    'is updated': async (storage: KeyValueStorage) =>
      await storage.store(Slots).update('a', () => ({ doctor: 'y' })),
    'is deleted': async (storage: KeyValueStorage) => await storage.store(Slots).delete('a'),
  };
  const after = { 'is replaced': ['a y'], 'is updated': ['a y'], 'is deleted': [] };
  const names = ['is replaced', 'is updated', 'is deleted'] as const;

  it.each(names)(
    'has no row of an entry that %s in a transaction that began before the build',
    async (name) => {
      const schema = name.replaceAll(' ', '_');
      await using storage = await open(schema);
      await storage.store(Plain).set('a', { doctor: 'x' });
      const change = async (isLate: boolean): Promise<unknown> =>
        await source.transaction('REPEATABLE READ', async (manager) => {
          await manager.query('select 1');
          if (isLate) expect(await indexed(storage)).toEqual(['a x']);
          return await changes[name](storage.within(manager));
        });
      await expect(change(true)).rejects.toMatchObject({ code: 'STORAGE_CONFLICT', retryable: true });
      expect(await indexed(storage)).toEqual(['a x']);
      await change(false);
      expect(await indexed(storage)).toEqual(after[name]);
    },
  );

  it.each(names)('has no row of an entry that %s by a statement that waits for the build', async (name) => {
    const schema = `waits_${name.replaceAll(' ', '_')}`;
    {
      await using storage = await open(schema);
      await storage.store(Slots).set('a', { doctor: 'x' });
      await indexed(storage);
    }
    // as before the build has come to the entry
    const isIndexRow = `container like 'index:%' and entity like '%!%'`;
    await source.query(`create table ${schema}.kept as select * from ${schema}.row where ${isIndexRow}`);
    await source.query(`delete from ${schema}.row where ${isIndexRow}`);
    const set = (from: string, to: string): string =>
      `update ${schema}.row set value = replace(value::text, '${from}', '${to}')::json where container like 'index:%'`;
    await source.query(set('ready', 'building'));
    await using storage = await open(schema);
    const build = source.createQueryRunner();
    let changed: Promise<unknown> = Promise.resolve();
    try {
      await build.startTransaction();
      await build.query(`select from ${schema}.row where container like 'state:%' for no key update`);
      await build.query(`insert into ${schema}.row select * from ${schema}.kept`);
      await build.query(set('building', 'ready'));
      // outside of a transaction it would wait for the row alone, for most of the time
      changed = source.transaction(async (manager) => await changes[name](storage.within(manager)));
      await until('the change waits for the build', async () => {
        const waiting = await source.query<readonly unknown[]>(
          `select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()`,
        );
        return waiting.length > 0;
      });
      await build.commitTransaction();
    } finally {
      if (build.isTransactionActive) await build.rollbackTransaction();
      await build.release();
      await changed;
    }
    expect(await indexed(storage)).toEqual(after[name]);
  });
});

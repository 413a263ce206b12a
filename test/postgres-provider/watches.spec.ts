/**
 * Watches on Postgres without the time of a poll: the clock of the provider is a manual one, so no
 * poll ever comes, and each item is due to a hint.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { defineState, openStorage, type Entry, type KeyValueStorage } from '@kvent/key-value-storage/core';
import { ManualClock } from '@kvent/key-value-storage/testing';
import { asAdmin, freshDatabase, type FreshDatabase } from '../postgres/databases.js';
import { until } from '../postgres/until.js';

const Numbers = defineState<{ readonly n: number }>('number');

describe('watches on Postgres, without a poll,', () => {
  let database: FreshDatabase;
  const opened: KeyValueStorage[] = [];
  const open = async (): Promise<KeyValueStorage> => {
    const { url } = database;
    const options = { url, notify: true, poolSize: 4, clock: new ManualClock(), applicationName: 'watch' };
    const storage = await openStorage(new PostgresProvider(options));
    opened.push(storage);
    return storage;
  };
  beforeAll(async () => {
    database = await freshDatabase();
  });
  afterAll(async () => {
    for (const storage of opened) await storage.close();
    await database[Symbol.asyncDispose]();
  });

  /** The numbers that a watch has shown. */
  function collect(watch: AsyncIterable<Entry<{ readonly n: number }> | undefined>) {
    const numbers: (number | undefined)[] = [];
    const read = async (): Promise<void> => {
      for await (const entry of watch) numbers.push(entry?.value.n);
    };
    return { numbers, done: read() };
  }

  const listeners = async (): Promise<readonly number[]> =>
    await asAdmin(database.url, async (client) => {
      const text = `select pid from pg_stat_activity where application_name = 'watch' and (query = 'select 1' or query like 'listen %')`;
      return (await client.query<{ pid: number }>(text)).rows.map(({ pid }) => pid);
    });

  it('show the commits of their own process at once', async () => {
    const numbers = (await open()).store(Numbers);
    const { numbers: shown } = collect(numbers.watch('own'));
    await until('the first item', () => shown.length === 1);
    await numbers.set('own', { n: 1 });
    await until('the commit', () => shown.length === 2);
    await numbers.delete('own');
    await until('the deletion', () => shown.length === 3);
    expect(shown).toEqual([undefined, 1, undefined]);
  });

  it('with `notify`, show those of another process, also after the listening connection was cut', async () => {
    const [here, there] = [(await open()).store(Numbers), (await open()).store(Numbers)];
    const { numbers: shown } = collect(here.watch('theirs'));
    let n = 0;
    /** A wake-up that was sent before the other process listened is lost, so it writes again. */
    const writeUntilShown = async (): Promise<void> => {
      await until('a commit of the other process', async () => {
        await there.set('theirs', { n: (n += 1) });
        return shown.at(-1) !== undefined && (shown.at(-1) as number) >= 1;
      });
      const last = n;
      await until('the last commit', async () => {
        if (shown.at(-1) !== last) await there.set('theirs', { n: last });
        return shown.at(-1) === last;
      });
    };
    await writeUntilShown();
    const before = await listeners();
    expect(before.length).toBeGreaterThan(0);
    await asAdmin(database.url, async (client) => {
      await client.query('select pg_terminate_backend(pid) from unnest($1::int[]) pid', [before]);
    });
    await until('another listening connection', async () => {
      const now = await listeners();
      return now.length > 0 && now.every((pid) => !before.includes(pid));
    });
    shown.length = 0;
    await writeUntilShown();
  });
});

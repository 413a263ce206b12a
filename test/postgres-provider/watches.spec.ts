/**
 * Watches on Postgres without the time of a poll: the clock of the provider is a manual one, so no
 * poll ever comes, and each item is due to a hint.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { defineState, openStorage, type Entry, type KeyValueStorage } from '@kvent/key-value-storage/core';
import { ManualClock } from '@kvent/key-value-storage/testing';
import pg, { type Client } from 'pg';
import { asAdmin, freshDatabase, type FreshDatabase } from '../postgres/databases.js';
import { until } from '../postgres/until.js';

class OpenProvider extends PostgresProvider implements AsyncDisposable {
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

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

  const channel = 'kvent "kvent"."row"';

  /** With a role that may connect, and has no grant. */
  const asIntruder = async (work: (client: Client) => Promise<void>): Promise<void> => {
    const role = `intruder_${process.pid}`;
    await asAdmin(
      database.url,
      async (client) => void (await client.query(`create role ${role} login password 'x'`)),
    );
    const address = new URL(database.url);
    [address.username, address.password] = [role, 'x'];
    try {
      await asAdmin(address.href, work);
    } finally {
      await asAdmin(database.url, async (client) => void (await client.query(`drop role ${role}`)));
    }
  };

  const listeners = async (): Promise<readonly number[]> =>
    await asAdmin(database.url, async (client) => {
      const text = `select pid from pg_stat_activity where application_name = 'watch' and (query = 'select 1' or query like 'listen %')`;
      return (await client.query<{ pid: number }>(text)).rows.map(({ pid }) => pid);
    });

  it('with `notify`, show a role without any grant only that something was committed', async () => {
    const [here, there] = [(await open()).store(Numbers), (await open()).store(Numbers)];
    const { numbers: shown } = collect(here.watch('theirs-too'));
    await asIntruder(async (client) => {
      const payloads: string[] = [];
      client.on('notification', ({ payload = '' }) => payloads.push(payload));
      await client.query(`listen ${pg.escapeIdentifier(channel)}`);
      await until('a notification, and the commit it is of', async () => {
        await there.set('theirs-too', { n: 1 });
        return payloads.length > 0 && shown.at(-1) === 1;
      });
      for (const payload of payloads) expect(payload).toMatch(/^\{"from":"[0-9a-f-]{36}"\}$/);
    });
  });

  it.each([
    ['no JSON', '{'],
    ['an empty text', ''],
    ['rows that are none', '{"from":"x","rows":[null]}'],
    ['null', 'null'],
  ])('with `notify`, go on after a forged notification with %s', async (_what, payload) => {
    const [here, there] = [(await open()).store(Numbers), (await open()).store(Numbers)];
    const key = `forged-${payload.length}`;
    const { numbers: shown } = collect(here.watch(key));
    await until('the first item', () => shown.length === 1);
    await until('the listening connection', async () => (await listeners()).length > 0);
    await asIntruder(async (client) => {
      await until('a commit after it', async () => {
        await client.query(`select pg_notify($1, $2)`, [channel, payload]);
        await there.set(key, { n: 1 });
        return shown.at(-1) === 1;
      });
    });
  });

  it('with `notify`, are woken by a flood of notifications no more often than the fastest poll reads', async () => {
    await using provider = new OpenProvider({ url: database.url, notify: true, applicationName: 'watch' });
    await provider.open();
    const row = { database: 'shared', container: 'state:state', entity: 'number', key: 'flooded' };
    const ending = new AbortController();
    let woken = 0;
    const from = performance.now();
    const count = async (): Promise<void> => {
      for await (const _hint of provider.hints([row], ending.signal)) woken += 1;
    };
    const counted = count();
    await asIntruder(async (client) => {
      await until('some wake-ups', async () => {
        await client.query(`select pg_notify($1, i::text) from generate_series(1, 1000) i`, [channel]);
        return woken >= 5;
      });
    });
    ending.abort();
    await counted;
    // one more as it begins to listen, and one at once
    expect(woken).toBeLessThanOrEqual((performance.now() - from) / 200 + 2);
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

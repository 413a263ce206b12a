/**
 * A cluster of three servers with synchronous replication: stale reads from replicas, and the loss
 * of the primary. The tests are in order: the last one kills the primary.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import {
  defineState,
  isStorageError,
  openStorage,
  type KeyValueStorage,
  type KeyValueStore,
} from '@kvent/key-value-storage/core';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { DataSource } from 'typeorm';
import { Cluster } from '../postgres/cluster.js';
import { asAdmin } from '../postgres/databases.js';
import { Proxy } from '../postgres/proxy.js';
import type { PostgresServer } from '../postgres/server.js';
import { until } from '../postgres/until.js';
import { Ledger } from './postgres-ledger.js';

const Thing = defineState<{ count: number }>('thing');
let cluster: Cluster;
beforeAll(async () => {
  cluster = await Cluster.create();
});
afterAll(async () => {
  await cluster[Symbol.asyncDispose]();
});

describe('stale reads', () => {
  let replica: PostgresServer;
  let dataSource: DataSource;
  let storage: KeyValueStorage;
  let things: KeyValueStore<{ count: number }>;
  beforeEach(async () => {
    replica = cluster.standbys[0] as PostgresServer;
    const replication = { master: { url: cluster.primary.url() }, slaves: [{ url: replica.url() }] };
    dataSource = await new DataSource({ type: 'postgres', replication }).initialize();
    const provider = new PostgresProvider({ dataSource });
    storage = await openStorage(provider);
    expect(provider.features).toMatchObject({ staleReads: true, durable: 'quorum' });
    things = storage.store(Thing);
    await things.set('a', { count: 1 });
    // it may not have got the table yet: the other standby was enough for the commit
    await until(
      'the replica has it',
      async () => (await things.get('a', { consistency: 'stale' }).catch(() => undefined))?.value.count === 1,
    );
    await query(replica, 'select pg_wal_replay_pause()');
    await until(
      'the replica is paused',
      async () =>
        (await query(replica, 'select pg_get_wal_replay_pause_state() as state'))[0]?.['state'] === 'paused',
    );
  });
  afterEach(async () => {
    await query(replica, 'select pg_wal_replay_resume()');
    await storage[Symbol.asyncDispose]();
    await dataSource.destroy();
  });

  it('go to the replica, and only these', async () => {
    await things.set('a', { count: 2 });
    expect((await things.get('a', { consistency: 'stale' }))?.value.count).toBe(1);
    expect((await things.getMany(['a'], { consistency: 'stale' }))[0]?.value.count).toBe(1);
    expect((await things.page({ limit: 1 }, { consistency: 'stale' })).items[0]?.value.count).toBe(1);
    expect((await things.get('a'))?.value.count).toBe(2);
    expect((await things.page({ limit: 1 })).items[0]?.value.count).toBe(2);
    // Changes are based on the current rows.
    await things.update('a', ({ count }) => ({ count: count + 1 }));
    const entry = await things.getOrThrow('a');
    await things.save(entry.with({ count: entry.value.count + 1 }));
    expect((await things.get('a'))?.value.count).toBe(4);
    expect((await things.get('a', { consistency: 'stale' }))?.value.count).toBe(1);
  });

  it('return an old version, with which nothing can be overwritten', async () => {
    const old = await things.getOrThrow('a', { consistency: 'stale' });
    await things.set('a', { count: 5 });
    await expect(things.save(old.with({ count: 0 }))).rejects.toMatchObject({
      code: 'STORAGE_CONFLICT',
      effect: 'none',
    });
    expect((await things.get('a'))?.value.count).toBe(5);
  });

  it('are no current ones: a standby at the address of the primary is refused, unless it may be one', async () => {
    await using proxy = await Proxy.before(cluster.primary);
    const url = proxy.url(cluster.primary.url());
    const refusal = {
      code: 'STORAGE_UNAVAILABLE',
      effect: 'none',
      message: expect.stringContaining('standby'),
    };
    await using moved = await openStorage(new PostgresProvider({ url }));
    await things.set('a', { count: 2 });
    expect((await moved.store(Thing).get('a'))?.value.count).toBe(2);
    // the replica has not replayed that
    proxy.retarget(replica);
    proxy.cut();
    let found: unknown;
    await until('the connections to the primary are gone', async () => {
      found = await moved
        .store(Thing)
        .get('a')
        .then(
          (entry) => entry?.value.count,
          (error: unknown) => error,
        );
      expect(found).not.toBe(1);
      return isStorageError(found) && found.message.includes('standby');
    });
    expect(found).toMatchObject(refusal);
    const replicaOptions = { url: replica.url(), migrate: 'never' } as const;
    await expect(openStorage(new PostgresProvider(replicaOptions))).rejects.toMatchObject(refusal);
    await using reading = await openStorage(new PostgresProvider({ ...replicaOptions, standby: 'allow' }));
    expect((await reading.store(Thing).get('a'))?.value.count).toBe(1);
    await expect(reading.store(Thing).set('a', { count: 3 })).rejects.toMatchObject(refusal);
    proxy.retarget(cluster.primary);
    expect((await moved.store(Thing).get('a'))?.value.count).toBe(2);
  });

  it('fail if the replica is stopped, and current reads continue', async () => {
    await replica.stop('immediate');
    await expect(things.get('a', { consistency: 'stale' })).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      effect: 'none',
    });
    await things.set('a', { count: 6 });
    expect((await things.get('a'))?.value.count).toBe(6);
    await replica.start();
    await until(
      'stale reads work again',
      async () => (await things.get('a', { consistency: 'stale' }).catch(() => undefined))?.value.count === 6,
    );
  });
});

describe('a primary with standbys', () => {
  it('acknowledges nothing that no standby has', async () => {
    const options = { url: cluster.primary.url(), acquireTimeoutMs: 240_000 };
    const patientProvider = new PostgresProvider({ ...options, requestTimeoutMs: 600_000 });
    await using patient = await openStorage(patientProvider);
    await patient.store(Thing).set('b', { count: 1 });
    let hasty: KeyValueStorage | undefined;
    // on a busy machine the short timeout may expire while it opens
    await until('a storage with a short timeout opens', async () => {
      const provider = new PostgresProvider({ ...options, requestTimeoutMs: 1_000, migrate: 'never' });
      hasty = await openStorage(provider).catch(() => undefined);
      return hasty !== undefined;
    });
    await using storage = hasty as unknown as KeyValueStorage;
    const things = storage.store(Thing);
    await Promise.all(cluster.standbys.map((standby) => standby.stop('immediate')));
    await expect(things.set('b', { count: 2 })).rejects.toMatchObject({
      code: 'STORAGE_OUTCOME_UNKNOWN',
      effect: 'unknown',
    });
    // An operator cancels the wait: the server sends only a warning.
    const outcome = patient
      .store(Thing)
      .set('c', { count: 1 })
      .then(String, (error: unknown) => error);
    const cancel =
      "select count(pg_cancel_backend(pid))::int as count from pg_stat_activity where wait_event = 'SyncRep'";
    let settled = false;
    void outcome.then(() => (settled = true));
    await until('the wait was cancelled', async () => {
      await query(cluster.primary, cancel);
      return settled;
    });
    expect(await outcome).toMatchObject({ code: 'STORAGE_OUTCOME_UNKNOWN', effect: 'unknown' });
    await Promise.all(cluster.standbys.map((standby) => standby.start()));
    await until(
      'commits succeed again',
      async () => (await things.set('b', { count: 3 }).catch(() => undefined)) !== undefined,
    );
  });

  it('can be killed with kill -9 under load: the promoted standby has every acknowledged write, and the storage continues there', async () => {
    await using proxy = await Proxy.before(cluster.primary);
    await using storage = await openStorage(
      new PostgresProvider({ url: proxy.url(cluster.primary.url()), requestTimeoutMs: 10_000 }),
    );
    await using ledger = new Ledger(storage);
    await ledger.waitForMore(200);
    await cluster.killPrimary();
    const primary = await cluster.promoteTheMostAdvanced();
    proxy.retarget(primary);
    await ledger.waitForMore(200);
    await ledger.stop();
    await using reopened = await openStorage(new PostgresProvider({ url: primary.url(), migrate: 'never' }));
    await ledger.verify(reopened);
    expect(ledger.failures).not.toEqual([]);
  });
});

const query = (server: PostgresServer, sql: string): Promise<Record<string, unknown>[]> =>
  asAdmin(server.url(), async (client) => (await client.query<Record<string, unknown>>(sql)).rows);

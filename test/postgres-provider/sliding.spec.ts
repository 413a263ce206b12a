/**
 * Renewals of a sliding expiry: one reader renews it for all, and no reader waits for a locked row.
 */
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { defineState, openStorage } from '@kvent/key-value-storage/core';
import { Client } from 'pg';
import { DataSource } from 'typeorm';
import { asAdmin, freshDatabase, type FreshDatabase } from '../postgres/databases.js';
import { statementsOf } from '../postgres/statements-of.js';
import { until } from '../postgres/until.js';

const Cart = defineState<{ items: number }>('cart', { ttlMs: 3_600_000, expiry: 'sliding' });

let database: FreshDatabase;
beforeAll(async () => {
  database = await freshDatabase();
});
afterAll(async () => await database[Symbol.asyncDispose]());

/** Makes the rows old enough for a renewal. */
const ageRows = async (): Promise<void> =>
  await asAdmin(database.url, async (client) => {
    await client.query(
      `update kvent.row set expires_at = now() + interval '1 minute' where expires_at is not null`,
    );
  });
const soon = (): number => Date.now() + 10 * 60_000;

function watchedProvider(
  options: { lockTimeoutMs?: number; poolSize?: number } | { dataSource: DataSource } = {},
) {
  const provider = new PostgresProvider(
    'dataSource' in options ? options : { url: database.url, poolSize: 4, ...options },
  );
  const commit = jest.spyOn(provider, 'commit');
  const renewals = (): number =>
    commit.mock.calls.flatMap(([batches]) => batches).filter(({ changes }) => changes[0]?.kind === 'renew')
      .length;
  return { provider, renewals };
}

it('a page of an index of entries that keep their expiry is one statement, also after they are touched and after a build', async () => {
  const byDoctor = (slot: { doctor: string }) => slot.doctor;
  const Slot = (indexes: Record<string, typeof byDoctor>) =>
    defineState<{ doctor: string }, string, Record<string, typeof byDoctor>>('slot', {
      indexes,
      ttlMs: 3_600_000,
    });
  await using storage = await openStorage(new PostgresProvider({ url: database.url, poolSize: 2 }));
  const slots = storage.store(Slot({ byDoctor }));
  for (const key of ['same', 'moved', 'touched']) await slots.set(key, { doctor: 'x' });
  await slots.update('same', (slot) => slot);
  await slots.update('moved', () => ({ doctor: 'y' }));
  await slots.touch('touched', { ttlMs: 7_200_000 });
  await slots.update('touched', () => ({ doctor: 'y' }));
  await storage
    .store(Slot({ byDoctor, built: byDoctor }))
    .index('built')
    .count();
  const known = storage.store(Slot({ byDoctor, built: byDoctor }));
  for (const name of ['byDoctor', 'built']) {
    // the status of the indexes is read twice per second at most, and time stands still
    const time = jest.spyOn(performance, 'now').mockReturnValue(performance.now());
    try {
      await known.index(name).count();
      expect(await statementsOf(() => known.index(name).page({ key: 'y' }))).toBe(1);
    } finally {
      time.mockRestore();
    }
    const { items } = await known.index(name).page({ key: 'y' });
    expect(items).toEqual(await known.getMany(['moved', 'touched']));
  }
});

describe('three hundred concurrent readers of one key', () => {
  it('renew it once, and all see the new expiry', async () => {
    // by one connection: a read on another one may begin while the renewal commits, and renew again
    const { provider, renewals } = watchedProvider({ poolSize: 1 });
    await using storage = await openStorage(provider);
    const carts = storage.store(Cart);
    await carts.set('c', { items: 1 });
    for (let round = 1; round <= 3; round += 1) {
      await ageRows();
      const entries = await Promise.all(Array.from({ length: 300 }, async () => await carts.getOrThrow('c')));
      expect(entries.filter(({ expiresAt }) => (expiresAt?.getTime() ?? 0) < soon())).toEqual([]);
      expect(renewals()).toBe(round);
    }
  });

  it('do not wait for a locked row: they get what they read, and it is renewed later', async () => {
    const { provider, renewals } = watchedProvider({ lockTimeoutMs: 100_000 });
    await using storage = await openStorage(provider);
    const carts = storage.store(Cart);
    await carts.set('held', { items: 1 });
    await ageRows();
    const client = new Client({ connectionString: database.url });
    await client.connect();
    try {
      await client.query(`begin; select from kvent.row where key = 'held' for update`);
      const entries = await Promise.all(
        Array.from({ length: 300 }, async () => await carts.getOrThrow('held')),
      );
      expect(entries.filter(({ expiresAt }) => (expiresAt?.getTime() ?? Infinity) >= soon())).toEqual([]);
      // Readers do not wait for a waiting write either.
      let written = false;
      const writing = carts.set('held', { items: 2 }).finally(() => (written = true));
      expect((await carts.getOrThrow('held')).value).toEqual({ items: 1 });
      expect(written).toBe(false);
      await client.query('rollback');
      await writing;
    } finally {
      await client.end();
    }
    const before = renewals();
    await ageRows();
    expect((await carts.getOrThrow('held')).expiresAt?.getTime()).toBeGreaterThan(soon());
    expect(renewals()).toBe(before + 1);
  });
});

describe('a read within a transaction of the application', () => {
  let dataSource: DataSource;
  beforeAll(async () => {
    dataSource = await new DataSource({
      type: 'postgres',
      url: database.url,
      extra: { max: 3 },
    }).initialize();
  });
  afterAll(async () => await dataSource.destroy());

  it('locks no row, waits for none, and renews after the commit', async () => {
    const { provider, renewals } = watchedProvider({ dataSource });
    await using storage = await openStorage(provider);
    const carts = storage.store(Cart);
    await carts.set('within', { items: 1 });
    await ageRows();
    const client = new Client({ connectionString: database.url });
    await client.connect();
    try {
      await dataSource.transaction(async (manager) => {
        const lock = `begin; select from kvent.row where key = 'within' for update nowait`;
        expect((await carts.within(manager).getOrThrow('within')).expiresAt?.getTime()).toBeLessThan(soon());
        await client.query(lock);
        expect((await carts.within(manager).getOrThrow('within')).value).toEqual({ items: 1 });
        await client.query('rollback');
        expect(renewals()).toBe(0);
      });
    } finally {
      await client.end();
    }
    await until('the row is renewed', async () => {
      const { expiresAt } = (await carts.getMany(['within']))[0] ?? {};
      return (expiresAt?.getTime() ?? 0) > soon();
    });
    expect(renewals()).toBe(1);
  });

  it('renews an entry of an index once, however often it is read, also after a savepoint is rolled back', async () => {
    const { provider, renewals } = watchedProvider({ dataSource });
    await using storage = await openStorage(provider);
    const byItems = { byItems: ({ items }: { items: number }) => [items] };
    const Basket = defineState<{ items: number }, string, typeof byItems>('basket', {
      ttlMs: 3_600_000,
      expiry: 'sliding',
      indexes: byItems,
    });
    const baskets = storage.store(Basket);
    await baskets.set('read', { items: 1 });
    await ageRows();
    await dataSource.transaction(async (manager) => {
      await manager
        .transaction(async (inner) => {
          await baskets.within(inner).getOrThrow('read');
          throw new Error('rolled back');
        })
        .catch((error: unknown) => expect(String(error)).toContain('rolled back'));
      for (let n = 0; n < 5; n += 1) await baskets.within(manager).getOrThrow('read');
    });
    await until('the entry is renewed', async () => {
      const { expiresAt } = (await baskets.getMany(['read']))[0] ?? {};
      return (expiresAt?.getTime() ?? 0) > soon();
    });
    expect((await baskets.index('byItems').get([1]))?.expiresAt?.getTime()).toBeGreaterThan(soon());
    expect(renewals()).toBe(1);
  });

  it('renews nothing after a rollback, nor what the transaction has changed', async () => {
    const { provider, renewals } = watchedProvider({ dataSource });
    await using storage = await openStorage(provider);
    const carts = storage.store(Cart);
    for (const key of ['rolled back', 'changed', 'last']) await carts.set(key, { items: 1 });
    await ageRows();
    await dataSource
      .transaction(async (manager) => {
        await carts.within(manager).getOrThrow('rolled back');
        throw new Error('rolled back');
      })
      .catch((error: unknown) => expect(String(error)).toContain('rolled back'));
    await dataSource.transaction(async (manager) => {
      await carts.within(manager).getOrThrow('changed');
      await carts.within(manager).set('changed', { items: 2 }, { ttlMs: 120_000 });
    });
    await dataSource.transaction(async (manager) => void (await carts.within(manager).getOrThrow('last')));
    const expiries = async (): Promise<readonly boolean[]> =>
      (await carts.getMany(['rolled back', 'changed', 'last'])).map(
        (cart) => (cart?.expiresAt?.getTime() ?? 0) > soon(),
      );
    await until('the last row is renewed', async () => (await expiries())[2] === true);
    expect(await expiries()).toEqual([false, false, true]);
    expect(renewals()).toBe(2);
  });
});

/**
 * Calls that send every statement of the Postgres provider at least once: through the port, through
 * stores and streams, and by a copy.
 */
import { defineStream, event, EventStore } from '@kvent/event-store/core';
import { MemoryProvider } from '@kvent/key-value-storage';
import {
  copyStorage,
  defineState,
  openStorage,
  type KeyValueStorage,
  type StorageProvider,
} from '@kvent/key-value-storage/core';
import type { Batch, CommitResult, RawRow } from '@kvent/key-value-storage/provider';
import { Client } from 'pg';
import { until } from '../postgres/until.js';
import { addressOf, batchOf, putBatch } from './rows.js';

let tenants = 0;
/** A database without rows. */
export const everyTenant = (): string => `tenant:every-${(tenants += 1)}`;

const at = (key: string) => ({ container: 'state:spec', entity: 'thing', key });
const created = (tenant: string, key: string, ttl: number | 'never' = 'never'): Batch => ({
  ...putBatch(key, '1', 'absent', tenant),
  changes: [{ kind: 'put', address: at(key), value: { kind: 'json', text: '1' }, ttl }],
});
const put = (tenant: string, key: string): Batch => putBatch(key, '2', undefined, tenant);
const sum = (tenant: string, key: string): Batch =>
  batchOf([{ kind: 'sum', address: at(key), operand: 1n, floor: 0n, ceiling: 100n }], [], tenant);

async function committed(provider: StorageProvider, batches: readonly Batch[]): Promise<void> {
  const failed = (await provider.commit(batches)).filter(({ outcome }) => outcome !== 'committed');
  if (failed.length > 0) throw (failed[0] as Extract<CommitResult, { outcome: 'failed' }>).error;
}

/** Every kind of batch, twice: the results of a statement decide which one is sent next. */
export async function everyBatch(provider: StorageProvider, tenant: string): Promise<void> {
  for (let round = 0; round < 2; round += 1) {
    for (const [each, name] of [
      [created, `new-${round}`],
      [put, 'put'],
      [put, 'put'],
      [sum, 'sum'],
      [sum, 'sum'],
    ] as const) {
      await committed(provider, [each(tenant, `${name}-a`)]);
      await committed(provider, [each(tenant, `${name}-b`), each(tenant, `${name}-c`)]);
    }
    await committed(provider, [sum(tenant, 'sum-a'), sum(tenant, 'sum-a')]);
    await committed(provider, [
      created(tenant, `short-${round}`, 1),
      created(tenant, `long-${round}`, 3_600_000),
    ]);
    await committed(provider, [
      batchOf(
        [
          {
            kind: 'put',
            address: at('bytes'),
            value: { kind: 'bytes', bytes: Uint8Array.of(0, 255) },
            ttl: 'never',
          },
          { kind: 'min', address: at('min'), operand: 1n },
          { kind: 'max', address: at('max'), operand: 1n },
          { kind: 'delete', address: at('none') },
        ],
        [
          { address: at('absent'), expected: 'absent' },
          { address: at('put-a'), expected: 'present' },
        ],
        tenant,
      ),
    ]);
    // the server compresses it: a page with it, and many rows, are not sent as one line
    await committed(provider, [putBatch('large', JSON.stringify('a'.repeat(100_000)), undefined, tenant)]);
    await committed(provider, [batchOf([{ kind: 'delete', address: at(`short-${round}`) }], [], tenant)]);
    const { rows } = await provider.read([{ database: tenant, ...at(`long-${round}`) }]);
    const renewed = { address: at(`long-${round}`), expected: { version: rows[0]?.version ?? '' } };
    const renewal = batchOf(
      [{ kind: 'renew', address: at(`long-${round}`), ttlMs: 7_200_000 }],
      [renewed],
      tenant,
    );
    await committed(provider, [renewal]);
    await committed(provider, [{ ...renewal, noWait: true }]);
    // Wrong versions: the general statement of puts decides.
    const lost = await provider.commit([
      putBatch('put-a', '3', { version: '1' }, tenant),
      putBatch('put-b', '3', { version: '1' }, tenant),
    ]);
    if (lost.some(({ outcome }) => outcome !== 'conflict'))
      throw new Error('A batch with a wrong version was committed.');
  }
}

/** Every kind of read, of existing and missing rows. */
export async function everyRead(provider: StorageProvider, tenant: string): Promise<void> {
  const address = (key: string) => addressOf(key, tenant);
  const { key: _, ...space } = address('');
  for (const bounds of [{}, { start: 'a' }, { end: 'z' }, { start: 'a', end: 'z' }])
    await provider.count?.({ ...space, ...bounds });
  for (const values of ['include', 'omit'] as const) {
    for (const key of ['put-a', 'bytes', 'long-0', 'sum-a', 'none'])
      await provider.read([address(key)], { values });
    await provider.read([address('put-a'), address('long-0'), address('none')], { values });
    await provider.read([address('put-a'), { ...address('bytes'), entity: 'other' }], { values });
    const many = [...Array.from({ length: 40 }, (_, index) => address(`none-${index}`)), address('large')];
    await provider.read(many, { values });
    await provider.read([...many, { ...address('bytes'), entity: 'other' }], { values });
    await provider.read([], { values });
    for (const reverse of [false, true])
      for (const bounds of [
        {},
        { start: 'a' },
        { start: 'a', end: 'z' },
        { start: 'a', end: 'z', after: 'b' },
      ])
        for (const limit of [2, 20])
          await provider.scan([{ ...address(''), ...bounds, reverse, values, limit }]);
  }
}

async function everyAdministration(provider: StorageProvider, tenant: string): Promise<void> {
  const { administration } = provider;
  const rows: RawRow[] = [];
  for await (const row of administration.export(tenant)) rows.push(row);
  const spaces = await administration.spaces(tenant);
  if (!(await administration.databases()).includes(tenant) || spaces.length === 0 || rows.length === 0)
    throw new Error('The rows are missing.');
  await administration.import(`${tenant}-imported`, rows);
  await administration.count?.(`${tenant}-imported`);
  await administration.drop(`${tenant}-imported`);
  const freeze = await administration.freeze?.();
  await freeze?.verify();
  await freeze?.[Symbol.asyncDispose]();
  await provider.sweep(10);
}

const Tally = defineStream('tally', {
  events: { counted: event<{ by: number }>() },
  initial: () => 0,
  evolve: (sum, { data }) => sum + data.by,
  snapshot: { every: 3 },
});
const Thing = defineState<{ n: number }>('thing', { ttlMs: 3_600_000, expiry: 'sliding' });

/** Calls of stores and streams. */
export async function everyStore(storage: KeyValueStorage): Promise<void> {
  const things = storage.store(Thing);
  await Promise.all(['a', 'b', 'c'].map(async (key) => await things.set(key, { n: 1 })));
  await things.update('a', ({ n }) => ({ n: n + 1 }));
  await things.take('b');
  await things.deleteMany({ prefix: 'c' });
  const tallies = new EventStore(storage).stream(Tally);
  const counted = { type: 'counted', data: { by: 1 } } as const;
  for (let round = 0; round < 5; round += 1)
    await tallies.append('one', [counted], { expectedVersion: 'any', idempotencyKey: `one-${round}` });
  for (let round = 0; round < 5; round += 1)
    await Promise.all(
      ['x', 'y', 'z'].map(async (id) => await tallies.transact(id, () => [counted, counted])),
    );
  for (let round = 0; round < 2; round += 1) await tallies.transact('x', () => [counted]);
  if ((await tallies.load('x')).version !== 12) throw new Error('Events are missing.');
  await tallies.session('one', async (session) => await session.append([counted]));
  await tallies.delete('y');
}

/** A batch of two rows, one of which is locked by another transaction. */
async function everyWait(provider: StorageProvider, tenant: string, url: string): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await client.query('begin');
    await client.query(
      'select from kvent.row where database operator(pg_catalog.=) $1 and key operator(pg_catalog.=) $2 for update',
      [tenant, 'put-b'],
    );
    const { container, entity } = at('');
    const changes = ['put-a', 'put-b'].map(
      (key) =>
        ({
          kind: 'put',
          address: { container, entity, key },
          value: { kind: 'json', text: '4' },
          ttl: 'never',
        }) as const,
    );
    let waiting = false;
    const work = provider.commit([batchOf(changes, [], tenant)], { waiting: () => (waiting = true) });
    await until('the batch waits for the locked row', () => waiting);
    await client.query('rollback');
    const [result] = await work;
    if (result?.outcome !== 'committed') throw new Error('A batch that waited for a row was not committed.');
  } finally {
    await client.end();
  }
}

/** All calls on new providers, which use the database at `url`. */
export async function everyVerb(createProvider: () => StorageProvider, url: string): Promise<void> {
  const tenant = everyTenant();
  const provider = createProvider();
  await provider.open();
  try {
    await everyBatch(provider, tenant);
    await everyRead(provider, tenant);
    await everyAdministration(provider, tenant);
    await everyWait(provider, tenant, url);
    const copied = new MemoryProvider();
    await copied.open();
    try {
      await copyStorage(provider, copied);
    } finally {
      await copied.close();
    }
  } finally {
    await provider.close();
  }
  const storage = await openStorage(createProvider(), { tenant: tenant.slice('tenant:'.length) });
  try {
    await everyStore(storage);
  } finally {
    await storage[Symbol.asyncDispose]();
  }
}

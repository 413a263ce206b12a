/** Orders of several tenants, and their sales by day. */
import { setImmediate } from 'node:timers/promises';
import {
  defineState,
  MemoryProvider,
  type KeyValueStorage,
  type KeyValueStore,
  type StorageProvider,
} from '@kvent/key-value-storage';
import { ManualClock } from '@kvent/key-value-storage/testing';
import { storageError } from '@kvent/key-value-storage/provider';
import { decodeText, openKeyValueStorage } from '@kvent/key-value-storage/internal';
import { defineStream, event } from '../definition/stream-definition.js';
import { EventStore } from '../event-store.js';
import type { FeedEvent } from '../feed/event-feed.js';
import { On } from './class-handlers.js';
import { Projection, projectionFrom } from './projection-class.js';
import {
  defineProjection,
  type ProjectionContext,
  type ProjectionDefinition,
} from './projection-definition.js';
import { ProjectionRunner, type ProjectionRunnerOptions } from './projection-runner.js';

export const Orders = defineStream('order', {
  events: { placed: event<{ day: string; cents: number }>(), noted: event<{ text: string }>() },
  initial: () => 0,
  evolve: (cents, { type, data }) => (type === 'placed' ? cents + data.cents : cents),
});

export interface DaySales {
  readonly orders: number;
  readonly cents: number;
}
export const DaySales = defineState<DaySales>('day-sales');

export const SalesByDay = defineProjection('sales-by-day', {
  streams: [Orders],
  into: DaySales,
  partitions: 2,
  key: ({ type, data }) => (type === 'placed' ? data.day : undefined),
  initial: () => ({ orders: 0, cents: 0 }),
  evolve: (sales, { type, data }) => {
    if (type !== 'placed') return sales;
    if (data.cents < 0) throw new Error('The cents are negative.');
    return { orders: sales.orders + 1, cents: sales.cents + data.cents };
  },
});

/** How many orders a stream has; an entry is removed by an event 'noted'. */
export const OrderCounts = defineState<{ readonly orders: number }>('order-counts');

/** The same sales, and a second state in the same commit. */
@Projection('sales-and-counts', { streams: [Orders], partitions: 2 })
export class SalesAndCounts {
  readonly #days: KeyValueStore<DaySales>;
  readonly #counts: KeyValueStore<{ readonly orders: number }>;

  constructor(storage: KeyValueStorage) {
    this.#days = storage.store(DaySales);
    this.#counts = storage.store(OrderCounts);
  }

  @On(Orders, 'placed')
  placed(
    { stream, data: { day, cents } }: FeedEvent<typeof Orders, 'placed'>,
    { change }: ProjectionContext,
  ) {
    if (cents < 0) throw new Error('The cents are negative.');
    const noSales = { orders: 0, cents: 0 };
    change(this.#days, day, (sales) => ({ orders: sales.orders + 1, cents: sales.cents + cents }), {
      initial: noSales,
    });
    change(this.#counts, stream, ({ orders }) => ({ orders: orders + 1 }), {
      initial: () => ({ orders: 0 }),
    });
  }

  @On(Orders, 'noted')
  async noted({ stream }: FeedEvent<typeof Orders, 'noted'>, { remove }: ProjectionContext): Promise<void> {
    await Promise.resolve();
    remove(this.#counts, stream);
  }
}

export const salesAndCounts = ({ storage }: { readonly storage: KeyValueStorage }): ProjectionDefinition =>
  projectionFrom(new SalesAndCounts(storage));

export const placed = (day: string, cents: number) => [{ type: 'placed', data: { day, cents } }] as const;

/** What a provider does to one of its commits. */
export type Fault = 'none' | 'refuse' | 'lose the answer';

/** A memory provider whose commits fail as `faultOf` says; it counts them from 0. */
export function faulty(
  provider: StorageProvider,
  faultOf: (index: number, batches: Batches) => Fault,
): StorageProvider {
  let commits = 0;
  const commit: StorageProvider['commit'] = async (batches, options) => {
    const fault = faultOf(commits, batches);
    commits += 1;
    if (fault === 'refuse') throw storageError('STORAGE_UNAVAILABLE', 'Refused by the test.', {});
    const results = await provider.commit(batches, options);
    if (fault === 'none') return results;
    const error = storageError('STORAGE_OUTCOME_UNKNOWN', 'Lost by the test.', {});
    return batches.map(() => ({ outcome: 'failed', error }) as const);
  };
  return withCommit(provider, commit);
}

type Batches = Parameters<StorageProvider['commit']>[0];

/** Whether they change rows of the state. */
export const isOf = (batches: Batches, state: string): boolean =>
  batches.some(({ changes }) => changes.some(({ address }) => decodeText(address.entity) === state));

/** Waits for `before` in each commit; it is not committed where this rejects. */
export function beforeCommits(
  provider: StorageProvider,
  before: (batches: Batches) => Promise<void> | void,
): StorageProvider {
  const commit: StorageProvider['commit'] = async (batches, options) => {
    await before(batches);
    return await provider.commit(batches, options);
  };
  return withCommit(provider, commit);
}

const withCommit = (provider: StorageProvider, commit: StorageProvider['commit']): StorageProvider =>
  new Proxy(provider, {
    get: (target, name) => {
      if (name === 'commit') return commit;
      const member: unknown = Reflect.get(target, name, target);
      return typeof member === 'function' ? (member as () => unknown).bind(target) : member;
    },
  });

export type Shop = Awaited<ReturnType<typeof openShop>>;

/**
 * Tenants are named in each call; a call without one is `TENANT_MISSING`. The time moves while the
 * test waits in `until`.
 */
export async function openShop(wrap: (provider: StorageProvider) => StorageProvider = (each) => each) {
  const clock = new ManualClock();
  const provider = wrap(new MemoryProvider({ clock }));
  const storage = await openKeyValueStorage({ provider, tenant: () => undefined });
  const events = new EventStore(storage);
  const orders = events.stream(Orders);
  const runners: ProjectionRunner[] = [];
  async function until<R>(work: Promise<R>): Promise<R> {
    let isPending = true;
    const end = (): void => void (isPending = false);
    work.then(end, end);
    for (let round = 0; isPending; round += 1) await (round % 4 === 3 ? clock.advance(50) : setImmediate());
    return await work;
  }
  return {
    clock,
    storage,
    orders,
    until,
    async sell(tenant: string, id: string, day: string, cents: number) {
      return await orders.forTenant(tenant).append(id, placed(day, cents), { expectedVersion: 'any' });
    },
    async run(
      projection: ProjectionDefinition = SalesByDay,
      options: ProjectionRunnerOptions = {},
    ): Promise<ProjectionRunner> {
      const runner = new ProjectionRunner(storage, projection, options);
      runners.push(runner);
      await until(runner.start());
      return runner;
    },
    async sales(tenant: string): Promise<Record<string, DaySales>> {
      const found: Record<string, DaySales> = {};
      for await (const { key, value } of storage.store(DaySales).forTenant(tenant).list())
        found[String(key)] = value;
      return found;
    },
    async counts(tenant: string): Promise<Record<string, number>> {
      const found: Record<string, number> = {};
      for await (const { key, value } of storage.store(OrderCounts).forTenant(tenant).list())
        found[String(key)] = value.orders;
      return found;
    },
    async [Symbol.asyncDispose](): Promise<void> {
      for (const runner of runners) await until(runner.stop());
      await storage.close();
    },
  };
}

import 'reflect-metadata';
import { AsyncLocalStorage } from 'node:async_hooks';
import { CqrsModule, EventsHandler, type IEventHandler } from '@nestjs/cqrs';
import { Test, type TestingModule } from '@nestjs/testing';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  defineState,
  InjectStore,
  KeyValueStorage,
  KeyValueStorageModule,
  KeyValueStore,
  MemoryProvider,
  TenantContext,
  type StateOf,
} from '@kvent/key-value-storage';
import type { Batch, StorageProvider } from '@kvent/key-value-storage/provider';
import { ManualClock } from '@kvent/key-value-storage/testing';
import { defineStream, event, EventStore, type EventStream, type StreamLogEntry } from '../core.js';
import { EventBusBridgeModule } from './event-bus-bridge.module.js';
import { EventStoreModule } from './event-store.module.js';

const Order = defineStream('order', {
  events: { placed: event<{ customer: string }>() },
  initial: () => 0,
  evolve: (count: number) => count + 1,
  snapshot: { every: 2 },
});
const Audit = defineStream('audit', {
  events: { noted: event() },
  initial: () => 0,
  evolve: (count: number) => count + 1,
  scope: 'shared',
});
const Customer = defineState<{ readonly orders: number }>('customer');
const placed = { type: 'placed', data: { customer: 'ada' } } as const;

/** The async context of a request, as a user or a trace has it. */
const request = new AsyncLocalStorage<string>();
let tenants: TenantContext;
/** The tenant and the request of the current async context. */
interface CallContext {
  readonly tenant: string | undefined;
  readonly request: string | undefined;
}
const currentContext = (): CallContext => ({ tenant: tenants.current(), request: request.getStore() });
const outsideRequests = (tenant: string | undefined): CallContext => ({ tenant, request: undefined });

const handled: Promise<void>[] = [];
class OrderPlaced {
  constructor(
    readonly tenant: string | undefined,
    readonly customer: string,
  ) {}
}
@EventsHandler(OrderPlaced)
class CountOrders implements IEventHandler<OrderPlaced> {
  constructor(@InjectStore(Customer) private readonly customers: KeyValueStore<StateOf<typeof Customer>>) {}

  handle({ customer }: OrderPlaced): void {
    const count = this.customers.update(customer, ({ orders }) => ({ orders: orders + 1 }), {
      initial: () => ({ orders: 0 }),
    });
    handled.push(count.then(() => undefined));
  }
}

let app: TestingModule;
let clock: ManualClock;
let orders: EventStream<typeof Order>;
/** The calls of the `committed` listener, with the tenants of the events. */
let listenerCalls: (CallContext & { readonly eventTenants: (string | undefined)[] })[];
let logged: (CallContext & { readonly entry: StreamLogEntry })[];
/** The contexts in which leases were renewed. */
let renewals: CallContext[];

function recordRenewals(provider: MemoryProvider): StorageProvider {
  return new Proxy<StorageProvider>(provider, {
    get(target, name): unknown {
      const member: unknown = Reflect.get(target, name, target);
      if (typeof member !== 'function') return member;
      return (...args: readonly unknown[]): unknown => {
        const isRenewal =
          name === 'commit' &&
          (args[0] as readonly Batch[]).some(({ changes }) => changes.some(({ kind }) => kind === 'renew'));
        if (isRenewal) renewals.push(currentContext());
        return Reflect.apply(member, target, args);
      };
    },
  });
}

beforeEach(async () => {
  [listenerCalls, logged, renewals, handled.length] = [[], [], [], 0];
  clock = new ManualClock();
  app = await Test.createTestingModule({
    imports: [
      KeyValueStorageModule.forRoot({
        provider: () => recordRenewals(new MemoryProvider({ clock })),
        tenancy: {},
        sweepEveryMs: 'never',
      }),
      KeyValueStorageModule.forFeature([Customer]),
      EventStoreModule.forRoot({
        clock,
        observer: { observe: (entry) => void logged.push({ ...currentContext(), entry }) },
        committed: (_stream, events) =>
          void listenerCalls.push({ ...currentContext(), eventTenants: events.map(({ tenant }) => tenant) }),
      }),
      EventStoreModule.forFeature([Order, Audit]),
      CqrsModule.forRoot(),
      EventBusBridgeModule.forFeature(Order, {
        placed: ({ tenant, data }) => new OrderPlaced(tenant, data.customer),
      }),
    ],
    providers: [CountOrders],
  }).compile();
  await app.init();
  tenants = app.get(TenantContext, { strict: false });
  orders = app.get(EventStore, { strict: false }).stream(Order);
});
afterEach(async () => await app.close());

const inRequestOfAcme = async <R>(work: () => Promise<R>): Promise<R> =>
  await request.run('r-1', async () => await tenants.run('acme', work));
const ordersOf = async (tenant: string): Promise<number | undefined> =>
  (await app.get(KeyValueStorage, { strict: false }).store(Customer).forTenant(tenant).get('ada'))?.value
    .orders;

describe('After a commit', () => {
  it('listeners run for the tenant of the commit and outside the request, whatever the verb', async () => {
    const ordersOfGlobex = orders.forTenant('globex');
    await inRequestOfAcme(async () => {
      await ordersOfGlobex.append('o-1', [placed], { expectedVersion: 'absent' });
      await ordersOfGlobex.transact('o-1', () => [placed]);
      await ordersOfGlobex.session('o-2', async (session) => await session.append([placed]));
      const batch = app.get(KeyValueStorage, { strict: false }).atomic();
      await batch.include(ordersOfGlobex.appending('o-3', [placed], { expectedVersion: 'any' })).commit();
      // the request keeps its own tenant
      expect(currentContext()).toEqual({ tenant: 'acme', request: 'r-1' });
    });
    expect(listenerCalls).toEqual(
      Array.from({ length: 4 }, () => ({ ...outsideRequests('globex'), eventTenants: ['globex'] })),
    );
    await Promise.all(handled);
    expect([await ordersOf('globex'), await ordersOf('acme')]).toEqual([4, undefined]);
  });

  it('listeners have the tenant also when the caller has none, and none for a shared stream', async () => {
    await orders.forTenant('globex').append('o-1', [placed], { expectedVersion: 'absent' });
    await Promise.all(handled);
    expect(await ordersOf('globex')).toBe(1);
    await inRequestOfAcme(
      async () =>
        await app
          .get(EventStore, { strict: false })
          .stream(Audit)
          .append('a', [{ type: 'noted' }], { expectedVersion: 'any' }),
    );
    expect(listenerCalls).toEqual([
      { ...outsideRequests('globex'), eventTenants: ['globex'] },
      { ...outsideRequests(undefined), eventTenants: [undefined] },
    ]);
  });

  it('the log entry is written within the request, with the database of the stream', async () => {
    await inRequestOfAcme(
      async () => await orders.forTenant('globex').append('o-1', [placed], { expectedVersion: 'absent' }),
    );
    expect(logged.map(({ entry, ...context }) => [entry.event, entry.database, context])).toEqual([
      ['events appended', 'tenant:globex', { tenant: 'acme', request: 'r-1' }],
    ]);
  });
});

describe('Background work is outside the request', () => {
  it('a snapshot after an append', async () => {
    await inRequestOfAcme(
      async () =>
        await orders.forTenant('globex').append('o-1', [placed, placed], { expectedVersion: 'absent' }),
    );
    await app.get(EventStore, { strict: false }).idle();
    const snapshots = logged.filter(({ entry }) => entry.event === 'snapshot created');
    expect(snapshots).toEqual([{ ...outsideRequests('globex'), entry: expect.anything() }]);
  });

  it('the renewals of a session, and the abort of its signal', async () => {
    const aborts: CallContext[] = [];
    const [renewed, expiring] = await inRequestOfAcme(async () => {
      const ordersOfGlobex = orders.forTenant('globex');
      const session = await ordersOfGlobex.openSession('o-2', { sessionTimeoutMs: 30_000 });
      session.signal.addEventListener('abort', () => void aborts.push(currentContext()));
      return [
        await ordersOfGlobex.openSession('o-1', { sessionTimeoutMs: 30_000, renewal: 'auto' }),
        session,
      ];
    });
    while (renewals.length === 0 || aborts.length === 0) await clock.advance(1_000);
    for (const each of [...renewals, ...aborts]) expect(each).toEqual(outsideRequests('globex'));
    await renewed.close();
    await expiring.close();
  });
});

describe('A listener that fails', () => {
  it('is logged with its stream and versions, whether it throws or rejects', async () => {
    const failures = [
      () => {
        throw new Error('thrown');
      },
      async () => await Promise.reject(new Error('rejected')),
    ];
    for (const [index, committed] of failures.entries()) {
      const entries: StreamLogEntry[] = [];
      const store = new EventStore(app.get(KeyValueStorage, { strict: false }), {
        committed,
        observer: { observe: (entry) => void entries.push(entry) },
      });
      const appended = await store
        .stream(Order)
        .forTenant('acme')
        .append(`f-${index}`, [placed], { expectedVersion: 'absent' });
      expect(appended.version).toBe(1);
      while (!entries.some(({ event }) => event === 'listener failed')) await Promise.resolve();
      expect(entries.at(-1)).toMatchObject({
        event: 'listener failed',
        type: 'order',
        id: `f-${index}`,
        from: 1,
        to: 1,
        cause: expect.any(Error),
      });
    }
  });
});

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
import type { StorageProvider } from '@kvent/key-value-storage/core';
import { ManualClock } from '@kvent/key-value-storage/testing';
import { defineStream, event, EventStore, type EventStream, type StreamLogEntry } from '../core.js';
import { EventBusBridgeModule } from './event-bus-bridge.module.js';
import { EventStoreModule } from './event-store.module.js';

const Orders = defineStream('order', {
  events: { placed: event<{ customer: string }>() },
  initial: () => 0,
  evolve: (count: number) => count + 1,
  snapshot: { every: 2 },
});
const Audits = defineStream('audit', {
  events: { noted: event() },
  initial: () => 0,
  evolve: (count: number) => count + 1,
  scope: 'shared',
});
const Customers = defineState<{ readonly orders: number }>('customer');
const placed = { type: 'placed', data: { customer: 'ada' } } as const;

/** What a request has for itself: its user, its trace. */
const request = new AsyncLocalStorage<string>();
let context: TenantContext;
/** Where work was done: in whose tenant, and in whose request. */
interface Place {
  readonly tenant: string | undefined;
  readonly request: string | undefined;
}
const here = (): Place => ({ tenant: context.current(), request: request.getStore() });
const outside = (tenant: string | undefined): Place => ({ tenant, request: undefined });

const handled: Promise<void>[] = [];
class OrderPlaced {
  constructor(
    readonly tenant: string | undefined,
    readonly customer: string,
  ) {}
}
@EventsHandler(OrderPlaced)
class CountOrders implements IEventHandler<OrderPlaced> {
  constructor(@InjectStore(Customers) private readonly customers: KeyValueStore<StateOf<typeof Customers>>) {}

  handle({ customer }: OrderPlaced): void {
    const count = this.customers.update(customer, ({ orders }) => ({ orders: orders + 1 }), {
      initial: () => ({ orders: 0 }),
    });
    handled.push(count.then(() => undefined));
  }
}

let app: TestingModule;
let clock: ManualClock;
let orders: EventStream<typeof Orders>;
let listened: (Place & { readonly recorded: (string | undefined)[] })[];
let told: (Place & { readonly notice: StreamLogEntry })[];
/** Where renewals were sent from. */
let renewed: Place[];

function watched(provider: MemoryProvider): StorageProvider {
  return new Proxy<StorageProvider>(provider, {
    get(target, name): unknown {
      const member: unknown = Reflect.get(target, name, target);
      if (typeof member !== 'function') return member;
      return (...given: readonly unknown[]): unknown => {
        if (
          name === 'commit' &&
          JSON.stringify(given[0], (_, value: unknown) => (typeof value === 'bigint' ? 0 : value)).includes(
            '"renew"',
          )
        )
          renewed.push(here());
        return Reflect.apply(member, target, given);
      };
    },
  });
}

beforeEach(async () => {
  [listened, told, renewed, handled.length] = [[], [], [], 0];
  clock = new ManualClock();
  app = await Test.createTestingModule({
    imports: [
      KeyValueStorageModule.forRoot({
        provider: () => watched(new MemoryProvider({ clock })),
        tenancy: {},
        sweepEveryMs: 'never',
      }),
      KeyValueStorageModule.forFeature([Customers]),
      EventStoreModule.forRoot({
        clock,
        observer: { observe: (notice) => void told.push({ ...here(), notice }) },
        committed: (_stream, events) =>
          void listened.push({ ...here(), recorded: events.map(({ tenant }) => tenant) }),
      }),
      EventStoreModule.forFeature([Orders, Audits]),
      CqrsModule.forRoot(),
      EventBusBridgeModule.forFeature(Orders, {
        placed: ({ tenant, data }) => new OrderPlaced(tenant, data.customer),
      }),
    ],
    providers: [CountOrders],
  }).compile();
  await app.init();
  context = app.get(TenantContext, { strict: false });
  orders = app.get(EventStore, { strict: false }).stream(Orders);
});
afterEach(async () => await app.close());

const inRequestOfAcme = async <R>(work: () => Promise<R>): Promise<R> =>
  await request.run('r-1', async () => await context.run('acme', work));
const ordersOf = async (tenant: string): Promise<number | undefined> =>
  (await app.get(KeyValueStorage, { strict: false }).store(Customers).forTenant(tenant).get('ada'))?.value
    .orders;

describe('What follows a commit', () => {
  it('runs for the tenant of the commit and outside the request that made it, whichever verb it was', async () => {
    const theirs = orders.forTenant('globex');
    await inRequestOfAcme(async () => {
      await theirs.append('o-1', [placed], { expectedVersion: 'absent' });
      await theirs.transact('o-1', () => [placed]);
      await theirs.session('o-2', async (session) => await session.append([placed]));
      const batch = app.get(KeyValueStorage, { strict: false }).atomic();
      await batch.include(theirs.appending('o-3', [placed], { expectedVersion: 'any' })).commit();
      // the request itself goes on in its own tenant
      expect(here()).toEqual({ tenant: 'acme', request: 'r-1' });
    });
    expect(listened).toEqual(
      Array.from({ length: 4 }, () => ({ ...outside('globex'), recorded: ['globex'] })),
    );
    await Promise.all(handled);
    expect([await ordersOf('globex'), await ordersOf('acme')]).toEqual([4, undefined]);
  });

  it('finds the tenant also where the caller had none, and none where the stream is shared', async () => {
    await orders.forTenant('globex').append('o-1', [placed], { expectedVersion: 'absent' });
    await Promise.all(handled);
    expect(await ordersOf('globex')).toBe(1);
    await inRequestOfAcme(
      async () =>
        await app
          .get(EventStore, { strict: false })
          .stream(Audits)
          .append('a', [{ type: 'noted' }], { expectedVersion: 'any' }),
    );
    expect(listened).toEqual([
      { ...outside('globex'), recorded: ['globex'] },
      { ...outside(undefined), recorded: [undefined] },
    ]);
  });

  it('is told to logs and traces within the request, and with the database that it is about', async () => {
    await inRequestOfAcme(
      async () => await orders.forTenant('globex').append('o-1', [placed], { expectedVersion: 'absent' }),
    );
    expect(
      told.map(({ tenant, request: from, notice }) => [notice.event, notice.database, tenant, from]),
    ).toEqual([['events appended', 'tenant:globex', 'acme', 'r-1']]);
  });
});

describe('What goes on in the background', () => {
  it('is outside the request: a snapshot that follows an append', async () => {
    await inRequestOfAcme(
      async () =>
        await orders.forTenant('globex').append('o-1', [placed, placed], { expectedVersion: 'absent' }),
    );
    await app.get(EventStore, { strict: false }).idle();
    const snapshots = told.filter(({ notice }) => notice.event === 'snapshot created');
    expect(snapshots.map(({ tenant, request: from }) => ({ tenant, request: from }))).toEqual([
      outside('globex'),
    ]);
  });

  it('is outside the request: renewals of a session, and the signal that it was lost', async () => {
    const aborted: Place[] = [];
    const [kept, lost] = await inRequestOfAcme(async () => {
      const theirs = orders.forTenant('globex');
      const sleeping = await theirs.openSession('o-2', { sessionTimeoutMs: 30_000 });
      sleeping.signal.addEventListener('abort', () => void aborted.push(here()));
      return [await theirs.openSession('o-1', { sessionTimeoutMs: 30_000, renewal: 'auto' }), sleeping];
    });
    while (renewed.length === 0 || aborted.length === 0) await clock.advance(1_000);
    expect(new Set([...renewed, ...aborted].map((place) => JSON.stringify(place)))).toEqual(
      new Set([JSON.stringify(outside('globex'))]),
    );
    await kept.close();
    await lost.close();
  });
});

describe('A listener that fails', () => {
  it('is told with the stream and the versions, at once or later, and keeps no other from hearing', async () => {
    const failures = [
      () => {
        throw new Error('at once');
      },
      async () => await Promise.reject(new Error('later')),
    ];
    for (const [index, committed] of failures.entries()) {
      const notices: StreamLogEntry[] = [];
      const store = new EventStore(app.get(KeyValueStorage, { strict: false }), {
        committed,
        observer: { observe: (notice) => void notices.push(notice) },
      });
      const answer = await store
        .stream(Orders)
        .forTenant('acme')
        .append(`f-${index}`, [placed], { expectedVersion: 'absent' });
      expect(answer.version).toBe(1);
      while (!notices.some(({ event }) => event === 'listener failed')) await Promise.resolve();
      expect(notices.at(-1)).toMatchObject({
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

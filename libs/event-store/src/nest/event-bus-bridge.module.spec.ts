import 'reflect-metadata';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Injectable, Logger, Scope, type DynamicModule, type Type } from '@nestjs/common';
import {
  CqrsModule,
  EventBus,
  EventsHandler,
  ofType,
  Saga,
  type ICommand,
  type IEvent,
  type IEventHandler,
} from '@nestjs/cqrs';
import { Test, type TestingModule } from '@nestjs/testing';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import {
  defineState,
  JsonFileProvider,
  KeyValueStorage,
  KeyValueStorageModule,
  MemoryProvider,
  TenantContext,
} from '@kvent/key-value-storage';
import { EMPTY, tap, type Observable } from 'rxjs';
import { defineStream, event, EventStore, type EventStream, type ReactionRunner } from '../core.js';
import { EventBusBridgeModule, getEventBusBridgeToken } from './event-bus-bridge.module.js';
import { EventStoreModule } from './event-store.module.js';

const Order = defineStream('order', {
  events: { placed: event<{ customer: string }>(), paid: event<{ cents: number }>(), cancelled: event() },
  initial: () => ({ open: false }),
  evolve: (_, { type }) => ({ open: type === 'placed' }),
});
const Note = defineState<string>('note');
const placed = { type: 'placed', data: { customer: 'ada' } } as const;
const cancelled = { type: 'cancelled' } as const;

class OrderPlaced {
  constructor(
    readonly order: string,
    readonly customer: string,
    readonly version: number,
  ) {}
}
class OrderPaid {
  constructor(readonly cents: number) {}
}

/** What the handler and the saga received. */
const received: unknown[] = [];
/** The version of the stream that the handler loads when it receives an event. */
const loadedVersions: Promise<number>[] = [];
let loadVersion: (order: string) => Promise<number>;

@EventsHandler(OrderPlaced)
class OrderPlacedHandler implements IEventHandler<OrderPlaced> {
  handle(event: OrderPlaced): void {
    received.push(event);
    loadedVersions.push(loadVersion(event.order));
  }
}
@Injectable()
class Sagas {
  @Saga() readonly paid = (events: Observable<IEvent>): Observable<ICommand> => {
    events
      .pipe(
        ofType(OrderPaid),
        tap(({ cents }) => received.push(`saga ${cents}`)),
      )
      .subscribe();
    return EMPTY;
  };
}

const bridge = EventBusBridgeModule.forFeature(Order, {
  placed: ({ stream, data, version }) => new OrderPlaced(stream, data.customer, version),
  paid: ({ data }) => new OrderPaid(data.cents),
});

let app: TestingModule;
let orders: EventStream<typeof Order>;
async function start(...imports: (DynamicModule | Type<unknown>)[]): Promise<void> {
  app = await Test.createTestingModule({
    imports: [
      KeyValueStorageModule.forRoot({ provider: () => new MemoryProvider(), tenancy: {} }),
      EventStoreModule.forRoot({ observer: { observe: () => undefined } }),
      EventStoreModule.forFeature([Order]),
      ...imports,
    ],
    providers: [OrderPlacedHandler, Sagas],
  }).compile();
  await app.init();
  orders = app.get(EventStore, { strict: false }).stream(Order).forTenant('acme');
  loadVersion = async (order) => (await orders.load(order)).version;
}
beforeEach(() => {
  received.length = 0;
  loadedVersions.length = 0;
});
afterEach(async () => {
  await app.close();
  jest.restoreAllMocks();
});

describe('The bridge to the EventBus', () => {
  it('publishes each event once, after its commit, in the order of versions, to handlers and sagas', async () => {
    await start(CqrsModule.forRoot(), bridge);
    await orders.append('o-1', [placed, { type: 'paid', data: { cents: 900 } }], {
      expectedVersion: 'absent',
    });
    await orders.transact('o-1', ({ open }) => (open ? [] : [placed]));
    await orders.session('o-2', async (session) => await session.append([placed]));
    expect(received).toEqual([
      new OrderPlaced('o-1', 'ada', 1),
      'saga 900',
      new OrderPlaced('o-1', 'ada', 3),
      new OrderPlaced('o-2', 'ada', 1),
    ]);
    // a handler that loads the stream finds the event
    const versions = received.flatMap((each) => (each instanceof OrderPlaced ? [each.version] : []));
    const loaded = await Promise.all(loadedVersions);
    expect(loaded.map((version, index) => version >= (versions[index] ?? Infinity))).toEqual([
      true,
      true,
      true,
    ]);
  });

  it('publishes the events of several streams in one commit, for the tenant of the commit', async () => {
    await start(CqrsModule.forRoot(), bridge);
    const context = app.get(TenantContext, { strict: false });
    const tenants: unknown[] = [];
    app.get(EventBus, { strict: false }).subscribe(() => tenants.push(context.current()));
    const storage = app.get(KeyValueStorage, { strict: false });
    const orders = app.get(EventStore, { strict: false }).stream(Order);
    await context.run('globex', async () => {
      await storage
        .atomic()
        .include(orders.appending('o-1', [placed], { expectedVersion: 'absent' }))
        .include(orders.appending('o-2', [placed], { expectedVersion: 'absent' }))
        .set(storage.store(Note), 'n', 'a note')
        .commit();
    });
    expect(received).toEqual([new OrderPlaced('o-1', 'ada', 1), new OrderPlaced('o-2', 'ada', 1)]);
    expect(tenants).toEqual(['globex', 'globex']);
  });

  it('publishes nothing for a refused append, a repeat with the same key, or a type without a mapping', async () => {
    await start(CqrsModule.forRoot(), bridge);
    await expect(orders.append('o-1', [placed], { expectedVersion: 7 })).rejects.toMatchObject({
      code: 'STREAM_VERSION_MISMATCH',
    });
    await orders.append('o-1', [cancelled], { expectedVersion: 'any' });
    expect(received).toEqual([]);
    for (let call = 0; call < 2; call += 1)
      await orders.append('o-1', [placed], { expectedVersion: 'any', idempotencyKey: 'k' });
    for (let call = 0; call < 2; call += 1)
      await orders.transact('o-1', () => [placed], { idempotencyKey: 'l' });
    expect(received).toEqual([new OrderPlaced('o-1', 'ada', 2), new OrderPlaced('o-1', 'ada', 3)]);
  });

  it('logs an event that cannot be published; the commit and the other events are not affected', async () => {
    const logged = jest.spyOn(Logger.prototype, 'error').mockImplementation(() => undefined);
    const failing = EventBusBridgeModule.forFeature(Order, {
      paid: () => {
        throw new Error('mapping failed');
      },
      placed: ({ stream, data, version }) => new OrderPlaced(stream, data.customer, version),
    });
    await start(CqrsModule.forRoot(), failing);
    const events = [{ type: 'paid', data: { cents: 1 } }, placed] as const;
    expect(await orders.append('o-1', events, { expectedVersion: 'any' })).toMatchObject({
      version: 2,
      replayed: false,
    });
    expect(received).toEqual([new OrderPlaced('o-1', 'ada', 2)]);
    const fields = { event: 'event not published', type: 'order', id: 'o-1', version: 1, eventType: 'paid' };
    expect(logged.mock.calls).toEqual([
      [expect.objectContaining(fields), expect.stringContaining('mapping failed')],
    ]);
    // an asynchronous mapping would publish its promise, which no handler takes
    const asynchronous = async () => await Promise.reject(new Error('unhandled'));
    await app.close();
    await start(CqrsModule.forRoot(), EventBusBridgeModule.forFeature(Order, { placed: asynchronous }));
    await orders.append('o-1', [placed], { expectedVersion: 'any' });
    expect(logged.mock.calls.at(-1)).toEqual([
      expect.objectContaining({ version: 1, eventType: 'placed' }),
      expect.stringContaining('the mapping of placed must not be asynchronous'),
    ]);
    await app.close();
    await start(CqrsModule.forRoot(), failing);
    // a publisher that returns a promise
    const bus = app.get(EventBus, { strict: false });
    jest.spyOn(bus, 'publish').mockImplementation(() => Promise.reject(new Error('broker gone')) as never);
    await orders.append('o-1', [placed], { expectedVersion: 'any' });
    await new Promise(setImmediate);
    expect(logged.mock.calls.at(-1)).toEqual([
      expect.objectContaining({ version: 1 }),
      expect.stringContaining('broker gone'),
    ]);
  });

  it('is refused at the start-up without CqrsModule, and with a mapping of an unknown event', async () => {
    await expect(start(bridge)).rejects.toThrow(
      /event-bus-bridge\.module\.spec\.ts:\d+\) needs an EventBus: import CqrsModule/,
    );
    const unknownEvent = { shipped: () => ({}) } as never;
    expect(() => EventBusBridgeModule.forFeature(Order, unknownEvent)).toThrow(
      /has no option 'shipped'; it takes placed, paid, cancelled/,
    );
    expect(() => EventBusBridgeModule.forFeature(Order, { placed: 'OrderPlaced' as never })).toThrow(
      /placed must be a function/,
    );
  });
});

class OrderCancelled {
  constructor(
    readonly tenant: string | undefined,
    readonly version: number,
  ) {}
}
/** How the handlers of a durable bridge are called, and what they do. */
const calls: string[] = [];
let whenCancelled: (version: number) => Promise<void>;

@EventsHandler(OrderCancelled)
class CancelledHandler implements IEventHandler<OrderCancelled> {
  constructor(private readonly tenants: TenantContext) {}
  async handle({ tenant, version }: OrderCancelled): Promise<void> {
    calls.push(`${tenant} ${version} ${this.tenants.current() === tenant}`);
    await whenCancelled(version);
  }
}
@EventsHandler(OrderCancelled)
@Injectable({ scope: Scope.REQUEST })
class ScopedHandler implements IEventHandler<OrderCancelled> {
  async handle({ version }: OrderCancelled): Promise<void> {
    await Promise.resolve();
    calls.push(`scoped ${version}`);
    if (calls.filter((each) => each === 'scoped 1').length === 1) throw new Error('not yet');
  }
}

describe('A durable bridge to the EventBus', () => {
  const name = 'order-bus';
  const mapped: number[] = [];
  const durable = EventBusBridgeModule.forFeature(
    Order,
    {
      cancelled: ({ tenant, version }) => {
        mapped.push(version);
        return new OrderCancelled(tenant, version);
      },
    },
    { durable: name, retry: { delayMs: 1, delayMsMax: 1 } },
  );
  let directory: string;
  let runner: ReactionRunner;
  async function open(bridge = durable): Promise<void> {
    app = await Test.createTestingModule({
      imports: [
        KeyValueStorageModule.forRoot({ provider: () => new JsonFileProvider({ directory }), tenancy: {} }),
        EventStoreModule.forFeature([Order]),
        CqrsModule.forRoot(),
        bridge,
      ],
      providers: [CancelledHandler, ScopedHandler],
    })
      .setLogger(false as never)
      .compile();
    await app.init();
    orders = app.get(EventStore, { strict: false }).stream(Order).forTenant('acme');
    runner = app.get<ReactionRunner>(getEventBusBridgeToken(name), { strict: false });
  }
  beforeEach(async () => {
    calls.length = 0;
    mapped.length = 0;
    whenCancelled = async () => await Promise.resolve();
    directory = await mkdtemp(join(tmpdir(), 'kvent-bus-'));
    jest.spyOn(Logger.prototype, 'error').mockImplementation(() => undefined);
  });
  afterEach(async () => {
    await app.close();
    await rm(directory, { recursive: true, force: true });
  });

  it('publishes an event again until all its handlers have resolved, for the tenant of the event', async () => {
    await open();
    await orders.append('o-1', [cancelled, cancelled], { expectedVersion: 'absent' });
    await runner.whenCaughtUp();
    expect(calls).toEqual(['acme 1 true', 'scoped 1', 'acme 1 true', 'scoped 1', 'acme 2 true', 'scoped 2']);
  });

  it('publishes after a restart what was not handled, and nothing while handlers are taken off', async () => {
    let open1 = (): void => undefined;
    const opened = new Promise<void>((resolve) => (open1 = resolve));
    whenCancelled = async (version) => (version === 1 ? await opened : undefined);
    calls.push('scoped 1');
    await open();
    await orders.append('o-1', [cancelled, cancelled], { expectedVersion: 'absent' });
    while (calls.length < 3) await new Promise(setImmediate);
    // as the shutdown begins
    app.get(EventBus, { strict: false }).onModuleDestroy();
    open1();
    while (mapped.at(-1) !== 2) await new Promise(setImmediate);
    await app.close();
    expect(calls.slice(1)).toEqual(['acme 1 true', 'scoped 1']);
    await open();
    await runner.whenCaughtUp();
    expect(calls.slice(3)).toEqual(['acme 2 true', 'scoped 2']);
  });

  it('stops at an event whose mapping is asynchronous, and does not count it as handled', async () => {
    const mapping = { cancelled: async () => await Promise.reject(new Error('unhandled')) };
    const retry = { attempts: 1 };
    await open(EventBusBridgeModule.forFeature(Order, mapping, { durable: name, retry }));
    await orders.append('o-1', [cancelled], { expectedVersion: 'absent' });
    await expect(runner.whenCaughtUp()).rejects.toMatchObject({
      code: 'REACTION_STOPPED',
      cause: { message: expect.stringContaining('the mapping of cancelled must not be asynchronous') },
    });
  });

  it('is refused where another one has its name, because they would share a checkpoint', async () => {
    const other = EventBusBridgeModule.forFeature(
      Order,
      { paid: ({ data }) => new OrderPaid(data.cents) },
      { durable: name },
    );
    await expect(start(CqrsModule.forRoot(), durable, other)).rejects.toThrow(
      /reaction 'order-bus' .*event-bus-bridge\.module\.spec\.ts:\d+.* Give one of them another name\./,
    );
    await open();
  });

  it('is refused without CqrsModule, and with options that are not allowed', async () => {
    await expect(start(durable)).rejects.toThrow('needs an EventBus: import CqrsModule');
    await open();
    const forFeature =
      (options: object, mapping: object = { paid: () => ({}) }) =>
      () =>
        EventBusBridgeModule.forFeature(Order, mapping, options as never);
    expect(forFeature({ durable: 'a', version: 1 })).toThrow("has no option 'version'");
    expect(forFeature({ durable: ' ' })).toThrow('name must be a string that is not blank');
    expect(forFeature({ durable: 'a' }, {})).toThrow('needs an event type of the stream');
  });
});

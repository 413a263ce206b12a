import 'reflect-metadata';
import { Injectable, Logger, type DynamicModule, type Type } from '@nestjs/common';
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
  KeyValueStorage,
  KeyValueStorageModule,
  MemoryProvider,
  TenantContext,
} from '@kvent/key-value-storage';
import { EMPTY, tap, type Observable } from 'rxjs';
import { defineStream, event, EventStore, type EventStream } from '../core.js';
import { EventBusBridgeModule } from './event-bus-bridge.module.js';
import { EventStoreModule } from './event-store.module.js';

const Orders = defineStream('order', {
  events: { placed: event<{ customer: string }>(), paid: event<{ cents: number }>(), cancelled: event() },
  initial: () => ({ open: false }),
  evolve: (_, { type }) => ({ open: type === 'placed' }),
});
const Notes = defineState<string>('note');
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

const heard: unknown[] = [];
/** What a handler finds when it looks at the stream, the moment it hears of the event. */
const seen: Promise<unknown>[] = [];
let look: (order: string) => Promise<unknown>;

@EventsHandler(OrderPlaced)
class Greeter implements IEventHandler<OrderPlaced> {
  handle(event: OrderPlaced): void {
    heard.push(event);
    seen.push(look(event.order));
  }
}
@Injectable()
class Sagas {
  @Saga() readonly paid = (events: Observable<IEvent>): Observable<ICommand> => {
    events
      .pipe(
        ofType(OrderPaid),
        tap(({ cents }) => heard.push(`saga ${cents}`)),
      )
      .subscribe();
    return EMPTY;
  };
}

const bridge = EventBusBridgeModule.forFeature(Orders, {
  placed: ({ stream, data, version }) => new OrderPlaced(stream, data.customer, version),
  paid: ({ data }) => new OrderPaid(data.cents),
});

let app: TestingModule;
let orders: EventStream<typeof Orders>;
async function start(...imports: (DynamicModule | Type<unknown>)[]): Promise<void> {
  app = await Test.createTestingModule({
    imports: [
      KeyValueStorageModule.forRoot({ provider: () => new MemoryProvider(), tenancy: {} }),
      EventStoreModule.forRoot({ observer: { observe: () => undefined } }),
      EventStoreModule.forFeature([Orders]),
      ...imports,
    ],
    providers: [Greeter, Sagas],
  }).compile();
  await app.init();
  orders = app.get(EventStore, { strict: false }).stream(Orders).forTenant('acme');
  look = async (order) => (await orders.load(order)).version;
}
beforeEach(() => {
  heard.length = 0;
  seen.length = 0;
});
afterEach(async () => {
  await app.close();
  jest.restoreAllMocks();
});

describe('The events of a commit go to the EventBus', () => {
  it('after the commit, once each, in the order of versions: to handlers and sagas', async () => {
    await start(CqrsModule.forRoot(), bridge);
    await orders.append('o-1', [placed, { type: 'paid', data: { cents: 900 } }], {
      expectedVersion: 'absent',
    });
    await orders.transact('o-1', ({ open }) => (open ? [] : [placed]));
    await orders.session('o-2', async (session) => await session.append([placed]));
    expect(heard).toEqual([
      new OrderPlaced('o-1', 'ada', 1),
      'saga 900',
      new OrderPlaced('o-1', 'ada', 3),
      new OrderPlaced('o-2', 'ada', 1),
    ]);
    // whoever looks when it hears of an event finds it
    const versions = heard.flatMap((each) => (each instanceof OrderPlaced ? [each.version] : []));
    const found = (await Promise.all(seen)) as number[];
    expect(found.map((version, index) => version >= (versions[index] ?? Infinity))).toEqual([
      true,
      true,
      true,
    ]);
  });

  it('of several streams and states in one commit too, for the tenant of the commit', async () => {
    await start(CqrsModule.forRoot(), bridge);
    const context = app.get(TenantContext, { strict: false });
    const tenants: unknown[] = [];
    app.get(EventBus, { strict: false }).subscribe(() => tenants.push(context.current()));
    const storage = app.get(KeyValueStorage, { strict: false });
    const own = app.get(EventStore, { strict: false }).stream(Orders);
    await context.run('globex', async () => {
      await storage
        .atomic()
        .include(own.appending('o-1', [placed], { expectedVersion: 'absent' }))
        .include(own.appending('o-2', [placed], { expectedVersion: 'absent' }))
        .set(storage.store(Notes), 'n', 'along')
        .commit();
    });
    expect(heard).toEqual([new OrderPlaced('o-1', 'ada', 1), new OrderPlaced('o-2', 'ada', 1)]);
    expect(tenants).toEqual(['globex', 'globex']);
  });

  it('but not what was refused, nor a repeat with the same key, nor types that the mapping leaves out', async () => {
    await start(CqrsModule.forRoot(), bridge);
    await expect(orders.append('o-1', [placed], { expectedVersion: 7 })).rejects.toMatchObject({
      code: 'STREAM_VERSION_MISMATCH',
    });
    await orders.append('o-1', [cancelled], { expectedVersion: 'any' });
    expect(heard).toEqual([]);
    for (let time = 0; time < 2; time += 1)
      await orders.append('o-1', [placed], { expectedVersion: 'any', idempotencyKey: 'k' });
    for (let time = 0; time < 2; time += 1)
      await orders.transact('o-1', () => [placed], { idempotencyKey: 'l' });
    expect(heard).toEqual([new OrderPlaced('o-1', 'ada', 2), new OrderPlaced('o-1', 'ada', 3)]);
  });

  it('and one that cannot be published is logged, and harms neither the commit nor its neighbours', async () => {
    const logged = jest.spyOn(Logger.prototype, 'error').mockImplementation(() => undefined);
    const failing = EventBusBridgeModule.forFeature(Orders, {
      paid: () => {
        throw new Error('no bus today');
      },
      placed: ({ stream, data, version }) => new OrderPlaced(stream, data.customer, version),
    });
    await start(CqrsModule.forRoot(), failing);
    const events = [{ type: 'paid', data: { cents: 1 } }, placed] as const;
    expect(await orders.append('o-1', events, { expectedVersion: 'any' })).toEqual({
      version: 2,
      replayed: false,
    });
    expect(heard).toEqual([new OrderPlaced('o-1', 'ada', 2)]);
    const fields = { event: 'event not published', type: 'order', id: 'o-1', version: 1, eventType: 'paid' };
    expect(logged.mock.calls).toEqual([
      [expect.objectContaining(fields), expect.stringContaining('no bus today')],
    ]);
    // a publisher of another kind, that answers later
    const bus = app.get(EventBus, { strict: false });
    jest.spyOn(bus, 'publish').mockImplementation(() => Promise.reject(new Error('broker gone')) as never);
    await orders.append('o-1', [placed], { expectedVersion: 'any' });
    await new Promise(setImmediate);
    expect(logged.mock.calls.at(-1)).toEqual([
      expect.objectContaining({ version: 3 }),
      expect.stringContaining('broker gone'),
    ]);
  });

  it('where CqrsModule is there: without it the start-up is refused, and so is an event that the stream does not have', async () => {
    await expect(start(bridge)).rejects.toThrow(
      /event-bus-bridge\.module\.spec\.ts:\d+\) needs an EventBus: import CqrsModule/,
    );
    const wrong = { shipped: () => ({}) } as never;
    expect(() => EventBusBridgeModule.forFeature(Orders, wrong)).toThrow(
      /has no option 'shipped'; it takes placed, paid, cancelled/,
    );
    expect(() => EventBusBridgeModule.forFeature(Orders, { placed: 'OrderPlaced' as never })).toThrow(
      /placed must be a function/,
    );
  });
});

/**
 * Mistakes that users make with streams, one below each marker: the types fail when one of them
 * starts to compile. `types.spec.ts` proves that they can.
 */
import { Injectable } from '@nestjs/common';
import {
  defineStream,
  event,
  EventBusBridgeModule,
  EventStoreModule,
  EventStream,
  InjectStream,
  On,
  Projection,
  type FeedEvent,
  type StreamSession,
} from '@kvent/event-store';
import { given } from '@kvent/event-store/testing';
import { InjectStore, type KeyValueStorage, type KeyValueStore } from '@kvent/key-value-storage';
import { z } from 'zod';
import { Doors, Meters, Orders, OrderSummaries, type Order, type OrderSummary } from './streams-compile.js';

declare const orders: EventStream<typeof Orders>;
declare const meters: EventStream<typeof Meters>;
declare const doors: EventStream<typeof Doors>;
declare const session: StreamSession<typeof Orders>;
declare const summaries: KeyValueStore<OrderSummary>;
declare const storage: KeyValueStorage;

@Injectable()
export class WrongStreams {
  constructor(
    // @ts-expect-error  a stream of other events
    @InjectStream(Orders) readonly other: EventStream<typeof Meters>,
    // @ts-expect-error  a stream is not a store
    @InjectStream(Orders) readonly store: KeyValueStore<Order>,
    // @ts-expect-error  nor is a store a stream
    @InjectStore(OrderSummaries) readonly stream: EventStream<typeof Orders>,
    @InjectStream(Orders) readonly fine: Pick<EventStream<typeof Orders>, 'load'>,
  ) {}
  // @ts-expect-error  the same for a public property
  @InjectStream(Orders) readonly property!: EventStream<typeof Meters>;
}

export async function appends(): Promise<void> {
  // @ts-expect-error  an unknown event type
  await orders.append('o', [{ type: 'shipped' }], { expectedVersion: 'any' });
  // @ts-expect-error  wrong data
  await orders.append('o', [{ type: 'paid', data: { reference: 7, at: '' } }], { expectedVersion: 'any' });
  // @ts-expect-error  an event without its data
  await orders.append('o', [{ type: 'paid' }], { expectedVersion: 'any' });
  // @ts-expect-error  data where there are none
  await orders.append('o', [{ type: 'cancelled', data: {} }], { expectedVersion: 'any' });
  // @ts-expect-error  the data of another event
  await orders.append('o', [{ type: 'paid', data: { customer: 'ada', lines: [] } }], {
    expectedVersion: 'any',
  });
  // @ts-expect-error  one event is still a list
  await orders.append('o', { type: 'cancelled' }, { expectedVersion: 'any' });
  // @ts-expect-error  no check must be said
  await orders.append('o', [{ type: 'cancelled' }]);
  // @ts-expect-error  and is not an object that says nothing
  await orders.append('o', [{ type: 'cancelled' }], {});
  // @ts-expect-error  'none' could mean "no stream" and "no check"
  await orders.append('o', [{ type: 'cancelled' }], { expectedVersion: 'none' });
  // @ts-expect-error  one check, not two
  await orders.append('o', [{ type: 'cancelled' }], { expectedVersion: 1, ifMatch: 'v1' });
  const etags: Record<string, string> = {};
  // @ts-expect-error  an etag that may be missing would be an append without a check (it is refused at run time too)
  await orders.append('o', [{ type: 'cancelled' }], { ifMatch: etags['if-match'] });
  // @ts-expect-error  an option that does not exist
  await orders.append('o', [{ type: 'cancelled' }], { expectedVersion: 1, idempotency: 'k' });
  // @ts-expect-error  metadata are texts
  await orders.append('o', [{ type: 'cancelled' }], { expectedVersion: 1, metadata: { userId: 7 } });
}

export async function inputs(): Promise<void> {
  // @ts-expect-error  a default spares one property, not the others
  await doors.append('d', [{ type: 'opened', data: {} }], { expectedVersion: 'any' });
  // @ts-expect-error  what a schema makes of its input is not its input
  await doors.append('d', [{ type: 'moved', data: { at: new Date() } }], { expectedVersion: 'any' });
  // @ts-expect-error  the same in a decision
  await doors.transact('d', () => [{ type: 'moved', data: { at: new Date() } }]);
  for await (const { type, data } of doors.read('d')) {
    if (type !== 'moved') continue;
    // @ts-expect-error  what is read is what the schema has made
    const at: string = data.at;
    void at;
  }
}

export async function decisions(): Promise<void> {
  // @ts-expect-error  a decision is a list of events
  await orders.transact('o', (order) => order);
  // @ts-expect-error  a decision that forgets to return
  await orders.transact('o', (order) => void order.status);
  // @ts-expect-error  the events of another stream
  await orders.transact('o', () => [{ type: 'read', data: { kWh: 1 } }]);
  // @ts-expect-error  the state of another stream
  await meters.transact('m', (meter) => (meter.status === 'empty' ? [] : []));
  // @ts-expect-error  a version that a decision rests on is a number
  await orders.transact('o', () => [], { expectedVersion: 'any' });
  await orders.transact('o', () => [{ type: 'cancelled' }], {
    // @ts-expect-error  the value of another state in the same commit
    sameCommit: (batch, { state }) => batch.set(summaries, 'o', state),
  });
  // @ts-expect-error  a part needs its check
  storage.atomic().include(orders.appending('o', [{ type: 'cancelled' }]));
  storage
    .atomic()
    // @ts-expect-error  what was loaded is the check
    .include(orders.appending(await orders.load('o'), [{ type: 'cancelled' }], { expectedVersion: 1 }));
  // @ts-expect-error  the stream that was loaded is another one
  storage.atomic().include(orders.appending(await meters.load('m'), [{ type: 'cancelled' }]));
}

export async function reading(): Promise<void> {
  // @ts-expect-error  one point in time, not two
  await orders.load('o', { atVersion: 1, atTime: new Date() });
  // @ts-expect-error  a time is a date
  await orders.load('o', { atTime: '2026-10-31' });
  const { state } = await orders.load('o');
  // @ts-expect-error  a state is what evolve answers
  void state.customer;
  for await (const each of orders.read('o')) {
    // @ts-expect-error  which data there are, the type says
    void each.data.reference;
    if (each.type === 'paid') void each.data.reference;
    // @ts-expect-error  what has happened is not changed
    each.version = 1;
  }
  // @ts-expect-error  a key is a text
  await orders.findByIdempotencyKey('o', 7);
}

export async function sessions(): Promise<void> {
  // @ts-expect-error  an option that does not exist
  await orders.openSession('o', { timeoutMs: 1 });
  // @ts-expect-error  what is read and written is that of the stream
  await session.append([{ type: 'read', data: { kWh: 1 } }]);
  // @ts-expect-error  a session's version is its check
  await session.append([{ type: 'cancelled' }], { expectedVersion: 1 });
  // @ts-expect-error  a token counts further than numbers do
  const token: number = session.fencingToken;
  void token;
  // @ts-expect-error  work in a session is awaited
  await orders.session('o', () => 1);
}

export const definitions = [
  // @ts-expect-error  evolve forgets an event
  defineStream('h', { events: { a: event(), b: event() }, initial: (): number => 0, evolve: (n, e): number => { if (e.type === 'a') return n; } }), // prettier-ignore
  // @ts-expect-error  evolve answers another state
  defineStream('h', { events: { a: event() }, initial: (): number => 0, evolve: () => 'text' }),
  // @ts-expect-error  evolve answers a status that the state does not have
  defineStream('h', { events: { a: event() }, initial: (): Order => ({ status: 'empty', lines: [] }), evolve: (o) => ({ ...o, status: 'lost' }) }), // prettier-ignore
  // @ts-expect-error  nor does it with type arguments
  defineStream<{ on: boolean }, { a: ReturnType<typeof event> }>('h', { events: { a: event() }, initial: () => ({ on: false }), evolve: () => ({ on: 1 }) }), // prettier-ignore
  // @ts-expect-error  a stream needs its events
  defineStream('h', { initial: () => 0, evolve: (n: number) => n }),
  // @ts-expect-error  a misspelt option
  defineStream('h', { events: { a: event() }, initial: () => 0, evolve: (n) => n, snapshots: { every: 1 } }),
  // @ts-expect-error  a snapshot says how often
  defineStream('h', { events: { a: event() }, initial: () => 0, evolve: (n) => n, snapshot: {} }),
  // @ts-expect-error  a newer version says how it becomes one
  event(z.object({ a: z.string() }), { schemaVersion: 2 }),
  // @ts-expect-error  one argument is a schema
  event({ a: z.string() }),
];

export const modules = [
  // @ts-expect-error  a name is not a stream
  EventStoreModule.forFeature(['order']),
  // @ts-expect-error  nor is a state
  EventStoreModule.forFeature([OrderSummaries]),
  // @ts-expect-error  a misspelt option
  EventStoreModule.forRoot({ metdata: () => ({}) }),
  // @ts-expect-error  an event that the stream does not have
  EventBusBridgeModule.forFeature(Orders, { shipped: () => ({}) }),
  EventBusBridgeModule.forFeature(Orders, {
    // @ts-expect-error  the data of another event
    paid: (placed: { readonly data: { readonly customer: string } }) => ({ ...placed }),
  }),
];

export function deciders(): void {
  // @ts-expect-error  what was given are events of the stream
  given(Orders, [{ type: 'read', data: { kWh: 1 } }]);
  const placed = given(Orders, [{ type: 'cancelled' }]);
  // @ts-expect-error  so are those that are expected
  placed.when(() => []).then([{ type: 'shipped' }]);
  // @ts-expect-error  and the state is that of the stream
  placed.when(() => []).thenState({ status: 'shipped', lines: [] });
  // @ts-expect-error  an asynchronous decision is of events of the stream, too
  placed.when(async () => [{ type: 'shipped' }]);
}

export class Handlers {
  // @ts-expect-error  an event that the stream does not have
  @On(Orders, 'shipped')
  shipped(): void {}

  // @ts-expect-error  the event of another type
  @On(Orders, 'cancelled')
  cancelled(event: FeedEvent<typeof Orders, 'placed'>): void {
    void event;
  }
}
// @ts-expect-error  a projection has streams
Projection('summaries', {});

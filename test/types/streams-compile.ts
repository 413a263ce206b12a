/**
 * Typical code of a user of streams, which must compile. `types.spec.ts` and `npm run types` check
 * it; it is never run.
 */
import { Controller, Get, Injectable, Module, Param, ParseIntPipe, Post, Query } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import {
  defineStream,
  event,
  EventBusBridgeModule,
  EventStore,
  EventStoreModule,
  EventStream,
  getStreamToken,
  InjectStream,
  On,
  Projection,
  ProjectionsModule,
  RetryOnConflict,
  StreamSession,
  type EventInputOf,
  type EventOf,
  type FeedEvent,
  type ProjectionContext,
  type Recorded,
  type StateOf as StreamStateOf,
} from '@kvent/event-store';
import { given, overrideEventStore } from '@kvent/event-store/testing';
import {
  defineState,
  IdempotencyKey,
  IdempotentCall,
  InjectStore,
  isStorageError,
  KeyValueStorage,
  KeyValueStorageModule,
  KeyValueStore,
  MemoryProvider,
  openStorage,
  type StateOf,
} from '@kvent/key-value-storage';
import { ManualClock, overrideStorage } from '@kvent/key-value-storage/testing';
import { z } from 'zod';

// Definitions

const Line = z.object({ sku: z.string(), quantity: z.number().int().positive() });
const events = {
  placed: z.object({ customer: z.string(), lines: z.array(Line) }),
  paid: event<{ reference: string; at: string }>(),
  cancelled: event(),
};
export type OrderEvent = EventOf<typeof events>;
export interface Order {
  readonly status: 'empty' | 'placed' | 'paid' | 'cancelled';
  readonly lines: readonly z.infer<typeof Line>[];
}
export const Orders = defineStream('order', {
  events,
  initial: (): Order => ({ status: 'empty', lines: [] }),
  evolve: (order, event): Order => {
    switch (event.type) {
      case 'placed':
        return { ...order, status: 'placed', lines: event.data.lines };
      case 'paid':
        return { ...order, status: event.data.at === '' ? 'placed' : 'paid' };
      case 'cancelled':
        return { ...order, status: 'cancelled' };
    }
  },
  snapshot: { every: 100, schemaVersion: 2 },
  scope: 'tenant',
});
/** An event with a former shape, and a state that is a class. */
class Meter {
  constructor(readonly total: number) {}
}
export const Meters = defineStream('meter', {
  events: {
    read: event(z.object({ kWh: z.number() }), {
      schemaVersion: 2,
      upcast: { 1: (old: { wh: number }) => ({ kWh: old.wh / 1_000 }) },
    }),
  },
  initial: () => new Meter(0),
  evolve: (meter, { data }) => new Meter(meter.total + data.kWh),
});

/** The type of the state comes from `initial`: `evolve` needs no annotation for a union. */
export const Doors = defineStream('door', {
  events: {
    opened: event(z.object({ by: z.string().trim(), times: z.coerce.number().default(1) })),
    painted: z.object({ colour: z.string() }).default({ colour: 'white' }),
    moved: z.object({ at: z.string().transform((text) => new Date(text)) }),
    closed: event(),
  },
  initial: (): Door => ({ status: 'closed', times: 0 }),
  evolve: (door, { type, data }) => {
    if (type === 'opened') return { ...door, status: 'open', times: door.times + data.times };
    if (type === 'closed') return { ...door, status: 'closed' };
    return type === 'moved' ? { ...door, times: data.at.getTime() } : door;
  },
});
interface Door {
  readonly status: 'open' | 'closed';
  readonly times: number;
}
/** The same by type arguments. */
const bell = { rung: event<{ loud: boolean }>() };
export const Bells = defineStream<{ mood: 'calm' | 'cross' }, typeof bell>('bell', {
  events: bell,
  initial: () => ({ mood: 'calm' }),
  evolve: (state, { data }) => ({ ...state, mood: data.loud ? 'cross' : 'calm' }),
});

export const OrderSummaries = defineState<{ id: string; status: Order['status']; count: number }>(
  'order-summary',
);
export type OrderSummary = StateOf<typeof OrderSummaries>;

// A decider

export class OrderAlreadyPaid extends Error {
  constructor(readonly id: string) {
    super(`Order ${id} is already paid.`);
  }
}
export const cancel = (order: Order, { id }: { readonly id: string }): OrderEvent[] => {
  if (order.status === 'paid') throw new OrderAlreadyPaid(id);
  return order.status === 'cancelled' ? [] : [{ type: 'cancelled' }];
};

// A service

interface Gateway {
  charge(order: string, options: { signal: AbortSignal }): Promise<{ reference: string }>;
}

@Injectable()
export class OrderService {
  constructor(
    @InjectStream(Orders) private readonly orders: EventStream<typeof Orders>,
    @InjectStore(OrderSummaries) private readonly summaries: KeyValueStore<OrderSummary>,
    private readonly storage: KeyValueStorage,
  ) {}
  place(
    id: string,
    customer: string,
    lines: z.infer<typeof Line>[],
    idempotencyKey: string | IdempotentCall,
  ) {
    return this.orders.transact(
      id,
      (order) => (order.status === 'empty' ? [{ type: 'placed', data: { customer, lines } }] : []),
      {
        idempotencyKey,
        metadata: { correlationId: 'c-1', extensions: { shop: 'north' } },
        sameCommit: (batch, { state }) =>
          batch.set(this.summaries, id, { id, status: state.status, count: state.lines.length }),
      },
    );
  }
  cancel(id: string) {
    return this.orders.transact(id, cancel, { retry: { attempts: 5 } });
  }
  /** The session prevents that a card is charged twice. */
  async pay(id: string, gateway: Gateway): Promise<Order> {
    await using session = await this.orders.openSession(id, { openTimeoutMs: 0 });
    if (session.state.status !== 'placed') throw new OrderAlreadyPaid(id);
    const { reference } = await gateway.charge(id, { signal: session.signal });
    await session.append([{ type: 'paid', data: { reference, at: new Date().toISOString() } }], {
      close: true,
    });
    return session.state;
  }
  payInCallback(id: string, gateway: Gateway): Promise<Order['status']> {
    return this.orders.session(id, async (session: StreamSession<typeof Orders>) => {
      const { reference } = await gateway.charge(`${id}-${session.fencingToken}`, { signal: session.signal });
      await session.append([{ type: 'paid', data: { reference, at: 'now' } }]);
      return session.state.status;
    });
  }
  /** Another stream in the same commit, at the loaded version; a retry loads it again. */
  transfer(from: string, to: string) {
    return this.orders.transact(
      from,
      async (order, { batch }) => {
        const other = await this.orders.load(to);
        batch
          .include(
            this.orders.appending(other, [
              { type: 'placed', data: { customer: 'ada', lines: [...order.lines] } },
            ]),
          )
          .delete(this.summaries, from);
        return [{ type: 'cancelled' }];
      },
      { lockTimeoutMs: 1_000 },
    );
  }
  ship(id: string, ifMatch: string) {
    return this.orders.append(id, [{ type: 'cancelled' }], { ifMatch });
  }
  async byHand(id: string): Promise<boolean> {
    const { replayed } = await this.storage
      .atomic()
      .include(this.orders.appending(id, [{ type: 'cancelled' }], { expectedVersion: 3 }))
      .set(this.summaries, id, { id, status: 'cancelled', count: 0 })
      .commit({ idempotencyKey: 'k' });
    return replayed;
  }
  @RetryOnConflict({ attempts: 3 })
  async locked(id: string): Promise<Date | undefined> {
    try {
      await this.cancel(id);
      return undefined;
    } catch (error) {
      if (isStorageError(error, 'STREAM_LOCKED')) return error.until;
      if (isStorageError(error, 'STREAM_VERSION_MISMATCH')) return new Date(error.actual);
      throw error;
    }
  }
  async history(id: string): Promise<string[]> {
    const lines: string[] = [];
    for await (const { version, type, recordedAt, metadata } of this.orders.read(id, {
      reverse: true,
      limit: 10,
    }))
      lines.push(`${version} ${type} ${recordedAt.toISOString()} ${metadata.userId ?? 'unknown'}`);
    return lines;
  }
  async snapshots(id: string): Promise<readonly number[]> {
    await this.orders.snapshot(id, { atVersion: 10 });
    await this.orders.clearSnapshots(id, { version: 10 });
    return [
      ...(await this.orders.snapshotAll(id, { every: 100 })),
      ...(await this.orders.snapshotVersions(id)),
    ];
  }
  async first(id: string): Promise<number | undefined> {
    return (await this.orders.forTenant('acme').findByIdempotencyKey(id, 'k'))?.from;
  }
}

// HTTP

@Controller('orders')
export class OrderController {
  @InjectStream(Meters) readonly meters!: EventStream<typeof Meters>;
  constructor(
    @InjectStream(Orders) private readonly orders: EventStream<typeof Orders>,
    private readonly service: OrderService,
  ) {}
  @Post() async place(@IdempotencyKey() key: IdempotentCall) {
    const { id, version, replayed } = await this.service.place('o-1', 'ada', [], key);
    return { id, version, replayed };
  }
  @Get(':id') get(
    @Param('id') id: string,
    @Query('version', new ParseIntPipe({ optional: true })) version?: number,
  ) {
    return this.orders.loadOrThrow(id, version === undefined ? {} : { atVersion: version });
  }
}

// Modules

class OrderPlaced {
  constructor(
    readonly order: string,
    readonly customer: string,
  ) {}
}
@Module({
  imports: [
    EventStoreModule.forFeature([Orders, Meters]),
    KeyValueStorageModule.forFeature([OrderSummaries]),
    EventBusBridgeModule.forFeature(Orders, {
      placed: ({ stream, data }) => new OrderPlaced(stream, data.customer),
    }),
  ],
  providers: [OrderService],
  controllers: [OrderController],
})
export class OrderModule {}

class Config {
  readonly userId = 'u-1';
}
@Module({
  imports: [
    KeyValueStorageModule.forRoot({ provider: () => new MemoryProvider() }),
    EventStoreModule.forRoot({
      metadata: () => ({ userId: 'u-1' }),
      session: { sessionTimeoutMs: 30_000, renewal: 'auto' },
    }),
    OrderModule,
  ],
})
export class AppModule {}
@Module({
  imports: [
    EventStoreModule.forRootAsync({
      inject: [Config],
      useFactory: ({ userId }: Config) => ({ metadata: () => ({ userId }) }),
    }),
  ],
})
export class AsyncAppModule {}

// Without Nest, in a transaction, in tests

export async function script(): Promise<number> {
  await using storage = await openStorage(new MemoryProvider(), { tenant: 'acme' });
  const orders = new EventStore(storage, { committed: ({ id }, each) => void [id, each.length] }).stream(
    Orders,
  );
  let longest = 0;
  for (let cursor: string | undefined, more = true; more; more = cursor !== undefined) {
    const page = await orders.page({ prefix: 'o-', limit: 100, cursor });
    for (const { version } of page.items) longest = Math.max(longest, version);
    cursor = page.next;
  }
  return longest;
}
export async function inTransaction(
  storage: KeyValueStorage,
  orders: EventStream<typeof Orders>,
  store: EventStore,
  manager: object,
): Promise<void> {
  await orders.within(manager).append('o-1', [{ type: 'cancelled' }], { expectedVersion: 'present' });
  await store
    .within(manager)
    .stream(Orders)
    .transact('o-1', () => [{ type: 'cancelled' }]);
  await new EventStore(storage.within(manager))
    .stream(Orders)
    .append('o-1', [{ type: 'cancelled' }], { expectedVersion: 'present' });
}
export function pure(): void {
  given(Orders, [{ type: 'placed', data: { customer: 'ada', lines: [] } }])
    .when(cancel)
    .then([{ type: 'cancelled' }]);
  given(Orders, [{ type: 'paid', data: { reference: 'r', at: 'now' } }])
    .when(cancel)
    .thenThrows(OrderAlreadyPaid);
  given(Meters, [])
    .when(() => [{ type: 'read', data: { kWh: 1 } }])
    .thenState(new Meter(1));
}
/** What is appended is what the schemas take; what is read is what they give. */
export async function doors(stream: EventStream<typeof Doors>): Promise<number> {
  await stream.append('d', [{ type: 'opened', data: { by: ' ada ' } }, { type: 'painted' }], {
    expectedVersion: 'any',
  });
  const move = (at: string): EventInputOf<typeof Doors> => ({ type: 'moved', data: { at } });
  await stream.transact('d', async () => [move('2026-01-01'), { type: 'closed' }]);
  await stream.session('d', async (session) => {
    await session.append([{ type: 'opened', data: { by: 'ada', times: '2' } }]);
  });
  let times = 0;
  for await (const { type, data } of stream.read('d')) if (type === 'opened') times += data.times;
  return times;
}
/** A decision that reads, and writes more than its events. */
export async function asynchronous(
  summaries: KeyValueStore<OrderSummary>,
  stream: EventStream<typeof Orders>,
): Promise<void> {
  const deciding = given(Orders, []).when(async (order, { id, batch }) => {
    const other = await stream.load('o-2');
    batch.set(summaries, id, { id, status: order.status, count: other.state.lines.length });
    return [{ type: 'cancelled' }];
  });
  await deciding.then([{ type: 'cancelled' }]);
  await deciding.thenBatch((batch) => batch.set(summaries, 'o', { id: 'o', status: 'empty', count: 0 }));
  given(Doors, [])
    .when((_, { version }) => [{ type: 'opened', data: { by: `${version}` } }])
    .then([{ type: 'opened', data: { by: '0', times: 1 } }]);
}
export async function wholeApp(): Promise<number> {
  const clock = new ManualClock();
  const builder = overrideStorage(
    Test.createTestingModule({ imports: [AppModule] }),
    new MemoryProvider({ clock }),
  );
  const app = await overrideEventStore(builder, { clock }).compile();
  return await app.get<EventStream<typeof Orders>>(getStreamToken(Orders), { strict: false }).version('o-1');
}
export function stub() {
  const orders: Pick<EventStream<typeof Orders>, 'version'> = { version: () => Promise.resolve(7) };
  return Test.createTestingModule({
    providers: [OrderService, { provide: getStreamToken(Orders), useValue: orders }],
  });
}

/** Handlers of one type, of several, and without their parameters. */
@Projection('summaries', { streams: [Orders] })
export class Summaries {
  constructor(@InjectStore(OrderSummaries) private readonly summaries: KeyValueStore<OrderSummary>) {}

  @On(Orders, 'placed')
  placed(event: FeedEvent<typeof Orders, 'placed'>, { change }: ProjectionContext): void {
    const count = event.data.lines.length;
    change(this.summaries, event.stream, (summary) => ({ ...summary, count }), {
      initial: () => ({ id: event.stream, status: 'placed', count }),
    });
  }
  @On(Orders, 'paid', 'cancelled')
  async ended(
    { type, stream }: FeedEvent<typeof Orders, 'paid' | 'cancelled'>,
    { remove }: ProjectionContext,
  ) {
    if ((await Promise.resolve(type)) === 'cancelled') remove(this.summaries, stream);
  }
}
export const projections = ProjectionsModule.forFeature([Summaries]);

// Inferred types

type Same<A, B> = (<X>() => X extends A ? 1 : 2) extends <X>() => X extends B ? 1 : 2 ? true : false;
type Placed = Extract<OrderEvent, { type: 'placed' }>;
export const inferred: [
  Same<StreamStateOf<typeof Orders>, Order>,
  Same<StreamStateOf<typeof Meters>, Meter>,
  Same<OrderEvent['type'], 'placed' | 'paid' | 'cancelled'>,
  Same<Placed['data']['lines'][number]['quantity'], number>,
  Same<Extract<Recorded<OrderEvent>, { type: 'cancelled' }>['version'], number>,
  Same<Awaited<ReturnType<OrderService['pay']>>, Order>,
  Same<StreamStateOf<typeof Doors>, Door>,
  Same<Extract<EventOf<typeof Doors>, { type: 'opened' }>['data'], { by: string; times: number }>,
  Same<Extract<EventInputOf<typeof Doors>, { type: 'moved' }>['data'], { at: string }>,
] = [true, true, true, true, true, true, true, true, true];

import { createHash } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import {
  InjectStream,
  type Appended,
  type EventStream,
  type Loaded,
  type PointInTime,
  type TransactOptions,
} from '@kvent/event-store';
import {
  CounterStore,
  InjectStore,
  TenantContext,
  type AtomicChanges,
  type IdempotentCall,
  type KeyValueStore,
  type Page,
  type PageRequest,
  type Entry,
} from '@kvent/key-value-storage';
import { Carts, type Cart } from '../carts/cart.js';
import { CartsService } from '../carts/carts.service.js';
import { CatalogueService } from '../catalogue/catalogue.service.js';
import { ShopError } from '../problems/shop-error.js';
import { LastMovements, type LastMovement } from '../stock/last-movement.js';
import { reserve, Stocks, type Stock } from '../stock/stock.js';
import { Bank, type Card } from './bank.js';
import { OrderSummaries, summaryKey, summaryOf, type OrderSummary } from './order-summary.js';
import {
  assertPayable,
  cancel,
  movementWith,
  noOrder,
  Orders,
  place,
  ship,
  type Order,
  type OrderEvent,
} from './order.js';
import { allTime, Revenue, revenueOf } from './revenue.js';

type PlacedOrder = Appended<Order, OrderEvent>;

/**
 * A payment locks its order while it calls the bank. After a crash, the lock expires after this
 * time.
 */
const payment = { openTimeoutMs: 0, sessionTimeoutMs: 5_000, renewal: 'auto' } as const;

@Injectable()
export class OrdersService {
  constructor(
    @InjectStream(Orders) readonly orders: EventStream<typeof Orders>,
    @InjectStream(Stocks) private readonly stocks: EventStream<typeof Stocks>,
    @InjectStore(OrderSummaries) private readonly summaries: KeyValueStore<OrderSummary>,
    @InjectStore(LastMovements) private readonly lastMovements: KeyValueStore<LastMovement>,
    @InjectStore(Revenue) private readonly revenue: CounterStore<bigint>,
    @InjectStore(Carts) private readonly carts: KeyValueStore<Cart>,
    private readonly cartsService: CartsService,
    private readonly catalogue: CatalogueService,
    private readonly bank: Bank,
    private readonly tenant: TenantContext,
  ) {}

  /**
   * One commit: reserves the goods in the stream of each product, places and lists the order,
   * writes its idempotency record, and deletes the cart. After a conflict, all of it is decided
   * again.
   */
  async place(cartId: string, call: IdempotentCall): Promise<PlacedOrder> {
    const id = this.#idOf(call);
    return await this.orders.transact(
      id,
      async (order, { batch }) => {
        if (order.status !== 'absent') return []; // the key is older than it is remembered for
        const cart = await this.cartsService.getFilled(cartId);
        const [items, stocks] = await Promise.all([
          this.catalogue.priced(cart.value.items),
          Promise.all(cart.value.items.map(({ sku }) => this.stocks.load(sku))),
        ]);
        for (const [index, item] of items.entries()) {
          const stock = stocks[index] as Loaded<Stock>;
          batch.include(this.stocks.appending(stock, [reserve(stock.state, { ...item, order: id })]));
          batch.set(this.lastMovements, item.sku, { type: 'reserved' });
        }
        batch.delete(this.carts, cart);
        return [place({ id, cart: cartId, items }, new Date())];
      },
      { idempotencyKey: call, sameCommit: (batch, { state }) => this.#follow(batch, noOrder, state) },
    );
  }

  get(id: string, point: PointInTime): Promise<Loaded<Order>> {
    return this.orders.loadOrThrow(id, point);
  }

  page(request: PageRequest): Promise<Page<Entry<OrderSummary>>> {
    return this.summaries.page(request);
  }

  /** The session locks the order during the call of the bank, across processes. */
  async pay(id: string, card: Card): Promise<Loaded<Order>> {
    // a session would create the stream of an order that was never placed
    await this.orders.loadOrThrow(id);
    const work = async (session: Awaited<ReturnType<typeof this.orders.openSession>>) => {
      const before = session.state;
      assertPayable(before);
      const reference = await this.bank.charge(before, card, session.signal);
      const event: OrderEvent =
        reference === undefined ? { type: 'declined' } : { type: 'paid', data: { reference } };
      const { version } = await session.append([event], {
        sameCommit: (batch, { state }) => this.#follow(batch, before, state),
        close: true,
      });
      if (event.type === 'declined') throw paymentDeclined(id);
      return version;
    };
    const atVersion = await this.orders.session(id, work, payment);
    return await this.orders.load(id, { atVersion });
  }

  /** Idempotent: a repeat also repeats a refund without a response. */
  async cancel(id: string): Promise<Loaded<Order>> {
    const cancelled = await this.#change(id, cancel);
    await this.bank.refund(cancelled.state);
    return cancelled;
  }

  ship(id: string, options: Pick<TransactOptions<Order, OrderEvent>, 'ifMatch'>): Promise<Loaded<Order>> {
    return this.#change(id, ship, options);
  }

  async #change(
    id: string,
    decide: (order: Order) => readonly OrderEvent[],
    options: Pick<TransactOptions<Order, OrderEvent>, 'ifMatch'> = {},
  ): Promise<Loaded<Order>> {
    await this.orders.loadOrThrow(id);
    let before = noOrder;
    return await this.orders.transact(id, (order) => decide((before = order)), {
      ...options,
      sameCommit: (batch, { state }) => this.#follow(batch, before, state),
    });
  }

  /** What changes in the commit of an order: its summary, the revenue and the reserved goods. */
  #follow(batch: AtomicChanges, before: Order, after: Order): void {
    if (before.status !== 'absent') batch.delete(this.summaries, summaryKey(before));
    batch.set(this.summaries, summaryKey(after), summaryOf(after));
    const paid = revenueOf(after) - revenueOf(before);
    if (paid !== 0n) batch.increment(this.revenue, allTime, paid);
    const type = movementWith(after);
    if (type === undefined) return;
    for (const { sku, quantity } of after.items) {
      batch.include(
        this.stocks.appending(sku, [{ type, data: { quantity, order: after.id } }], {
          expectedVersion: 'present',
        }),
      );
      batch.set(this.lastMovements, sku, { type });
    }
  }

  /** The same for each repeat of a request. */
  #idOf({ key }: IdempotentCall): string {
    return createHash('sha256')
      .update(JSON.stringify([this.tenant.currentOrThrow(), key]))
      .digest('hex')
      .slice(0, 20);
  }
}

const paymentDeclined = (order: string): ShopError =>
  new ShopError(
    'PAYMENT_DECLINED',
    402,
    'Payment declined',
    `The order ${order} was declined, and its goods are released.`,
    { order },
  );

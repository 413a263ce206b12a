/**
 * An order as its events. Deciders return the next events, or throw the error of the shop. A
 * repeated decision returns no events.
 */
import { defineStream, event, type EventOf } from '@kvent/event-store';
import { z } from 'zod';
import { ShopError } from '../problems/shop-error.js';

const count = z.int().nonnegative();

export const OrderItem = z.object({ sku: z.string(), quantity: z.int().min(1), priceCents: count });
const Placed = z.object({
  id: z.string(),
  cart: z.string(),
  items: z.array(OrderItem).min(1),
  totalCents: count,
  placedAt: z.iso.datetime(),
});

const events = {
  /** The goods are reserved in the same commit. */
  placed: Placed,
  paid: z.object({ reference: z.string() }),
  /** The card was declined; the goods are released. */
  declined: event(),
  cancelled: event(),
  shipped: event(),
};
export type OrderEvent = EventOf<typeof events>;

export const orderStatuses = ['placed', 'paid', 'declined', 'cancelled', 'shipped'] as const;

export interface Order extends z.infer<typeof Placed> {
  /** absent: not placed yet */
  readonly status: 'absent' | (typeof orderStatuses)[number];
  /** The reference of the payment at the bank. */
  readonly reference?: string;
}

export const noOrder: Order = { id: '', status: 'absent', cart: '', items: [], totalCents: 0, placedAt: '' };

/** The id is derived from the Idempotency-Key: see `orderIdOf`. */
export const Orders = defineStream('order', {
  events,
  initial: () => noOrder,
  evolve: (order: Order, { type, data }: OrderEvent): Order => ({ ...order, ...data, status: type }),
});

export function place(order: Pick<Order, 'id' | 'cart' | 'items'>, at: Date): OrderEvent {
  const totalCents = order.items.reduce((sum, { quantity, priceCents }) => sum + quantity * priceCents, 0);
  return { type: 'placed', data: { ...order, totalCents, placedAt: at.toISOString() } };
}

/** `ORDER_NOT_PAYABLE`: it was paid, declined, cancelled or shipped. */
export function assertPayable({ id, status }: Order): void {
  if (status === 'placed') return;
  throw new ShopError('ORDER_NOT_PAYABLE', 409, 'Order not payable', `The order ${id} is ${status}.`, {
    order: id,
    status,
  });
}

/** `ORDER_SHIPPED`. A declined or cancelled order stays as it is. */
export function cancel({ id, status }: Order): readonly OrderEvent[] {
  if (status === 'shipped')
    throw new ShopError('ORDER_SHIPPED', 409, 'Order already shipped', `The order ${id} was shipped.`, {
      order: id,
    });
  return status === 'placed' || status === 'paid' ? [{ type: 'cancelled' }] : [];
}

/** `ORDER_NOT_PAID` */
export function ship({ id, status }: Order): readonly OrderEvent[] {
  if (status === 'shipped') return [];
  if (status !== 'paid')
    throw new ShopError('ORDER_NOT_PAID', 409, 'Order not paid', `The order ${id} is ${status}.`, {
      order: id,
      status,
    });
  return [{ type: 'shipped' }];
}

/** The movement of its reserved goods. */
export function movementWith({ status }: Order): 'released' | 'committed' | undefined {
  if (status === 'shipped') return 'committed';
  return status === 'declined' || status === 'cancelled' ? 'released' : undefined;
}

/**
 * The list of orders: a state that is written in the commit of the events it sums up, so it is
 * never behind.
 */
import { defineState, type StateOf } from '@kvent/key-value-storage';
import { z } from 'zod';
import { orderStatuses, type Order } from './order.js';

export const OrderStatus = z.enum(orderStatuses);
export const SummarySchema = z.object({
  id: z.string(),
  status: OrderStatus,
  totalCents: z.int(),
  placedAt: z.iso.datetime(),
});

/** By status, time and id: those of one status lie together, in the order in which they came. */
export const OrderSummaries = defineState('order-summary', { schema: SummarySchema });
export type OrderSummary = StateOf<typeof OrderSummaries>;

export const summaryKey = ({ status, placedAt, id }: Order) => [status, placedAt, id] as const;

export function summaryOf({ id, status, totalCents, placedAt }: Order): OrderSummary {
  return SummarySchema.parse({ id, status, totalCents, placedAt });
}

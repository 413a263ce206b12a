/** The list of orders: a state written in the commit of its events, so it is always current. */
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

/** By status, time and id: orders of one status are adjacent, oldest first. */
export const OrderSummaries = defineState('order-summary', { schema: SummarySchema });
export type OrderSummary = StateOf<typeof OrderSummaries>;

export const summaryKey = ({ status, placedAt, id }: Order) => [status, placedAt, id] as const;

export function summaryOf({ id, status, totalCents, placedAt }: Order): OrderSummary {
  return SummarySchema.parse({ id, status, totalCents, placedAt });
}

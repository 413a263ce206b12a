/** What was paid since the shop opened, in cents. */
import { defineBigCounter } from '@kvent/key-value-storage';
import type { Order } from './order.js';

/** It has 64 bits, because a sum of all orders may be more than a number holds exactly. */
export const Revenue = defineBigCounter('revenue');

/** The only key. */
export const allTime = 'all-time';

/** What an order adds to the revenue; a cancelled one is refunded. */
export const revenueOf = ({ status, totalCents }: Pick<Order, 'status' | 'totalCents'>): bigint =>
  status === 'paid' || status === 'shipped' ? BigInt(totalCents) : 0n;

/** How stock is kept: as two states, for now. (The event store will make a stream of it; the deciders stay.) */
import { defineState } from '@kvent/key-value-storage';
import { z } from 'zod';
import type { Reservation, Stock } from './stock.js';

const count = z.int().nonnegative();

// The last net: whatever a decider may overlook, this is not stored.
const StockSchema: z.ZodType<Stock, Stock> = z
  .object({ onHand: count, reserved: count, version: count })
  .refine(({ onHand, reserved }) => reserved <= onHand, 'more is reserved than there is');

/** By sku. */
export const Stocks = defineState('stock', { schema: StockSchema });
/** By sku and id: remembered after they are settled, so that a repeated request changes nothing. */
export const Reservations = defineState<Reservation>('reservation');

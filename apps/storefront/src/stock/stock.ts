/**
 * The stock of a product as its movements. Deciders are pure functions: from a state and a command
 * they return events, or throw. They import neither the store nor Nest, so tests need neither.
 */
import { defineStream, type EventOf } from '@kvent/event-store';
import { z } from 'zod';
import { ShopError } from '../problems/shop-error.js';

export interface Stock {
  /** In the warehouse, including reserved goods. */
  readonly onHand: number;
  /** Reserved for orders; at most `onHand`. */
  readonly reserved: number;
}

const quantity = z.int().min(1);
const forOrder = z.object({ quantity, order: z.string() });

const movements = {
  /** Goods arrive. */
  received: z.object({ quantity }),
  /** Goods are reserved for an order. */
  reserved: forOrder,
  /** A reservation ends; the goods stay. */
  released: forOrder,
  /** Reserved goods are shipped. */
  committed: forOrder,
  /** A stock-take found a difference. */
  adjusted: z.object({ by: z.int(), reason: z.string() }),
};
export type Movement = EventOf<typeof movements>;

function evolve(stock: Stock, { type, data }: Movement): Stock {
  const { onHand, reserved } = stock;
  switch (type) {
    case 'received':
      return { onHand: onHand + data.quantity, reserved };
    case 'reserved':
      return { onHand, reserved: reserved + data.quantity };
    case 'released':
      return { onHand, reserved: reserved - data.quantity };
    case 'committed':
      return { onHand: onHand - data.quantity, reserved: reserved - data.quantity };
    case 'adjusted':
      return { onHand: onHand + data.by, reserved };
  }
}

/** By sku. */
export const Stocks = defineStream('stock', {
  events: movements,
  initial: (): Stock => ({ onHand: 0, reserved: 0 }),
  evolve,
  snapshot: { every: 100 },
});

export const availableOf = ({ onHand, reserved }: Stock): number => onHand - reserved;

interface Wanted {
  readonly sku: string;
  readonly quantity: number;
  readonly order: string;
}

/** Reserves goods for an order; `INSUFFICIENT_STOCK`. */
export function reserve(stock: Stock, { sku, quantity, order }: Wanted): Movement {
  const available = availableOf(stock);
  if (quantity > available) throw insufficientStock(sku, quantity, available);
  return { type: 'reserved', data: { quantity, order } };
}

/** Corrects the stock to the counted quantity; `STOCK_PROMISED` if fewer than are reserved. */
export function adjust(stock: Stock, counted: number, reason: string): readonly Movement[] {
  if (counted < stock.reserved)
    throw new ShopError(
      'STOCK_PROMISED',
      409,
      'Promised stock',
      `${stock.reserved} are reserved; got a count of ${counted}.`,
      {
        ...stock,
      },
    );
  const by = counted - stock.onHand;
  return by === 0 ? [] : [{ type: 'adjusted', data: { by, reason } }];
}

const insufficientStock = (sku: string, needed: number, available: number): ShopError =>
  new ShopError(
    'INSUFFICIENT_STOCK',
    409,
    'Insufficient stock',
    `Of ${sku}, ${needed} are needed and ${available} available.`,
    {
      sku,
      needed,
      available,
    },
  );

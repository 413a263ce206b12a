/**
 * What is in the warehouse of each product, as the movements that led to it. Deciders are plain
 * functions: given what is, and what is asked, they answer what happens, or throw. They know
 * neither the store nor Nest, so every rule is tested without either.
 */
import { defineStream, type EventOf } from '@kvent/event-store';
import { z } from 'zod';
import { ShopError } from '../problems/shop-error.js';

export interface Stock {
  /** On the shelf, the reserved ones included. */
  readonly onHand: number;
  /** Promised to somebody: never more than there are. */
  readonly reserved: number;
}

const quantity = z.int().min(1);
const forOrder = z.object({ quantity, order: z.string() });

const movements = {
  /** Goods arrive. */
  received: z.object({ quantity }),
  /** Goods are promised to an order … */
  reserved: forOrder,
  /** … and stay for somebody else after all, */
  released: forOrder,
  /** or leave the warehouse. */
  committed: forOrder,
  /** Somebody has counted, and there were more or less. */
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

/**
 * Promises goods to an order; `INSUFFICIENT_STOCK` when there are not enough that nobody else was
 * promised.
 */
export function reserve(stock: Stock, { sku, quantity, order }: Wanted): Movement {
  const available = availableOf(stock);
  if (quantity > available) throw insufficientStock(sku, quantity, available);
  return { type: 'reserved', data: { quantity, order } };
}

/** What was counted is what there is; what is promised cannot have gone: `STOCK_PROMISED`. */
export function adjust(stock: Stock, counted: number, reason: string): readonly Movement[] {
  if (counted < stock.reserved)
    throw new ShopError(
      'STOCK_PROMISED',
      409,
      'Promised stock',
      `${stock.reserved} are promised; counted were ${counted}.`,
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

/**
 * What is in the warehouse of each product. Deciders are plain functions: given what is, and what is asked, they answer what is then, or throw.
 * They know neither the store nor Nest, so every rule is tested without either.
 */
import { ShopError } from '../problems/shop-error.js';

export interface Stock {
  /** On the shelf, the reserved ones included. */
  readonly onHand: number;
  /** Promised to somebody: never more than there are. */
  readonly reserved: number;
  /** How many movements led here. */
  readonly version: number;
}
export interface Reservation {
  readonly quantity: number;
  readonly status: 'reserved' | 'committed' | 'released';
}

export const emptyStock: Stock = { onHand: 0, reserved: 0, version: 0 };

export const availableOf = ({ onHand, reserved }: Stock): number => onHand - reserved;

/** Goods arrive. */
export function receive(stock: Stock, quantity: number): Stock {
  return moved(stock, { onHand: stock.onHand + quantity });
}

/** Promises goods to somebody; `INSUFFICIENT_STOCK` when there are not enough that nobody else was promised. */
export function reserve(stock: Stock, sku: string, needed: number): Stock {
  const available = availableOf(stock);
  if (needed > available) throw insufficientStock(sku, needed, available);
  return moved(stock, { reserved: stock.reserved + needed });
}

/** Promised goods leave the warehouse; `RESERVATION_EXCEEDED` for more than are promised. */
export function commit(stock: Stock, sku: string, quantity: number): Stock {
  assertReserved(stock, sku, quantity);
  return moved(stock, { onHand: stock.onHand - quantity, reserved: stock.reserved - quantity });
}

/** Promised goods stay, for somebody else; `RESERVATION_EXCEEDED` for more than are promised. */
export function release(stock: Stock, sku: string, quantity: number): Stock {
  assertReserved(stock, sku, quantity);
  return moved(stock, { reserved: stock.reserved - quantity });
}

/** What a reservation becomes in the end. The same one back: it was that already, and nothing is to be done. */
export function settle(reservation: Reservation, id: string, as: 'committed' | 'released'): Reservation {
  const { status } = reservation;
  if (status === 'reserved') return { ...reservation, status: as };
  if (status === as) return reservation;
  throw new ShopError('RESERVATION_SETTLED', 409, 'The reservation is settled', `The reservation ${id} was ${status} already.`, {
    reservation: id,
    status,
  });
}

/** A repeated reservation is the first one, if it asks for the same. */
export function assertSame({ quantity }: Reservation, id: string, asked: number): void {
  if (quantity === asked) return;
  const message = `The reservation ${id} is of ${quantity}, and this one asks for ${asked}: take another id.`;
  throw new ShopError('RESERVATION_EXISTS', 409, 'The reservation is there already', message, { reservation: id, quantity, asked });
}

const moved = (stock: Stock, change: Partial<Stock>): Stock => ({ ...stock, ...change, version: stock.version + 1 });

function assertReserved({ reserved }: Stock, sku: string, quantity: number): void {
  if (quantity <= reserved) return;
  throw new ShopError(
    'RESERVATION_EXCEEDED',
    409,
    'Not so many are reserved',
    `Of ${sku}, ${reserved} are reserved; given were ${quantity}.`,
    {
      sku,
      reserved,
      quantity,
    },
  );
}

const insufficientStock = (sku: string, needed: number, available: number): ShopError =>
  new ShopError('INSUFFICIENT_STOCK', 409, 'Not enough in stock', `Of ${sku}, ${needed} are needed and ${available} available.`, {
    sku,
    needed,
    available,
  });

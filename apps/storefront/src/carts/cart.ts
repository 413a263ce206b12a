/** A cart expires half an hour after the last access. */
import { defineState, type StateOf } from '@kvent/key-value-storage';
import { z } from 'zod';

export const cartTtlMs = 30 * 60_000;

export const Quantity = z.int().min(0).max(1_000);

export const CartSchema = z.object({
  items: z.array(z.object({ sku: z.string(), quantity: Quantity.min(1) })).max(200),
});

export const Carts = defineState('cart', { schema: CartSchema, ttlMs: cartTtlMs, expiry: 'sliding' });
export type Cart = StateOf<typeof Carts>;

export const emptyCart: Cart = { items: [] };

/** Sets the quantity of an item and keeps its position; 0 removes it. */
export function withItem(cart: Cart, sku: string, quantity: number): Cart {
  const item = { sku, quantity };
  const known = cart.items.some((other) => other.sku === sku);
  const items = known ? cart.items.map((other) => (other.sku === sku ? item : other)) : [...cart.items, item];
  return { items: items.filter((other) => other.quantity > 0) };
}

export interface PricedCart {
  /** `priceCents` is left out for a product that is no longer sold. */
  readonly items: readonly (Cart['items'][number] & { readonly priceCents?: number | undefined })[];
  /** Of what is sold. */
  readonly totalCents: number;
}

/** `prices`: of the items, in their order. */
export const pricedCart = (cart: Cart, prices: readonly (number | undefined)[]): PricedCart => ({
  items: cart.items.map((item, index) => ({ ...item, priceCents: prices[index] })),
  totalCents: cart.items.reduce((sum, { quantity }, index) => sum + quantity * (prices[index] ?? 0), 0),
});

import { describe, expect, it } from '@jest/globals';
import { emptyCart, pricedCart, withItem, type Cart } from './cart.js';

const mugs = (quantity: number): Cart => withItem(emptyCart, 'mug', quantity);

describe('a cart', () => {
  it('holds each product once, in the order in which they came', () => {
    expect(withItem(withItem(mugs(1), 'pen', 3), 'mug', 2)).toEqual({
      items: [
        { sku: 'mug', quantity: 2 },
        { sku: 'pen', quantity: 3 },
      ],
    });
  });

  it('loses a product of which there are to be none', () => {
    expect(withItem(mugs(1), 'mug', 0)).toEqual(emptyCart);
    expect(withItem(emptyCart, 'mug', 0)).toEqual(emptyCart);
  });

  it('costs what those of its products do that are sold', () => {
    const cart = withItem(mugs(2), 'pen', 3);
    expect(pricedCart(cart, [850, undefined])).toEqual({
      items: [
        { sku: 'mug', quantity: 2, priceCents: 850 },
        { sku: 'pen', quantity: 3 },
      ],
      totalCents: 1_700,
    });
  });

  it('is not changed itself', () => {
    const cart = mugs(1);
    withItem(cart, 'mug', 5);
    expect(cart).toEqual(mugs(1));
  });
});

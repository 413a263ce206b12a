import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';
import { expectReadable } from '@kvent/key-value-storage/testing';
import { fromV1, Product, ProductSchema } from './product.js';

describe('a product of version 1', () => {
  it('is lifted to cents, exactly', () => {
    expect(fromV1({ sku: 'mug', name: 'Mug', price: 8.29 })).toEqual({
      sku: 'mug',
      title: 'Mug',
      priceCents: 829,
      tags: [],
    });
    // 1.1 * 100 is 110.00000000000001 to a computer
    expect(fromV1({ sku: 'pen', name: 'Pen', price: 1.1 }).priceCents).toBe(110);
  });

  it('is a product of today afterwards', () => {
    const lifted = fromV1({ sku: 'mug', name: 'Mug', price: 8.29 });
    expect(ProductSchema.parse(lifted)).toEqual(lifted);
  });
});

const fixtures = fileURLToPath(new URL('../../fixtures', import.meta.url));

it('products of every release are read', async () => {
  const read = await expectReadable(Product, fixtures);
  expect(read.map(({ schemaVersion, value }) => [schemaVersion, value.priceCents])).toEqual([
    [1, 829],
    [1, 110],
    [2, 829],
  ]);
});

describe('a product', () => {
  it('costs nothing or more, at most a million euros, in whole cents', () => {
    const priced = (priceCents: number): boolean =>
      ProductSchema.safeParse({ sku: 'mug', title: 'Mug', priceCents }).success;
    expect([0, 1, 900, 100_000_000].map(priced)).toEqual([true, true, true, true]);
    expect([-1, 0.5, Number.NaN, 100_000_001].map(priced)).toEqual([false, false, false, false]);
  });
});

/** A product: the current version of its schema, and version 1. */
import { State } from '@kvent/key-value-storage';
import { z } from 'zod';

/** A million euros. The largest cart (200 products, each 1,000 times) is a safe integer by far. */
const priceCentsMax = 100_000_000;

export const ProductSchema = z.object({
  sku: z.string().regex(
    // GET /products/export is the export
    /^(?!export$)[a-z0-9][\w.-]{0,63}$/i,
    'letters, digits, "_", "." and "-", at most 64, first a letter or digit; not "export"',
  ),
  title: z.string().trim().min(1).max(200),
  priceCents: z.int().nonnegative().max(priceCentsMax),
  tags: z.array(z.string().trim().min(1).max(50)).max(50).default([]),
});

/** Version 1: a price in euros, no tags, and `name` instead of `title`. */
export interface ProductV1 {
  readonly sku: string;
  readonly name: string;
  readonly price: number;
}

export const fromV1 = ({ sku, name, price }: ProductV1): Product => ({
  sku,
  title: name,
  priceCents: Math.round(price * 100),
  tags: [],
});

/**
 * For lists by price. `version`: a compiler that rewrites the function does not change the index.
 */
export const productIndexes = {
  byPrice: { key: (product: z.infer<typeof ProductSchema>) => [product.priceCents] as const, version: 1 },
};

@State('product', {
  schema: ProductSchema,
  schemaVersion: 2,
  upcast: { 1: fromV1 },
  indexes: productIndexes,
})
export class Product {
  sku!: string;
  title!: string;
  priceCents!: number;
  tags!: string[];
}

/**
 * What everybody stores: one product of about 170 bytes of JSON, under as many keys as the suite
 * says.
 */
export interface Product {
  readonly title: string;
  readonly description: string;
  readonly price: number;
  readonly currency: string;
  readonly stock: number;
  readonly tags: readonly string[];
  readonly active: boolean;
}

export const product: Product = {
  title: 'Blue enamel mug',
  description: 'Enough for a large coffee, safe in the dishwasher',
  price: 1290,
  currency: 'EUR',
  stock: 42,
  tags: ['kitchen', 'enamel'],
  active: true,
};

export const productBytes = JSON.stringify(product).length;

export const keysOf = (count: number): readonly string[] =>
  Array.from({ length: count }, (_, index) => `product-${index}`);

/**
 * The key (or whatever stands in turn) of the n-th call: each call the next, and from the last back
 * to the first.
 */
export const keyAt = <T>(keys: readonly T[], call: number): T => keys[call % keys.length] as T;

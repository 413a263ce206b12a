/**
 * The stored value: one product of about 170 bytes of JSON, under the number of keys of the suite.
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

/** The key (or another item) of the n-th call: one after the other, then from the first again. */
export const keyAt = <T>(keys: readonly T[], call: number): T => keys[call % keys.length] as T;

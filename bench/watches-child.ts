/**
 * The watching process: node watches-child.js <options of PostgresProvider as JSON>. It sends each
 * item with its time, and ends with its parent.
 */
import { defineState, openStorage } from '@kvent/key-value-storage';
import { PostgresProvider, type PostgresProviderOptions } from '@kvent/key-value-postgres';
import type { Product } from './product.js';

export const Products = defineState<Product>('product');

/** `at`: milliseconds of the clock that both processes have. */
export interface Shown {
  readonly stock: number;
  readonly at: number;
}

const [options] = process.argv.slice(2);
// the parent imports the definition from here
if (process.send !== undefined && options !== undefined)
  await follow(JSON.parse(options) as PostgresProviderOptions);

async function follow(given: PostgresProviderOptions): Promise<void> {
  const stop = new AbortController();
  process.once('disconnect', () => stop.abort());
  await using storage = await openStorage(new PostgresProvider(given));
  try {
    for await (const entry of storage.store(Products).watch('watched', { signal: stop.signal })) {
      const at = performance.timeOrigin + performance.now();
      process.send?.({ stock: entry?.value.stock ?? Number.NaN, at } satisfies Shown);
    }
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  }
}

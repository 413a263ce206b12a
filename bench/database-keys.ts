/**
 * The keys of a database suite: keys that are read and overwritten, keys that are saved at the
 * version that was read, and a few contended keys.
 */
import type { Contention } from './contender.js';
import { product } from './product.js';

/** As many as `keys`. Only the work 'save' writes them, so it knows their versions. */
export const savedKeys = (keys: readonly string[]): readonly string[] => keys.map((key) => `saved-${key}`);
export const hotKeys: readonly string[] = Array.from({ length: 10 }, (_, index) => `hot-${index}`);
export const counterKeys: readonly string[] = Array.from({ length: 1_000 }, (_, index) => `counter-${index}`);

/** Compares acknowledged hot updates and counts with the stored ones. Throws with the name. */
export function assertNoLostUpdate(
  name: string,
  what: {
    readonly contention: Contention;
    /** The stock of each hot key; each started at the stock of the product. */
    readonly stocks: readonly number[];
    /** The sum that was added to each hot counter, and its stored number. */
    readonly counted: ReadonlyMap<string, number>;
    readonly numbers: ReadonlyMap<string, number>;
  },
): void {
  const { contention, stocks, counted, numbers } = what;
  const updates = stocks.reduce((sum, stock) => sum + stock - product.stock, 0);
  if (updates !== contention.done)
    throw new Error(`${name} has stored ${updates} of ${contention.done} updates.`);
  for (const [key, count] of counted)
    if (numbers.get(key) !== count)
      throw new Error(`${name} has counted ${count} on ${key}, but has stored ${String(numbers.get(key))}.`);
}

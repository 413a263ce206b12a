/**
 * The keys of a suite on a database: which of them are read and overwritten, which are saved over
 * what was read, and the few that all want.
 */
import type { Rivalry } from './contender.js';
import { product } from './product.js';

/**
 * As many as the others; nobody else writes them, so that whoever saves one knows what it holds.
 */
export const savedKeys = (keys: readonly string[]): readonly string[] => keys.map((key) => `saved-${key}`);
export const hotKeys: readonly string[] = Array.from({ length: 10 }, (_, index) => `hot-${index}`);
export const counterKeys: readonly string[] = Array.from({ length: 1_000 }, (_, index) => `counter-${index}`);

/** Everybody's hot updates and counts against what is stored in the end. Throws by name. */
export function assertNothingLost(
  name: string,
  what: {
    readonly rivalry: Rivalry;
    /** Of the hot keys, each of which began with that of the product. */
    readonly stocks: readonly number[];
    /** What was added to each hot counter, and what it says. */
    readonly counted: ReadonlyMap<string, number>;
    readonly numbers: ReadonlyMap<string, number>;
  },
): void {
  const { rivalry, stocks, counted, numbers } = what;
  const updates = stocks.reduce((sum, stock) => sum + stock - product.stock, 0);
  if (updates !== rivalry.done) throw new Error(`${name} holds ${updates} updates of ${rivalry.done}.`);
  for (const [key, count] of counted)
    if (numbers.get(key) !== count)
      throw new Error(`${name} has counted ${count} on ${key} and holds ${String(numbers.get(key))}.`);
}

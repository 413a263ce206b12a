/**
 * Positions that are tested one by one: every call that can fail, every step for a power cut, every
 * byte that can be damaged. A run takes every k-th position, beginning at an offset chosen by its
 * seed; `npm run soak` takes all.
 */
import { seededRandom, isSoak } from './seeded-random.js';

/**
 * The numbers below `end` for this run. Sweeps with the shifts 0 to `every - 1` take all numbers
 * together.
 */
export function* sweep(
  every: number,
  seed: number,
  { end = Number.POSITIVE_INFINITY, shift = 0 } = {},
): Generator<number, void> {
  const step = isSoak ? 1 : every;
  const first = isSoak ? 0 : (seededRandom(seed).below(every) + shift) % every;
  for (let number = first; number < end; number += step) yield number;
}

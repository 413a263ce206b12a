/**
 * Places that are tried one by one: every call that can fail, every step after which the power can
 * go, every byte that can decay. A run of tests takes each k-th of them, beginning where its seed
 * says, so that many runs take all; `npm run soak` takes every single one at once.
 */
import { seededRandom, soaking } from './seeded-random.js';

/**
 * The numbers from 0 to below `end` that this run takes. Sweeps that differ in `shift` take others:
 * `every` of them in a row take all.
 */
export function* sweep(
  every: number,
  seed: number,
  { end = Number.POSITIVE_INFINITY, shift = 0 } = {},
): Generator<number, void> {
  const step = soaking ? 1 : every;
  const first = soaking ? 0 : (seededRandom(seed).below(every) + shift) % every;
  for (let number = first; number < end; number += step) yield number;
}

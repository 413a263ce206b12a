/**
 * Chance as a parameter: the same seed, the same decisions. `KVENT_SEED=… npm run jest -- <file>`
 * repeats a run whose seed it printed.
 */
export { seedOfRun } from '../seed.mjs';

export interface Random {
  /** 0 ≤ x < 1 */
  next(): number;
  /** A whole number, 0 ≤ n < limit. */
  below(limit: number): number;
  chance(probability: number): boolean;
  pick<T>(choices: readonly T[]): T;
}

// Taken out of the global object once: under Jest each look at a global is a call into another
// realm, and a life draws a million times.
const { floor, imul } = Math;

/** Mulberry32: thirty-two bits of state are plenty for choosing which pages a disk forgets. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (limit: number): number => floor(next() * limit);
  return {
    next,
    below,
    chance: (probability) => next() < probability,
    pick: <T>(choices: readonly T[]): T => choices[below(choices.length)] as T,
  };
}

/** Whether this run is to leave nothing out: `npm run soak`. */
export const soaking = process.env['KVENT_SOAK'] === '1';

/** Adds to a failure how to see it again. */
export async function withSeed<T>(what: string, seed: number, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Error)
      error.message = `${what}; again with ${soaking ? 'KVENT_SOAK=1 ' : ''}KVENT_SEED=${seed}\n${error.message}`;
    throw error;
  }
}

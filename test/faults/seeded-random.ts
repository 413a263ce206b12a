/**
 * Random numbers that are the same for the same seed. `KVENT_SEED=… npm run jest -- <file>` repeats
 * a run.
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

// Destructured once: under Jest each access to a global crosses realms, and a run draws a million
// numbers.
const { floor, imul } = Math;

/** The generator mulberry32. */
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

/** Whether this run takes every position: `npm run soak`. */
export const isSoak = process.env['KVENT_SOAK'] === '1';

/** Adds to a failure how to repeat it. */
export async function withSeed<T>(what: string, seed: number, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Error)
      error.message = `${what}; repeat with ${isSoak ? 'KVENT_SOAK=1 ' : ''}KVENT_SEED=${seed}\n${error.message}`;
    throw error;
  }
}

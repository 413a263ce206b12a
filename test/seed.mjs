/**
 * The seed of a run: what tests choose at random follows from it. `KVENT_SEED=… npm test` repeats
 * the choices of a run that has printed it.
 */
import { randomInt } from 'node:crypto';

const limit = 2 ** 31;

/** @returns {number} a new seed */
export const newSeed = () => randomInt(limit);

/**
 * @param {string} given
 * @param {string} name of the variable or option that gives it
 * @returns {number}
 */
export function seedFrom(given, name) {
  if (/^\d{1,10}$/.test(given) && Number(given) < limit) return Number(given);
  throw new Error(
    `${name} is a whole number from 0 to ${limit - 1}; it is ${JSON.stringify(given.slice(0, 40))}.`,
  );
}

/**
 * The seed of this run, in this process and in those it starts from now on: given by KVENT_SEED, or
 * new.
 * @returns {number}
 */
export function seedOfRun() {
  const given = process.env['KVENT_SEED'];
  const seed = given === undefined || given === '' ? newSeed() : seedFrom(given, 'KVENT_SEED');
  process.env['KVENT_SEED'] = String(seed);
  return seed;
}

/**
 * The seed of a script: its option `--seed`, else that of the run. Processes that it starts from
 * now on get it too.
 * @param {string | undefined} given
 * @returns {number}
 */
export function seedOfScript(given) {
  if (given !== undefined) process.env['KVENT_SEED'] = String(seedFrom(given, '--seed'));
  return seedOfRun();
}

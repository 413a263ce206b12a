/** What is random in a run follows from its seed. */
import { expect, test } from '@jest/globals';
import { newSeed, seedFrom, seedOfRun } from '../seed.mjs';

test('every test of a run has the seed that was given, or printed', () => {
  expect(process.env['KVENT_SEED']).toBe(String(seedOfRun()));
  expect(seedOfRun()).toBe(seedOfRun());
});

test('what is no seed is refused, by the name of what gave it', () => {
  expect(seedFrom('0', '--seed')).toBe(0);
  expect(seedFrom(String(2 ** 31 - 1), '--seed')).toBe(2 ** 31 - 1);
  expect(seedFrom(String(newSeed()), '--seed')).toBeGreaterThanOrEqual(0);
  for (const given of ['', '-1', '1.5', 'abc', String(2 ** 31)])
    expect(() => seedFrom(given, 'KVENT_SEED')).toThrow(
      `KVENT_SEED is a whole number from 0 to 2147483647; it is "${given}".`,
    );
});

import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { isDeeperThan } from './json-levels.js';

const levelsOf = (json: unknown): number =>
  typeof json === 'object' && json !== null ? 1 + Math.max(0, ...Object.values(json).map(levelsOf)) : 0;

describe('the levels of JSON text', () => {
  it('are those of its objects and arrays, whatever its strings contain', () => {
    fc.assert(
      fc.property(fc.json({ stringUnit: fc.constantFrom('"', '\\', '[', '{', ']', 'a') }), (text) => {
        const levels = levelsOf(JSON.parse(text));
        expect([isDeeperThan(text, levels), levels === 0 || isDeeperThan(text, levels - 1)]).toEqual([
          false,
          true,
        ]);
      }),
      { numRuns: 500 },
    );
  });

  it.each(['"[[[[', '"\\', '', ']]]]'])('are also counted in text that is not JSON: %j', (text) => {
    expect(isDeeperThan(text, 3)).toBe(false);
  });
});

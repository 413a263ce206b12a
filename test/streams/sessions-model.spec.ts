/** Nothing goes wrong in any order of steps; and each check of the table is needed: without it, something does. */
import { describe, expect, test } from '@jest/globals';
import { explore, type Mutant } from './sessions-model.js';

const two = { sessions: 2, outsiders: 1, deleters: 0, nowMax: 3, stepsBack: 1, left: 2 };
const withDeleter = { sessions: 1, outsiders: 1, deleters: 1, nowMax: 3, stepsBack: 1, left: 2 };

describe('in no order of steps', () => {
  test.each([
    ['two sessions and an outsider', two],
    ['a session, an outsider and somebody who deletes', withDeleter],
  ])('%s leave a gap, let an outsider in under a live lease, or free another’s lock', (_, bounds) => {
    const found = explore(bounds);
    expect(found).toEqual({ states: expect.any(Number) });
    expect((found as { states: number }).states).toBeGreaterThan(1_000);
  });
});

describe('a check that is left out is found', () => {
  // place 0, 1 … as they stand in `stream-batches.ts`
  const mutants: readonly (Mutant & { readonly what: string })[] = [
    { step: 'outside', check: 0, what: 'the head of an append' },
    { step: 'takeover', check: 0, what: 'the head of a take-over' },
    { step: 'takeover', check: 1, what: 'the lease of a take-over' },
    { step: 'open', check: 0, what: 'the head of an opener' },
    { step: 'open', check: 1, what: 'the lease of an opener' },
    { step: 'append', check: 0, what: 'the lease of a session’s append' },
    { step: 'append', check: 1, what: 'the head of a session’s append' },
    { step: 'close', check: 0, what: 'the lease of a close' },
    { step: 'close', check: 1, what: 'the head of a close' },
    { step: 'delete', check: 0, what: 'the head of a delete' },
    { step: 'delete', check: 1, what: 'the lease of a delete' },
  ];
  test.each(mutants.map((mutant) => [mutant.what, mutant] as const))('%s', (_, { step, check }) => {
    expect(explore(step === 'delete' ? withDeleter : two, { step, check })).toMatchObject({ violation: expect.any(String) });
  });
});

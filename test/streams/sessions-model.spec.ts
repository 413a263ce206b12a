/**
 * Nothing goes wrong in any order of steps; and each check of the table is needed: without it,
 * something does.
 */
import { describe, expect, test } from '@jest/globals';
import { explore, type Bounds, type Mutant } from './sessions-model.js';

// small worlds, each whole: what a session does, with an outsider, with another session, with both,
// with somebody who deletes
const worlds = [
  ['a session and an outsider', { sessions: 1, outsiders: 1, deleters: 0, nowMax: 3, stepsBack: 1, left: 2 }],
  ['two sessions', { sessions: 2, outsiders: 0, deleters: 0, nowMax: 3, stepsBack: 1, left: 2 }],
  [
    'two sessions and an outsider',
    { sessions: 2, outsiders: 1, deleters: 0, nowMax: 3, stepsBack: 1, left: 1 },
  ],
  [
    'a session, an outsider and somebody who deletes',
    { sessions: 1, outsiders: 1, deleters: 1, nowMax: 2, stepsBack: 1, left: 1 },
  ],
] as const satisfies readonly (readonly [string, Bounds])[];

describe('in no order of steps', () => {
  test.each(worlds)(
    '%s leave a gap, let an outsider in under a live lease, or free another’s lock',
    (_, bounds) => {
      const found = explore(bounds);
      expect(found).toEqual({ states: expect.any(Number) });
      expect((found as { states: number }).states).toBeGreaterThan(1_000);
    },
  );
});

describe('a check that is left out is found', () => {
  // place 0, 1 … as they stand in `stream-batches.ts`; two where each alone is covered by the
  // other, or by the events that must be absent
  const mutants: readonly (Mutant & { readonly what: string })[] = [
    { step: 'outside', checks: [0], what: 'the head of an append' },
    { step: 'takeover', checks: [0, 2], what: 'the head and the events of a take-over' },
    { step: 'takeover', checks: [1], what: 'the lease of a take-over' },
    { step: 'open', checks: [0], what: 'the head of an opener' },
    { step: 'open', checks: [1], what: 'the lease of an opener' },
    { step: 'append', checks: [0], what: 'the lease of a session’s append' },
    { step: 'close', checks: [0], what: 'the lease of a close' },
    { step: 'close', checks: [0, 1], what: 'lease and head of a close' },
    { step: 'renew', checks: [0], what: 'the lease of a renewal' },
    { step: 'delete', checks: [0], what: 'the head of a delete' },
    { step: 'delete', checks: [1], what: 'the lease of a delete' },
  ];
  test.each(mutants.map((mutant) => [mutant.what, mutant] as const))('%s', (_, { step, checks }) => {
    const found = worlds.map(
      ([, bounds]) =>
        () =>
          explore(bounds, { step, checks }),
    );
    expect(found.some((run) => 'violation' in run())).toBe(true);
  });
});

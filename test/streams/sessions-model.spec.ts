/**
 * Explores every order of the steps of sessions, outsiders and a deleter. Nothing goes wrong in any
 * of them; and each check of the table of batches is needed: without it, something does.
 */
import { describe, expect, test } from '@jest/globals';
import { explore, type Bounds, type Mutant } from './sessions-model.js';

/** Small worlds, each explored completely. */
const worlds = {
  'a session and an outsider': { sessions: 1, outsiders: 1, deleters: 0, nowMax: 3, stepsBack: 1, left: 2 },
  'two sessions': { sessions: 2, outsiders: 0, deleters: 0, nowMax: 3, stepsBack: 1, left: 2 },
  'two sessions and an outsider': {
    sessions: 2,
    outsiders: 1,
    deleters: 0,
    nowMax: 3,
    stepsBack: 1,
    left: 1,
  },
  'a session, an outsider and a deleter': {
    sessions: 1,
    outsiders: 1,
    deleters: 1,
    nowMax: 2,
    stepsBack: 1,
    left: 1,
  },
  'two sessions and an unlocker': {
    sessions: 2,
    outsiders: 0,
    deleters: 0,
    unlockers: 1,
    nowMax: 2,
    stepsBack: 0,
    left: 2,
  },
} as const satisfies Record<string, Bounds>;

describe('in no order of steps', () => {
  test.each(Object.entries(worlds))(
    '%s leave a gap, let an outsider in under a live lease, or free another’s lock',
    (_, bounds) => {
      const found = explore(bounds);
      expect(found).toEqual({ states: expect.any(Number) });
      expect((found as { states: number }).states).toBeGreaterThan(1_000);
    },
  );
});

/** Checks to leave out, and the world in which that is found. */
interface MissingCheck extends Mutant {
  readonly what: string;
  readonly world: keyof typeof worlds;
}

describe('a check that is left out is found', () => {
  // the numbers are positions in `stream-batches.ts`; two together where each alone is covered by
  // the other, or by the events that must be absent
  const mutants: readonly MissingCheck[] = [
    { step: 'outside', checks: [0], what: 'the head of an append', world: 'a session and an outsider' },
    {
      step: 'takeover',
      checks: [0, 2],
      what: 'the head and the events of a take-over',
      world: 'a session and an outsider',
    },
    { step: 'takeover', checks: [1], what: 'the lease of a take-over', world: 'a session and an outsider' },
    { step: 'open', checks: [0], what: 'the head of an opener', world: 'a session and an outsider' },
    { step: 'open', checks: [1], what: 'the lease of an opener', world: 'two sessions' },
    { step: 'open', checks: [2], what: 'the fence of an opener', world: 'two sessions' },
    { step: 'append', checks: [0], what: 'the lease of a session’s append', world: 'two sessions' },
    { step: 'close', checks: [0], what: 'the lease of a close', world: 'two sessions' },
    { step: 'close', checks: [0, 1], what: 'lease and head of a close', world: 'two sessions' },
    { step: 'renew', checks: [0], what: 'the lease of a renewal', world: 'two sessions' },
    { step: 'unlock', checks: [0], what: 'the head of an unlock', world: 'two sessions and an unlocker' },
    {
      step: 'delete',
      checks: [0],
      what: 'the head of a delete',
      world: 'a session, an outsider and a deleter',
    },
    {
      step: 'delete',
      checks: [1],
      what: 'the lease of a delete',
      world: 'a session, an outsider and a deleter',
    },
  ];
  test.each(mutants.map((mutant) => [mutant.what, mutant] as const))('%s', (_, { step, checks, world }) => {
    expect(explore(worlds[world], { step, checks })).toHaveProperty('violation');
  });
});

/** A clause that cannot fail proves nothing: each one has to catch the broken provider that it names. */
import assert from 'node:assert/strict';
import { describe, expect, test } from '@jest/globals';
import { clauses, prove, SurvivingMemory } from '@kvent/key-value-storage/testing';

describe('every clause', () => {
  for (const clause of clauses) {
    test(`passes on an honest provider: ${clause.name}`, async () => {
      expect(await prove(clause, new SurvivingMemory())).toBe(true);
    });

    test(`catches a provider that ${clause.broken.fault}: ${clause.name}`, async () => {
      const { create, damage } = new SurvivingMemory();
      await expect(prove(clause, { create: (options) => clause.broken(create(options), options.clock), damage })).rejects.toBeInstanceOf(
        assert.AssertionError,
      );
    });
  }
});

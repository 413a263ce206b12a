/**
 * A clause that cannot fail proves nothing: each one has to catch the broken streams that it names.
 */
import assert from 'node:assert/strict';
import { describe, expect, test } from '@jest/globals';
import { isStorageError } from '@kvent/key-value-storage/core';
import { proveStream, streamClauses } from '@kvent/event-store/testing';
import { DurableMemory, type BrokenProvider, type ProviderUnderTest } from '@kvent/key-value-storage/testing';

function broken(wrap: BrokenProvider | undefined): ProviderUnderTest {
  const machine = new DurableMemory();
  return wrap === undefined
    ? machine
    : { ...machine, create: (options) => wrap(machine.create(options), options.clock) };
}

describe('every clause of the streams', () => {
  for (const clause of streamClauses) {
    test(`passes on an honest provider: ${clause.name}`, async () => {
      expect(await proveStream(clause, new DurableMemory())).toBe(true);
    });

    test(`catches streams that ${clause.broken.fault}: ${clause.name}`, async () => {
      // without the turns that rivals of one process take: they would hide what versions are for
      const { provider, stream } = clause.broken;
      const error: unknown = await proveStream(clause, { ...broken(provider), turns: 'none' }, stream).then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      // what a clause takes for granted may fail too, in the storage's own words
      expect(error instanceof assert.AssertionError || isStorageError(error)).toBe(true);
    });
  }
});

test('every clause has a name of its own, and it is a sentence', () => {
  expect(new Set(streamClauses.map(({ name }) => name)).size).toBe(streamClauses.length);
  for (const { name } of streamClauses) expect(name).toMatch(/^.{20,}\.$/);
});

/**
 * Each clause must fail on the broken streams that it names: a proof that cannot fail proves
 * nothing.
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
      // without locks: they avoid the conflicts that versions detect
      const { provider, stream } = clause.broken;
      const error: unknown = await proveStream(clause, { ...broken(provider), locks: 'off' }, stream).then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      // a call of the clause may fail too, with an error of the storage
      expect(error instanceof assert.AssertionError || isStorageError(error)).toBe(true);
    });
  }
});

test('clauses have different names, which are sentences', () => {
  expect(new Set(streamClauses.map(({ name }) => name)).size).toBe(streamClauses.length);
  for (const { name } of streamClauses) expect(name).toMatch(/^.{20,}\.$/);
});

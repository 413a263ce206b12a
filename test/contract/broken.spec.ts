/**
 * A clause that cannot fail proves nothing: each one has to catch the broken provider, or the
 * broken storage, that it names.
 */
import assert from 'node:assert/strict';
import { describe, expect, test } from '@jest/globals';
import {
  clauses,
  proveClause,
  proveStoreClause,
  storeClauses,
  DurableMemory,
  type BrokenProvider,
  type Clause,
  type CreateOptions,
  type ProviderUnderTest,
} from '@kvent/key-value-storage/testing';
import type { StorageProvider } from '@kvent/key-value-storage';
import type { CommitResult } from '@kvent/key-value-storage/provider';

const withoutPosition = (result: CommitResult): CommitResult =>
  result.outcome === 'committed' ? { ...result, position: undefined } : result;

/** A correct provider that gives no positions. */
const withoutFeed = (provider: StorageProvider): StorageProvider => ({
  ...provider,
  commit: async (batches, options) => (await provider.commit(batches, options)).map(withoutPosition),
});

const inOneProcess = (provider: StorageProvider): StorageProvider => ({
  ...provider,
  features: { ...provider.features, shared: false },
});

const readsInScans = (provider: StorageProvider): StorageProvider => ({
  ...provider,
  features: { ...provider.features, readsInScans: true },
  scan: async (ranges, options) => {
    const pages = await provider.scan(ranges, options);
    return await Promise.all(
      pages.map(async (page, index) => {
        const addresses = ranges[index]?.alsoRead;
        return addresses === undefined ? page : { ...page, alsoRead: (await provider.read(addresses)).rows };
      }),
    );
  },
});

/** What a machine must have, or must not, by the capability that requires it. */
const withouts: Readonly<Record<string, (provider: StorageProvider) => StorageProvider>> = {
  'no feed': ({ feed: _, ...provider }) => ({
    ...withoutFeed(provider),
    features: { ...provider.features, feed: false },
  }),
  'no within': ({ within: _, ...provider }) => provider,
  'reads in scans': readsInScans,
  'hints, one process': inOneProcess,
  'feed, hints, one process': inOneProcess,
};

/** An honest machine, with what the clause needs. */
function honest({ capability }: Pick<Clause, 'capability'>): ProviderUnderTest {
  const machine = new DurableMemory();
  const without = withouts[capability ?? ''];
  if (without === undefined) return machine;
  return { ...machine, create: (options: CreateOptions) => without(machine.create(options)) };
}

function broken(clause: Pick<Clause, 'capability'>, wrap: BrokenProvider | undefined): ProviderUnderTest {
  const machine = honest(clause);
  return wrap === undefined
    ? machine
    : { ...machine, create: async (options) => wrap(await machine.create(options), options.clock) };
}

describe('every clause of the port', () => {
  for (const clause of clauses) {
    test(`passes on an honest provider: ${clause.name}`, async () => {
      expect(await proveClause(clause, honest(clause))).toBe(true);
    });

    test(`catches a provider that ${clause.broken.fault}: ${clause.name}`, async () => {
      await expect(proveClause(clause, broken(clause, clause.broken))).rejects.toBeInstanceOf(
        assert.AssertionError,
      );
    });
  }
});

describe('every clause of the stores', () => {
  for (const clause of storeClauses) {
    test(`passes on an honest provider: ${clause.name}`, async () => {
      expect(await proveStoreClause(clause, honest(clause))).toBe(true);
    });

    test(`catches a storage that ${clause.broken.fault}: ${clause.name}`, async () => {
      const { provider, storage } = clause.broken;
      await expect(proveStoreClause(clause, broken(clause, provider), storage)).rejects.toBeInstanceOf(
        assert.AssertionError,
      );
    });
  }
});

describe('the list of clauses', () => {
  const all = [...clauses, ...storeClauses];

  test('has no name twice, and every name is a sentence', () => {
    expect(new Set(all.map(({ name }) => name)).size).toBe(all.length);
    for (const { name } of all) expect(name).toMatch(/^.{20,}\.$/);
  });

  test('covers all fifteen laws', () => {
    expect([...new Set(all.map(({ law }) => law))].sort((a, b) => a - b)).toEqual(
      Array.from({ length: 15 }, (_, index) => index + 1),
    );
  });
});

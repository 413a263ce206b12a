/** One call proves a provider, in any test runner that has `describe` and `it`. */
import { applies } from './kit/abilities.js';
import type { Clause } from './kit/clause.js';
import { clauses } from './clauses/clauses.js';
import { storeClauses } from './clauses/store-clauses.js';
import type { StoreClause } from './kit/store-clause.js';
import { StoreSubject } from './kit/store-subject.js';
import { runOnSubject, Subject, type ProviderUnderTest } from './kit/subject.js';

/** What is needed of a test runner: Jest, Vitest, Mocha, `node:test` and Bun have it. */
export interface TestRunner {
  describe(name: string, body: () => void): unknown;
  it(name: string, body: (...given: unknown[]) => Promise<void>): unknown;
}

export interface DescribeOptions extends ProviderUnderTest {
  /** Which clauses. @default all that the provider's features claim */
  readonly only?: (clause: Clause | StoreClause) => boolean;
}

/**
 * Declares one test for each clause of the contract: of the port, and of the stores above it.
 * `create` makes a provider for each of them; hand it the `clock` and the `location` that it is
 * given, so that expiry, restarts and second instances are proven too: a clause that the provider's
 * features do not claim, or that `create` does not make possible, is skipped where the runner lets
 * a running test say so, and passes elsewhere.
 *
 * ```ts
 * describeStorageProvider('my provider', { create: ({ clock, location }) => new MyProvider({ clock, directory: join(root, location) }) });
 * ```
 */
export function describeStorageProvider(
  name: string,
  options: DescribeOptions,
  runner: TestRunner = globalRunner(),
): void {
  const { only = () => true } = options;
  const declare = (clause: Clause | StoreClause, proof: () => Promise<boolean>): void => {
    // no declared parameter: Jest and Mocha would take it for a callback
    runner.it(clause.name, async (...given: unknown[]) => {
      if (!(await proof())) skip(given[0], clause);
    });
  };
  runner.describe(`the contract of a storage provider: ${name}`, () => {
    for (const clause of clauses.filter(only)) declare(clause, () => proveClause(clause, options));
  });
  runner.describe(`stores on a storage provider: ${name}`, () => {
    for (const clause of storeClauses.filter(only)) declare(clause, () => proveStoreClause(clause, options));
  });
}

/**
 * Runs one clause on a provider of its own; rejects when it does not hold. Answers whether it
 * applied at all.
 */
export async function proveClause(clause: Clause, under: ProviderUnderTest): Promise<boolean> {
  return await runOnSubject(
    new Subject(under),
    (abilities) => applies(clause, abilities),
    (subject) => clause.run(subject),
  );
}

/**
 * The same for a clause of the stores. `wrap`: what to do with the storage first, as its broken
 * one.
 */
export async function proveStoreClause(
  clause: StoreClause,
  under: ProviderUnderTest,
  wrap?: StoreClause['broken']['storage'],
): Promise<boolean> {
  return await runOnSubject(
    new StoreSubject(under, wrap),
    (abilities) => applies(clause, abilities),
    (subject) => clause.run(subject),
  );
}

/** `node:test` and Vitest hand a context to each test that can skip it while it runs. */
function skip(context: unknown, { capability }: Clause | StoreClause): void {
  (context as { skip?: (reason: string) => void } | undefined)?.skip?.(`not claimed: ${capability ?? ''}`);
}

function globalRunner(): TestRunner {
  const { describe, it } = globalThis as Partial<TestRunner>;
  if (describe === undefined || it === undefined) {
    throw new TypeError(
      'There is no global describe and it here: hand describeStorageProvider those of your test runner as its third argument.',
    );
  }
  return { describe, it };
}

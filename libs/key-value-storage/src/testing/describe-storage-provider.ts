/** Runs the contract on a provider, in any test runner with `describe` and `it`. */
import { applies } from './kit/abilities.js';
import type { Clause } from './kit/clause.js';
import { clauses } from './clauses/clauses.js';
import { storeClauses } from './clauses/store-clauses.js';
import type { StoreClause } from './kit/store-clause.js';
import { StoreSubject } from './kit/store-subject.js';
import { runOnSubject, Subject, type ProviderUnderTest } from './kit/subject.js';

/** The functions of a test runner. Jest, Vitest, Mocha, `node:test` and Bun have them. */
export interface TestRunner {
  describe(name: string, body: () => void): unknown;
  it(name: string, body: (...args: unknown[]) => Promise<void>): unknown;
}

export interface DescribeOptions extends ProviderUnderTest {
  /** Selects clauses. @default all that the features of the provider require */
  readonly only?: (clause: Clause | StoreClause) => boolean;
}

/**
 * Declares one test for each clause of the contract: of the port, and of the stores above it.
 * `create` returns a provider for each test. It must use the given `clock` and `location`, so that
 * expiry, restarts and second instances are proven too. A clause that the features or `create` do
 * not make possible is skipped, or passes if the runner cannot skip a running test.
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
    // no declared parameter: Jest and Mocha would treat it as a callback
    runner.it(clause.name, async (...args: unknown[]) => {
      if (!(await proof())) skip(args[0], clause);
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
 * Runs one clause on a new provider. Rejects when the clause does not hold; returns false when the
 * provider does not have what it requires.
 */
export async function proveClause(clause: Clause, under: ProviderUnderTest): Promise<boolean> {
  return await runOnSubject(
    new Subject(under),
    (abilities) => applies(clause, abilities),
    (subject) => clause.run(subject),
  );
}

/**
 * The same for a clause of the stores. `wrap` wraps the storage first, for example to break it.
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

/** `node:test` and Vitest pass a context to each test, which can skip it while it runs. */
function skip(context: unknown, { capability }: Clause | StoreClause): void {
  (context as { skip?: (reason: string) => void } | undefined)?.skip?.(`requires: ${capability ?? ''}`);
}

function globalRunner(): TestRunner {
  const { describe, it } = globalThis as Partial<TestRunner>;
  if (describe === undefined || it === undefined) {
    throw new TypeError(
      'There are no global functions describe and it: pass those of your test runner to describeStorageProvider as its third argument.',
    );
  }
  return { describe, it };
}

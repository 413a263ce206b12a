/** Proves streams on a provider, in any test runner that has `describe` and `it`. */
import { applies, runOnSubject, type TestRunner } from '@kvent/key-value-storage/testing';
import { streamClauses } from './clauses/stream-clauses.js';
import type { StreamClause } from './kit/stream-clause.js';
import { StreamSubject, type StreamUnderTest } from './kit/stream-subject.js';

export interface DescribeStreamsOptions extends StreamUnderTest {
  /** Selects clauses. @default all that the provider's features allow */
  readonly only?: (clause: StreamClause) => boolean;
}

/** Declares a test for each clause of the streams; `create` makes a provider for each of them. */
export function describeStreams(name: string, options: DescribeStreamsOptions, runner: TestRunner): void {
  const { only = () => true } = options;
  runner.describe(`streams on a storage provider: ${name}`, () => {
    for (const clause of streamClauses.filter(only)) {
      runner.it(clause.name, async () => {
        await proveStream(clause, options);
      });
    }
  });
}

/** Runs a clause on a new provider; rejects when it does not hold. Returns whether it applies. */
export async function proveStream(
  clause: StreamClause,
  under: StreamUnderTest,
  broken?: StreamClause['broken']['stream'],
): Promise<boolean> {
  return await runOnSubject(
    new StreamSubject(under, broken),
    (abilities) => applies(clause, abilities),
    (subject) => clause.run(subject),
  );
}

/** Every clause of the streams on some of the providers of `test/providers.ts`. */
import { describe, test } from '@jest/globals';
import { describeStreams, type StreamClause, type StreamUnderTest } from '@kvent/event-store/testing';
import type { ListedProvider } from '../providers.js';

export function describeStreamProviders(providers: readonly ListedProvider[]): void {
  for (const provider of providers) declare(provider, {});
}

/** The same without the locks of one process: results must not depend on them. */
export function describeStreamsWithoutLocks(providers: readonly ListedProvider[]): void {
  for (const provider of providers)
    declare({ ...provider, name: `${provider.name}, without locks` }, { locks: 'off' });
}

/**
 * A thousand decisions on one stream take as long as all other clauses together. Each engine makes
 * them once, and memory without locks, too; so do two processes on Postgres, in `test/faults`.
 */
const aThousandDecisions = 'Twenty writers transact fifty times';
const makesThousandDecisions = ['memory', 'json-file', 'postgres', 'memory, without locks'];

function declare({ name, lacks, ...provider }: ListedProvider, how: Pick<StreamUnderTest, 'locks'>): void {
  const only = (clause: StreamClause): boolean =>
    (clause.capability === undefined || !lacks.includes(clause.capability)) &&
    (makesThousandDecisions.includes(name) || !clause.name.startsWith(aThousandDecisions));
  describeStreams(name, { ...provider, ...how, only }, { describe, it: test });
}

/** Every clause of the streams on some of the providers of `test/providers.ts`. */
import { describe, test } from '@jest/globals';
import { describeStreams, type StreamClause, type StreamUnderTest } from '@kvent/event-store/testing';
import type { ListedProvider } from '../providers.js';

export function describeStreamProviders(providers: readonly ListedProvider[]): void {
  for (const provider of providers) declare(provider, {});
}

/**
 * The same with the turns that rivals of one process take taken away: what is right must not rest
 * on them.
 */
export function describeStreamsWithoutTurns(providers: readonly ListedProvider[]): void {
  for (const provider of providers)
    declare({ ...provider, name: `${provider.name}, without turns` }, { turns: 'none' });
}

/**
 * A thousand decisions on one stream take these as long as all other clauses together. Each engine
 * makes them once; the two processes of `test/faults` do, too.
 */
const tooSlowFor = [
  'documents',
  'postgres-within',
  'postgres-by-url',
  'postgres-row-level-security',
  'postgres, without turns',
];
const aThousandDecisions = 'Twenty writers transact fifty times';

function declare({ name, lacks, ...provider }: ListedProvider, how: Pick<StreamUnderTest, 'turns'>): void {
  const only = (clause: StreamClause): boolean =>
    (clause.capability === undefined || !lacks.includes(clause.capability)) &&
    !(tooSlowFor.includes(name) && clause.name.startsWith(aThousandDecisions));
  describeStreams(name, { ...provider, ...how, only }, { describe, it: test });
}

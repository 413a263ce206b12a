/** Every clause of the streams on some of the providers of `test/providers.ts`. */
import { describe, test } from '@jest/globals';
import { describeStreams, type StreamClause, type StreamUnderTest } from '@kvent/event-store/testing';
import type { ListedProvider } from '../providers.js';

export function describeStreamProviders(providers: readonly ListedProvider[]): void {
  for (const provider of providers) declare(provider, {});
}

/** The same with the turns that rivals of one process take taken away: what is right must not rest on them. */
export function describeStreamsWithoutTurns(providers: readonly ListedProvider[]): void {
  for (const provider of providers) declare({ ...provider, name: `${provider.name}, without turns` }, { turns: 'none' });
}

/** The sample of a guide looks through all its rows for each scan: a thousand loads take it half of what all clauses together take the others. */
const tooLongForDocuments = 'Twenty writers transact fifty times';

function declare({ name, lacks, ...provider }: ListedProvider, how: Pick<StreamUnderTest, 'turns'>): void {
  const only = (clause: StreamClause): boolean =>
    (clause.needs === undefined || !lacks.includes(clause.needs)) && !(name === 'documents' && clause.name.startsWith(tooLongForDocuments));
  describeStreams(name, { ...provider, ...how, only }, { describe, it: test });
}

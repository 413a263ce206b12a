import { openGroupLog, openLineLog } from '../contenders/bare-log.js';
import { openEmmett } from '../contenders/emmett.js';
import {
  openStreamsInMemory,
  openStreamsOnFile,
  openStreamsOnPostgres,
} from '../contenders/kvent-streams.js';
import { openJsonLines, openLeanJsonLines } from '../contenders/json-lines.js';
import { openPgStreamsByHand } from '../contenders/pg-streams-by-hand.js';
import { openLeanPgStreams } from '../contenders/pg-streams-lean.js';
import type { Suite, Work } from '../suite.js';

/** References as lean as in other comparisons, and the same with ids, metadata and times. */
const lean = { reference: 'pg by hand, lean', likeForLike: 'pg by hand' };
const leanLines = { reference: 'JSON lines by hand, lean', likeForLike: 'JSON lines by hand' };
const byHand = { reference: 'pg by hand' };
const onPostgres = { reference: 'kvent' };
const onFile = { reference: 'kvent, JSON file' };
const long = 'a stream of 100,000 events';
const snapshots = `${long}, with a snapshot of each 1,000`;

const works = (
  verb: Work['verb'],
  references: Pick<Work, 'reference' | 'likeForLike'>,
  aims: Readonly<Record<number, number | undefined>>,
  note?: string,
): readonly Work[] =>
  Object.entries(aims).map(([callers, aim]) => ({
    verb,
    callers: Number(callers),
    ...references,
    ...(aim === undefined ? {} : { aim }),
    ...(note === undefined ? {} : { note }),
  }));

/** The aims are for two cores (client and server), full durability and a pool of ten. */
export const eventsOnPostgres: Suite = {
  name: 'events',
  keys: 0,
  ms: 500,
  ours: ['kvent'],
  onPostgres: true,
  openings: [openPgStreamsByHand, openLeanPgStreams, openStreamsOnPostgres, openEmmett],
  works: [
    ...works(
      'append',
      lean,
      { 1: 0.85, 16: 1.7, 64: 3 },
      '1 event, distinct streams, at the expected version',
    ),
    ...works('append, marked', byHand, { 1: 0.7, 16: 1.3, 64: 2.3 }, '1 event and its idempotency key'),
    ...works('append 100', lean, { 1: undefined, 16: 0.8 }, '100 events in one batch'),
    ...works('hot append', byHand, { 64: undefined }, 'ten streams, at any version'),
    ...works(
      'hot transact',
      byHand,
      { 64: undefined },
      'ten streams: load, decide, append; again after a conflict',
    ),
    ...works('read 1,000', lean, { 1: 0.8, 16: 0.8 }),
    ...works('load, no snapshots', lean, { 1: undefined }, long),
    ...works('version', byHand, { 1: undefined }, long),
    ...works('load', onPostgres, { 1: undefined, 16: undefined }, snapshots),
  ],
};

/** The same streams on the embedded providers. */
export const eventsEmbedded: Suite = {
  name: 'events, embedded',
  keys: 1_000,
  ms: 500,
  ours: ['kvent, JSON file'],
  openings: [
    openJsonLines,
    openLeanJsonLines,
    openLineLog,
    openGroupLog,
    openStreamsOnFile,
    openStreamsInMemory,
  ],
  works: [
    ...works(
      'append',
      leanLines,
      { 1: 1.8, 16: 2.2, 64: 4.5 },
      '1 event, distinct streams, at the expected version; the references check it in memory',
    ),
    ...works('append, marked', onFile, { 64: undefined }),
    ...works('append 100', leanLines, { 1: undefined, 16: 1 }),
    ...works('hot transact', onFile, { 64: undefined }),
    ...works('read 1,000', leanLines, { 1: 0.9, 16: 0.9 }),
    ...works('load, no snapshots', onFile, { 1: undefined }, long),
    ...works('version', onFile, { 1: undefined }, long),
    ...works('load', onFile, { 1: undefined }, snapshots),
  ],
};

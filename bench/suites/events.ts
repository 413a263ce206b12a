import { openGroupLog, openLineLog } from '../contenders/bare-log.js';
import { openEmmett } from '../contenders/emmett.js';
import {
  openStreamsInMemory,
  openStreamsOnFile,
  openStreamsOnPostgres,
} from '../contenders/kvent-streams.js';
import { openPgStreamsByHand } from '../contenders/pg-streams-by-hand.js';
import type { Suite, Work } from '../suite.js';

const byHand = 'pg by hand';
const lines = 'JSON line + fdatasync';
const long = 'a stream of 100,000 events';
const snapshots = `${long}, with a snapshot of each 1,000`;

const works = (
  verb: Work['verb'],
  reference: string,
  aims: Readonly<Record<number, number | undefined>>,
  note?: string,
): readonly Work[] =>
  Object.entries(aims).map(([callers, aim]) => ({
    verb,
    callers: Number(callers),
    reference,
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
  openings: [openPgStreamsByHand, openStreamsOnPostgres, openEmmett],
  works: [
    ...works(
      'append',
      byHand,
      { 1: 0.8, 16: 1.6, 64: 3 },
      '1 event, distinct streams, at the expected version',
    ),
    ...works(
      'append, marked',
      byHand,
      { 1: undefined, 16: undefined, 64: undefined },
      '1 event and its idempotency key',
    ),
    ...works('append 100', byHand, { 1: 0.7, 16: 0.8 }, '100 events in one batch'),
    ...works('hot append', byHand, { 64: undefined }, 'ten streams, at any version'),
    ...works(
      'hot transact',
      byHand,
      { 64: undefined },
      'ten streams: load, decide, append; again after a conflict',
    ),
    ...works('read 1,000', byHand, { 1: 0.8 }),
    ...works('load, no snapshots', byHand, { 1: undefined }, long),
    ...works('version', byHand, { 1: undefined }, long),
    ...works('load', 'kvent', { 1: undefined, 16: undefined }, snapshots),
  ],
};

/** The same streams on the embedded providers. */
export const eventsEmbedded: Suite = {
  name: 'events, embedded',
  keys: 1_000,
  ms: 500,
  ours: ['kvent, JSON file'],
  openings: [openLineLog, openGroupLog, openStreamsOnFile, openStreamsInMemory],
  works: [
    ...works(
      'append',
      lines,
      { 1: 1.3, 16: undefined, 64: 5 },
      '1 event, distinct streams, at the expected version; the reference does not check',
    ),
    ...works('append, marked', 'kvent, JSON file', { 64: undefined }),
    ...works('append 100', 'kvent, JSON file', { 1: undefined, 16: undefined }),
    ...works('hot transact', 'kvent, JSON file', { 64: undefined }),
    ...works('read 1,000', 'kvent, JSON file', { 1: undefined }),
    ...works('load, no snapshots', 'kvent, JSON file', { 1: undefined }, long),
    ...works('version', 'kvent, JSON file', { 1: undefined }, long),
    ...works('load', 'kvent, JSON file', { 1: undefined }, snapshots),
  ],
};

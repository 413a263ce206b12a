import { openEmmett } from '../contenders/emmett.js';
import { feedInMemory, feedOnFile, feedOnPostgres, withoutFeed } from '../contenders/kvent-feed.js';
import { openFeedByHand, openLeanFeedByHand, selectByHand } from '../contenders/pg-feed-by-hand.js';
import type { Suite, Work } from '../suite.js';

const appendAim = 0.9;
const appends = (callers: readonly number[]): readonly Work[] =>
  callers.map((each) => ({
    verb: 'append',
    callers: each,
    reference: withoutFeed,
    aim: appendAim,
    note: '1 event, distinct streams',
  }));
const pages = (callers: readonly number[], reference: string, aim?: number): readonly Work[] =>
  callers.map((each) => ({
    verb: 'feed page',
    callers: each,
    reference,
    ...(aim !== undefined && { aim }),
    note: '1,000 events of the feed',
  }));

/** Pages come first: appends make the feed longer. */
const onPostgres: Suite = {
  name: 'feed, Postgres',
  keys: 0,
  ms: 500,
  ours: ['kvent'],
  onPostgres: true,
  openings: [...feedOnPostgres, openFeedByHand, openLeanFeedByHand, openEmmett],
  works: [...pages([1, 16], selectByHand, 0.7), ...appends([1, 16, 64])],
};
const onFile: Suite = {
  name: 'feed, JSON file',
  keys: 0,
  ms: 500,
  ours: ['kvent'],
  openings: feedOnFile,
  works: [...pages([1], 'kvent'), ...appends([1, 16, 64])],
};
const inMemory: Suite = {
  name: 'feed, memory',
  keys: 0,
  ours: ['kvent'],
  openings: feedInMemory,
  works: [...pages([1], 'kvent'), ...appends([1])],
};

export const feed: readonly Suite[] = [onPostgres, onFile, inMemory];

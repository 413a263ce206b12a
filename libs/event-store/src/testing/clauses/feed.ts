/**
 * The law of the feed: a reader has each committed event of the streams that it names, exactly
 * once, in the order of the commits. It is skipped for a provider without a feed.
 */
import assert from 'node:assert/strict';
import type { EventStore, FeedItem, FeedReadOptions } from '@kvent/event-store/core';
import type { StorageProvider } from '@kvent/key-value-storage/core';
import type { FeedPosition } from '@kvent/key-value-storage/provider';
import { assertRejects, breaks } from '@kvent/key-value-storage/testing';
import { added, cleared, Journal, Ledger, many, Quiet } from '../kit/ledger.js';
import type { StreamSubject } from '../kit/stream-subject.js';
import { breaksStream, throughProvider, type StreamClause } from '../kit/stream-clause.js';

const capability = 'feed' as const;
type Feed = NonNullable<StorageProvider['feed']>;
type Item = FeedItem<typeof Ledger, true>;

const breaksFeed = (fault: string, change: (feed: Feed) => Feed) =>
  throughProvider(
    breaks(fault, (provider) => ({ feed: change((request) => (provider.feed as Feed)(request)) })),
  );

const endOf = async (store: EventStore): Promise<FeedPosition> =>
  (await store.readFeed({ streams: [Ledger], limit: 0 })).next;

/** Everything behind a position; reads again while an open transaction of others holds it back. */
export async function readFeedToEnd(
  { store, clock }: StreamSubject,
  options: FeedReadOptions<typeof Ledger, boolean>,
): Promise<readonly Item[]> {
  const items: Item[] = [];
  for (let { after } = options; ;) {
    const page = await store.readFeed({ ...options, after });
    items.push(...page.events);
    after = page.next;
    if (page.upToDate && page.heldBackMs === undefined) return items;
    if (page.upToDate) await clock.advance(0);
  }
}

/** What an item is, in short: 'a1' is the first event of the stream a, 'a-' its deletion. */
const short = (item: Item): string =>
  item.kind === 'deletion' ? `${item.stream}-` : `${item.stream}${item.version}`;

export const feedClauses: readonly StreamClause[] = [
  {
    name: 'The feed returns the events of several stream types in the order of their commits, each as `read` returns it, with its type, tenant and position.',
    capability,
    broken: breaksFeed('returns a page in reverse order', (feed) => async (request) => {
      const page = await feed(request);
      return { ...page, entries: page.entries.toReversed() };
    }),
    async run(subject) {
      const { ledger, store, tenant } = subject;
      const journal = store.stream(Journal);
      const after = await endOf(store);
      await ledger.append('a', many(2), { expectedVersion: 0 });
      await journal.append('a', [cleared], { expectedVersion: 0 });
      await ledger.append('b', [added(1)], { expectedVersion: 0 });
      await ledger.transact('a', () => [cleared]);
      const items = await readFeedToEnd(subject, { after, streams: [Ledger, Journal] });
      assert.deepEqual(
        items.map((item) => [item.streamType, short(item), item.tenant]),
        [
          ['ledger', 'a1', tenant],
          ['ledger', 'a2', tenant],
          ['journal', 'a1', tenant],
          ['ledger', 'b1', tenant],
          ['ledger', 'a3', tenant],
        ],
      );
      const positions = items.map(({ position }) => position);
      assert.deepEqual(positions, [...new Set(positions)].sort());
      const own = items.filter(({ stream, streamType }) => stream === 'a' && streamType === 'ledger');
      let index = 0;
      for await (const event of ledger.read('a')) {
        const { kind: _, streamType: __, position: ___, ...recorded } = own[index] as Item;
        assert.deepEqual(recorded, event);
        index += 1;
      }
      for (const limit of [1, 2])
        assert.deepEqual(await readFeedToEnd(subject, { after, streams: [Ledger, Journal], limit }), items);
    },
  },
  {
    name: 'The results of `append`, `transact` and sessions, repeated ones too, have the position of their last event.',
    capability,
    broken: breaksStream('return no position when an append is repeated', (stream) => ({
      append: async (...given) => {
        const { position, ...result } = await stream.append(...given);
        return result.replayed || position === undefined ? result : { ...result, position };
      },
    })),
    async run(subject) {
      const { ledger, store } = subject;
      const after = await endOf(store);
      const append = () => ledger.append('a', many(2), { expectedVersion: 0, idempotencyKey: 'k' });
      const transact = () => ledger.transact('a', () => many(2), { idempotencyKey: 'l' });
      const session = () => ledger.session('a', (held) => held.append([added(1)], { idempotencyKey: 'm' }));
      const first = [await append(), await transact(), await session()].map(({ position }) => position);
      const items = await readFeedToEnd(subject, { after, streams: [Ledger] });
      assert.deepEqual(
        first,
        [1, 3, 4].map((index) => items[index]?.position),
      );
      const repeated = [await append(), await transact(), await session()].map(({ position }) => position);
      assert.deepEqual(repeated, first);
      assert.equal((await ledger.append('a', [], { expectedVersion: 'any' })).position, undefined);
    },
  },
  {
    name: 'The deletion of a stream is an item of the feed for a reader that asks for deletions, and its events leave the feed.',
    capability,
    broken: throughProvider(
      breaks('does not put heads into the feed', (provider) => ({
        commit: (batches, options) =>
          provider.commit(
            batches.map((batch) => ({
              ...batch,
              changes: batch.changes.map((change) =>
                change.kind === 'put' && change.address.container.startsWith('head:')
                  ? { ...change, feed: false }
                  : change,
              ),
            })),
            options,
          ),
      })),
    ),
    async run(subject) {
      const { ledger, store, tenant } = subject;
      const after = await endOf(store);
      await ledger.append('a', many(2), { expectedVersion: 0 });
      await ledger.delete('a');
      await ledger.append('b', [cleared], { expectedVersion: 0 });
      const items = await readFeedToEnd(subject, { after, streams: [Ledger], deletions: true });
      assert.deepEqual(items.map(short), ['a-', 'b1']);
      const [deletion] = items;
      assert.ok(deletion?.kind === 'deletion');
      const { deletedAt, position: _, ...rest } = deletion;
      assert.deepEqual(rest, { kind: 'deletion', streamType: 'ledger', stream: 'a', tenant, version: 2 });
      assert.ok(deletedAt instanceof Date);
      assert.deepEqual((await readFeedToEnd(subject, { after, streams: [Ledger] })).map(short), ['b1']);
    },
  },
  {
    name: 'A stream type with `feed: false` is not in the feed, and cannot be read from it.',
    capability,
    broken: throughProvider(
      breaks('puts every row into the feed', (provider) => ({
        commit: (batches, options) =>
          provider.commit(
            batches.map((batch) => ({
              ...batch,
              changes: batch.changes.map((change) =>
                change.kind === 'put' ? { ...change, feed: true } : change,
              ),
            })),
            options,
          ),
      })),
    ),
    async run({ provider, store, database }) {
      const { position } = await store.stream(Quiet).append('a', many(2), { expectedVersion: 0 });
      assert.equal(position, undefined);
      const [row] =
        (await provider.scan([{ database, container: 'event:quiet', entity: 'a', limit: 1 }]))[0]?.rows ?? [];
      assert.equal(row?.row.position, undefined);
      await assertRejects('INVALID_OPTION', 'readFeed', () => store.readFeed({ streams: [Quiet] }));
    },
  },
  {
    name: 'A reader of the feed goes on with events that are appended later, and ends with its signal.',
    capability,
    broken: breaksFeed('returns nothing that was appended after its first page', (feed) => {
      let end: FeedPosition | undefined;
      return async (request) => {
        const page = await feed(request);
        if (request.limit === 0) return page;
        end ??= page.next;
        const last = end;
        return { ...page, entries: page.entries.filter(({ position }) => position <= last) };
      };
    }),
    async run(subject) {
      const { ledger, store } = subject;
      const after = await endOf(store);
      const reading = new AbortController();
      const read: string[] = [];
      const reader = (async () => {
        for await (const item of store.feed({ after, streams: [Ledger], signal: reading.signal }))
          read.push(short(item));
      })();
      // more than four where an open transaction of others holds the feed back
      for (let version = 0; read.length < 4 && version < 100; version += 1) {
        await ledger.append('a', [added(1)], { expectedVersion: version });
        await readFeedToEnd(subject, { after, streams: [Ledger] });
        await subject.clock.advance(0);
      }
      reading.abort();
      await reader;
      assert.deepEqual(read.slice(0, 4), ['a1', 'a2', 'a3', 'a4']);
    },
  },
];

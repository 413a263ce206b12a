/**
 * Law 15, the feed: every committed row that was put with `feed`, exactly once, in one order. A
 * clause reads the rows of its own databases only, because others may use the same engine. Where a
 * transaction of others holds the feed back, it reads again.
 */
import assert from 'node:assert/strict';
import { limits, type StorageProvider } from '../../../core.js';
import {
  storageError,
  type Address,
  type FeedEntry,
  type FeedPage,
  type FeedPosition,
  type FeedRequest,
  type RawRow,
} from '../../../provider.js';
import { delegating } from '../../../core/providers/delegating.js';
import { breaks, changesChanges, changesRows } from '../../kit/broken-providers.js';
import type { Clause } from '../../kit/clause.js';
import type { Subject } from '../../kit/subject.js';
import { assertRejects, concurrently } from '../../kit/assertions.js';
import { check, json, put, remove, renew } from '../../kit/batches.js';

const law = 15;
type Feed = NonNullable<StorageProvider['feed']>;

const feedOf =
  (provider: StorageProvider): Feed =>
  (request) =>
    (provider.feed as Feed)(request);

/** A provider with a defect in its pages. */
const breaksFeed = (fault: string, change: (feed: Feed) => Feed) =>
  breaks(fault, (provider) => ({ feed: change(feedOf(provider)) }));

const changesFeedPages = (fault: string, change: (page: FeedPage, request: FeedRequest) => FeedPage) =>
  breaksFeed(fault, (feed) => async (request) => change(await feed(request), request));

/** Puts a row into the feed. */
const feedPut = (address: Address, value = '1') => ({ ...put(address, value), feed: true });

async function putIntoFeed(subject: Subject, address: Address, value = '1'): Promise<void> {
  await subject.mustCommit({ database: address.database, changes: [feedPut(address, value)] });
}

/** The end of the feed: what others have written before is left out. */
const endOf = async (subject: Subject): Promise<FeedPosition> =>
  (await feedOf(subject.provider)({ limit: 0 })).next;

/** Pages from `after` on, until the feed ends and nothing is held back. */
async function pagesAfter(
  subject: Subject,
  request: FeedRequest,
  provider = subject.provider,
): Promise<readonly FeedPage[]> {
  const pages: FeedPage[] = [];
  for (let { after } = request; ;) {
    const page = await feedOf(provider)({ ...request, after });
    assert.ok(after === undefined || page.next >= after, '`next` must not go back');
    assert.ok(page.entries.length <= request.limit, 'a page must not have more entries than its limit');
    pages.push(page);
    if (page.upToDate && page.heldBackMs === undefined) return pages;
    assert.ok(page.upToDate || page.next !== after, 'a page that is not up to date must move forward');
    after = page.next;
    assert.ok(pages.length < 100_000, 'the feed never ends');
    if (page.upToDate) await subject.clock.advance(0);
  }
}

async function entriesAfter(
  subject: Subject,
  after: FeedPosition,
  request: Partial<FeedRequest> = {},
  provider?: StorageProvider,
): Promise<readonly FeedEntry[]> {
  const asked = { databases: [subject.database()], limit: 100, ...request, after };
  return (await pagesAfter(subject, asked, provider)).flatMap(({ entries }) => entries);
}

const keysOf = (entries: readonly FeedEntry[]): readonly string[] =>
  entries.map(({ address }) => address.key);
const range = (count: number): readonly string[] => Array.from({ length: count }, (_, index) => `k${index}`);

/**
 * Rows of two streams, to be imported into the second database. Rows of the first one have their
 * positions, but for that of the second row of a stream.
 */
async function overlapping(
  subject: Subject,
): Promise<{ readonly databases: readonly [string, string]; readonly rows: readonly RawRow[] }> {
  const databases = [subject.database(), subject.database('other')] as const;
  for (const key of range(4))
    for (const entity of ['first', 'second']) await putIntoFeed(subject, subject.address(key, { entity }));
  const rows: RawRow[] = [];
  for await (const raw of subject.provider.administration.export(databases[0])) rows.push(raw);
  await subject.mustCommit({ changes: [remove(subject.address('k1', { entity: 'first' }))] });
  return { databases, rows };
}

/** Rows of a source that fails. */
function* interrupted(rows: readonly RawRow[]): Generator<RawRow> {
  yield* rows;
  throw storageError('STORAGE_CORRUPT', 'The source ends here.', { place: 'source' });
}

export const feedClauses: readonly Clause[] = [
  {
    name: 'The feed returns each row that was put with `feed` exactly once, in the order of the commits, those of one batch and space in the order of their keys, whatever the limit of a page is.',
    law,
    capability: 'feed',
    broken: changesFeedPages('returns the last row of a page again', (page, { after }) => ({
      ...page,
      next: page.upToDate ? page.next : (page.entries.at(-2)?.position ?? after ?? page.next),
    })),
    async run(subject) {
      const after = await endOf(subject);
      const keys = range(7);
      for (const [index, key] of keys.entries())
        if (index % 3 === 0)
          await subject.mustCommit({
            changes: keys.slice(index, index + 3).map((each) => feedPut(subject.address(each), `"${key}"`)),
          });
      for (const limit of [2, 3, 7, 100]) {
        const entries = await entriesAfter(subject, after, { limit });
        assert.deepEqual(keysOf(entries), keys, `the pages of ${limit}`);
        for (const { address, row, position } of entries) {
          assert.deepEqual(address, subject.address(address.key));
          assert.deepEqual(await subject.readRow(address), row, 'a row of the feed must be the row as read');
          assert.equal(row.position, position);
        }
      }
    },
  },
  {
    name: 'Positions are 32 hexadecimal digits, compared as text; a committed batch has that of its last row in the feed.',
    law,
    capability: 'feed',
    broken: changesRows('returns rows without their position', ({ position: _, ...row }) => row),
    async run(subject) {
      const results = [];
      for (const key of ['one-b', 'two-b']) {
        const changes = [feedPut(subject.address(key.replace('b', 'a'))), feedPut(subject.address(key))];
        const { position } = await subject.mustCommit({
          changes: [...changes, put(subject.address('n'), '1')],
        });
        assert.match(position ?? '', /^[0-9a-f]{32}$/);
        assert.equal((await subject.readRow(subject.address(key)))?.position, position);
        results.push(position ?? '');
      }
      assert.deepEqual(results, results.toSorted());
      const plain = await subject.mustCommit({ changes: [put(subject.address('plain'), '1')] });
      assert.equal(plain.position, undefined, 'a batch without a row in the feed has no position');
    },
  },
  {
    name: 'A row that was put without `feed` or was deleted is not in the feed; a row that is put again stands at its new position only, and a renewed row at its own.',
    law,
    capability: 'feed',
    broken: changesChanges('puts every row into the feed', (change) =>
      change.kind === 'put' ? { ...change, feed: true } : change,
    ),
    async run(subject) {
      const after = await endOf(subject);
      const [again, renewed, left, gone, plain] = [
        subject.address('again'),
        subject.address('renewed'),
        subject.address('left'),
        subject.address('gone'),
        subject.address('plain'),
      ];
      const version = subject.nextVersion();
      await subject.mustCommit({
        version,
        changes: [
          ...[again, left, gone].map((address) => feedPut(address)),
          { ...put(renewed, '1', 60_000), feed: true },
          put(plain, '1'),
        ],
      });
      await subject.mustCommit({ changes: [put(left, '2'), remove(gone)] });
      await subject.mustCommit({
        checks: [check(renewed, version)],
        changes: [renew(renewed, 120_000)],
      });
      await putIntoFeed(subject, again, '2');
      const entries = await entriesAfter(subject, after);
      assert.deepEqual(keysOf(entries), ['renewed', 'again']);
      assert.deepEqual(entries.at(-1)?.row.value, json('2'));
    },
  },
  {
    name: 'Filters by database and container leave out all other rows; `next` moves past them.',
    law,
    capability: 'feed',
    broken: breaksFeed(
      'ignores the databases of a request',
      (feed) =>
        ({ databases: _, ...request }) =>
          feed(request),
    ),
    async run(subject) {
      const after = await endOf(subject);
      const other = subject.database('other');
      await putIntoFeed(subject, subject.address('mine'));
      await putIntoFeed(subject, subject.address('theirs', { database: other }));
      await putIntoFeed(subject, subject.address('kind', { container: 'counter:kit' }));
      const databases = [subject.database()];
      assert.deepEqual(keysOf(await entriesAfter(subject, after)), ['mine', 'kind']);
      assert.deepEqual(keysOf(await entriesAfter(subject, after, { containers: ['counter:kit'] })), ['kind']);
      assert.deepEqual(keysOf(await entriesAfter(subject, after, { databases: [...databases, other] })), [
        'mine',
        'theirs',
        'kind',
      ]);
      assert.deepEqual(await entriesAfter(subject, after, { databases: [] }), []);
      assert.deepEqual(await entriesAfter(subject, after, { containers: ['event:none'] }), []);
    },
  },
  {
    name: 'Where no row passes the filter, `next` moves forward: what was read is not read again.',
    law,
    capability: 'feed',
    broken: changesFeedPages('stays where it was when no row passes', (page, { after }) =>
      page.entries.length > 0 || after === undefined ? page : { ...page, next: after },
    ),
    async run(subject) {
      const after = await endOf(subject);
      for (const key of range(3)) await putIntoFeed(subject, subject.address(key));
      const last = (await entriesAfter(subject, after)).at(-1)?.position ?? after;
      const containers = ['event:none'];
      const pages = await pagesAfter(subject, { after, limit: 1, containers });
      assert.ok((pages.at(-1)?.next ?? after) >= last, '`next` must be behind the rows that were left out');
    },
  },
  {
    name: 'A limit of 0 returns the end of the feed: a reader from there has only what comes later.',
    law,
    capability: 'feed',
    broken: changesFeedPages('returns the beginning as the end', (page, { limit }) =>
      limit === 0 ? { ...page, next: '0'.repeat(32) } : page,
    ),
    async run(subject) {
      const start = await endOf(subject);
      await putIntoFeed(subject, subject.address('before'));
      assert.deepEqual(keysOf(await entriesAfter(subject, start)), ['before']);
      const { next, entries } = await feedOf(subject.provider)({ limit: 0 });
      assert.deepEqual(entries, []);
      await putIntoFeed(subject, subject.address('after'));
      assert.deepEqual(keysOf(await entriesAfter(subject, next)), ['after']);
    },
  },
  {
    name: 'The values of a page are at most 4 MB together; the rows behind follow on the next page.',
    law,
    capability: 'feed',
    broken: breaksFeed('returns everything in one page', (feed) => async (request) => {
      const first = await feed(request);
      if (first.upToDate) return first;
      const second = await feed({ ...request, after: first.next });
      return { ...second, entries: [...first.entries, ...second.entries] };
    }),
    async run(subject) {
      const after = await endOf(subject);
      const large = JSON.stringify('x'.repeat(limits.valueBytesMax - 10));
      const keys = range(6);
      for (const key of keys) await putIntoFeed(subject, subject.address(key), large);
      const pages = await pagesAfter(subject, { after, limit: 100, databases: [subject.database()] });
      for (const { entries } of pages)
        assert.ok(entries.length * large.length <= limits.feedPageBytesMax, 'a page is over 4 MB');
      assert.deepEqual(keysOf(pages.flatMap(({ entries }) => entries)), keys);
    },
  },
  {
    name: 'While several writers append to their streams, a reader of the feed misses nothing, has nothing twice, and has each stream in order.',
    law,
    capability: 'feed',
    broken: changesFeedPages('returns a page in reverse order', (page) => ({
      ...page,
      entries: page.entries.toReversed(),
    })),
    async run(subject) {
      const after = await endOf(subject);
      const append = async (stream: number): Promise<void> => {
        for (const key of range(5))
          await putIntoFeed(subject, subject.address(key, { entity: `s${stream}` }));
      };
      const writing = subject.inBackground(concurrently(4, append));
      const read: FeedEntry[] = [];
      for (let next = after, isLast = false, written = false; !isLast; isLast = written) {
        written = await Promise.race([writing.then(() => true), subject.clock.advance(0).then(() => false)]);
        const pages = await pagesAfter(subject, { after: next, limit: 3, databases: [subject.database()] });
        read.push(...pages.flatMap(({ entries }) => entries));
        next = pages.at(-1)?.next ?? next;
      }
      const positions = read.map(({ position }) => position);
      assert.deepEqual(positions, [...new Set(positions)].sort());
      for (let stream = 0; stream < 4; stream += 1)
        assert.deepEqual(
          keysOf(read.filter(({ address }) => address.entity === `s${stream}`)),
          range(5),
          'the events of a stream',
        );
    },
  },
  {
    name: 'Positions survive an export followed by an import, and what is put later stands behind them.',
    law,
    capability: 'feed',
    broken: breaks('imports rows at new positions', (provider) => ({
      administration: {
        ...provider.administration,
        import: async (database, rows) => {
          const moved = [];
          for await (const { row, ...address } of rows) {
            const position = row.position === undefined ? {} : { position: `1${row.position.slice(1)}` };
            moved.push({ ...address, row: { ...row, ...position } });
          }
          return await provider.administration.import(database, moved);
        },
      },
    })),
    async run(subject) {
      const after = await endOf(subject);
      const { administration } = subject.provider;
      const database = subject.database();
      for (const key of ['b', 'a', 'c']) await putIntoFeed(subject, subject.address(key));
      const before = await entriesAfter(subject, after);
      const rows = [];
      for await (const raw of administration.export(database)) rows.push(raw);
      await administration.drop(database);
      assert.deepEqual(await entriesAfter(subject, after), [], 'a dropped database has left the feed');
      await administration.import(database, rows);
      assert.deepEqual(await entriesAfter(subject, after), before);
      await putIntoFeed(subject, subject.address('later'));
      assert.deepEqual(keysOf(await entriesAfter(subject, after)), ['b', 'a', 'c', 'later']);
    },
  },
  {
    name: 'Imported rows whose positions other rows have get new ones, and so do the later rows of their space: each row is read once, also in pages of one row, and each stream in order.',
    law,
    capability: 'feed',
    broken: breaks('moves only the imported rows whose own positions are taken', (provider) => ({
      administration: {
        ...provider.administration,
        import: async (database, rows) => {
          let count = 0;
          for await (const each of rows) count += await provider.administration.import(database, [each]);
          return count;
        },
      },
    })),
    async run(subject) {
      const after = await endOf(subject);
      const { databases, rows } = await overlapping(subject);
      assert.equal(await subject.provider.administration.import(databases[1], rows), rows.length);
      for (const limit of [1, 2, 100]) {
        const entries = await entriesAfter(subject, after, { databases, limit });
        const keysIn = (database: string, entity: string): readonly string[] =>
          keysOf(entries.filter(({ address }) => address.database === database && address.entity === entity));
        assert.deepEqual(keysIn(databases[0], 'first'), ['k0', 'k2', 'k3'], 'the rows that were there');
        for (const entity of ['first', 'second'])
          assert.deepEqual(keysIn(databases[1], entity), range(4), `${entity}, in pages of ${limit}`);
        const positions = entries.map(({ position }) => position);
        assert.deepEqual(positions, [...new Set(positions)], 'two rows must not have one position');
      }
      await putIntoFeed(subject, subject.address('later', { database: databases[1] }));
      assert.deepEqual(keysOf(await entriesAfter(subject, after, { databases })).at(-1), 'later');
    },
  },
  {
    name: 'A repeated import leaves its rows where they stand in the feed: a reader that went on has none twice.',
    law,
    capability: 'feed',
    broken: breaks('imports rows at new positions each time', (provider) => ({
      administration: {
        ...provider.administration,
        import: async (database, rows) => {
          await provider.administration.drop(database);
          return await provider.administration.import(database, rows);
        },
      },
    })),
    async run(subject) {
      const after = await endOf(subject);
      const { databases, rows } = await overlapping(subject);
      const { administration } = subject.provider;
      await assertRejects('STORAGE_CORRUPT', 'an interrupted import', () =>
        administration.import(databases[1], interrupted(rows.slice(0, 3))),
      );
      await administration.import(databases[1], rows);
      const read = await entriesAfter(subject, after, { databases });
      await administration.import(databases[1], rows);
      assert.deepEqual(await entriesAfter(subject, after, { databases }), read);
      const ofStream = read.filter(({ address }) => address.database === databases[1]);
      for (const entity of ['first', 'second'])
        assert.deepEqual(keysOf(ofStream.filter(({ address }) => address.entity === entity)), range(4));
    },
  },
  {
    name: 'Positions survive a restart and a compaction, and what is put later stands behind them.',
    law,
    capability: 'feed, durable',
    broken: breaks('begins a new feed each time it is opened', (provider) => {
      let from: FeedPosition | undefined;
      return {
        open: async () => {
          await provider.open();
          from = (await feedOf(provider)({ limit: 0 })).next;
        },
        feed: (request) =>
          feedOf(provider)({
            ...request,
            after: (request.after ?? '') > (from ?? '') ? request.after : from,
          }),
      };
    }),
    async run(subject) {
      const after = await endOf(subject);
      for (const key of range(3)) await putIntoFeed(subject, subject.address(key));
      const before = await entriesAfter(subject, after);
      await subject.provider.administration.compact?.();
      await subject.reopen();
      assert.deepEqual(await entriesAfter(subject, after), before);
      await putIntoFeed(subject, subject.address('later'));
      assert.deepEqual(keysOf(await entriesAfter(subject, after)), [...range(3), 'later']);
    },
  },
  {
    name: 'Two instances on the same data write into one feed, and read the same.',
    law,
    capability: 'feed, shared',
    broken: breaks('returns only what it has written itself', (provider) => {
      const own = new Set<string>();
      return {
        commit: (batches, options) => {
          for (const { version } of batches) own.add(version);
          return provider.commit(batches, options);
        },
        feed: async (request) => {
          const page = await feedOf(provider)(request);
          return { ...page, entries: page.entries.filter(({ row }) => own.has(row.version)) };
        },
      };
    }),
    async run(subject) {
      const after = await endOf(subject);
      const second = await subject.openSecond();
      for (const [index, key] of range(4).entries())
        await subject.mustCommit(
          { changes: [feedPut(subject.address(key))] },
          index % 2 === 0 ? subject.provider : second,
        );
      const entries = await entriesAfter(subject, after);
      assert.deepEqual(keysOf(entries), range(4));
      assert.deepEqual(await entriesAfter(subject, after, {}, second), entries);
    },
  },
  {
    name: 'What a transaction commits late is not skipped: a reader that went on before has it once, after what it has read.',
    law,
    capability: 'feed, transactions',
    broken: breaks('skips what a transaction commits late', (provider) => {
      const late = new Set<string>();
      return {
        within: (transaction) => {
          const within = (provider.within as NonNullable<StorageProvider['within']>)(transaction);
          return {
            ...delegating(within),
            commit: (batches, options) => {
              for (const { version } of batches) late.add(version);
              return within.commit(batches, options);
            },
          };
        },
        feed: async (request) => {
          const page = await feedOf(provider)(request);
          return { ...page, entries: page.entries.filter(({ row }) => !late.has(row.version)) };
        },
      };
    }),
    async run(subject) {
      const after = await endOf(subject);
      const databases = [subject.database()];
      const open = await subject.transaction();
      const early = await subject.transaction();
      await subject.mustCommit({ changes: [feedPut(subject.address('late'))] }, open.within);
      await subject.mustCommit({ changes: [feedPut(subject.address('undone'))] }, early.within);
      await putIntoFeed(subject, subject.address('lone'));
      await early.rollback();
      const seen = await feedOf(subject.provider)({ after, limit: 100, databases });
      assert.ok(
        keysOf(seen.entries).every((key) => key === 'lone'),
        'only committed rows are in the feed',
      );
      assert.ok(seen.entries.length === 1 || seen.heldBackMs !== undefined, 'it must say what is held back');
      await open.commit();
      const entries = [...seen.entries, ...(await entriesAfter(subject, seen.next))];
      assert.deepEqual(keysOf(entries).toSorted(), ['late', 'lone']);
      const { position = '' } = entries.find(({ address: { key } }) => key === 'lone') ?? {};
      const { heldBackTo = seen.next } = seen;
      assert.ok(position <= heldBackTo, 'it must say up to where');
    },
  },
  {
    name: 'In a transaction that began before what it follows, a row is refused or stands behind it: a stream is in order.',
    law,
    capability: 'feed, transactions',
    broken: changesFeedPages('returns a page in the order of values', (page) => ({
      ...page,
      entries: page.entries.toSorted((a, b) => (text(a) < text(b) ? -1 : 1)),
    })),
    async run(subject) {
      const after = await endOf(subject);
      const { within, commit, rollback } = await subject.transaction();
      await subject.mustCommit({ changes: [put(subject.address('other'), '1')] }, within);
      const [first, second] = [subject.address('1'), subject.address('2')];
      await putIntoFeed(subject, first, '"z"');
      const result = await subject.commit(
        { checks: [check(second, 'absent')], changes: [feedPut(second, '"a"')] },
        within,
      );
      if (result.outcome === 'committed') await commit();
      else {
        assert.ok(
          result.outcome === 'conflict' ||
            (result.outcome === 'failed' && result.error.code === 'STORAGE_CONFLICT'),
          'a row that would stand before what it follows is a conflict',
        );
        await rollback();
        await putIntoFeed(subject, second, '"a"');
      }
      assert.deepEqual(keysOf(await entriesAfter(subject, after)), ['1', '2']);
    },
  },
  {
    name: 'A read of the feed with an aborted signal rejects with ABORTED, and one of a closed provider with STORAGE_NOT_OPEN.',
    law,
    capability: 'feed',
    broken: breaksFeed(
      'ignores the signal of a read of the feed',
      (feed) =>
        ({ signal: _, ...request }) =>
          feed(request),
    ),
    async run(subject) {
      const feed = feedOf(subject.provider);
      await assertRejects('ABORTED', 'feed', () => feed({ limit: 1, signal: AbortSignal.abort() }));
      await subject.provider.close();
      await assertRejects('STORAGE_NOT_OPEN', 'feed', () => feed({ limit: 1 }));
      await subject.provider.open();
    },
  },
  {
    name: 'A provider without `features.feed` has no `feed`, stores rows that are put with `feed`, and returns no position.',
    law,
    capability: 'no feed',
    broken: breaks('has a feed that it does not declare', () => ({
      feed: async () => await Promise.reject(new Error()),
    })),
    async run(subject) {
      assert.equal(subject.provider.feed, undefined);
      const address = subject.address('one');
      const { position } = await subject.mustCommit({ changes: [feedPut(address)] });
      assert.equal(position, undefined);
      assert.equal(await subject.readText(address), '1');
    },
  },
];

const text = ({ row: { value } }: FeedEntry): string => (value.kind === 'json' ? value.text : '');

/**
 * Law 8, lists: one page is in key order, forward or reversed, within its bounds, and reports
 * whether more rows follow. Cursors, prefixes and deletion by range depend on this order and on a
 * correct `more`.
 */
import assert from 'node:assert/strict';
import { breaks, changesPages, changesRanges } from '../../kit/broken-providers.js';
import type { Clause } from '../../kit/clause.js';
import type { Subject } from '../../kit/subject.js';
import { put, remove } from '../../kit/batches.js';

const law = 8;
export const pad = (index: number): string => `key-${String(index).padStart(4, '0')}`;

/** Rows of these keys, in one batch. */
export async function fill(subject: Subject, keys: readonly string[]): Promise<void> {
  for (let at = 0; at < keys.length; at += 900) {
    await subject.mustCommit({
      changes: keys.slice(at, at + 900).map((key) => put(subject.address(key), `"${key}"`)),
    });
  }
}

export const listClauses: readonly Clause[] = [
  {
    name: 'A page is in key order, compared by character code, whatever the order of the writes.',
    law,
    broken: changesPages('returns rows in the order of the writes', (page) => ({
      ...page,
      rows: page.rows.toSorted((a, b) => (BigInt(a.row.version) < BigInt(b.row.version) ? -1 : 1)),
    })),
    async run(subject) {
      const keys = [
        'b',
        'a',
        'B',
        'aa',
        'Z',
        'a b',
        'ä',
        'a-',
        '10',
        '9',
        '~',
        'z',
        '中',
        'é',
        'a~',
        '#',
        '\u{1F600}',
        '\uD7FE',
        '{',
        'ab',
      ];
      for (const key of keys) await subject.putRow(subject.address(key), '1');
      assert.deepEqual(await subject.scanKeys(), keys.toSorted());
    },
  },
  {
    name: 'A reversed page is in the opposite order.',
    law,
    broken: changesPages('reverses a page after it has selected its rows', (page, range) =>
      range.reverse === true ? { ...page, rows: page.rows.toReversed().reverse().slice(1) } : page,
    ),
    async run(subject) {
      await fill(
        subject,
        Array.from({ length: 50 }, (_, index) => pad(index * 7)),
      );
      const forward = await subject.scanKeys();
      assert.equal(forward.length, 50);
      assert.deepEqual(await subject.scanKeys({ reverse: true }), forward.toReversed());
      assert.deepEqual(
        (await subject.scanPage({ reverse: true, limit: 3 })).rows.map(({ key }) => key),
        forward.toReversed().slice(0, 3),
      );
    },
  },
  {
    name: '`start` is inclusive and `end` exclusive, in both directions; a range with equal bounds is empty.',
    law,
    broken: changesRanges('includes the end of a range', (range) =>
      range.end === undefined ? range : { ...range, end: `${range.end}\u0001` },
    ),
    async run(subject) {
      await fill(subject, ['a', 'b', 'c', 'd', 'e']);
      for (const [range, expected] of [
        [{ start: 'b', end: 'd' }, ['b', 'c']],
        [{ start: 'b' }, ['b', 'c', 'd', 'e']],
        [{ end: 'd' }, ['a', 'b', 'c']],
        [{ start: 'c', end: 'c' }, []],
        [{ start: 'aa', end: 'cc' }, ['b', 'c']],
        [{ start: 'f' }, []],
        [{ end: 'a' }, []],
        [{ start: '0', end: 'z' }, ['a', 'b', 'c', 'd', 'e']],
      ] as const) {
        assert.deepEqual(await subject.scanKeys(range), expected);
        assert.deepEqual(await subject.scanKeys({ ...range, reverse: true }), expected.toReversed());
      }
    },
  },
  {
    name: 'A page has at most `limit` rows and reports whether more follow, also if exactly `limit` rows exist.',
    law,
    broken: changesPages('reports more rows when a page is full', (page, range) => ({
      ...page,
      more: page.rows.length === range.limit,
    })),
    async run(subject) {
      await fill(subject, ['a', 'b', 'c']);
      for (const reverse of [false, true]) {
        for (const [limit, count, more] of [
          [1, 1, true],
          [2, 2, true],
          [3, 3, false],
          [4, 3, false],
          [1_000, 3, false],
        ] as const) {
          const page = await subject.scanPage({ limit, reverse });
          assert.deepEqual([page.rows.length, page.more], [count, more], `limit ${limit}`);
        }
        assert.equal(
          (await subject.scanPage({ limit: 2, reverse, start: 'a', end: 'c' })).more,
          false,
          'what is outside the range does not come',
        );
      }
    },
  },
  {
    name: 'An empty space is one empty page.',
    law,
    broken: changesPages('reports more rows after an empty page', (page) => ({
      ...page,
      more: page.rows.length === 0,
    })),
    async run(subject) {
      for (const range of [{}, { reverse: true }, { start: 'a' }, { values: 'omit' as const }]) {
        const { rows, more } = await subject.scanPage(range);
        assert.deepEqual([rows, more], [[], false]);
      }
    },
  },
  {
    name: 'Deleted rows do not count for a page: no empty page reports that more rows follow.',
    law,
    broken: breaks('returns deleted rows in pages', (provider) => {
      const gone = new Set<string>();
      return {
        commit: async (batches, options) => {
          for (const { changes } of batches)
            for (const { kind, address } of changes) if (kind === 'delete') gone.add(address.key);
          return await provider.commit(batches, options);
        },
        scan: async (ranges, options) =>
          (await provider.scan(ranges, options)).map((page, index) =>
            gone.size > 0 && ranges[index]?.after === undefined ? { ...page, rows: [], more: true } : page,
          ),
      };
    }),
    async run(subject) {
      const keys = Array.from({ length: 300 }, (_, index) => pad(index));
      await fill(subject, keys);
      await subject.mustCommit({ changes: keys.slice(10, 290).map((key) => remove(subject.address(key))) });
      const left = [...keys.slice(0, 10), ...keys.slice(290)];
      assert.deepEqual(await subject.scanKeys({ limit: 4 }), left);
      assert.deepEqual(await subject.scanKeys({ limit: 4, reverse: true }), left.toReversed());
      assert.equal((await subject.scanPage({ limit: 10 })).more, true);
      assert.equal((await subject.scanPage({ limit: 10, after: pad(200) })).more, false);
    },
  },
  {
    name: 'Several ranges of one call each get their own page, in order.',
    law,
    broken: breaks('returns the page of the first range for all', (provider) => ({
      scan: async (ranges, options) => {
        const pages = await provider.scan(ranges.slice(0, 1), options);
        return ranges.flatMap(() => pages);
      },
    })),
    async run(subject) {
      await fill(subject, ['a', 'b', 'c', 'd']);
      const other = subject.address('x', { entity: 'other' });
      await subject.putRow(other, '1');
      const { key: _, ...space } = subject.address('');
      const pages = await subject.provider.scan([
        { ...space, limit: 2 },
        { ...space, limit: 1, reverse: true },
        { ...space, entity: 'other', limit: 5 },
        { ...space, entity: 'none', limit: 5 },
        { ...space, start: 'c', limit: 5, values: 'omit' },
      ]);
      assert.deepEqual(
        pages.map(({ rows, more }) => [rows.map(({ key }) => key), more]),
        [
          [['a', 'b'], true],
          [['d'], true],
          [['x'], false],
          [[], false],
          [['c', 'd'], false],
        ],
      );
    },
  },
  {
    name: 'A page has rows of its own space only, and none of another entity, container or database.',
    law,
    broken: breaks('ignores the entity of a range', (provider) => ({
      scan: async (ranges, options) => {
        const pages = await provider.scan(ranges, options);
        const beside = await provider.scan(
          ranges.map((range) => ({ ...range, entity: `${range.entity}s` })),
          options,
        );
        return pages.map((page, index) => ({
          ...page,
          rows: [...page.rows, ...(beside[index]?.rows ?? [])],
        }));
      },
    })),
    async run(subject) {
      await subject.putRow(subject.address('mine'), '1');
      await subject.putRow(subject.address('theirs', { entity: 'things' }), '1');
      await subject.putRow(subject.address('theirs', { entity: 'thin' }), '1');
      await subject.putRow(subject.address('theirs', { container: 'state:kits' }), '1');
      await subject.putRow(subject.address('theirs', { database: subject.database('mains') }), '1');
      assert.deepEqual(await subject.scanKeys(), ['mine']);
    },
  },
  {
    name: '`count` returns the number of unexpired rows of a range, within its bounds.',
    law,
    capability: 'count, clock',
    broken: breaks('counts rows that have expired', (provider) => {
      const written = new Set<string>();
      return {
        commit: async (batches, options) => {
          for (const { changes } of batches)
            for (const { address } of changes) written.add(`${address.entity}\0${address.key}`);
          return await provider.commit(batches, options);
        },
        count: async ({ entity, start = '', end }) =>
          await Promise.resolve(
            [...written]
              .map((name) => name.split('\0'))
              .filter(([of, key = '']) => of === entity && key >= start && (end === undefined || key < end))
              .length,
          ),
      };
    }),
    async run(subject) {
      const { container, entity, database } = { ...subject.address('a'), database: subject.database() };
      const count = async (range: { start?: string; end?: string } = {}): Promise<unknown> =>
        await subject.provider.count?.({ database, container, entity, ...range });
      assert.equal(await count(), 0);
      await fill(subject, ['a', 'b', 'c', 'd']);
      await subject.mustCommit({ changes: [put(subject.address('e'), '1', 1_000)] });
      await subject.mustCommit({ changes: [put({ ...subject.address('a'), entity: 'other' }, '1')] });
      assert.deepEqual([await count(), await count({ start: 'b' })], [5, 4]);
      await subject.clock.advance(1_000);
      assert.deepEqual(
        [
          await count(),
          await count({ start: 'b' }),
          await count({ end: 'b' }),
          await count({ start: 'b', end: 'd' }),
        ],
        [4, 3, 1, 2],
      );
      assert.deepEqual([await count({ start: 'b', end: 'b' }), await count({ start: 'e' })], [0, 0]);
    },
  },
];

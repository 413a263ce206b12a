/**
 * Law 8, lists: consecutive pages return each row that exists throughout exactly once, also during
 * concurrent writes. A page continues after a key, never at a position: rows in front of it may be
 * added or removed at any time.
 */
import assert from 'node:assert/strict';
import type { ScannedRow, ScanRange } from '../../../provider.js';
import { breaks, changesPages, changesRanges } from '../../kit/broken-providers.js';
import type { Clause } from '../../kit/clause.js';
import { fill, pad } from './lists.js';
import { concurrently } from '../../kit/assertions.js';
import { put, remove, sum } from '../../kit/batches.js';

const law = 8;

/** Looks in ranges that lack a bound, or have another. */
const without = (fault: string, ...names: readonly (keyof ScanRange)[]) =>
  changesRanges(
    fault,
    (range) =>
      Object.fromEntries(
        Object.entries(range).filter(([name]) => !names.includes(name as keyof ScanRange)),
      ) as unknown as ScanRange,
  );

export const pagingClauses: readonly Clause[] = [
  {
    name: 'Pages of any size return the same rows in total, in both directions and within bounds.',
    law,
    broken: changesPages('repeats the last row of a page on the next one', (page, range) =>
      range.after === undefined || page.rows[0] === undefined
        ? page
        : { ...page, rows: [{ ...page.rows[0], key: range.after }, ...page.rows] },
    ),
    async run(subject) {
      await fill(
        subject,
        Array.from({ length: 41 }, (_, index) => pad(index)),
      );
      for (const range of [
        {},
        { start: pad(5) },
        { end: pad(33) },
        { start: pad(5), end: pad(33) },
        { start: pad(5), reverse: true },
        { reverse: true, end: pad(33) },
      ]) {
        const whole = (await subject.scanPage(range)).rows.map(({ key }) => key);
        for (const limit of [1, 2, 3, 7, 40, 41, 42])
          assert.deepEqual(await subject.scanKeys({ ...range, limit }), whole, `pages of ${limit}`);
      }
    },
  },
  {
    name: 'A page continues after a key that was deleted or never existed.',
    law,
    broken: breaks('continues only after an existing row', (provider) => ({
      scan: async (ranges, options) => {
        const pages = await provider.scan(ranges, options);
        const { rows } = await provider.read(
          ranges.map(({ database, container, entity, after }) => ({
            database,
            container,
            entity,
            key: after ?? 'x',
          })),
        );
        return pages.map((page, index) =>
          ranges[index]?.after !== undefined && rows[index] === undefined
            ? { ...page, rows: [], more: false }
            : page,
        );
      },
    })),
    async run(subject) {
      await fill(subject, ['a', 'b', 'c', 'd', 'e']);
      await subject.mustCommit({ changes: [remove(subject.address('c'))] });
      assert.deepEqual(await subject.scanKeys({ after: 'c' }), ['d', 'e']);
      assert.deepEqual(await subject.scanKeys({ after: 'c', reverse: true }), ['b', 'a']);
      assert.deepEqual(await subject.scanKeys({ after: 'bb', limit: 1 }), ['d', 'e']);
      assert.deepEqual(await subject.scanKeys({ after: 'bb', limit: 1, reverse: true }), ['b', 'a']);
    },
  },
  {
    name: '`after` and the bounds both apply: `after` never leads out of the range.',
    law,
    broken: without('ignores `start` with `after`', 'start'),
    async run(subject) {
      await fill(subject, ['a', 'b', 'c', 'd', 'e']);
      assert.deepEqual(await subject.scanKeys({ start: 'c', after: 'a' }), ['c', 'd', 'e']);
      assert.deepEqual(await subject.scanKeys({ start: 'b', end: 'd', after: 'a' }), ['b', 'c']);
      assert.deepEqual(await subject.scanKeys({ start: 'b', end: 'd', after: 'e' }), []);
      assert.deepEqual(await subject.scanKeys({ start: 'b', end: 'd', after: 'e', reverse: true }), [
        'c',
        'b',
      ]);
      assert.deepEqual(await subject.scanKeys({ start: 'b', end: 'd', after: 'b', reverse: true }), []);
      assert.deepEqual(await subject.scanKeys({ start: 'c', after: 'd', reverse: true }), ['c']);
    },
  },
  {
    name: 'More than a thousand rows are read in pages of a thousand.',
    law,
    broken: changesRanges('returns at most 500 rows', (range) => ({
      ...range,
      limit: Math.min(range.limit, 500),
    })),
    async run(subject) {
      const keys = Array.from({ length: 1_234 }, (_, index) => pad(index));
      await fill(subject, keys);
      const first = await subject.scanPage({ limit: 1_000 });
      assert.deepEqual([first.rows.length, first.more], [1_000, true]);
      assert.deepEqual(await subject.scanKeys({ limit: 1_000 }), keys);
      assert.deepEqual(await subject.scanKeys({ limit: 1_000, reverse: true }), keys.toReversed());
    },
  },
  {
    name: 'Pages that are read during concurrent writes and deletes return each row that exists throughout exactly once, in order.',
    law,
    broken: breaks('finds the next page by a position', (provider) => {
      const skip = new Map<string, number>();
      return {
        scan: async (ranges, options) => {
          const [range] = ranges;
          if (range === undefined || ranges.length > 1) return await provider.scan(ranges, options);
          const { after, ...whole } = range;
          const seen = after === undefined ? 0 : (skip.get(range.database) ?? 0);
          const [page] = await provider.scan([{ ...whole, limit: 100_000 }], options);
          const rows = (page?.rows ?? []).slice(seen, seen + range.limit);
          skip.set(range.database, seen + rows.length);
          return [{ time: page?.time ?? 0, rows, more: seen + rows.length < (page?.rows.length ?? 0) }];
        },
      };
    }),
    async run(subject) {
      const steady = Array.from({ length: 100 }, (_, index) => pad(index * 10));
      for (const reverse of [false, true]) {
        await fill(subject, [...steady, ...steady.map((key) => `${key}-before`)]);
        const seen: string[] = [];
        for (let after: string | undefined, more = true, round = 0; more; round += 1) {
          const page = await subject.scanPage({
            limit: 7,
            reverse,
            ...(after === undefined ? {} : { after }),
          });
          seen.push(...page.rows.map(({ key }) => key));
          [after, more] = [seen.at(-1), page.more];
          const gone = steady
            .slice(round * 3, round * 3 + 3)
            .map((key) => remove(subject.address(`${key}-before`)));
          await subject.mustCommit({
            changes: [
              ...gone,
              put(subject.address(pad(round * 31 + 1)), '1'),
              put(subject.address(`0-${round}`), '1'),
            ],
          });
        }
        assert.deepEqual(
          seen.filter((key) => steady.includes(key)),
          reverse ? steady.toReversed() : steady,
        );
        assert.equal(new Set(seen).size, seen.length, 'a row was met twice');
      }
    },
  },
  {
    name: 'A range that names its parts has the same pages as without, also where the rows are others than expected.',
    law,
    broken: changesRanges('ends a page with its first part', ({ parts, ...range }) =>
      parts?.splitAt[0] === undefined ? range : { ...range, end: parts.splitAt[0] },
    ),
    async run(subject) {
      const keys = Array.from({ length: 41 }, (_, index) => pad(index));
      await fill(subject, keys);
      await subject.putRow(subject.address(pad(35)), '"x"');
      await subject.mustCommit({ changes: [sum(subject.address('b'), 7n), remove(subject.address(pad(2)))] });
      const textOf = ({ key, row: { value } }: ScannedRow): unknown => [
        key,
        value.kind === 'json' ? value.text : value,
      ];
      for (const splits of [[], [pad(10)], [pad(10), pad(20), pad(30)], [pad(5), pad(50)], ['a', 'z']])
        for (const bounds of [{}, { start: pad(1), end: pad(40) }, { reverse: true }, { after: pad(12) }]) {
          const whole = await subject.scanKeys(bounds);
          const splitAt = splits.filter((key) => bounds.end === undefined || key < bounds.end);
          for (const rows of [5, 10, 20])
            for (const limit of [3, 20, 30, 40, 100]) {
              const range = { ...bounds, limit, parts: { splitAt, rows } };
              assert.deepEqual(await subject.scanKeys(range), whole);
              const page = await subject.scanPage(range);
              const expected = await subject.scanPage({ ...bounds, limit });
              assert.deepEqual(page.rows.map(textOf), expected.rows.slice(0, page.rows.length).map(textOf));
              assert.equal(page.more, page.rows.length < whole.length);
            }
        }
    },
  },
  {
    name: 'A page has the rows of `alsoRead` as a read has them, whatever its own rows are.',
    law,
    capability: 'reads in scans',
    broken: changesPages('returns these rows in another order', (page) =>
      page.alsoRead === undefined ? page : { ...page, alsoRead: page.alsoRead.toReversed() },
    ),
    async run(subject) {
      await fill(subject, ['a', 'b', 'c']);
      const number = subject.address('number', { entity: 'other' });
      await subject.mustCommit({
        changes: [
          sum(number, 7n),
          put(subject.address('expiring', { entity: 'other' }), '{"x":1}', 60_000),
          put(subject.address('large', { entity: 'other' }), JSON.stringify('x'.repeat(20_000))),
        ],
      });
      const addresses = [
        number,
        subject.address('absent', { entity: 'other' }),
        subject.address('expiring', { entity: 'other' }),
        subject.address('a'),
        subject.address('large', { entity: 'other' }),
      ];
      const { rows } = await subject.provider.read(addresses);
      for (const range of [
        {},
        { limit: 2 },
        { reverse: true },
        { entity: 'none' },
        { after: 'a' },
        { values: 'omit' as const },
      ])
        for (const alsoRead of [addresses, addresses.slice(0, 1), []]) {
          const page = await subject.scanPage({ ...range, alsoRead });
          assert.deepEqual(page.alsoRead, rows.slice(0, alsoRead.length));
          const without = await subject.scanPage(range);
          assert.deepEqual(
            [page.rows.map(({ key }) => key), page.more],
            [without.rows.map(({ key }) => key), without.more],
          );
        }
    },
  },
  {
    name: 'Twenty concurrent readers page through a space while fifty writers fill it: each is in order and misses nothing.',
    law,
    broken: breaks('uses one position for all readers', (provider) => {
      let position: string | undefined;
      return {
        scan: async (ranges, options) => {
          const pages = await provider.scan(
            ranges.map((range) =>
              range.after === undefined || position === undefined ? range : { ...range, after: position },
            ),
            options,
          );
          position = pages[0]?.rows.at(-1)?.key ?? position;
          return pages;
        },
      };
    }),
    async run(subject) {
      const steady = Array.from({ length: 60 }, (_, index) => pad(index * 2));
      await fill(subject, steady);
      const writers = subject.inBackground(
        concurrently(50, (index) => subject.putRow(subject.address(pad(index * 2 + 1)), '1')),
      );
      const readers = await concurrently(20, (index) => subject.scanKeys({ limit: 3 + (index % 5) }));
      await writers;
      for (const keys of readers) {
        assert.deepEqual(keys, keys.toSorted());
        assert.deepEqual(
          keys.filter((key) => steady.includes(key)),
          steady,
        );
      }
    },
  },
];

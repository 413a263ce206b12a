/**
 * Laws 5 and 8 for reading one key or many, listing and counting. Absent is `undefined` or an error
 * by the choice of the caller, and lists are complete over any number of pages.
 */
import assert from 'node:assert/strict';
import { limits, type Key, type KeyRange } from '../../../core.js';
import { breaksStores, type StoreClause } from '../../kit/store-clause.js';
import { collect, keysOf, type Thing } from '../../kit/store-subject.js';
import { assertRejects, assertThrows } from '../../kit/assertions.js';

export const numbered = (count: number, prefix = 'key-'): readonly { key: string; value: Thing }[] =>
  Array.from({ length: count }, (_, n) => ({ key: `${prefix}${String(n).padStart(4, '0')}`, value: { n } }));

/** Keys of many kinds, in their order. */
const mixed: readonly Key[] = [
  [Uint8Array.of(1)],
  [-5n],
  [7n],
  [-1.5],
  [0],
  [12],
  ['a'],
  ['a', -1],
  ['a', 1, 'x'],
  ['a', 'b'],
  ['ä'],
  [false],
  [true],
  'a',
  'a/b',
  'b',
  'ä',
  '日',
];

export const readingClauses: readonly StoreClause[] = [
  {
    name: '`get` of an absent key is undefined, `getOrThrow` is KEY_NOT_FOUND with the key; `has` and `stat` agree with both.',
    law: 5,
    broken: breaksStores('treats null as absent', (store) => ({
      has: async (key) => (await store.get(key))?.value !== null,
    })),
    async run(subject) {
      const anything = subject.store<unknown>('anything');
      assert.deepEqual(
        [await anything.get('no'), await anything.has('no'), await anything.stat('no')],
        [undefined, false, undefined],
      );
      const error = await assertRejects('KEY_NOT_FOUND', 'getOrThrow', () => anything.getOrThrow(['no', 1]));
      assert.deepEqual((error as { key?: unknown }).key, ['no', 1]);
      for (const value of [null, '', 0, false, [], {}]) {
        const { etag } = await anything.set('yes', value);
        const [entry, stat] = [await anything.getOrThrow('yes'), await anything.stat('yes')];
        assert.deepEqual(
          [entry.value, entry.etag, stat?.etag, await anything.has('yes')],
          [value, etag, etag, true],
        );
        assert.ok(stat !== undefined && !('value' in stat), 'stat fetched the value');
      }
    },
  },
  {
    name: '`getMany` returns entries in the order of the keys, undefined for absent ones; more than 1,000 keys are LIMIT_EXCEEDED.',
    law: 8,
    broken: breaksStores('omits absent rows', (store) => ({
      getMany: async (keys: readonly Key[], options) =>
        (await store.getMany(keys, options)).filter((entry) => entry !== undefined) as never,
    })),
    async run(subject) {
      const things = subject.store();
      await things.setMany(numbered(3));
      const entries = await things.getMany(['key-0002', 'none', 'key-0000', 'key-0002']);
      assert.deepEqual(
        entries.map((entry) => entry?.value.n),
        [2, undefined, 0, 2],
      );
      assert.deepEqual(await things.getMany([]), []);
      const keys = numbered(limits.readAddressesMax).map(({ key }) => key);
      assert.equal((await things.getMany(keys)).length, limits.readAddressesMax);
      const error = await assertRejects('LIMIT_EXCEEDED', 'getMany', () =>
        things.getMany([...keys, 'one more']),
      );
      assert.deepEqual({ ...error, limit: 'readAddressesMax', given: 1_001, allowed: 1_000 }, { ...error });
    },
  },
  {
    name: '`list` and `keys` return all keys in order, forward and reversed, and `count` counts them, over several pages.',
    law: 8,
    broken: breaksStores('lists one page', (store) => ({
      async *list(range, options) {
        yield* (await store.page({ ...range, limit: 1_000 }, options)).items;
      },
    })),
    async run(subject) {
      const things = subject.store();
      const items = numbered(1_050);
      await things.setMany(items.slice(0, 900));
      await things.setMany(items.slice(900));
      const entries = await collect(things.list());
      assert.deepEqual(
        entries.map(({ key, value }) => ({ key, value })),
        items,
      );
      const expected = items.map(({ key }) => key);
      assert.deepEqual(await collect(things.keys()), expected);
      assert.deepEqual(keysOf(await collect(things.list({ reverse: true }))), expected.toReversed());
      assert.deepEqual([await things.count(), await things.count({ start: 'key-1000' })], [1_050, 50]);
      const first = [];
      for await (const { key } of things.list()) if (first.push(key) === 3) break;
      assert.deepEqual(first, expected.slice(0, 3));
    },
  },
  {
    name: 'Keys of every kind are read back unchanged and in key order, with pages of any size.',
    law: 7,
    broken: breaksStores('returns keys as text', (store) => ({
      async *keys(range, options) {
        for await (const key of store.keys(range, options)) yield String(key);
      },
    })),
    async run(subject) {
      const things = subject.store();
      for (const [n, key] of mixed.toReversed().entries()) await things.set(key, { n });
      assert.deepEqual(await collect(things.keys()), mixed);
      for (const reverse of [false, true]) {
        for (const limit of [1, 2, 5, 100]) {
          const found: Key[] = [];
          for (let cursor: string | undefined, first = true; first || cursor !== undefined; first = false) {
            const page = await things.page({ limit, reverse, cursor });
            found.push(...keysOf(page.items));
            assert.ok(found.length <= mixed.length, 'the pages never end');
            cursor = page.next;
          }
          assert.deepEqual(found, reverse ? mixed.toReversed() : mixed, `pages of ${limit}`);
        }
      }
    },
  },
  {
    name: 'A prefix matches leading characters of text keys or leading parts, without the key itself; `start` is inclusive, `end` exclusive.',
    law: 8,
    broken: breaksStores('compares prefixes as text', (store) => ({
      keys: (range, options) =>
        store.keys(
          Array.isArray(range?.prefix) ? { ...range, prefix: String(range.prefix[0]) } : (range ?? {}),
          options,
        ),
    })),
    async run(subject) {
      const things = subject.store();
      for (const key of [...mixed, 'ab', 'a!', 'a\u{10FFFF}']) await things.set(key, { n: 1 });
      const found = async (range: KeyRange): Promise<readonly Key[]> => await collect(things.keys(range));
      assert.deepEqual(await found({ prefix: 'a' }), ['a', 'a!', 'a/b', 'ab', 'a\u{10FFFF}']);
      assert.deepEqual(await found({ prefix: ['a'] }), [
        ['a', -1],
        ['a', 1, 'x'],
        ['a', 'b'],
      ]);
      assert.deepEqual(await found({ prefix: ['a', 1] }), [['a', 1, 'x']]);
      assert.deepEqual(await found({ prefix: ['a'], start: ['a', 0] }), [
        ['a', 1, 'x'],
        ['a', 'b'],
      ]);
      assert.deepEqual(await found({ prefix: ['a'], end: ['a', 'b'], reverse: true }), [
        ['a', 1, 'x'],
        ['a', -1],
      ]);
      assert.deepEqual(await found({ start: [0], end: ['a'] }), [[0], [12]]);
      assert.deepEqual(await found({ start: 'b', end: 'b' }), []);
      assert.deepEqual(await found({ prefix: 'none' }), []);
      assert.equal(await things.count({ prefix: [] }), mixed.length + 3);
    },
  },
  {
    name: 'A range that starts after its end, or has a bound outside its prefix, is OUT_OF_RANGE, and an invalid range is INVALID_OPTION, at the call.',
    law: 8,
    broken: breaksStores('swaps a start and an end in the wrong order', (store) => ({
      list: (range, options) =>
        range?.start === 'b' ? store.list({ start: 'a', end: 'b' }, options) : store.list(range, options),
    })),
    async run(subject) {
      const things = subject.store();
      for (const [code, range] of [
        ['OUT_OF_RANGE', { start: 'b', end: 'a' }],
        ['OUT_OF_RANGE', { prefix: 'a', start: 'b' }],
        ['OUT_OF_RANGE', { prefix: 'b', end: 'a' }],
        ['OUT_OF_RANGE', { prefix: ['a'], start: ['a'] }],
        ['INVALID_OPTION', { reverse: 'yes' }],
        ['INVALID_OPTION', { limit: 5 }],
        ['INVALID_OPTION', { prefx: 'a' }],
        ['INVALID_OPTION', 'a'],
        ['INVALID_OPTION', null],
      ] as const) {
        const given = range as unknown as KeyRange;
        assertThrows(code, `list of ${JSON.stringify(range)}`, () => things.list(given));
        assertThrows(code, `keys of ${JSON.stringify(range)}`, () => things.keys(given));
        await assertRejects(code, `count of ${JSON.stringify(range)}`, () => things.count(given));
        await assertRejects(code, `deleteMany of ${JSON.stringify(range)}`, () => things.deleteMany(given));
      }
    },
  },
];

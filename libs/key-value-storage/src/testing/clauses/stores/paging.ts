/**
 * Law 8, lists, for stores: pages, cursors, and deletion by range. Cursors go to clients, so each
 * is bound to its range, state and tenant, and a forged one is refused. An empty range must never
 * mean everything.
 */
import assert from 'node:assert/strict';
import { definitionOf } from '../../../core/store/state-definition.js';
import { encodeCursor } from '../../../core/store/cursor.js';
import {
  defineState,
  limits,
  type Entry,
  type EntryInfo,
  type Key,
  type KeyRange,
  type KeyValueStore,
  type Page,
  type PageRequest,
  type ReadOptions,
} from '../../../core.js';
import { numbered } from './reading.js';
import { breaksStores, type StoreClause } from '../../kit/store-clause.js';
import { collect, keysOf, type Thing } from '../../kit/store-subject.js';
import { assertRejects } from '../../kit/assertions.js';

const acceptsAnyCursor = (name: string) =>
  breaksStores(name, (store) => ({
    page: async (request, options) => {
      try {
        return await store.page(request, options);
      } catch {
        return { items: [], next: undefined, previous: undefined };
      }
    },
  }));

export const storePagingClauses: readonly StoreClause[] = [
  {
    name: 'A cursor is valid for its range, state and tenant only; elsewhere, or damaged, it is INVALID_CURSOR.',
    law: 8,
    broken: acceptsAnyCursor('accepts any cursor that it can decode'),
    async run(subject) {
      const things = subject.store();
      await things.setMany(numbered(10));
      const { items, next } = await things.page({ limit: 4 });
      assert.deepEqual([items.length, typeof next], [4, 'string']);
      const cursor = next as string;
      assert.deepEqual(
        keysOf((await things.page({ limit: 100, cursor })).items),
        numbered(10)
          .slice(4)
          .map(({ key }) => key),
      );
      const elsewhere = [things.forTenant(subject.otherTenant()), subject.store('other')];
      for (const store of elsewhere)
        await assertRejects('INVALID_CURSOR', 'page', () => store.page({ cursor }));
      for (const range of [{ prefix: 'key' }, { start: 'key-0001' }, { end: 'z' }, { reverse: true }]) {
        await assertRejects('INVALID_CURSOR', `page of ${JSON.stringify(range)}`, () =>
          things.page({ ...range, cursor }),
        );
      }
      for (const damaged of [
        '',
        ' ',
        'x',
        cursor.slice(1),
        cursor.slice(0, -1),
        `${cursor}x`,
        cursor.toUpperCase(),
        '../..',
        7,
        {},
        [],
      ]) {
        await assertRejects('INVALID_CURSOR', `the cursor ${JSON.stringify(damaged)}`, () =>
          things.page({ cursor: damaged as string }),
        );
      }
    },
  },
  {
    name: 'A forged cursor without a key of the range is INVALID_CURSOR; text that the engine cannot store never reaches it.',
    law: 8,
    broken: acceptsAnyCursor('returns a page for any cursor'),
    async run(subject) {
      const things = subject.store();
      await things.setMany(numbered(3));
      const { container, entity } = definitionOf(defineState('thing'));
      const whole = { database: `tenant:${subject.tenant}`, container, entity, reverse: false };
      assert.equal((await things.page({ cursor: encodeCursor(whole, 'key-0001') })).items.length, 1);
      const forged = [
        'a\0',
        '\0',
        '',
        '!',
        '!x',
        '!nb',
        '!zf!',
        '!ta ',
        '"4',
        '\uD7FFx',
        '\uFFFF',
        'k'.repeat(1_025),
        'k'.repeat(5_000),
      ];
      for (const key of forged) {
        await assertRejects('INVALID_CURSOR', `a cursor of ${JSON.stringify(key.slice(0, 20))}`, () =>
          things.page({ cursor: encodeCursor(whole, key) }),
        );
      }
      const bounded = { ...whole, start: 'key-0001', end: 'key-0002' };
      for (const key of ['key-0000', 'key-0002', 'z'])
        await assertRejects('INVALID_CURSOR', `a cursor of ${key}`, () =>
          things.page({ start: 'key-0001', end: 'key-0002', cursor: encodeCursor(bounded, key) }),
        );
      // the longest key has a cursor
      const longest = 'k'.repeat(limits.keyBytesMax);
      assert.deepEqual((await things.page({ cursor: encodeCursor(whole, longest) })).items, []);
    },
  },
  {
    name: '`previous` of a page leads back to the same pages, in the order of the range, in both directions and within bounds.',
    law: 8,
    broken: breaksStores('returns a previous page in the order in which it is read', (store) => ({
      page: async (request: PageRequest, options?: ReadOptions) => {
        const page = await store.page(request, options);
        return request.cursor?.includes('~') === true ? { ...page, items: page.items.toReversed() } : page;
      },
    })),
    async run(subject) {
      const things = subject.store();
      await things.setMany(numbered(20));
      for (const range of [
        {},
        { reverse: true },
        { start: 'key-0002', end: 'key-0017' },
        { prefix: 'key-000' },
      ]) {
        const pages: Page<Entry<Thing>>[] = [];
        for (let cursor: string | undefined, more = true; more; more = cursor !== undefined) {
          pages.push(await things.page({ ...range, limit: 4, cursor }));
          cursor = pages.at(-1)?.next;
        }
        assert.equal(pages[0]?.previous, undefined);
        let after = pages.pop();
        for (const page of pages.toReversed()) {
          const back: Page<Entry<Thing>> = await things.page({ ...range, limit: 4, cursor: after?.previous });
          assert.deepEqual(keysOf(back.items), keysOf(page.items));
          const forth = await things.page({ ...range, limit: 4, cursor: back.next });
          assert.deepEqual(keysOf(forth.items), keysOf(after?.items ?? []));
          after = back;
        }
        assert.equal(after?.previous, undefined);
      }
      // a list from a cursor goes in its direction
      const { previous, next } = await things.page({ start: 'key-0004', limit: 3, cursor: undefined });
      assert.equal(previous, undefined);
      const second = await things.page({ start: 'key-0004', limit: 3, cursor: next });
      const listed = async (cursor: string | undefined) =>
        keysOf(await collect(things.list({ start: 'key-0004', cursor })));
      assert.deepEqual(await listed(second.previous), ['key-0006', 'key-0005', 'key-0004']);
      assert.deepEqual(await listed(next), keysOf(numbered(20).slice(7)));
      const other = { start: 'key-0004', cursor: second.previous };
      await assertRejects('INVALID_CURSOR', 'page of another range', () =>
        things.page({ ...other, start: 'key-0003' }),
      );
      await assertRejects('INVALID_CURSOR', 'page of a changed direction', () =>
        things.page({ ...other, cursor: other.cursor?.replace('~', '.') }),
      );
    },
  },
  {
    name: 'A previous page whose entries are gone is empty, and has the way back; so has a next one.',
    law: 8,
    broken: breaksStores('forgets where an empty page lies', (store) => ({
      page: async (request: PageRequest, options?: ReadOptions) => {
        const page = await store.page(request, options);
        return page.items.length > 0 ? page : { ...page, next: undefined, previous: undefined };
      },
    })),
    async run(subject) {
      const things = subject.store();
      await things.setMany(numbered(8));
      for (const reverse of [false, true]) {
        const keys = (reverse ? numbered(8).toReversed() : numbered(8)).map(({ key }) => key);
        const [first, second] = [keys.slice(0, 4), keys.slice(4)];
        const before = await things.page({ reverse, limit: 4 });
        const after = await things.page({ reverse, limit: 4, cursor: before.next });
        for (const key of first) await things.delete(key);
        const gone = await things.page({ reverse, limit: 4, cursor: after.previous });
        assert.deepEqual([gone.items, gone.previous, typeof gone.next], [[], undefined, 'string']);
        const back = await things.page({ reverse, limit: 4, cursor: gone.next });
        assert.deepEqual(keysOf(back.items), second);
        for (const key of second) await things.delete(key);
        await things.setMany(first.map((key) => ({ key, value: { n: 1 } })));
        const none = await things.page({ reverse, limit: 4, cursor: before.next });
        assert.deepEqual([none.items, none.next, typeof none.previous], [[], undefined, 'string']);
        const all = await things.page({ reverse, limit: 4, cursor: none.previous });
        assert.deepEqual(keysOf(all.items), first);
        await things.setMany(numbered(8));
      }
    },
  },
  {
    name: '`page` and `list` with `values: false` return keys, etags and expiry, and fetch no value.',
    law: 8,
    broken: breaksStores('reads the values, and omits them', (store) => ({
      page: async (request: PageRequest, options?: ReadOptions) => {
        const { values: _, ...rest } = { values: undefined, ...options };
        return await store.page(request, rest);
      },
    })),
    async run(subject) {
      const things = subject.store();
      await things.set('a', { n: 1 });
      // a value that cannot be read back
      await subject.corruptRow(() => ({ text: '{"a":{"$date":1e99}}' }));
      const [b, c] = await things.setMany(numbered(2), { ttlMs: 60_000 });
      await assertRejects('STORAGE_CORRUPT', 'list', () => collect(things.list()));
      const { items, next } = await things
        .page({ limit: 2 }, { values: false })
        .catch((error: unknown) => assert.fail(`it reads values: ${String(error)}`));
      const rest = await collect(things.list({ cursor: next }, { values: false }));
      const of = (info: EntryInfo | undefined) => [info?.key, info?.etag, info?.expiresAt?.getTime()];
      assert.deepEqual([items.length, rest.length], [2, 1]);
      assert.deepEqual([...items.slice(1), ...rest].map(of), [b, c].map(of));
      assert.equal(items[0]?.etag, (await things.stat('a'))?.etag);
      assert.ok(![...items, ...rest].some((info) => 'value' in info), 'an info has a value');
      for (const values of ['omit', 0, null])
        await assertRejects('INVALID_OPTION', `values: ${String(values)}`, () =>
          things.page({}, { values: values as never }),
        );
    },
  },
  {
    name: 'A page has 1 to 1,000 items, 100 by default; other limits are refused.',
    law: 13,
    broken: breaksStores('uses the default for an invalid limit', (store) => ({
      page: (request, options) =>
        store.page(
          {
            ...request,
            limit:
              Number.isInteger(request.limit) && (request.limit as number) > 0
                ? Math.min(request.limit as number, 1_000)
                : 100,
          },
          options,
        ),
    })),
    async run(subject) {
      const things = subject.store();
      await things.setMany(numbered(101));
      const page = await things.page({});
      assert.deepEqual([page.items.length, typeof page.next], [100, 'string']);
      const last = await things.page({ limit: 1_000 });
      assert.deepEqual([last.items.length, last.next], [101, undefined]);
      for (const limit of [0, -1, 1.5, Number.NaN, '5', null]) {
        const code = typeof limit === 'number' ? 'OUT_OF_RANGE' : 'INVALID_OPTION';
        await assertRejects(code, `a limit of ${String(limit)}`, () =>
          things.page({ limit: limit as number }),
        );
      }
      const error = await assertRejects('LIMIT_EXCEEDED', 'page', () => things.page({ limit: 1_001 }));
      assert.deepEqual({ ...error, limit: 'pageItemsMax', given: 1_001, allowed: 1_000 }, { ...error });
    },
  },
  {
    name: 'Paging during concurrent writes returns every key that exists throughout exactly once.',
    law: 8,
    broken: breaksStores('finds the next page by a position', (store) => {
      const positions = new Map<string, number>();
      return {
        page: async ({ cursor, limit = 100, ...range }) => {
          const found = await collect(store.list(range));
          const from = cursor === undefined ? 0 : (positions.get(cursor) ?? 0);
          const next = `at ${from + limit}`;
          positions.set(next, from + limit);
          return {
            items: found.slice(from, from + limit),
            next: from + limit < found.length ? next : undefined,
            previous: undefined,
          };
        },
      };
    }),
    async run(subject) {
      const things = subject.store();
      const steady = numbered(60, 'steady-');
      await things.setMany([...steady, ...steady.map(({ key, value }) => ({ key: `${key}-gone`, value }))]);
      const seen: Key[] = [];
      for (let cursor: string | undefined, round = 0; round === 0 || cursor !== undefined; round += 1) {
        const page = await things.page({ limit: 7, cursor });
        seen.push(...keysOf(page.items));
        assert.ok(seen.length < 1_000, 'the pages never end');
        cursor = page.next;
        for (const { key } of steady.slice(round * 4, round * 4 + 4)) await things.delete(`${key}-gone`);
        await things.set(`steady-${String(round * 13).padStart(4, '0')}-new`, { n: 0 });
      }
      const expected = steady.map(({ key }) => key);
      assert.deepEqual(
        seen.filter((key) => expected.includes(key as string)),
        expected,
      );
      assert.equal(new Set(seen).size, seen.length);
    },
  },
  {
    name: 'With large values a page has fewer entries and a cursor, a list returns all, and `getMany` of more than 8 MB is LIMIT_EXCEEDED.',
    law: 13,
    broken: breaksStores('treats a short page as the last one', (store) => ({
      page: async (request, options) => {
        const page = await store.page(request, options);
        return page.items.length < (request.limit ?? 100) ? { ...page, next: undefined } : page;
      },
    })),
    async run(subject) {
      const texts = subject.store<string>('text');
      const text = 'x'.repeat(limits.valueBytesMax - 2);
      const keys = numbered(12).map(({ key }) => key);
      for (const key of keys) await texts.set(key, text);
      const first = await texts.page({ limit: 1_000 });
      const second = await texts.page({ limit: 1_000, cursor: first.next });
      assert.deepEqual([first.items.length, second.items.length, second.next], [9, 3, undefined]);
      for (const reverse of [false, true]) {
        const seen = keysOf(await collect(texts.list({ reverse })));
        assert.deepEqual(seen, reverse ? keys.toReversed() : keys);
      }
      assert.deepEqual([await texts.count(), (await texts.getMany(keys.slice(0, 9))).length], [12, 9]);
      const error = await assertRejects('LIMIT_EXCEEDED', 'getMany', () => texts.getMany(keys));
      assert.deepEqual({ ...error, limit: 'pageBytesMax', allowed: limits.pageBytesMax }, { ...error });
      // a read of one key is never refused because of concurrent reads
      const each = await Promise.all(keys.map(async (key) => (await texts.getOrThrow(key)).value.length));
      assert.deepEqual(new Set(each), new Set([text.length]));
    },
  },
  {
    name: 'A list ends at the last key that existed when it began, also if the reader adds keys after those it reads.',
    law: 8,
    broken: breaksStores('lists until no row is left', (store) => ({
      list: (range = {}) => pageByPage(store, range),
    })),
    async run(subject) {
      for (const [size, verb, reverse] of [
        [150, 'list', false],
        [250, 'list', false],
        [250, 'list', true],
        [1_010, 'keys', false],
      ] as const) {
        const things = subject.store(`of-${size}-${String(reverse)}`);
        const steady = numbered(size, 'm-');
        for (let from = 0; from < size; from += 900) await things.setMany(steady.slice(from, from + 900));
        const seen: Key[] = [];
        for await (const item of verb === 'list' ? things.list({ reverse }) : things.keys({ reverse })) {
          seen.push(typeof item === 'object' && 'key' in item ? item.key : item);
          assert.ok(seen.length <= size, `a list of ${size} does not end`);
          if (seen.length % 10 === 0)
            await things.setMany(numbered(10, `${reverse ? 'a' : 'z'}-${seen.length}-`));
        }
        const expected = steady.map(({ key }) => key);
        assert.deepEqual(seen, reverse ? expected.toReversed() : expected);
      }
    },
  },
  {
    name: '`deleteMany` deletes a range and returns how many; an empty range is INVALID_OPTION, never ‘everything’.',
    law: 4,
    broken: breaksStores('treats an empty prefix as everything', (store) => ({
      deleteMany: async (range, options) =>
        range.start === undefined && range.end === undefined && !range.prefix
          ? await store.clear(options)
          : await store.deleteMany(range, options),
    })),
    async run(subject) {
      const things = subject.store();
      await things.setMany([...numbered(1, 'a-'), ...numbered(3, 'b-'), ...numbered(2, 'c-')]);
      for (const nothing of [
        undefined,
        {},
        { prefix: undefined },
        { prefix: '' },
        { prefix: [] },
        { start: undefined, end: undefined },
        { reverse: true },
      ]) {
        await assertRejects('INVALID_OPTION', `deleteMany(${JSON.stringify(nothing)})`, () =>
          things.deleteMany(nothing as KeyRange),
        );
      }
      assert.equal(await things.count(), 6);
      assert.deepEqual(
        [await things.deleteMany({ prefix: 'b-' }), await things.deleteMany({ prefix: 'b-' })],
        [3, 0],
      );
      assert.equal(await things.deleteMany({ start: 'c-0001' }), 1);
      assert.deepEqual(await collect(things.keys()), ['a-0000', 'c-0000']);
    },
  },
  {
    name: '`clear` empties one state of one tenant, over many pages, and no other.',
    law: 10,
    broken: breaksStores('clears one page', (store) => ({
      clear: async () => {
        const { items } = await store.page({ limit: 1_000 });
        for (const { key } of items) await store.delete(key);
        return items.length;
      },
    })),
    async run(subject) {
      const [things, others, ofOtherTenant] = [
        subject.store(),
        subject.store('other'),
        subject.store().forTenant(subject.otherTenant()),
      ];
      const items = numbered(1_100);
      await things.setMany(items.slice(0, 900));
      await things.setMany(items.slice(900));
      await others.setMany(numbered(2));
      await ofOtherTenant.setMany(numbered(2));
      assert.equal(await things.clear(), 1_100);
      assert.deepEqual(
        [await things.count(), await others.count(), await ofOtherTenant.count(), await things.clear()],
        [0, 2, 2, 0],
      );
    },
  },
];

/** A list that reads pages until none is left. */
async function* pageByPage<T>(store: KeyValueStore<T>, range: KeyRange): AsyncGenerator<Entry<T>> {
  for (let cursor: string | undefined, more = true; more; more = cursor !== undefined) {
    const page = await store.page({ ...range, limit: 200, ...(cursor !== undefined && { cursor }) });
    yield* page.items;
    cursor = page.next;
  }
}

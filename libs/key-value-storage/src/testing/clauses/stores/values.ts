/**
 * Law 5 for values: what is read equals what was written, also beyond JSON, and a value that cannot
 * be stored is refused with its path. A silent change of type would surface far from the write that
 * caused it.
 */
import assert from 'node:assert/strict';
import { limits } from '../../../core.js';
import { breaksStores, throughProvider, type StoreClause } from '../../kit/store-clause.js';
import { changesChanges } from '../../kit/broken-providers.js';
import { collect } from '../../kit/store-subject.js';
import { assertRejects } from '../../kit/assertions.js';
import { json } from '../../kit/batches.js';

const samples: Readonly<Record<string, unknown>> = {
  null: null,
  booleans: [true, false],
  numbers: [0, -1, 1.5, 2 ** 53, 5e-324, 1.7976931348623157e308],
  'numbers that JSON lacks': [Number.NaN, Infinity, -Infinity, -0],
  text: ['', 'é', '日本', '\u{1F600}', '\0', '\ud800', '"quoted" \\ / \n'],
  bigints: [0n, -1n, 2n ** 64n, -(10n ** 30n)],
  dates: [new Date(0), new Date(Date.UTC(2030, 1, 2, 3, 4, 5, 678)), new Date(-1)],
  maps: new Map<unknown, unknown>([
    ['a', 1],
    [2n, new Map([[new Date(5), new Set([1])]])],
  ]),
  sets: new Set<unknown>([1, '1', null, undefined]),
  bytes: [new Uint8Array(), Uint8Array.of(0, 255, 128)],
  undefined: { a: undefined, b: [undefined, 1] },
  nested: { a: { b: { c: [{ d: [[[]]] }] } }, e: {} },
  'names that look like tags': { $date: 5, $$date: 'x', $v: 2, $value: 1, $undefined: true, $other: 1, $: 1 },
  'names of prototypes': JSON.parse(
    '{"__proto__":{"x":1},"constructor":2,"toString":3,"hasOwnProperty":4}',
  ) as unknown,
  'names that are numbers': { 10: 'a', 2: 'b', '-1': 'c', '01': 'd' },
};

const cycle: { self?: unknown } = {};
cycle.self = cycle;
const holes = [1, , 3];

const unstorable: readonly (readonly [name: string, value: unknown, path: readonly PropertyKey[]])[] = [
  ['a function', { a: { b: (): number => 1 } }, ['a', 'b']],
  ['a symbol', { a: [Symbol('s')] }, ['a', 0]],
  ['a cycle', cycle, ['self']],
  ['an invalid date', { at: new Date(Number.NaN) }, ['at']],
  ['an array with holes', { a: holes }, ['a', 1]],
  ['an instance of a class', { a: new URL('https://kvent.example') }, ['a']],
  [
    'a Buffer, which would come back as a Uint8Array',
    { of: [{ hash: Buffer.from('kvent') }] },
    ['of', 0, 'hash'],
  ],
  ['an array of another kind of numbers', { a: Float32Array.of(1) }, ['a']],
  ['a buffer of bytes', { a: new ArrayBuffer(1) }, ['a']],
  ['a boxed number', { a: Object(1) as unknown }, ['a']],
  ['a date of a class of its own', { at: new (class Day extends Date {})(0) }, ['at']],
  ['an error', { a: new RangeError('no') }, ['a']],
  ['undefined', undefined, []],
  ['a function alone', (): number => 1, []],
];

export const valueClauses: readonly StoreClause[] = [
  {
    name: 'Values that JSON loses are read back: NaN, −0, bigints, dates, maps, sets, bytes, undefined, and values that look like a tag.',
    law: 5,
    broken: throughProvider(
      changesChanges('loses values that JSON cannot express', (change) =>
        change.kind === 'put' && change.value.kind === 'json'
          ? { ...change, value: json(change.value.text.replaceAll('{"$number":"NaN"}', 'null')) }
          : change,
      ),
    ),
    async run(subject) {
      const anything = subject.store<unknown>('anything');
      for (const [name, value] of Object.entries(samples)) {
        const written = await anything.set(name, value);
        const [read, listed] = [
          await anything.getOrThrow(name),
          (await anything.page({ start: name, limit: 1 })).items[0],
        ];
        for (const entry of [written, read, listed]) assert.deepEqual(entry?.value, value, name);
      }
      await subject.reopen();
      if (subject.provider.features.durable === false) return;
      const again = subject.store<unknown>('anything');
      for (const [name, value] of Object.entries(samples))
        assert.deepEqual((await again.getOrThrow(name)).value, value, name);
    },
  },
  {
    name: 'A value that cannot be stored is INVALID_VALUE with its path, and leaves the key unchanged.',
    law: 5,
    broken: breaksStores('stores null for a value that cannot be stored', (store) => ({
      set: async (key, value, options) => {
        try {
          return await store.set(key, value, options);
        } catch {
          return await store.set(key, null);
        }
      },
    })),
    async run(subject) {
      const anything = subject.store<unknown>('anything');
      const { etag } = await anything.set('there', 1);
      for (const [name, value, path] of unstorable) {
        const error = await assertRejects('INVALID_VALUE', name, () => anything.set('there', value));
        assert.deepEqual((error as unknown as { issues: { path: unknown }[] }).issues[0]?.path, path, name);
        await assertRejects('INVALID_VALUE', name, () => anything.add('new', value));
        await assertRejects('INVALID_VALUE', name, () =>
          anything.setMany([
            { key: 'beside', value: 1 },
            { key: 'new', value },
          ]),
        );
        await assertRejects('INVALID_VALUE', name, () => anything.update('there', () => value));
        await assertRejects('INVALID_VALUE', name, () =>
          subject.storage.atomic().set(anything, 'beside', 1).set(anything, 'new', value).commit(),
        );
      }
      assert.deepEqual(await collect(anything.keys()), ['there']);
      assert.equal((await anything.getOrThrow('there')).etag, etag);
    },
  },
  {
    name: 'A stored value cannot be changed through the object that was written, nor through one that was read.',
    law: 5,
    broken: breaksStores('returns the given object', (store) => {
      const given = new Map<unknown, unknown>();
      return {
        set: (key, value, options) => {
          given.set(String(key), value);
          return store.set(key, value, options);
        },
        getOrThrow: async (key) => {
          const entry = await store.getOrThrow(key);
          return { key, etag: entry.etag, value: given.get(String(key)) } as typeof entry;
        },
      };
    }),
    async run(subject) {
      const anything = subject.store<{
        list: number[];
        at: Date;
        bytes: Uint8Array;
        map: Map<string, number>;
      }>('anything');
      const value = { list: [1], at: new Date(5), bytes: Uint8Array.of(1), map: new Map([['a', 1]]) };
      const [expected, key] = [JSON.stringify(shown(value)), ['k', 1] as [string, number]];
      const changeAll = (it: typeof value): void => {
        for (const change of [
          () => it.list.push(2),
          () => it.at.setTime(9),
          () => (it.bytes[0] = 9),
          () => it.map.set('a', 9),
        ]) {
          try {
            change();
          } catch {
            // a frozen value cannot be changed either
          }
        }
      };
      const pending = anything.set(key, value);
      const written = await pending;
      changeAll(value);
      changeAll(written.value as typeof value);
      for (let round = 0; round < 2; round += 1) {
        const entry = await anything.getOrThrow(['k', 1]);
        assert.equal(JSON.stringify(shown(entry.value)), expected);
        changeAll(entry.value as typeof value);
      }
      key[1] = 2;
      assert.deepEqual(written.key, ['k', 1]);
      const entry = await anything.getOrThrow(['k', 1]);
      assert.ok(Object.isFrozen(entry) && Object.isFrozen(entry.value) && Object.isFrozen(entry.value.list));
    },
  },
  {
    name: 'A value of 900 KB is stored; one byte more is LIMIT_EXCEEDED with the limit, the size and the maximum, and nothing is written.',
    law: 13,
    broken: breaksStores('shortens long values', (store) => ({
      set: async (key, value, options) => {
        try {
          return await store.set(key, value, options);
        } catch {
          return await store.set(key, String(value).slice(0, 1_000));
        }
      },
    })),
    async run(subject) {
      const texts = subject.store<string>('text');
      const text = 'é'.repeat((limits.valueBytesMax - 2) / 2);
      await texts.set('full', text);
      assert.ok((await texts.getOrThrow('full')).value === text, 'a value of the maximum size is changed');
      for (const write of [texts.set.bind(texts), texts.add.bind(texts)]) {
        const error = await assertRejects('LIMIT_EXCEEDED', 'a value of one byte too many', () =>
          write('more', `${text}x`),
        );
        assert.deepEqual(
          {
            ...error,
            limit: 'valueBytesMax',
            given: limits.valueBytesMax + 1,
            allowed: limits.valueBytesMax,
            effect: 'none',
          },
          { ...error },
        );
      }
      assert.deepEqual(await collect(texts.keys()), ['full']);
    },
  },
];

const shown = (value: {
  list: readonly number[];
  at: Date;
  bytes: Uint8Array;
  map: ReadonlyMap<string, number>;
}): unknown => [value.list, value.at, [...value.bytes], [...value.map]];

/**
 * Laws 7 and 13 for keys and options: each valid key finds its own entry, and each invalid key or
 * unknown option is refused by every method before any I/O. A typo in an option must not become its
 * default.
 */
import assert from 'node:assert/strict';
import { limits, type Key } from '../../../core.js';
import { breaksStores, type StoreClause } from '../../kit/store-clause.js';
import { assertRejects } from '../../kit/assertions.js';
import { everyKeyCall } from '../../kit/every-call.js';
import { hostileKeys } from '../../kit/hostile-keys.js';

const badKeys: readonly unknown[] = [
  '',
  [],
  null,
  undefined,
  {},
  5,
  true,
  new Date(0),
  [null],
  [undefined],
  [{}],
  [[]],
  [['a']],
  [new Date(0)],
  [Number.NaN],
  [Symbol('s')],
  ['a', () => 1],
];

export const storeKeyClauses: readonly StoreClause[] = [
  {
    name: 'A key of 1,024 encoded bytes is stored; one byte more is LIMIT_EXCEEDED in every method, names the limit, and does no I/O.',
    law: 13,
    broken: breaksStores('reports a long key as absent', (store) => ({
      has: async (key) => {
        try {
          return await store.has(key);
        } catch {
          return false;
        }
      },
    })),
    async run(subject) {
      const things = subject.store();
      const full = 'k'.repeat(limits.keyBytesMax);
      await things.set(full, { n: 1 });
      assert.equal((await things.getOrThrow(full)).key, full);
      for (const long of [`${full}k`, [full], ['é'.repeat(600)]]) {
        for (const [name, call] of everyKeyCall(subject, long)) {
          const error = await assertRejects('LIMIT_EXCEEDED', name, call);
          assert.deepEqual(
            [(error as unknown as { limit: string }).limit, error.effect],
            ['keyBytesMax', 'none'],
            name,
          );
        }
      }
      assert.equal(await things.count(), 1);
    },
  },
  {
    name: 'An invalid key is INVALID_KEY in every method, before any I/O.',
    law: 7,
    broken: breaksStores('converts keys to text', (store) => ({
      get: (key, options) =>
        store.get(
          key === null || typeof key === 'object' ? (key ?? 'null') : String(key) || 'empty',
          options,
        ),
    })),
    async run(subject) {
      for (const key of badKeys) {
        for (const [name, call] of everyKeyCall(subject, key as Key)) {
          assert.equal(
            (
              await assertRejects(
                'INVALID_KEY',
                `${name} of ${String(key === undefined ? key : typeof key)}`,
                call,
              )
            ).effect,
            'none',
          );
        }
      }
      assert.equal(await subject.store().count(), 0);
    },
  },
  {
    name: 'Hostile keys (dots, slashes, NUL, lone surrogates, device names), alone and as parts, each find their own value.',
    law: 7,
    broken: breaksStores('joins parts with a NUL', (store) => {
      const join = (key: Key): Key => (typeof key === 'string' ? key : key.map(String).join('\0'));
      return {
        set: (key, value, options) => store.set(join(key), value, options),
        get: (key, options) => store.get(join(key), options),
      };
    }),
    async run(subject) {
      const keys: Key[] = [
        ...hostileKeys,
        ...hostileKeys.map((part) => [part]),
        ...hostileKeys.map((part) => ['a', part]),
      ];
      keys.push(
        ['a\0b'],
        ['a', 'b'],
        'a\0b',
        [1],
        [1n],
        ['1'],
        [true],
        ['true'],
        [Uint8Array.of(1)],
        [-1],
        [-1n],
      );
      const unique = [
        ...new Map(
          keys.map((key) => [
            JSON.stringify(key, (_, part: unknown) => (typeof part === 'bigint' ? `${part}n` : part)),
            key,
          ]),
        ).values(),
      ];
      const things = subject.store();
      for (const [n, key] of unique.entries()) await things.set(key, { n });
      for (const [n, key] of unique.entries())
        assert.equal((await things.get(key))?.value.n, n, `the key ${JSON.stringify(String(key))}`);
      assert.equal(await things.count(), unique.length);
    },
  },
  {
    name: '−0 and 0 are one key; 1 and 1n are two.',
    law: 7,
    broken: breaksStores('converts bigints in keys to numbers', (store) => {
      const change = (key: Key): Key =>
        typeof key === 'string' ? key : key.map((part) => (typeof part === 'bigint' ? Number(part) : part));
      return {
        set: (key, value, options) => store.set(change(key), value, options),
        get: (key, options) => store.get(change(key), options),
      };
    }),
    async run(subject) {
      const things = subject.store();
      await things.set([0], { n: 0 });
      await things.set([1], { n: 1 });
      await things.set([1n], { n: 2 });
      assert.deepEqual(
        [
          (await things.get([-0]))?.value.n,
          (await things.get([1]))?.value.n,
          (await things.get([1n]))?.value.n,
        ],
        [0, 1, 2],
      );
    },
  },
  {
    name: 'Every method refuses an unknown option, so that a typo does not become a default.',
    law: 13,
    broken: breaksStores('ignores unknown options', (store) => ({
      get: (key) => store.get(key),
    })),
    async run(subject) {
      for (const [name, call] of everyKeyCall(subject, 'key', { ttl: 5 }))
        await assertRejects('INVALID_OPTION', name, call);
      assert.equal(await subject.store().count(), 0);
    },
  },
];

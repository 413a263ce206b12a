/**
 * Law 11: an unknown outcome is repeated with an idempotency key, and has one effect. The record is
 * in the batch of the write, so no moment has one of them alone.
 */
import assert from 'node:assert/strict';
import type { Entry, EntryInfo, KeyValueStore } from '../../../core.js';
import { breaksCounters, breaksStores, throughProvider, type StoreClause } from '../../kit/store-clause.js';
import { changesBatches } from '../../kit/broken-providers.js';
import { collect, type Thing } from '../../kit/store-subject.js';
import { assertRejects, concurrently } from '../../kit/assertions.js';

type Things = KeyValueStore<Thing>;
type Write = (things: Things, key: string, idempotencyKey: string) => Promise<unknown>;

/** Each verb that takes a key, on an entry `{ n: 1 }` that expires; `add` without one. */
const writes: Readonly<Record<string, Write>> = {
  add: (things, key, idempotencyKey) => things.add(`${key}-new`, { n: 2 }, { idempotencyKey, ttlMs: 30_000 }),
  getOrAdd: (things, key, idempotencyKey) =>
    things.getOrAdd(`${key}-new`, () => ({ n: 2 }), { idempotencyKey, ttlMs: 30_000 }),
  set: (things, key, idempotencyKey) => things.set(key, { n: 2 }, { idempotencyKey }),
  'set that keeps the expiry': (things, key, idempotencyKey) =>
    things.set(key, { n: 2 }, { idempotencyKey, ttlMs: 'keep' }),
  replace: (things, key, idempotencyKey) => things.replace(key, { n: 2 }, { idempotencyKey, ttlMs: 30_000 }),
  update: (things, key, idempotencyKey) => things.update(key, ({ n }) => ({ n: n + 1 }), { idempotencyKey }),
  touch: (things, key, idempotencyKey) => things.touch(key, { ttlMs: 90_000, idempotencyKey }),
  delete: (things, key, idempotencyKey) => things.delete(key, { idempotencyKey }),
  take: (things, key, idempotencyKey) => things.take(key, { idempotencyKey }),
};

const isInfo = (value: unknown): value is EntryInfo =>
  typeof value === 'object' && value !== null && 'etag' in value;

/** A result as plain data, to be compared. */
function plain(result: unknown): unknown {
  if (!isInfo(result))
    return typeof result === 'object' && result !== null && 'entry' in result
      ? { ...result, entry: plain(result.entry) }
      : result;
  const { key, etag, updatedAt, expiresAt } = result;
  return { key, etag, updatedAt, expiresAt, value: (result as Entry<Thing>).value };
}

const contentsOf = async (things: Things): Promise<readonly unknown[]> =>
  (await collect(things.list())).map(plain);

const forgetsRecords = throughProvider(
  changesBatches('forgets the records of idempotency keys', (batch) => ({
    ...batch,
    checks: batch.checks.filter(({ address }) => !address.container.startsWith('mark:')),
    changes: batch.changes.filter(({ address }) => !address.container.startsWith('mark:')),
  })),
);

export const idempotencyClauses: readonly StoreClause[] = [
  {
    name: 'A write of an entry with an idempotency key is done once: a repeat returns the first result with its value, etag and times, and changes nothing, whatever was written since.',
    law: 11,
    broken: breaksStores('returns the current entry to a repeat', (store) => ({
      update: async (key, change, options) => {
        await store.update(key, change, options);
        return await store.getOrThrow(key);
      },
    })),
    async run(subject) {
      const things = subject.store();
      for (const [verb, write] of Object.entries(writes)) {
        await things.set(verb, { n: 1 }, { ttlMs: 60_000 });
        const first = plain(await write(things, verb, 'k-1'));
        await things.set(verb, { n: 7 });
        await things.delete(`${verb}-new`);
        const before = await contentsOf(things);
        assert.deepEqual(plain(await write(things, verb, 'k-1')), first, verb);
        assert.deepEqual(await contentsOf(things), before, verb);
      }
      const read = await things.set('saved', { n: 1 });
      const save = async () => plain(await things.save(read.with({ n: 2 }), { idempotencyKey: 'k-1' }));
      assert.deepEqual(await save(), await save());
    },
  },
  {
    name: 'Of ten equal concurrent writes with one idempotency key one is done, and all return its result; another key is other work.',
    law: 3,
    broken: forgetsRecords,
    async run(subject) {
      const things = subject.store();
      for (const [verb, write] of Object.entries(writes)) {
        await things.set(verb, { n: 1 }, { ttlMs: 60_000 });
        const results = await concurrently(10, async () =>
          plain(
            await write(things, verb, 'k-1').catch((error: unknown) =>
              assert.fail(`a repeat of ${verb} was rejected with ${String(error)}`),
            ),
          ),
        );
        for (const result of results) assert.deepEqual(result, results[0], verb);
      }
      await things.set('counted', { n: 0 });
      const add = (idempotencyKey: string) =>
        things.update('counted', ({ n }) => ({ n: n + 1 }), { idempotencyKey });
      await concurrently(10, (index) => add(`k-${index % 3}`));
      assert.deepEqual((await things.getOrThrow('counted')).value, { n: 3 });
    },
  },
  {
    name: 'An idempotency key with another verb, value or time to live is IDEMPOTENCY_CONFLICT with the key, and changes nothing; with a content, only the content is compared.',
    law: 11,
    broken: breaksStores('takes another value for other work', (store) => ({
      set: (key, value, { idempotencyKey, ...options } = {}) =>
        store.set(key, value, {
          ...options,
          ...(idempotencyKey !== undefined && { idempotencyKey: JSON.stringify([idempotencyKey, value]) }),
        }),
    })),
    async run(subject) {
      const things = subject.store();
      const key = { idempotencyKey: 'k-1' };
      const first = await things.set('one', { n: 1, text: 'a' }, key);
      const others: readonly (() => Promise<unknown>)[] = [
        () => things.set('one', { n: 2, text: 'a' }, key),
        () => things.set('one', { n: 1, text: 'a' }, { ...key, ttlMs: 5 }),
        () => things.add('one', { n: 1, text: 'a' }, key),
        () => things.update('one', () => ({ n: 2 }), key),
        () => things.take('one', key),
        () => things.delete('one', key),
        () => things.touch('one', { ttlMs: 5, ...key }),
      ];
      for (const other of others) {
        const error = await assertRejects('IDEMPOTENCY_CONFLICT', 'another write', other);
        assert.equal((error as { idempotencyKey?: unknown }).idempotencyKey, 'k-1');
      }
      assert.deepEqual(plain(await things.getOrThrow('one')), plain(first));
      // the order of properties does not count, nor does an etag
      const repeat = await things.set('one', { text: 'a', n: 1 }, { ...key, ifMatch: first.etag });
      assert.deepEqual(plain(repeat), plain(first));
      const withContent = async (n: number, content: unknown) =>
        plain(await things.set('two', { n }, { idempotencyKey: { key: 'k-2', content } }));
      assert.deepEqual(await withContent(1, { a: 1 }), await withContent(2, { a: 1 }));
      await assertRejects('IDEMPOTENCY_CONFLICT', 'set', () => withContent(1, { a: 2 }));
    },
  },
  {
    name: 'A write that fails leaves no record of its idempotency key; one that finds nothing to do leaves one.',
    law: 11,
    broken: breaksStores('ignores the idempotency key of a delete', (store) => ({
      delete: (key) => store.delete(key),
    })),
    async run(subject) {
      const things = subject.store();
      const key = { idempotencyKey: 'k-1' };
      await assertRejects('KEY_NOT_FOUND', 'replace', () => things.replace('one', { n: 1 }, key));
      await assertRejects('KEY_NOT_FOUND', 'update', () => things.update('one', () => ({ n: 1 }), key));
      await assertRejects('STORAGE_CONFLICT', 'set', () =>
        things.set('one', { n: 1 }, { ...key, ifMatch: '*' }),
      );
      await things.add('one', { n: 1 }, key);
      await things.add('one', { n: 1 }, key);
      await assertRejects('KEY_EXISTS', 'add', () => things.add('one', { n: 1 }, { idempotencyKey: 'k-2' }));
      assert.deepEqual(
        [await things.delete('two', key), await things.take('three', key)],
        [false, undefined],
      );
      await things.setMany(['two', 'three'].map((name) => ({ key: name, value: { n: 1 } })));
      assert.deepEqual(
        [await things.delete('two', key), await things.take('three', key)],
        [false, undefined],
      );
      assert.equal(await things.count(), 3);
    },
  },
  {
    name: 'An idempotency key belongs to the tenant, the store and the key of its write; its records are no entries.',
    law: 10,
    broken: breaksStores('ignores the tenant', (store) => ({ forTenant: () => store })),
    async run(subject) {
      const [things, others] = [subject.store(), subject.store('other')];
      const theirs = things.forTenant(subject.otherTenant());
      const set = async (store: Things, key: string, n: number): Promise<number> => {
        const written = store.set(key, { n }, { idempotencyKey: 'k-1' });
        return (await written.catch((error: unknown) => assert.fail(String(error)))).value.n;
      };
      assert.deepEqual(
        [
          await set(things, 'a', 1),
          await set(things, 'b', 2),
          await set(theirs, 'a', 3),
          await set(others, 'a', 4),
        ],
        [1, 2, 3, 4],
      );
      assert.deepEqual([await things.count(), await theirs.count(), await others.count()], [2, 1, 1]);
      await things.clear();
      assert.deepEqual([await set(things, 'a', 1), await things.count()], [1, 0]);
    },
  },
  {
    name: '`reset` of a counter with an idempotency key is done once.',
    law: 11,
    broken: breaksCounters('ignores idempotency keys', (counters) => ({
      reset: (key) => counters.reset(key),
    })),
    async run(subject) {
      const counters = subject.counter();
      const reset = () => counters.reset('one', { idempotencyKey: 'k-1' });
      await counters.increment('one', 5);
      await reset();
      await counters.increment('one', 3);
      await concurrently(10, reset);
      assert.equal(await counters.get('one'), 3);
      await assertRejects('IDEMPOTENCY_CONFLICT', 'increment', () =>
        counters.increment('one', 1, { idempotencyKey: 'k-1' }),
      );
    },
  },
];

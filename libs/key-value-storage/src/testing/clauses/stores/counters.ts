/**
 * Law 3, no lost update, for counters: the engine calculates, so that concurrent changes are all
 * counted without a read and a retry. A bound is checked in the step that writes.
 */
import assert from 'node:assert/strict';
import { defineShardedCounter, type CounterStore, type Key } from '../../../core.js';
import { breaksAtomic, breaksCounters, throughProvider, type StoreClause } from '../../kit/store-clause.js';
import { calculatesOutside, changesChanges, commitOne, replacesCommit } from '../../kit/broken-providers.js';
import { collect } from '../../kit/store-subject.js';
import { assertRejects, concurrently } from '../../kit/assertions.js';
import { number, put } from '../../kit/batches.js';

const ignoresBounds = throughProvider(
  changesChanges('ignores the bounds of numbers', (change) => {
    if (change.kind !== 'sum' && change.kind !== 'min' && change.kind !== 'max') return change;
    const { floor: _floor, ceiling: _ceiling, ...others } = change;
    return others;
  }),
);

const expiresAnew = throughProvider(
  replacesCommit('starts the expiry of a number at each change', async (batch, provider) => {
    const result = await commitOne(provider, batch);
    const [change] = batch.changes;
    if (result.outcome !== 'committed' || change?.kind !== 'sum' || change.ttlMs === undefined) return result;
    const again = { ...put(change.address, number(result.rows[0]?.number ?? 0n)), ttl: change.ttlMs };
    await commitOne(provider, { ...batch, changes: [again] });
    return result;
  }),
);

const numbersOf = async (counters: CounterStore): Promise<readonly unknown[]> =>
  (await collect(counters.list())).map(({ key, value }) => [key, value]);

export const counterClauses: readonly StoreClause[] = [
  {
    name: 'A counter is 0 where it is absent; `increment`, `decrement`, `raiseTo` and `lowerTo` return the number after the change, and `reset` makes it 0.',
    law: 3,
    broken: breaksCounters('returns the number before the change', (counters) => ({
      increment: async (key, by, options) => {
        const before: unknown = await counters.get(key);
        await counters.increment(key, by, options);
        return before;
      },
    })),
    async run(subject) {
      const counters = subject.counter();
      const results = [
        await counters.get('one'),
        await counters.increment('one'),
        await counters.increment('one', 10),
        await counters.decrement('one'),
        await counters.decrement('one', 4),
        await counters.increment('one', -3),
        await counters.raiseTo('one', 2),
        await counters.raiseTo('one', 8),
        await counters.lowerTo('one', 9),
        await counters.lowerTo('one', -5),
        await counters.get('one'),
      ];
      assert.deepEqual(results, [0, 1, 11, 10, 6, 3, 3, 8, 8, -5, -5]);
      await counters.reset('one');
      await counters.reset('absent');
      assert.deepEqual([await counters.get('one'), await counters.increment('one')], [0, 1]);
    },
  },
  {
    name: 'Of 64 concurrent increments of one key each returns another number, from 1 to 64.',
    law: 3,
    broken: throughProvider(calculatesOutside('computes numbers outside of the engine')),
    async run(subject) {
      const counters = subject.counter();
      const results = await concurrently(64, () => counters.increment('one'));
      assert.deepEqual(
        results.toSorted((a, b) => a - b),
        Array.from({ length: 64 }, (_, index) => index + 1),
      );
      assert.equal(await counters.get('one'), 64);
    },
  },
  {
    name: 'A change beyond the floor or the ceiling of a counter is COUNTER_OUT_OF_RANGE with key and bounds, and changes nothing; of 20 concurrent decrements of 10, ten succeed.',
    law: 3,
    broken: ignoresBounds,
    async run(subject) {
      const counters = subject.counter('stock', { floor: 0, ceiling: 10 });
      await counters.increment('one', 10);
      const changes = [
        () => counters.increment('one'),
        () => counters.decrement('one', 11),
        () => counters.raiseTo('one', 11),
        () => counters.lowerTo('one', -1),
      ];
      for (const change of changes) {
        const error = await assertRejects('COUNTER_OUT_OF_RANGE', 'a change', change);
        assert.deepEqual({ ...error, key: 'one', floor: 0, ceiling: 10, effect: 'none' }, { ...error });
      }
      assert.equal(await counters.get('one'), 10);
      const results = await Promise.allSettled(Array.from({ length: 20 }, () => counters.decrement('one')));
      assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 10);
      assert.equal(await counters.get('one'), 0);
    },
  },
  {
    name: 'A counter is exact to ±(2^53 − 1), a big counter to 64 bits; a change beyond that is COUNTER_OUT_OF_RANGE.',
    law: 3,
    broken: ignoresBounds,
    async run(subject) {
      const counters = subject.counter();
      const most = Number.MAX_SAFE_INTEGER;
      assert.equal(await counters.raiseTo('one', most), most);
      const beyond = await assertRejects('COUNTER_OUT_OF_RANGE', 'increment', () =>
        counters.increment('one'),
      );
      assert.equal(beyond.effect, 'none');
      assert.deepEqual([await counters.get('one'), await counters.decrement('one', most)], [most, 0]);
      const big = subject.bigCounter();
      const largest = 2n ** 63n - 1n;
      assert.equal(await big.raiseTo('one', largest), largest);
      await assertRejects('COUNTER_OUT_OF_RANGE', 'increment', () => big.increment('one'));
      assert.deepEqual([await big.get('one'), await big.decrement('one', largest)], [largest, 0n]);
      assert.equal(await big.increment('two', -(2n ** 63n)), -(2n ** 63n));
      await assertRejects('COUNTER_OUT_OF_RANGE', 'decrement', () => big.decrement('two'));
    },
  },
  {
    name: 'An amount that is no whole number of the counter is refused before any I/O: OUT_OF_RANGE, or INVALID_OPTION for another type.',
    law: 13,
    broken: breaksCounters('truncates amounts', (counters) => ({
      increment: (key, by, options) =>
        counters.increment(key, typeof by === 'number' ? Math.trunc(by) || 0 : by, options),
    })),
    async run(subject) {
      const counters = subject.counter();
      for (const by of [0.5, Number.NaN, Infinity, 2 ** 53])
        await assertRejects('OUT_OF_RANGE', `increment by ${by}`, () => counters.increment('one', by));
      for (const by of ['1', null, 1n, {}])
        await assertRejects('INVALID_OPTION', `increment by a ${typeof by}`, () =>
          counters.increment('one', by as number),
        );
      await assertRejects('INVALID_OPTION', 'raiseTo', () => counters.raiseTo('one', undefined as never));
      const big = subject.bigCounter();
      await assertRejects('INVALID_OPTION', 'increment', () => big.increment('one', 1 as never));
      await assertRejects('OUT_OF_RANGE', 'increment', () => big.increment('one', 2n ** 63n));
      await assertRejects('OUT_OF_RANGE', 'decrement', () => big.decrement('one', -(2n ** 63n)));
      assert.deepEqual([await numbersOf(counters), await collect(big.list())], [[], []]);
    },
  },
  {
    name: '`ttlMs` of a counter counts only when the change creates it: later changes keep the expiry, and after it the counter starts at 0.',
    law: 6,
    capability: 'exact expiry',
    broken: expiresAnew,
    async run(subject) {
      const counters = subject.counter('limit', { ttlMs: 60_000 });
      const expiry = async (): Promise<number | undefined> =>
        (await collect(counters.list()))[0]?.expiresAt?.getTime();
      await counters.increment('one');
      const first = await expiry();
      await subject.clock.advance(59_999);
      assert.deepEqual([await counters.increment('one', 2, { ttlMs: 5_000 }), await expiry()], [3, first]);
      await subject.clock.advance(1);
      assert.deepEqual([await counters.get('one'), await numbersOf(counters)], [0, []]);
      assert.equal(await counters.increment('one', 1, { ttlMs: 10 }), 1);
      await subject.clock.advance(10);
      assert.equal(await counters.get('one'), 0);
      await assertRejects('INVALID_OPTION', 'ttlMs', () => counters.increment('one', 1, { ttlMs: 0 }));
    },
  },
  {
    name: '`getMany` of counters is one number for each key, in the order of the keys, 0 where there is none; `list` returns the counters of a range in key order.',
    law: 8,
    broken: breaksCounters('leaves out absent counters', (counters) => ({
      getMany: async (keys) =>
        (await Promise.all(keys.map((key) => counters.get(key)))).filter((value) => value !== 0) as never,
    })),
    async run(subject) {
      const counters = subject.counter();
      await concurrently(5, (index) => counters.increment(`k${index}`, index + 1));
      await counters.increment('other', -7);
      assert.deepEqual(await counters.getMany(['other', 'absent', 'k3']), [-7, 0, 4]);
      assert.deepEqual(
        (await collect(counters.list({ prefix: 'k', start: 'k1', reverse: true }))).map(({ value }) => value),
        [5, 4, 3, 2],
      );
      assert.deepEqual((await numbersOf(counters)).at(-1), ['other', -7]);
    },
  },
  {
    name: 'Counters, and a state of the same name, are separate for each tenant.',
    law: 10,
    broken: breaksCounters('ignores the tenant', (counters) => ({ forTenant: () => counters })),
    async run(subject) {
      const [counters, things] = [subject.counter('thing'), subject.store('thing')];
      const theirs = counters.forTenant(subject.otherTenant());
      await things.set('one', { n: 1 });
      await counters.increment('one', 2);
      await theirs.increment('one', 3);
      await subject.bigCounter('thing').increment('two', 4n);
      assert.deepEqual(
        [(await things.getOrThrow('one')).value, await counters.get('one'), await theirs.get('one')],
        [{ n: 1 }, 2, 3],
      );
      await theirs.reset('one');
      assert.deepEqual([await counters.get('one'), await things.count()], [2, 1]);
    },
  },
  {
    name: 'A batch changes counters and entries completely or not at all, and returns the numbers; a second change of one counter is refused.',
    law: 1,
    broken: breaksAtomic('changes counters in commits of their own', (batch) => ({
      increment: (store, key, by) => {
        void store.increment(key, by).catch(() => undefined);
        return batch;
      },
    })),
    async run(subject) {
      const [things, counters] = [subject.store(), subject.counter('stock', { floor: 0 })];
      await counters.increment('one', 5);
      const { changes } = await subject.storage
        .atomic()
        .set(things, 'a', { n: 1 })
        .decrement(counters, 'one', 2)
        .increment(counters, 'two')
        .raiseTo(counters, 'three', 7)
        .lowerTo(counters, 'four', 1)
        .commit();
      assert.deepEqual(
        changes.map(({ key, value }) => [key, value]),
        [
          ['a', undefined],
          ['one', 3],
          ['two', 1],
          ['three', 7],
          ['four', 0],
        ],
      );
      const batch = () => subject.storage.atomic().set(things, 'b', { n: 1 }).increment(counters, 'two');
      const error = await assertRejects('COUNTER_OUT_OF_RANGE', 'commit', () =>
        batch().decrement(counters, 'one', 4).commit(),
      );
      assert.deepEqual({ ...error, key: 'one', floor: 0, effect: 'none' }, { ...error });
      await assertRejects('KEY_EXISTS', 'commit', () => batch().add(things, 'a', { n: 2 }).commit());
      assert.throws(() => batch().increment(counters, 'two'), { code: 'INVALID_OPTION' });
      assert.deepEqual([await things.has('b'), await counters.getMany(['one', 'two'])], [false, [3, 1]]);
    },
  },
  {
    name: 'A batch with counters and an idempotency key is done once, also by ten concurrent callers: each repeat returns the first numbers.',
    law: 1,
    broken: breaksAtomic('ignores idempotency keys', (batch) => ({
      commit: (options) => batch.commit({ signal: options?.signal }),
    })),
    async run(subject) {
      const [things, counters] = [subject.store(), subject.counter('stock', { floor: 0 })];
      await counters.increment('one', 50);
      const order = (idempotencyKey: string, by: number) =>
        subject.storage
          .atomic()
          .set(things, 'order', { n: by })
          .decrement(counters, 'one', by)
          .commit({ idempotencyKey });
      const results = await concurrently(10, () => order('k-1', 2));
      assert.deepEqual([...new Set(results.map(({ changes }) => changes[1]?.value))], [48]);
      assert.equal(results.filter(({ replayed }) => !replayed).length, 1);
      await counters.decrement('one');
      const { replayed, changes } = await order('k-1', 2);
      assert.deepEqual([replayed, changes[1]?.value, await counters.get('one')], [true, 48, 47]);
      await assertRejects('IDEMPOTENCY_CONFLICT', 'commit', () => order('k-1', 1));
      await assertRejects('COUNTER_OUT_OF_RANGE', 'commit', () => order('k-2', 48));
      await concurrently(2, (index) => order(`k-3${index}`, 20));
      assert.equal(await counters.get('one'), 7);
    },
  },
  {
    name: 'A change of a counter with an idempotency key is done once, also by ten concurrent callers: each repeat returns the first number, and another amount is IDEMPOTENCY_CONFLICT.',
    law: 11,
    broken: breaksCounters('ignores idempotency keys', (counters) => ({
      increment: (key, by) => counters.increment(key, by),
    })),
    async run(subject) {
      const counters = subject.counter();
      const add = (by: number, idempotencyKey = 'k-1', key: Key = 'one') =>
        counters.increment(key, by, { idempotencyKey });
      assert.deepEqual([...new Set(await concurrently(10, () => add(2)))], [2]);
      await counters.increment('one', 5);
      assert.deepEqual([await add(2), await counters.get('one')], [2, 7]);
      await assertRejects('IDEMPOTENCY_CONFLICT', 'increment', () => add(3));
      await assertRejects('IDEMPOTENCY_CONFLICT', 'decrement', () =>
        counters.decrement('one', 2, { idempotencyKey: 'k-1' }),
      );
      assert.deepEqual(
        [await add(2, 'k-2'), await add(2, 'k-1', ['one']), await add(2, 'k-1', 'two')],
        [9, 2, 2],
      );
      assert.deepEqual(await numbersOf(counters), [
        [['one'], 2],
        ['one', 9],
        ['two', 2],
      ]);
    },
  },
  {
    name: 'Counters within the caller’s transaction are committed or rolled back with it.',
    law: 1,
    capability: 'transactions',
    broken: breaksCounters('writes outside the transaction', (counters) => ({ within: () => counters })),
    async run(subject) {
      const counters = subject.counter();
      const undone = await subject.transaction();
      assert.equal(await counters.within(undone.transaction).increment('one', 3), 3);
      await undone.rollback();
      assert.equal(await counters.get('one'), 0);
      const kept = await subject.transaction();
      await counters.within(kept.transaction).increment('one', 4);
      const inside = kept.storage.store(subject.counterDefinition());
      await kept.storage.atomic().increment(inside, 'two', 5).commit();
      const Sharded = defineShardedCounter('views', { shards: 2 });
      await kept.storage.store(Sharded).increment('one', 6);
      const sharded = subject.storage.store(Sharded);
      assert.equal(await sharded.get('one'), 0);
      await kept.commit();
      assert.deepEqual([...(await counters.getMany(['one', 'two'])), await sharded.get('one')], [4, 5, 6]);
    },
  },
];

/** Law 3, no lost update, for counters whose number is the sum of several rows. */
import assert from 'node:assert/strict';
import { defineShardedCounter, type KeyValueStorage, type ShardedCounter } from '../../../core.js';
import { assertRejects, concurrently } from '../../kit/assertions.js';
import { calculatesOutside, changesReads } from '../../kit/broken-providers.js';
import { breaksCounters, throughProvider, type StoreClause } from '../../kit/store-clause.js';

const Views = defineShardedCounter('views', { shards: 4 });
const viewsOf = (storage: KeyValueStorage): ShardedCounter => storage.store(Views);

export const shardedCounterClauses: readonly StoreClause[] = [
  {
    name: 'Of 64 concurrent changes of one sharded counter, all are counted.',
    law: 3,
    broken: throughProvider(calculatesOutside('computes numbers outside of the engine')),
    async run({ storage }) {
      const views = viewsOf(storage);
      await concurrently(64, (index) => (index < 16 ? views.decrement('one') : views.increment('one', 2)));
      assert.equal(await views.get('one'), 80);
    },
  },
  {
    name: '`get` and `getMany` of a sharded counter return the sum of its shards, 0 where there is none; `reset` removes all of them.',
    law: 3,
    broken: throughProvider(
      changesReads('reads only the first of several rows', ({ time, rows }) => ({
        time,
        rows: rows.map((row, index) => (index === 0 ? row : undefined)),
      })),
    ),
    async run({ storage }) {
      const views = viewsOf(storage);
      for (const by of [1, 20, 300, 4_000, 50_000]) await views.increment('one', by);
      await views.increment(['one'], 7);
      assert.equal(await views.get('one'), 54_321);
      assert.deepEqual(await views.getMany([['one'], 'absent', 'one']), [7, 0, 54_321]);
      await views.reset('one');
      await views.reset('absent');
      assert.deepEqual(await views.getMany(['one', ['one']]), [0, 7]);
    },
  },
  {
    name: 'A change of a sharded counter with an idempotency key is done once, also by ten concurrent callers and by another instance. Another amount is IDEMPOTENCY_CONFLICT.',
    law: 11,
    broken: breaksCounters('ignores idempotency keys', (counters) => ({
      increment: (key, by) => counters.increment(key, by),
    })),
    async run(subject) {
      const views = viewsOf(subject.storage);
      const add = (by: number) => views.increment('one', by, { idempotencyKey: 'k-1' });
      await concurrently(10, () => add(2));
      assert.equal(await views.get('one'), 2);
      await assertRejects('IDEMPOTENCY_CONFLICT', 'increment', () => add(3));
      await views.increment('one', 5, { idempotencyKey: 'k-2' });
      if (subject.provider.features.shared) {
        const other = viewsOf(await subject.openSecond());
        await concurrently(4, () => other.increment('one', 2, { idempotencyKey: 'k-1' }));
      }
      assert.equal(await views.get('one'), 7);
    },
  },
  {
    name: 'Sharded counters are separate for each tenant, and from counters of the same name.',
    law: 10,
    broken: breaksCounters('ignores the tenant', (counters) => ({ forTenant: () => counters })),
    async run(subject) {
      const views = viewsOf(subject.storage);
      await views.increment('one', 3);
      await subject.counter('views').increment('one', 5);
      const others = views.forTenant(subject.otherTenant());
      assert.equal(await others.get('one'), 0);
      await others.increment('one');
      await others.reset('one');
      assert.deepEqual([await views.get('one'), await subject.counter('views').get('one')], [3, 5]);
    },
  },
];

/**
 * Law 6, expiry, for stores: which method uses which TTL, and what an expired entry is to each of
 * them. Users rely on the declared TTL of a state; a method that ignores it keeps sessions or carts
 * forever.
 */
import assert from 'node:assert/strict';
import { breaksStores, throughProvider, type StoreClause } from '../../kit/store-clause.js';
import { changesBatches, changesChanges } from '../../kit/broken-providers.js';
import { collect } from '../../kit/store-subject.js';
import { concurrently, assertRejects } from '../../kit/assertions.js';
import { put } from '../../kit/batches.js';

const law = 6;

export const storeExpiryClauses: readonly StoreClause[] = [
  {
    name: 'An entry is present one millisecond before it expires; at `expiresAt` it is absent for every method.',
    law,
    capability: 'exact expiry',
    broken: throughProvider(
      changesChanges('expires entries one millisecond late', (change) =>
        change.kind === 'put' && typeof change.ttl === 'number' ? { ...change, ttl: change.ttl + 1 } : change,
      ),
    ),
    async run(subject) {
      const things = subject.store();
      const write = async (): Promise<string> => (await things.set('one', { n: 1 }, { ttlMs: 60_000 })).etag;
      await write();
      await subject.clock.advance(59_999);
      assert.deepEqual([await things.has('one'), (await things.get('one'))?.value], [true, { n: 1 }]);
      await subject.clock.advance(1);
      assert.deepEqual(
        [await things.get('one'), await things.has('one'), await things.stat('one')],
        [undefined, false, undefined],
      );
      assert.deepEqual(
        [
          await things.getMany(['one']),
          await collect(things.list()),
          await collect(things.keys()),
          await things.count(),
        ],
        [[undefined], [], [], 0],
      );
      const gone = async (): Promise<string> => {
        const etag = await write();
        await subject.clock.advance(60_000);
        return etag;
      };
      await gone();
      await assertRejects('KEY_NOT_FOUND', 'replace', () => things.replace('one', { n: 2 }));
      await assertRejects('KEY_NOT_FOUND', 'update', () => things.update('one', () => ({ n: 2 })));
      await assertRejects('KEY_NOT_FOUND', 'touch', () => things.touch('one', { ttlMs: 5 }));
      await assertRejects('KEY_NOT_FOUND', 'getOrThrow', () => things.getOrThrow('one'));
      const etag = await gone();
      await assertRejects('STORAGE_CONFLICT', 'set', () => things.set('one', { n: 2 }, { ifMatch: etag }));
      await assertRejects('STORAGE_CONFLICT', 'delete', () => things.delete('one', { ifMatch: '*' }));
      assert.deepEqual([await things.delete('one'), await things.take('one')], [false, undefined]);
      await gone();
      assert.deepEqual((await things.add('one', { n: 3 })).value, { n: 3 });
      await gone();
      assert.equal((await things.getOrAdd('one', () => ({ n: 4 }))).added, true);
    },
  },
  {
    name: '`add`, `set` and `replace` use the given TTL, else the TTL of the state, else none; ‘never’ removes it and ‘keep’ keeps the current one.',
    law,
    capability: 'clock',
    broken: breaksStores('ignores the TTL of the state in `replace`', (store) => ({
      replace: (key, value, options) => store.replace(key, value, { ttlMs: 'keep', ...options }),
    })),
    async run(subject) {
      const [plain, timed] = [subject.store('plain'), subject.store('timed', { ttlMs: 1_000 })];
      const start = subject.clock.now();
      const at = (entry: { expiresAt: Date | undefined }): number | undefined =>
        entry.expiresAt && entry.expiresAt.getTime() - start;
      assert.equal(at(await plain.set('k', { n: 1 })), undefined);
      assert.equal(at(await timed.add('k', { n: 1 })), 1_000);
      assert.equal(at(await plain.set('k', { n: 1 }, { ttlMs: 500 })), 500);
      assert.equal(at(await timed.set('k', { n: 1 }, { ttlMs: 500 })), 500);
      await subject.clock.advance(100);
      assert.equal(at(await timed.set('k', { n: 2 }, { ttlMs: 'keep' })), 500);
      assert.equal(at(await timed.set('k', { n: 2 })), 1_100);
      assert.equal(at(await timed.set('k', { n: 2 }, { ttlMs: 200 })), 300);
      assert.equal(at(await timed.replace('k', { n: 3 })), 1_100);
      assert.equal(at(await timed.replace('k', { n: 3 }, { ttlMs: 'never' })), undefined);
      assert.equal(at(await timed.set('new', { n: 1 }, { ttlMs: 'keep' })), 1_100);
      assert.equal(at(await plain.set('k', { n: 1 })), undefined);
      assert.equal(at(await timed.getOrThrow('k')), undefined);
    },
  },
  {
    name: '`save` and `update` keep the expiry of the entry, unless `ttlMs` is given.',
    law,
    capability: 'clock',
    broken: breaksStores('restarts the expiry when it saves', (store) => ({
      save: (entry, options) => store.save(entry, { ttlMs: 1_000, ...options }),
    })),
    async run(subject) {
      const timed = subject.store('timed', { ttlMs: 1_000 });
      const start = subject.clock.now();
      const at = (entry: { expiresAt: Date | undefined }): number | undefined =>
        entry.expiresAt && entry.expiresAt.getTime() - start;
      const entry = await timed.add('k', { n: 1 });
      await subject.clock.advance(400);
      const saved = await timed.save(entry.with({ n: 2 }));
      assert.equal(at(saved), 1_000);
      assert.equal(at(await timed.update('k', ({ n }) => ({ n: n + 1 }))), 1_000);
      assert.equal(at(await timed.update('k', ({ n }) => ({ n: n + 1 }), { ttlMs: 2_000 })), 2_400);
      assert.equal(at(await timed.update('k', ({ n }) => ({ n: n + 1 }), { ttlMs: 'never' })), undefined);
      assert.equal(at(await timed.update('k', ({ n }) => ({ n: n + 1 }))), undefined);
      assert.equal(
        at(await timed.update('fresh', ({ n }) => ({ n }), { initial: () => ({ n: 0 }) })),
        400 + 1_000,
      );
    },
  },
  {
    name: 'A TTL that is 0, negative, NaN, infinite or no number is INVALID_OPTION, and nothing is written.',
    law,
    broken: breaksStores('treats a TTL of 0 as none', (store) => ({
      set: (key, value, options) => store.set(key, value, options?.ttlMs === 0 ? {} : options),
    })),
    async run(subject) {
      const things = subject.store();
      for (const ttlMs of [0, -1, Number.NaN, Infinity, '5', null, 'forever']) {
        const options = { ttlMs: ttlMs as number };
        const calls = [
          () => things.set('one', { n: 1 }, options),
          () => things.add('one', { n: 1 }, options),
          () => things.setMany([{ key: 'one', value: { n: 1 } }], options),
          () => things.getOrAdd('one', () => ({ n: 1 }), options),
          () => things.touch('one', options),
          async () => await subject.storage.atomic().set(things, 'one', { n: 1 }, options).commit(),
        ];
        for (const call of calls)
          await assertRejects('INVALID_OPTION', `a time to live of ${String(ttlMs)}`, call);
      }
      assert.equal(await things.count(), 0);
    },
  },
  {
    name: '`touch` moves an expiry forward and never back, keeps etag and value, and adds no expiry to an entry without one.',
    law,
    capability: 'clock',
    broken: throughProvider(
      changesChanges('writes the entry to renew it', (change) =>
        change.kind === 'renew' ? put(change.address, '{"n":1}', change.ttlMs) : change,
      ),
    ),
    async run(subject) {
      const things = subject.store();
      const start = subject.clock.now();
      const { etag } = await things.set('one', { n: 1 }, { ttlMs: 1_000 });
      await subject.clock.advance(500);
      for (const [ttlMs, expected] of [
        [100, 1_000],
        [2_000, 2_500],
        [1_000, 2_500],
      ] as const) {
        const info = await things.touch('one', { ttlMs });
        assert.deepEqual([info.etag, info.expiresAt?.getTime()], [etag, start + expected]);
      }
      assert.equal((await things.getOrThrow('one')).updatedAt.getTime(), start);
      await things.set('forever', { n: 1 });
      assert.equal((await things.touch('forever', { ttlMs: 5 })).expiresAt, undefined);
      await assertRejects('KEY_NOT_FOUND', 'touch', () => things.touch('none', { ttlMs: 5 }));
    },
  },
  {
    name: 'A sliding expiry is renewed by `get` and `getOrThrow`, at most once per tenth of it, without a new etag; `has`, `stat` and lists renew nothing.',
    law,
    capability: 'clock',
    broken: throughProvider(
      changesBatches('renews nothing', (batch) => ({
        ...batch,
        changes: batch.changes.filter(({ kind }) => kind !== 'renew'),
      })),
    ),
    async run(subject) {
      const sliding = subject.store('sliding', { ttlMs: 1_000, expiry: 'sliding' });
      const start = subject.clock.now();
      const at = async (): Promise<number | undefined> => (await sliding.stat('k'))?.expiresAt?.getTime();
      const { etag } = await sliding.set('k', { n: 1 });
      await subject.clock.advance(99);
      await sliding.get('k');
      assert.equal(await at(), start + 1_000, 'it is renewed once per tenth');
      await subject.clock.advance(1);
      const entry = await sliding.getOrThrow('k');
      assert.deepEqual(
        [entry.etag, entry.expiresAt?.getTime(), await at()],
        [etag, start + 1_100, start + 1_100],
      );
      await subject.clock.advance(900);
      await sliding.has('k');
      await collect(sliding.list());
      await sliding.getMany(['k']);
      assert.equal(await at(), start + 1_100);
      await sliding.get('k');
      await subject.clock.advance(999);
      assert.equal(await sliding.has('k'), true);
      await subject.clock.advance(1);
      assert.equal(await sliding.get('k'), undefined);
    },
  },
  {
    name: 'Of 50 concurrent `add`s of an expired key, one creates it.',
    law,
    capability: 'exact expiry',
    broken: throughProvider(changesBatches('ignores checks', (batch) => ({ ...batch, checks: [] }))),
    async run(subject) {
      const things = subject.store();
      await things.set('one', { n: 0 }, { ttlMs: 10 });
      await subject.clock.advance(10);
      const results = await concurrently(50, (n) =>
        things.add('one', { n }).then(
          () => true,
          () => false,
        ),
      );
      assert.equal(results.filter(Boolean).length, 1);
    },
  },
  {
    name: 'A sweep physically removes expired entries, up to the given limit, and returns how many.',
    law,
    capability: 'clock',
    broken: {
      fault: 'sweeps nothing',
      storage: (storage) =>
        new Proxy(storage, {
          get: (target, name) => (name === 'sweep' ? async () => 0 : bound(target, name)),
        }),
    },
    async run(subject) {
      const things = subject.store();
      for (let n = 0; n < 5; n += 1) await things.set(`k-${n}`, { n }, { ttlMs: 100 });
      await things.set('k-0', { n: 0 });
      await subject.clock.advance(100);
      assert.deepEqual(
        [await subject.storage.sweep(3), await subject.storage.sweep(), await subject.storage.sweep()],
        [3, 1, 0],
      );
      assert.deepEqual(await collect(things.keys()), ['k-0']);
      for (const limit of [0, -1, 1.5, Number.NaN])
        await assertRejects('INVALID_OPTION', 'sweep', () => subject.storage.sweep(limit));
    },
  },
];

function bound(target: object, name: PropertyKey): unknown {
  const member: unknown = Reflect.get(target, name, target);
  return typeof member === 'function' ? (member as (...given: unknown[]) => unknown).bind(target) : member;
}

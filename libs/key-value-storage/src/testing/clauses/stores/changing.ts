/**
 * Law 3, no lost update, for the methods that write what they have read: `save`, `update`,
 * `getOrAdd` and `take`. They check the version that they read, and `update` repeats on a conflict,
 * so concurrent callers lose nothing.
 */
import assert from 'node:assert/strict';
import { breaksStores, throughProvider, type StoreClause } from '../../kit/store-clause.js';
import { changesBatches } from '../../kit/broken-providers.js';
import { retryOnConflict } from '../../../core.js';
import type { Thing } from '../../kit/store-subject.js';
import { concurrently, assertRejects } from '../../kit/assertions.js';

export const changingClauses: readonly StoreClause[] = [
  {
    name: '`save` writes the entry that was read and changed, and conflicts if another write changed or deleted it.',
    law: 3,
    broken: breaksStores('saves without a check', (store) => ({
      save: (entry, options) => store.set(entry.key, entry.value, options),
    })),
    async run(subject) {
      const things = subject.store();
      const entry = await things.add('one', { n: 1, text: 'kept' });
      const saved = await things.save(entry.with({ n: 2 }));
      assert.deepEqual(saved.value, { n: 2, text: 'kept' });
      const error = await assertRejects('STORAGE_CONFLICT', 'save', () => things.save(entry.with({ n: 3 })));
      assert.deepEqual(
        { ...error, key: 'one', expected: entry.etag, actual: saved.etag, check: 'own', retryable: true },
        { ...error },
      );
      assert.deepEqual((await things.getOrThrow('one')).value, { n: 2, text: 'kept' });
      await things.delete('one');
      await assertRejects('STORAGE_CONFLICT', 'save', () => things.save(saved));
      assert.equal(await things.has('one'), false);
    },
  },
  {
    name: 'A hundred concurrent `update`s of one key lose none.',
    law: 3,
    broken: throughProvider(changesBatches('ignores checks', (batch) => ({ ...batch, checks: [] }))),
    async run(subject) {
      const things = subject.store();
      await things.set('count', { n: 0 });
      const retry = { attempts: 1_000, budgetMs: 60_000 };
      /** Stands in no line with the others, as another process does. */
      const stranger = async (): Promise<void> => {
        const entry = await things.getOrThrow('count');
        await things.save(entry.with({ n: entry.value.n + 1 }));
      };
      await concurrently(100, async (index) => {
        if (index % 4 === 0) await retryOnConflict(stranger, retry);
        else await things.update('count', async ({ n }) => ({ n: n + 1 }), { retry });
      });
      assert.deepEqual((await things.getOrThrow('count')).value, { n: 100 });
    },
  },
  {
    name: '`update` throws the conflict after its last attempt, with the number of attempts.',
    law: 3,
    broken: breaksStores('writes without a check after the last attempt', (store) => ({
      update: async (key, change, options) => {
        try {
          return await store.update(key, change, options);
        } catch {
          return await store.set(key, (await store.getOrThrow(key)).value);
        }
      },
    })),
    async run(subject) {
      const things = subject.store();
      await things.set('one', { n: 0 });
      let runs = 0;
      const meddle = async ({ n }: Thing): Promise<Thing> => {
        runs += 1;
        await things.set('one', { n: n + 100 });
        return { n: n + 1 };
      };
      const error = await assertRejects('STORAGE_CONFLICT', 'update', () =>
        things.update('one', meddle, { retry: { attempts: 3, delayMs: 0 } }),
      );
      assert.deepEqual([runs, (error as { attempts?: number }).attempts], [3, 3]);
      assert.deepEqual((await things.getOrThrow('one')).value, { n: 300 });
    },
  },
  {
    name: '`update` writes nothing if the function returns the same value, and refuses undefined (a forgotten return).',
    law: 4,
    broken: breaksStores('writes unchanged values too', (store) => ({
      update: (key, change, options) =>
        store.update(key, async (value: object) => ({ ...((await change(value)) as object) }), options),
    })),
    async run(subject) {
      const things = subject.store();
      const { etag } = await things.set('one', { n: 1 });
      assert.equal((await things.update('one', (value) => value)).etag, etag);
      await assertRejects('INVALID_VALUE', 'update to undefined', () =>
        things.update('one', () => undefined as never),
      );
      assert.equal((await things.getOrThrow('one')).etag, etag);
      assert.notEqual((await things.update('one', (value) => ({ ...value }))).etag, etag);
    },
  },
  {
    name: '`update` of an absent key is KEY_NOT_FOUND, unless `initial` gives a value; of 20 concurrent updates none is lost.',
    law: 5,
    broken: breaksStores('replaces an existing value with `initial`', (store) => ({
      update: async (key, change, options) =>
        options?.initial === undefined
          ? await store.update(key, change, options)
          : await store.set(key, await change(options.initial())),
    })),
    async run(subject) {
      const things = subject.store();
      await assertRejects('KEY_NOT_FOUND', 'update', () => things.update('one', (value) => value));
      assert.equal(await things.has('one'), false);
      const options = { initial: () => ({ n: 0 }), retry: { attempts: 1_000, budgetMs: 60_000 } };
      await concurrently(20, () => things.update('one', ({ n }) => ({ n: n + 1 }), options));
      assert.deepEqual((await things.getOrThrow('one')).value, { n: 20 });
    },
  },
  {
    name: '`update` rejects with the error that its function throws, and writes nothing.',
    law: 1,
    broken: breaksStores('hides the error of a change', (store) => ({
      update: async (key, change, options) => {
        try {
          return await store.update(key, change, options);
        } catch {
          return await store.getOrThrow(key);
        }
      },
    })),
    async run(subject) {
      const things = subject.store();
      const { etag } = await things.set('one', { n: 1 });
      const reason = new Error('not today');
      const thrower = (): never => {
        throw reason;
      };
      await assert.rejects(things.update('one', thrower), (error) => error === reason);
      assert.equal((await things.getOrThrow('one')).etag, etag);
    },
  },
  {
    name: 'Of 50 concurrent `getOrAdd`s of one key, one reports that it created the entry, and all return the same one; `make` runs only if the key is absent.',
    law: 3,
    broken: breaksStores('checks before it adds', (store) => ({
      getOrAdd: async (key, make, options) => {
        const entry = await store.get(key);
        return entry === undefined
          ? { entry: await store.set(key, await make(), options), added: true }
          : { entry, added: false };
      },
    })),
    async run(subject) {
      const things = subject.store();
      const results = await concurrently(50, (n) => things.getOrAdd('one', async () => ({ n })));
      assert.equal(results.filter(({ added }) => added).length, 1);
      assert.equal(new Set(results.map(({ entry }) => entry.etag)).size, 1);
      const again = await things.getOrAdd('one', () => assert.fail('make ran where an entry was'));
      assert.deepEqual([again.added, again.entry.etag], [false, results[0]?.entry.etag]);
    },
  },
  {
    name: 'Of 50 concurrent `take`s of one key, one returns the entry and the others undefined.',
    law: 3,
    broken: breaksStores('reads, then deletes', (store) => ({
      take: async (key) => {
        const entry = await store.get(key);
        await store.delete(key);
        return entry;
      },
    })),
    async run(subject) {
      const things = subject.store();
      await things.set('job', { n: 7 });
      const taken = (await concurrently(50, () => things.take('job'))).filter((entry) => entry !== undefined);
      assert.deepEqual(
        taken.map(({ value }) => value),
        [{ n: 7 }],
      );
      assert.deepEqual([await things.has('job'), await things.take('job')], [false, undefined]);
    },
  },
];

/**
 * Law 1, atomic, for `AtomicBatch`: several entries are written completely or not at all, of one
 * tenant. Idempotency keys are part of the batch, so a repeated request returns the first result
 * instead of a second effect.
 */
import assert from 'node:assert/strict';
import { isConflict, isStorageError, limits, retryOnConflict, type Key } from '../../../core.js';
import { storageError } from '../../../provider.js';
import { breaksAtomic, breaksStores, throughProvider, type StoreClause } from '../../kit/store-clause.js';
import { changesBatches, commitOne, replacesCommit } from '../../kit/broken-providers.js';
import { collect } from '../../kit/store-subject.js';
import { concurrently, assertRejects, assertThrows } from '../../kit/assertions.js';

const withoutChecks = throughProvider(
  changesBatches('ignores checks', (batch) => ({ ...batch, checks: [] })),
);

export const storeAtomicClauses: readonly StoreClause[] = [
  {
    name: 'An atomic batch over several states is committed completely, and returns one result for each change.',
    law: 1,
    broken: breaksAtomic('returns the changes by key', (batch) => ({
      commit: async (options) => {
        const { changes, replayed } = await batch.commit(options);
        return { replayed, changes: changes.toSorted((a, b) => (String(a.key) < String(b.key) ? -1 : 1)) };
      },
    })),
    async run(subject) {
      const [things, others] = [subject.store(), subject.store('other')];
      const read = await things.set('saved', { n: 1 });
      await things.set('gone', { n: 1 });
      const { changes } = await subject.storage
        .atomic()
        .set(things, 'set', { n: 2 })
        .add(others, ['added', 1], { n: 3 })
        .save(things, read.with({ n: 4 }))
        .delete(things, 'gone')
        .commit();
      const [set, added, saved] = [
        await things.getOrThrow('set'),
        await others.getOrThrow(['added', 1]),
        await things.getOrThrow('saved'),
      ];
      assert.deepEqual(
        changes.map(({ key, etag }) => [key, etag]),
        [
          ['set', set.etag],
          [['added', 1], added.etag],
          ['saved', saved.etag],
          ['gone', undefined],
        ],
      );
      assert.deepEqual(
        [set.value, added.value, saved.value, await things.has('gone')],
        [{ n: 2 }, { n: 3 }, { n: 4 }, false],
      );
      assert.deepEqual((await subject.storage.atomic().commit()).changes, []);
    },
  },
  {
    name: 'In a batch, `ifMatch`, `replace` and a key with an etag are checks of the caller: a failed one is never retried, and nothing of the batch is done.',
    law: 1,
    broken: withoutChecks,
    async run(subject) {
      const things = subject.store();
      const old = await things.set('one', { n: 1 });
      const current = await things.set('one', { n: 2 });
      await things.set('two', { n: 1 });
      const seen = ({ etag }: { readonly etag: string }) => ({ key: 'one', etag });
      const batch = () => subject.storage.atomic().set(things, 'new', { n: 1 });
      const refused = [
        ['STORAGE_CONFLICT', () => batch().set(things, 'one', { n: 3 }, { ifMatch: old.etag })],
        ['STORAGE_CONFLICT', () => batch().delete(things, 'one', { ifMatch: old })],
        ['STORAGE_CONFLICT', () => batch().delete(things, 'absent', { ifMatch: '*' })],
        ['STORAGE_CONFLICT', () => batch().delete(things, seen(old))],
        ['STORAGE_CONFLICT', () => batch().check(things, seen(old))],
        ['KEY_NOT_FOUND', () => batch().replace(things, 'absent', { n: 3 })],
      ] as const;
      for (const [code, make] of refused) {
        let attempts = 0;
        const work = async () => {
          attempts += 1;
          return await make().commit();
        };
        await assertRejects(code, 'commit', () => retryOnConflict(work, { delayMs: 0 }));
        assert.deepEqual([attempts, await collect(things.keys())], [1, ['one', 'two']]);
      }
      await batch()
        .check(things, seen(current))
        .set(things, 'one', { n: 3 }, { ifMatch: current })
        .replace(things, 'two', { n: 4 })
        .commit();
      const [one, two] = await things.getMany(['one', 'two']);
      assert.deepEqual([one?.value, two?.value], [{ n: 3 }, { n: 4 }]);
      await batch()
        .delete(things, 'one', { ifMatch: one?.etag ?? '' })
        .commit();
      assert.deepEqual(await collect(things.keys()), ['new', 'two']);
    },
  },
  {
    name: 'If one check fails, nothing of the batch is done; the conflict names the key, the expected and the actual version.',
    law: 1,
    broken: withoutChecks,
    async run(subject) {
      const things = subject.store();
      const old = await things.set('one', { n: 1 });
      const current = await things.set('one', { n: 2 });
      const batches = [
        subject.storage.atomic().set(things, 'new', { n: 1 }).check(things, old),
        subject.storage
          .atomic()
          .set(things, 'new', { n: 1 })
          .save(things, old.with({ n: 3 })),
        subject.storage.atomic().set(things, 'new', { n: 1 }).delete(things, old),
        subject.storage.atomic().set(things, 'new', { n: 1 }).checkAbsent(things, 'one'),
      ];
      for (const [index, batch] of batches.entries()) {
        const error = await assertRejects('STORAGE_CONFLICT', 'commit', () => batch.commit());
        const expected = index < 3 ? old.etag : 'absent';
        assert.deepEqual(
          { ...error, key: 'one', expected, actual: current.etag, effect: 'none' },
          { ...error },
        );
      }
      assert.deepEqual(
        [await collect(things.keys()), (await things.getOrThrow('one')).value],
        [['one'], { n: 2 }],
      );
    },
  },
  {
    name: 'A set and a delete of one key in one batch: the last counts, in either order.',
    law: 1,
    broken: breaksAtomic('ignores a set after a delete', (batch) => {
      const deleted = new Set<unknown>();
      return {
        delete: (store, key) => {
          deleted.add(key);
          return batch.delete(store, key);
        },
        set: (store, key, value, options) =>
          deleted.has(key) ? batch : batch.set(store, key, value, options),
      };
    }),
    async run(subject) {
      const things = subject.store();
      await things.set('gone', { n: 0 });
      const { changes } = await subject.storage
        .atomic()
        .set(things, 'gone', { n: 1 })
        .delete(things, 'kept')
        .delete(things, 'gone')
        .set(things, 'kept', { n: 1 })
        .set(things, 'kept', { n: 2 })
        .commit();
      assert.deepEqual(
        changes.map(({ key, etag }) => [key, etag !== undefined]),
        [
          ['gone', false],
          ['kept', true],
        ],
      );
      assert.deepEqual(
        [await things.has('gone'), (await things.getOrThrow('kept')).value],
        [false, { n: 2 }],
      );
    },
  },
  {
    name: 'A batch over two tenants, or over a tenant and shared data, is refused when the store is added; the error names both.',
    law: 10,
    broken: breaksAtomic('commits for the first tenant, and ignores other stores', (batch, storage) => ({
      set: (store, key, value, options) => {
        try {
          return batch.set(store, key, value, options);
        } catch {
          void storage;
          return batch;
        }
      },
    })),
    async run(subject) {
      const things = subject.store();
      const [ofOtherTenant, shared] = [
        things.forTenant(subject.otherTenant()),
        subject.store('common', { scope: 'shared' }),
      ];
      for (const other of [ofOtherTenant, shared]) {
        const error = assertThrows('INVALID_OPTION', 'a batch over two databases', () =>
          subject.storage.atomic().set(things, 'mine', { n: 1 }).set(other, 'other', { n: 1 }),
        );
        assert.match(error.message, /thing.*(thing|common)/s);
      }
      assert.deepEqual([await things.count(), await ofOtherTenant.count(), await shared.count()], [0, 0, 0]);
    },
  },
  {
    name: 'A batch is committed once, also after a conflict.',
    law: 11,
    broken: breaksAtomic('allows a second commit', (batch) => {
      let first: ReturnType<typeof batch.commit> | undefined;
      return { commit: (options) => (first ??= batch.commit(options)) };
    }),
    async run(subject) {
      const things = subject.store();
      const batch = subject.storage.atomic().add(things, 'one', { n: 1 });
      await batch.commit();
      await assertRejects('INVALID_STATE', 'a second commit', () => batch.commit());
      const late = subject.storage.atomic().add(things, 'one', { n: 1 });
      await assertRejects('KEY_EXISTS', 'commit', () => late.commit());
      await assertRejects('INVALID_STATE', 'a second commit', () => late.commit());
    },
  },
  {
    name: '`add` of an existing key in a batch is KEY_EXISTS, which is never retried, and nothing of the batch is done.',
    law: 3,
    broken: breaksAtomic('reports every failed check as a conflict', (batch) => ({
      commit: async (options) =>
        await batch.commit(options).catch((error: unknown) => {
          if (!isStorageError(error, 'KEY_EXISTS')) throw error;
          const { key } = error;
          throw storageError('STORAGE_CONFLICT', 'The check failed.', {
            key,
            expected: 'absent',
            actual: undefined,
            check: 'own',
          });
        }),
    })),
    async run(subject) {
      const things = subject.store();
      const one = await things.set(['one', 1], { n: 1 });
      let attempts = 0;
      const error = await assertRejects('KEY_EXISTS', 'commit', () =>
        retryOnConflict(
          async () => {
            attempts += 1;
            await subject.storage
              .atomic()
              .set(things, 'new', { n: 1 })
              .add(things, ['one', 1], { n: 2 })
              .commit();
          },
          { delayMs: 0 },
        ),
      );
      assert.deepEqual(
        { ...error, key: ['one', 1], effect: 'none', retryable: false, status: 409 },
        { ...error },
      );
      assert.equal(attempts, 1);
      assert.deepEqual(await things.getMany(['new', ['one', 1]]), [undefined, one]);
    },
  },
  {
    name: 'A batch with an idempotency key and content is done once: a repeat returns the keys and etags of the first, whatever its own batch contains.',
    law: 11,
    broken: breaksAtomic('returns the keys of the repeat for a repeat', (batch) => {
      const keys: Key[] = [];
      return {
        add: (store, key, value, options) => {
          keys.push(key);
          return batch.add(store, key, value, options);
        },
        commit: async (options) => {
          const { changes, replayed } = await batch.commit(options);
          return {
            replayed,
            changes: changes.map((change, index) => ({ ...change, key: keys[index] ?? change.key })),
          };
        },
      };
    }),
    async run(subject) {
      const things = subject.store();
      await things.set('gone', { n: 0 });
      const once = async (key: Key, idempotencyKey = 'k') =>
        await subject.storage
          .atomic()
          .add(things, key, { n: 1 })
          .delete(things, 'gone')
          .commit({ idempotencyKey: { key: idempotencyKey, content: { order: 1 } } });
      const first = await once(['first', 1n]);
      assert.deepEqual(
        first.changes.map(({ key, etag }) => [key, etag === undefined]),
        [
          [['first', 1n], false],
          ['gone', true],
        ],
      );
      assert.deepEqual(await once('second'), { ...first, replayed: true });
      assert.deepEqual(await collect(things.keys()), [['first', 1n]]);
      assert.equal((await once('third', 'l')).changes[0]?.key, 'third');
    },
  },
  {
    name: 'Work that reads, saves and commits with an idempotency key is done once, also if it is repeated and reads its own result.',
    law: 11,
    broken: breaksAtomic('ignores idempotency keys', (batch) => ({
      commit: async (options) => await batch.commit({ signal: options?.signal }),
    })),
    async run(subject) {
      const [things, others] = [subject.store(), subject.store('other')];
      await things.set('account', { n: 100 });
      await things.set('another', { n: 100 });
      const withdraw = async (account: string) =>
        await retryOnConflict(async () => {
          const read = await things.getOrThrow(account);
          const left = read.value.n - 10;
          return await subject.storage
            .atomic()
            .save(things, read.with({ n: left }))
            .set(others, 'left', { n: left })
            .commit({ idempotencyKey: 'w-1' });
        });
      const first = await withdraw('account');
      assert.deepEqual(await withdraw('account'), { ...first, replayed: true });
      assert.deepEqual(
        [(await things.getOrThrow('account')).value, (await others.getOrThrow('left')).value],
        [{ n: 90 }, { n: 90 }],
      );
      // the rows are compared, so the key is not valid for another account
      await assertRejects('IDEMPOTENCY_CONFLICT', 'commit', () => withdraw('another'));
    },
  },
  {
    name: 'Of ten equal concurrent batches that save one entry with one idempotency key, one is done, and all return its result.',
    law: 3,
    broken: throughProvider(
      changesBatches('forgets the records of idempotency keys', (batch) => ({
        ...batch,
        checks: batch.checks.filter(({ address }) => !address.container.startsWith('mark:')),
        changes: batch.changes.filter(({ address }) => !address.container.startsWith('mark:')),
      })),
    ),
    async run(subject) {
      const things = subject.store();
      for (const round of Array.from({ length: 10 }, (_, index) => index)) {
        const read = await things.set('one', { n: 0 });
        const commits = await concurrently(
          10,
          async () =>
            await subject.storage
              .atomic()
              .save(things, read.with({ n: 1 }))
              .commit({ idempotencyKey: `k-${round}` })
              .catch((error: unknown) => assert.fail(`a repeat was rejected with ${String(error)}`)),
        );
        const { etag } = await things.getOrThrow('one');
        assert.equal(commits.filter(({ replayed }) => !replayed).length, 1);
        for (const { changes } of commits) assert.deepEqual(changes, [{ key: 'one', etag }]);
      }
    },
  },
  {
    name: 'A batch of 900 keys is committed; 901 are LIMIT_EXCEEDED by name, and so are more than 8 MB: nothing is written.',
    law: 13,
    broken: breaksAtomic('ignores a batch that is too large', (batch) => ({
      commit: async (options) => {
        try {
          return await batch.commit(options);
        } catch {
          return { replayed: false, changes: [] };
        }
      },
    })),
    async run(subject) {
      const [things, texts] = [subject.store(), subject.store<string>('text')];
      const fill = (count: number): ReturnType<typeof subject.storage.atomic> => {
        const batch = subject.storage.atomic();
        for (let n = 0; n < count; n += 1) batch.set(things, `k-${n}`, { n });
        return batch;
      };
      const error = await assertRejects('LIMIT_EXCEEDED', 'a batch of 901', () =>
        fill(limits.batchEntriesMax + 1).commit(),
      );
      assert.deepEqual(
        { ...error, limit: 'batchEntriesMax', given: 901, allowed: 900, effect: 'none' },
        { ...error },
      );
      const large = subject.storage.atomic();
      for (let n = 0; n < 10; n += 1) large.set(texts, `k-${n}`, 'x'.repeat(900_000));
      const tooMuch = await assertRejects('LIMIT_EXCEEDED', 'a batch of 9 MB', () => large.commit());
      assert.equal((tooMuch as unknown as { limit: string }).limit, 'batchBytesMax');
      assert.deepEqual([await things.count(), await texts.count()], [0, 0]);
      assert.equal((await fill(limits.batchEntriesMax).commit()).changes.length, 900);
      assert.equal(await things.count(), 900);
    },
  },
  {
    name: '`setMany` writes up to 900 keys, all or none; the same key twice is refused.',
    law: 1,
    broken: breaksStores('writes one key after the other', (store) => ({
      setMany: async (items, options) => {
        const entries = [];
        for (const { key, value } of items) entries.push(await store.set(key, value, options));
        return entries;
      },
    })),
    async run(subject) {
      const things = subject.store();
      const items = Array.from({ length: 901 }, (_, n) => ({ key: `k-${n}`, value: { n } }));
      const error = await assertRejects('LIMIT_EXCEEDED', 'setMany', () => things.setMany(items));
      assert.equal((error as unknown as { limit: string }).limit, 'batchEntriesMax');
      await assertRejects('INVALID_OPTION', 'setMany', () =>
        things.setMany([...items.slice(0, 3), { key: 'k-1', value: { n: 0 } }]),
      );
      assert.equal(await things.count(), 0);
      const entries = await things.setMany(new Set(items.slice(0, 900)));
      assert.deepEqual(
        entries.map(({ key, value }) => ({ key, value })),
        items.slice(0, 900),
      );
      assert.deepEqual(
        [(await things.getOrThrow('k-5')).etag, await things.count()],
        [entries[5]?.etag, 900],
      );
      assert.deepEqual(await things.setMany([]), []);
    },
  },
  {
    name: 'A hundred concurrent transfers, each an atomic batch of two `save`s, keep the sum of all accounts.',
    law: 3,
    broken: throughProvider(
      replacesCommit('saves one entry after the other', async (batch, provider) => {
        if (batch.changes.length < 2) return await commitOne(provider, batch);
        const parts = batch.changes.map((change) => ({
          ...batch,
          changes: [change],
          checks: batch.checks.filter(({ address }) => address.key === change.address.key),
        }));
        const results = [];
        for (const part of parts) results.push(await commitOne(provider, part));
        return (
          results.find(({ outcome }) => outcome === 'conflict') ?? {
            ...(results[0] as { outcome: 'committed'; time: number }),
            rows: batch.changes.map(() => ({ existed: true })),
          }
        );
      }),
    ),
    async run(subject) {
      const things = subject.store();
      const accounts = Array.from({ length: 5 }, (_, n) => `account-${n}`);
      await things.setMany(accounts.map((key) => ({ key, value: { n: 100 } })));
      await concurrently(100, async (index) => {
        const [from, to] = [accounts[index % 5] as string, accounts[(index * 3 + 1) % 5] as string];
        if (from === to) return;
        for (let attempt = 0; ; attempt += 1) {
          // each conflict means that another transfer was committed, and there are a hundred
          assert.ok(attempt <= 100, 'no writer makes progress');
          const [source, target] = await things.getMany([from, to]);
          if (source === undefined || target === undefined) return assert.fail('an account is missing');
          const batch = subject.storage
            .atomic()
            .save(things, source.with({ n: source.value.n - 7 }))
            .save(things, target.with({ n: target.value.n + 7 }));
          try {
            await batch.commit();
            return;
          } catch (error) {
            // after a conflict, again with the current entries
            if (!isConflict(error)) throw error;
          }
        }
      });
      const entries = await things.getMany(accounts);
      assert.equal(
        entries.reduce((sum, entry) => sum + (entry?.value.n ?? 0), 0),
        500,
      );
    },
  },
];

/**
 * Laws 10 to 14 at the edges of a store: tenants, aborted signals, a closed storage, damaged rows,
 * and unsupported features. Each must be an error with a code, never a silent default: a missing
 * tenant is not the shared one, and an unreadable row is not an absent one.
 */
import assert from 'node:assert/strict';
import { defineState, type Entry } from '../../../core.js';
import {
  breaksStores,
  replacing,
  throughProvider,
  type BrokenStorage,
  type StoreClause,
} from '../../kit/store-clause.js';
import { breaks, changesRows } from '../../kit/broken-providers.js';
import { collect } from '../../kit/store-subject.js';
import { concurrently, assertRejects, assertThrows } from '../../kit/assertions.js';
import { bytes, json, number } from '../../kit/batches.js';
import { everyCall } from '../../kit/every-call.js';

function countsAllTenants(): BrokenStorage {
  let writes = 1_000n;
  return breaksStores('takes etags from one counter for all tenants', (store) => ({
    set: async (key, value, options) => {
      const entry = await store.set(key, value, options);
      writes += 1n;
      return { ...entry, etag: writes.toString() } as Entry<unknown>;
    },
  }));
}

export const boundaryClauses: readonly StoreClause[] = [
  {
    name: 'One key of one state is a separate entry for each tenant, to read, list, count, delete and clear.',
    law: 10,
    broken: breaksStores('ignores the tenant', (store) => ({ forTenant: () => store })),
    async run(subject) {
      const things = subject.store();
      const stores = [things, ...['a', 'b', 'A'].map((name) => things.forTenant(subject.otherTenant(name)))];
      const entries = await Promise.all(stores.map((store, n) => store.set('same', { n })));
      assert.equal(new Set(entries.map(({ etag }) => etag)).size, stores.length);
      for (const [n, store] of stores.entries()) {
        assert.deepEqual((await store.getOrThrow('same')).value, { n });
        assert.deepEqual(
          (await collect(store.list())).map(({ value }) => value),
          [{ n }],
        );
      }
      const [first, second] = stores as [typeof things, typeof things];
      await assertRejects('STORAGE_CONFLICT', 'set with the etag of another tenant', () =>
        second.set('same', { n: 9 }, { ifMatch: entries[0] as never }),
      );
      assert.equal(await first.clear(), 1);
      assert.deepEqual(await Promise.all(stores.map((store) => store.count())), [0, 1, 1, 1]);
    },
  },
  {
    name: 'The etags of one tenant do not reveal the writes of others: only its own writes advance them.',
    law: 10,
    broken: countsAllTenants(),
    async run(subject) {
      const things = subject.store();
      const others = ['a', 'b'].map((name) => things.forTenant(subject.otherTenant(name)));
      const write = async (): Promise<bigint> => BigInt((await things.set('k', { n: 1 })).etag);
      const before = [await write(), await write()] as const;
      for (let n = 0; n < 17; n += 1) for (const other of others) await other.set('k', { n });
      assert.equal((await write()) - before[1], before[1] - before[0]);
    },
  },
  {
    name: 'States of one storage are separate, and a shared state is the same for every tenant.',
    law: 10,
    broken: {
      fault: 'uses the same rows for all states',
      storage: (storage) =>
        replacing(storage, { store: () => storage.store(defineState('everything')) as never }),
    },
    async run(subject) {
      const [one, two, shared] = [
        subject.store('one'),
        subject.store('two'),
        subject.store('kit-shared', { scope: 'shared' }),
      ];
      await shared.deleteMany({ prefix: subject.tenant });
      await one.set('k', { n: 1 });
      await two.set('k', { n: 2 });
      await shared.set(`${subject.tenant} k`, { n: 3 });
      assert.deepEqual(
        [(await one.getOrThrow('k')).value, (await two.getOrThrow('k')).value],
        [{ n: 1 }, { n: 2 }],
      );
      assert.deepEqual(
        [await one.clear(), await two.count(), await shared.has(`${subject.tenant} k`)],
        [1, 1, true],
      );
      assertThrows('INVALID_OPTION', 'a tenant of a shared state', () => shared.forTenant(subject.tenant));
      assert.equal(await shared.delete(`${subject.tenant} k`), true);
    },
  },
  {
    name: 'An empty or malformed tenant name is TENANT_MISSING at the call, never the shared database.',
    law: 10,
    broken: breaksStores('uses the default tenant for an invalid one', (store) => ({
      forTenant: (tenant: string) => (tenant === '' ? store : store.forTenant(tenant)),
    })),
    async run(subject) {
      const things = subject.store();
      for (const tenant of ['', ' ', ' a', 'a ', 'a\0', '\n', undefined, null, 5, 'x'.repeat(200)]) {
        assertThrows('TENANT_MISSING', `forTenant(${JSON.stringify(tenant)})`, () =>
          things.forTenant(tenant as string),
        );
      }
      for (const tenant of ['..', 'a/b', 'a:b', 'é', 'CON', 'shared', '__proto__']) {
        const theirs = things.forTenant(subject.otherTenant(tenant));
        await theirs.set('k', { n: tenant.length });
        assert.deepEqual(
          [(await theirs.getOrThrow('k')).value, await theirs.count()],
          [{ n: tenant.length }, 1],
        );
      }
      assert.equal(await things.count(), 0);
    },
  },
  {
    name: 'With an aborted signal every method rejects with ABORTED and the effect ‘none’, and does nothing.',
    law: 12,
    broken: throughProvider(
      breaks('ignores the signal of a commit', (provider) => ({
        commit: (batches) => provider.commit(batches),
      })),
    ),
    async run(subject) {
      const things = subject.store();
      const entry = await things.set('key', { n: 0 }, { ttlMs: 60_000 });
      const signal = AbortSignal.abort();
      for (const [name, call] of everyCall(subject, entry, { signal }))
        assert.equal((await assertRejects('ABORTED', name, call)).effect, 'none', name);
      assert.deepEqual(
        [await collect(things.keys()), (await things.getOrThrow('key')).etag],
        [['key'], entry.etag],
      );
    },
  },
  {
    name: 'After the storage is closed every method is STORAGE_NOT_OPEN; to close it twice is harmless.',
    law: 11,
    broken: breaksStores('returns empty results after it was closed', (store) => ({
      get: async (key, options) => {
        try {
          return await store.get(key, options);
        } catch {
          return undefined;
        }
      },
    })),
    async run(subject) {
      const things = subject.store();
      const entry = await things.set('key', { n: 0 });
      await subject.storage[Symbol.asyncDispose]();
      await subject.storage[Symbol.asyncDispose]();
      const calls = [...everyCall(subject, entry), ['sweep', () => subject.storage.sweep()]] as const;
      for (const [name, call] of calls)
        assert.equal((await assertRejects('STORAGE_NOT_OPEN', name, call)).effect, 'none', name);
      await subject.reopen();
    },
  },
  {
    name: 'Unreadable data is STORAGE_CORRUPT with its location in reads, lists, `take` and `update`; it is not skipped, removed or overwritten.',
    law: 14,
    broken: throughProvider(
      changesRows('omits unreadable entries', (row) =>
        row.value.kind === 'json' && isSound(row.value.text) ? row : undefined,
      ),
    ),
    async run(subject) {
      const anything = subject.store<unknown>('anything');
      for (const damage of damages) {
        await anything.set('one', { n: 1 });
        await subject.corruptRow(() => damage);
        const calls = [
          ['get', () => anything.get('one')],
          ['getOrThrow', () => anything.getOrThrow('one')],
          ['getMany', () => anything.getMany(['one', 'two'])],
          ['list', () => collect(anything.list())],
          ['page', () => anything.page({})],
          ['take', () => anything.take('one')],
          ['update', () => anything.update('one', () => ({ n: 2 }))],
          ['getOrAdd', () => anything.getOrAdd('one', () => ({ n: 2 }))],
        ] as const;
        for (const [name, call] of calls) {
          const error = await assertRejects('STORAGE_CORRUPT', `${name} of ${damage.text}`, call);
          assert.match(
            (error as unknown as { place: string }).place,
            /anything.*one/,
            'it does not name the place',
          );
        }
        assert.equal(await anything.has('one'), true, 'the damaged entry is missing');
      }
      // to overwrite it knowingly, or to delete it, repairs
      await anything.set('one', { n: 3 });
      assert.deepEqual((await anything.getOrThrow('one')).value, { n: 3 });
    },
  },
  {
    name: 'A key that is not a valid encoding is STORAGE_CORRUPT in a list, with its location.',
    law: 14,
    broken: breaksStores('skips keys that it cannot decode', (store) => ({
      async *keys(range, options) {
        try {
          yield* store.keys(range, options);
        } catch {
          // skipped
        }
      },
    })),
    async run(subject) {
      const things = subject.store();
      await things.set('one', { n: 1 });
      await subject.corruptRow(() => ({ key: '!q' }));
      await assertRejects('STORAGE_CORRUPT', 'list', () => collect(things.list()));
      await assertRejects('STORAGE_CORRUPT', 'page', () => things.page({}));
      const error = await assertRejects('STORAGE_CORRUPT', 'keys', () => collect(things.keys()));
      assert.match((error as unknown as { place: string }).place, /!q/);
    },
  },
  {
    name: '`within` on a provider without transactions is STORAGE_UNSUPPORTED, and nothing is written outside the transaction.',
    law: 11,
    capability: 'no within',
    broken: {
      fault: 'writes outside the transaction',
      storage: (storage) => replacing(storage, { within: () => storage }),
    },
    async run(subject) {
      assertThrows('STORAGE_UNSUPPORTED', 'within', () => subject.storage.within({}));
      assertThrows('STORAGE_UNSUPPORTED', 'within of a store', () => subject.store().within({}));
    },
  },
  {
    name: 'A store within the caller’s transaction keeps its tenant, is visible to others after the commit, and can share a batch with other stores in it.',
    law: 1,
    capability: 'transactions',
    broken: breaksStores('writes outside the transaction', (store) => ({ within: () => store })),
    async run(subject) {
      const [things, others] = [subject.store(), subject.store('other')];
      const theirs = things.forTenant(subject.otherTenant());
      const { transaction, storage, commit } = await subject.transaction();
      await things.within(transaction).add('one', { n: 1 });
      await theirs.within(transaction).add('one', { n: 2 });
      assert.deepEqual(
        [(await things.within(transaction).getOrThrow('one')).value, await things.has('one')],
        [{ n: 1 }, false],
      );
      await storage
        .atomic()
        .set(others.within(transaction), 'beside', { n: 3 })
        .set(things.within(transaction), 'beside', { n: 3 })
        .commit();
      // a store that is not within it would write beside the transaction
      assertThrows('INVALID_OPTION', 'a batch over the transaction and the storage', () =>
        storage.atomic().set(things, 'three', { n: 1 }),
      );
      assertThrows('INVALID_OPTION', 'within', () => things.within(undefined as never));
      await commit();
      assert.deepEqual(
        [(await things.getOrThrow('one')).value, (await theirs.getOrThrow('one')).value],
        [{ n: 1 }, { n: 2 }],
      );
      assert.deepEqual([await things.has('beside'), await others.has('beside')], [true, true]);
      assertThrows('INVALID_OPTION', 'within a transaction that has ended', () => things.within(transaction));
    },
  },
  {
    name: 'A hundred different keys, written and read concurrently through one store, keep their own values.',
    law: 5,
    broken: breaksStores('uses one buffer for all', (store) => {
      let buffer: unknown;
      return {
        set: async (key, value, options) => {
          buffer = value;
          await Promise.resolve();
          return await store.set(key, buffer, options);
        },
      };
    }),
    async run(subject) {
      const things = subject.store();
      await concurrently(100, (n) => things.set(['k', n], { n }));
      const entries = await concurrently(100, (n) => things.getOrThrow(['k', n]));
      assert.deepEqual(
        entries.map(({ value }) => value.n),
        Array.from({ length: 100 }, (_, n) => n),
      );
    },
  },
];

/** Values that a store of this state cannot have written: to the provider they are sound rows. */
const tags = [
  '{"$map":5}',
  '{"$set":7}',
  '{"$bytes":"***"}',
  '{"$bytes":5}',
  '{"$bigint":"x"}',
  '{"$bigint":null}',
  '{"$date":"never"}',
  '{"$number":"abc"}',
];
const damages = [
  { value: number(5), text: 'a number' },
  { value: bytes(1, 2), text: 'bytes' },
  ...[...tags, '{"$map":[1]}', '{"a":[{"$bigint":"1.5"}]}', '{"a":{"$date":1e99}}'].map((text) => ({
    text,
    value: json(text),
  })),
];

const isSound = (text: string): boolean => !text.includes('$');

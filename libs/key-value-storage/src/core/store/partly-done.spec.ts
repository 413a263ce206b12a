import { describe, expect, it } from '@jest/globals';
import { MemoryProvider } from '../../providers/memory/memory-provider.js';
import { storageError } from '../base/errors.js';
import type { Batch, CommitResult, RawRow } from '../port/storage-provider.js';
import type { KeyValueStore } from './key-value-store.js';
import { openKeyValueStorage, openStorage } from './open-storage.js';
import { defineState } from './state-definition.js';
import { StateMigration } from './state-migration.js';

const Old = defineState<string>('name');
const Present = defineState<string>('name', {
  schemaVersion: 2,
  upcast: { 1: (name: string) => name.toUpperCase() },
});
const Copies = defineState<string>('copy');

/** Commits so many batches with a put or a deletion of a key that begins with `k`, then none. */
class Filling extends MemoryProvider {
  left = Number.POSITIVE_INFINITY;
  effect: 'none' | 'unknown' = 'none';

  override async commit(
    batches: readonly Batch[],
    options?: { readonly signal?: AbortSignal },
  ): Promise<readonly CommitResult[]> {
    if (batches.some(({ changes }) => changes.some(({ address }) => address.key.startsWith('k')))) {
      if (this.left === 0)
        throw storageError('STORAGE_UNAVAILABLE', 'The disk is full.', {}, { effect: this.effect });
      this.left -= 1;
    }
    return await super.commit(batches, options);
  }
}

const keys = Array.from({ length: 1_000 }, (_, index) => `k-${String(index).padStart(3, '0')}`);

describe('work of several commits, one of which failed without effect,', () => {
  it.each<readonly [string, number, number, (store: KeyValueStore<string>) => Promise<unknown>]>([
    ['deleteKeys', 1, 900, async (store) => await store.deleteKeys(keys)],
    ['deleteMany', 1, 900, async (store) => await store.deleteMany({ prefix: 'k-' })],
    ['clear', 1, 900, async (store) => await store.clear()],
    [
      'loadFrom',
      3,
      6,
      async (store) =>
        await store.loadFrom(
          keys.map((key) => ({ key, value: 'new' })),
          { chunk: 2, concurrency: 1, onError: 'continue' },
        ),
    ],
  ])('%s has an unknown effect, and the number of what is done', async (_, commits, done, work) => {
    const provider = new Filling();
    await using storage = await openStorage(provider);
    const store = storage.store(Old);
    await store.loadFrom(keys.map((key) => ({ key, value: 'old' })));
    provider.left = commits;
    await expect(work(store)).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE', effect: 'unknown', done });
  });

  it.each(['itself', 'another store'] as const)(
    'a migration into %s has an unknown effect, and the number of what is done',
    async (target) => {
      const provider = new Filling();
      await using storage = await openStorage(provider);
      await storage.store(Old).setMany(keys.slice(0, 5).map((key) => ({ key, value: 'a' })));
      const to = target === 'itself' ? {} : { to: storage.store(Copies) };
      const migration = new StateMigration(storage.store(Present), { ...to, concurrency: 1 });
      provider.left = 0;
      await expect(migration.run()).rejects.toMatchObject({ effect: 'none', done: 0 });
      provider.left = 2;
      await expect(migration.run()).rejects.toMatchObject({
        code: 'STORAGE_UNAVAILABLE',
        effect: 'unknown',
        done: 2,
        message: expect.stringContaining('The disk is full.'),
      });
      provider.left = 3;
      expect(await migration.run()).toMatchObject({ written: 3 });
    },
  );

  it('dropTenant has an unknown effect once one provider has dropped the tenant', async () => {
    const cache = new MemoryProvider();
    await using storage = await openKeyValueStorage({
      provider: new MemoryProvider(),
      providers: { cache },
    });
    const full = storageError('STORAGE_UNAVAILABLE', 'The disk is full.', {});
    const drop = cache.administration.drop.bind(cache.administration);
    cache.administration.drop = async () => await Promise.reject(full);
    await expect(storage.dropTenant('acme')).rejects.toBe(full);
    const names = storage.store(defineState<string>('name', { scope: 'tenant' })).forTenant('acme');
    await names.set('a', 'a');
    await expect(storage.dropTenant('acme')).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      effect: 'unknown',
    });
    expect(await names.has('a')).toBe(false);
    cache.administration.drop = drop;
    expect(await storage.dropTenant('acme')).toBe(false);
  });

  it('an import has an unknown effect, and the number of rows that are stored', async () => {
    const provider = new MemoryProvider();
    await using storage = await openStorage(provider);
    await storage.store(Old).setMany([
      { key: 'a', value: 'a' },
      { key: 'b', value: 'b' },
    ]);
    const { administration } = provider;
    async function* rows(): AsyncGenerator<RawRow> {
      yield* administration.export('shared');
      throw storageError('STORAGE_CORRUPT', 'A row is damaged.', { place: 'c' });
    }
    await expect(administration.import('shared-2', rows())).rejects.toMatchObject({
      code: 'STORAGE_CORRUPT',
      place: 'c',
      effect: 'unknown',
      done: 2,
    });
  });
});

it('of several errors of a migration the one is thrown that leaves its effect unknown', async () => {
  const provider = new Filling();
  await using storage = await openStorage(provider);
  await storage.store(Old).setMany(keys.slice(0, 2).map((key) => ({ key, value: 'a' })));
  const commit = provider.commit.bind(provider);
  let commits = 0;
  provider.commit = async (batches, options) => {
    commits += 1;
    provider.left = 0;
    provider.effect = commits === 1 ? 'none' : 'unknown';
    return await commit(batches, options);
  };
  await expect(new StateMigration(storage.store(Present), { concurrency: 2 }).run()).rejects.toMatchObject({
    effect: 'unknown',
  });
  expect(commits).toBe(2);
});

it.each([3, Number.POSITIVE_INFINITY])(
  'the build of an index goes on when %d answers to its commits are lost, and no call reports one as its own',
  async (losses) => {
    const provider = new MemoryProvider();
    await using storage = await openStorage(provider);
    await storage.store(Old).setMany(keys.slice(0, 5).map((key) => ({ key, value: key })));
    const commit = provider.commit.bind(provider);
    let left = losses;
    provider.commit = async (batches, options) => {
      const isOfBuild = batches.some(({ checks, changes }) => checks.length > 5 && changes.length === 5);
      if (!isOfBuild || left === 0) return await commit(batches, options);
      left -= 1;
      if (left % 2 === 0) await commit(batches, options);
      throw storageError('STORAGE_OUTCOME_UNKNOWN', 'Its answer was lost.', {});
    };
    const indexes = { byName: { key: (name: string) => name, unique: true } };
    const names = storage.store(defineState<string>('name', { indexes }));
    const set = names.set('k-new', 'new');
    if (losses === 3) {
      await set;
      expect(await names.index('byName').count()).toBe(6);
    } else {
      await expect(set).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE', effect: 'none' });
      expect(await names.has('k-new')).toBe(false);
    }
  },
);

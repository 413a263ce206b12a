import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { MemoryProvider } from '../../providers/memory/memory-provider.js';
import { delegating } from '../providers/delegating.js';
import { ManualClock } from '../../testing/kit/manual-clock.js';
import { storageError } from '../base/errors.js';
import type { StorageProvider } from '../port/storage-provider.js';
import type { KeyValueStorage } from './key-value-store.js';
import { openKeyValueStorage } from './open-storage.js';
import { defineState } from './state-definition.js';

const things = defineState<number>('thing', { scope: 'tenant' });
const cached = defineState<number>('cached', { scope: 'tenant', provider: 'cache' });
const settings = defineState<number>('setting', { scope: 'shared' });

let storage: KeyValueStorage;
beforeEach(async () => {
  storage = await openKeyValueStorage({
    provider: new MemoryProvider(),
    providers: { cache: new MemoryProvider() },
  });
});
afterEach(() => storage.close());

describe('the tenants of a storage', () => {
  it('are those that have a row on any provider, by their names, without the shared database', async () => {
    expect(await storage.tenants()).toEqual([]);
    await storage.store(settings).set('a', 1);
    await storage.store(things).forTenant('zoë / 1').set('a', 1);
    await storage.store(things).forTenant('acme').set('a', 1);
    await storage.store(cached).forTenant('acme').set('a', 1);
    await storage.store(cached).forTenant('globex').set('a', 1);
    expect(await storage.tenants()).toEqual(['acme', 'globex', 'zoë / 1']);
  });

  it('are dropped from every provider, also where the name must be encoded, and nothing else is', async () => {
    for (const name of ['a b', 'acme']) {
      await storage.store(things).forTenant(name).set('a', 1);
      await storage.store(cached).forTenant(name).set('a', 1);
    }
    await storage.store(settings).set('a', 1);
    expect(await storage.dropTenant('a b')).toBe(true);
    expect(await storage.dropTenant('a b')).toBe(false);
    expect(await storage.tenants()).toEqual(['acme']);
    expect(await storage.store(cached).forTenant('a b').has('a')).toBe(false);
    expect(await storage.store(cached).forTenant('acme').has('a')).toBe(true);
    expect(await storage.store(settings).has('a')).toBe(true);
  });

  it.each(['', ' acme', undefined, null])('are not dropped by the name %j', async (name) => {
    await storage.store(settings).set('a', 1);
    await expect(storage.dropTenant(name as string)).rejects.toMatchObject({ code: 'TENANT_MISSING' });
    expect(await storage.store(settings).has('a')).toBe(true);
  });

  it('are not listed or dropped once the storage is closed', async () => {
    await storage.close();
    await storage.close();
    await expect(storage.tenants()).rejects.toMatchObject({ code: 'STORAGE_NOT_OPEN' });
    await expect(storage.dropTenant('acme')).rejects.toMatchObject({ code: 'STORAGE_NOT_OPEN' });
  });
});

describe('a provider that fails', () => {
  const fail = () => Promise.reject(storageError('STORAGE_UNAVAILABLE', 'Gone', {}));
  const memory = (clock = new ManualClock()) => delegating(new MemoryProvider({ clock }));
  const opened = async (provider: StorageProvider, cache: StorageProvider) =>
    await openKeyValueStorage({ provider, providers: { cache }, tenant: () => 'acme' });

  it('keeps no other from being swept; the error has the number of rows that were removed', async () => {
    const clock = new ManualClock();
    await using both = await opened({ ...memory(), sweep: fail }, memory(clock));
    for (const key of ['a', 'b', 'c']) await both.store(cached).set(key, 1, { ttlMs: 1_000 });
    await clock.advance(1_000);
    await expect(both.sweep(2)).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE', done: 2 });
    await expect(both.sweep(2)).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE', done: 1 });
    await expect(both.sweep(2)).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE', done: 0 });
  });

  it('keeps no other from being compacted', async () => {
    const [main, cache] = [memory(), memory()];
    let compacted = 0;
    await using both = await opened(
      { ...main, administration: { ...main.administration, compact: fail } },
      { ...cache, administration: { ...cache.administration, compact: async () => (compacted += 1) } },
    );
    await expect(both.compact()).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
    expect(compacted).toBe(1);
  });
});

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { MemoryProvider } from '../../providers/memory/memory-provider.js';
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

import 'reflect-metadata';
import { Test, type TestingModule } from '@nestjs/testing';
import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { KeyValueStorage } from '../core/store/key-value-store.js';
import { locate } from '../core/store/open-storage.js';
import { defineState } from '../core/store/state-definition.js';
import type { StorageProvider } from '../core/port/storage-provider.js';
import { KeyValueStorageModule } from '../nest/key-value-storage.module.js';
import type { KeyValueStorageOptions } from '../nest/options/key-value-storage-options.js';
import { TenantContext } from '../nest/tenancy/tenant-context.js';
import { MemoryProvider } from '../providers/memory/memory-provider.js';
import { ManualClock } from './kit/manual-clock.js';
import { overrideStorage } from './override-storage.js';

const Notes = defineState<string>('note', { ttlMs: 60_000 });
const Sessions = defineState<string>('session', { provider: 'cache' });

let module: TestingModule;
afterEach(() => module.close());

const never = (): never => {
  throw new Error('The provider of production was made.');
};
class Unopenable extends MemoryProvider {
  override async open(): Promise<void> {
    never();
  }
}
async function under(
  provider: StorageProvider,
  options: Partial<KeyValueStorageOptions> = {},
  states = [Notes],
  providers?: Record<string, StorageProvider>,
): Promise<KeyValueStorage> {
  const imports = [
    KeyValueStorageModule.forRoot({ provider: never, ...options }),
    KeyValueStorageModule.forFeature(states),
  ];
  module = await overrideStorage(Test.createTestingModule({ imports }), provider, providers).compile();
  return module.get(KeyValueStorage, { strict: false });
}

describe('overrideStorage', () => {
  it('puts every store on the provider of the test, with its clock, and never makes the one of production', async () => {
    const clock = new ManualClock();
    const notes = (await under(new MemoryProvider({ clock }))).store(Notes);
    await notes.add('a', 'x');
    await clock.advance(59_999);
    expect(await notes.has('a')).toBe(true);
    await clock.advance(1);
    expect(await notes.has('a')).toBe(false);
  });

  it('opens no instance of production', async () => {
    await under(
      new MemoryProvider(),
      { provider: new Unopenable(), providers: { cache: new Unopenable() } },
      [Notes, Sessions],
    );
  });

  it('replaces the provider alone: the tenancy stays', async () => {
    const storage = await under(new MemoryProvider(), { tenancy: {} });
    await expect(storage.store(Notes).count()).rejects.toMatchObject({ code: 'TENANT_MISSING' });
    const context = module.get(TenantContext, { strict: false });
    await context.run('acme', () => storage.store(Notes).add('a', 'x'));
    expect(await storage.store(Notes).forTenant('acme').count()).toBe(1);
  });

  it('serves the named engines too, by the same provider or by their own', async () => {
    const provider = new MemoryProvider();
    const storage = await under(provider, { providers: { cache: never } }, [Notes, Sessions]);
    await storage.store(Sessions).add('s', 'ada');
    expect((await provider.administration.spaces('shared')).map(({ entity }) => entity)).toEqual(['session']);
    await module.close();

    const cache = new MemoryProvider();
    const other = await under(new MemoryProvider(), { providers: { cache: never } }, [Notes, Sessions], {
      cache,
    });
    await other.store(Sessions).add('s', 'ada');
    expect(await cache.administration.spaces('shared')).toHaveLength(1);
  });

  it('gives the named engines all that the provider of the test can do', async () => {
    const provider = new MemoryProvider();
    const count = jest.spyOn(provider, 'count');
    const feed = jest.spyOn(provider, 'feed');
    const storage = await under(provider, { providers: { cache: never } }, [Notes, Sessions]);
    expect(await storage.store(Sessions).count()).toBe(0);
    expect(count).toHaveBeenCalledTimes(1);
    const { access } = locate(storage, { what: 'test', scope: 'shared', provider: 'cache' });
    await access.provider.feed?.({ limit: 0 });
    expect(feed).toHaveBeenCalledTimes(1);
  });

  it('closes the provider of the test with the module, so that the next one may open it', async () => {
    const provider = new MemoryProvider();
    await under(provider);
    await module.close();
    await under(provider);
  });

  it('refuses two states of one name that only their engines would keep apart', async () => {
    const CachedNotes = defineState<string>('note', { provider: 'cache' });
    await expect(
      under(new MemoryProvider(), { providers: { cache: never } }, [Notes, CachedNotes]),
    ).rejects.toMatchObject({
      code: 'INVALID_OPTION',
    });
    await under(new MemoryProvider(), { providers: { cache: never } }, [Notes, CachedNotes], {
      cache: new MemoryProvider(),
    });
  });
});

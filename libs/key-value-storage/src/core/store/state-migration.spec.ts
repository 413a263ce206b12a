import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import { MemoryProvider } from '../../providers/memory/memory-provider.js';
import { ManualClock } from '../../testing/kit/manual-clock.js';
import { defineCounter } from './counter-definition.js';
import type { KeyValueStorage } from './key-value-store.js';
import { openStorage } from './open-storage.js';
import { defineState } from './state-definition.js';
import { StateMigration } from './state-migration.js';

const Old = defineState<{ readonly cents: string }>('price');
const Present = defineState<{ readonly cents: number }, string>('price', {
  schemaVersion: 2,
  upcast: { 1: ({ cents }: { readonly cents: string }) => ({ cents: Number(cents) }) },
});

async function filled(storage: KeyValueStorage, entries = 6) {
  for (let index = 0; index < entries; index += 1)
    await storage.store(Old).set(`p-${index}`, { cents: String(index) });
  return storage.store(Present);
}

describe('a migration', () => {
  it('writes at most as many entries in a second as it may', async () => {
    const clock = new ManualClock();
    await using storage = await openStorage(new MemoryProvider({ clock }));
    const prices = await filled(storage);
    const pages: number[] = [];
    const migration = new StateMigration(prices, {
      rowsPerSecond: 2,
      onProgress: ({ written }) => void pages.push(written),
    });
    let isDone = false;
    const running = migration.run().then(() => (isDone = true));
    for (let second = 1; second <= 3; second += 1) {
      while (clock.waiting === 0) await setImmediate();
      expect([pages, isDone]).toEqual([[2, 4, 6].slice(0, second), false]);
      await clock.advance(1_000);
    }
    await running;
  });

  it('writes so many entries at the same time, and no more', async () => {
    const provider = new MemoryProvider();
    const commit = provider.commit.bind(provider);
    let [running, most] = [0, 0];
    provider.commit = async (batches, options) => {
      running += 1;
      most = Math.max(most, running);
      await setImmediate();
      running -= 1;
      return await commit(batches, options);
    };
    await using storage = await openStorage(provider);
    const prices = await filled(storage);
    most = 0;
    await new StateMigration(prices, { concurrency: 3 }).run();
    expect(most).toBe(3);
  });

  it('goes on when `onProgress` throws', async () => {
    await using storage = await openStorage(new MemoryProvider());
    const prices = await filled(storage);
    const onProgress = (): never => {
      throw new Error('onProgress has failed');
    };
    expect(await new StateMigration(prices, { pageRows: 2, onProgress }).run()).toMatchObject({ written: 6 });
  });

  it('may run twice at a time: each entry is written once, and no position is left', async () => {
    const provider = new MemoryProvider();
    await using storage = await openStorage(provider);
    const prices = await filled(storage, 9);
    const runs = await Promise.all([1, 2].map(() => new StateMigration(prices, { pageRows: 2 }).run()));
    expect(runs.reduce((sum, { written }) => sum + written, 0)).toBe(9);
    await new StateMigration(prices).run();
    expect(await new StateMigration(prices).versions()).toEqual([{ schemaVersion: 2, entries: 9 }]);
    expect((await provider.administration.spaces('shared')).map(({ container }) => container)).toEqual([
      'state:state',
    ]);
  });

  it('copies into a store of another storage and another tenant', async () => {
    await using storage = await openStorage(new MemoryProvider());
    await using other = await openStorage(new MemoryProvider());
    const prices = await filled(storage, 3);
    const Tagged = defineState<{ readonly tag: string }, string>('tag');
    const tags = other.store(Tagged).forTenant('acme');
    const migration = new StateMigration(prices, {
      to: tags,
      change: ({ cents }) => ({ tag: `${cents} ct` }),
    });
    expect(await migration.run()).toMatchObject({ read: 3, written: 3 });
    expect((await tags.getOrThrow('p-2')).value).toEqual({ tag: '2 ct' });
    expect(await migration.run()).toMatchObject({ written: 0, unchanged: 3 });
  });

  it('does not reach a later entry once it has failed', async () => {
    await using storage = await openStorage(new MemoryProvider());
    await filled(storage, 3);
    await storage.store(defineState('price')).set('p-1', {});
    const Strict = defineState<object, string>('price', {
      schemaVersion: 2,
      upcast: { 1: ({ cents }: { readonly cents: string }) => ({ cents: cents.length }) },
    });
    await expect(new StateMigration(storage.store(Strict), { concurrency: 1 }).run()).rejects.toMatchObject({
      code: 'STORAGE_CORRUPT',
      place: 'shared/state:state/price/p-1',
    });
    expect(await new StateMigration(storage.store(Strict)).versions()).toEqual([
      { schemaVersion: 1, entries: 2 },
      { schemaVersion: 2, entries: 1 },
    ]);
  });

  it('refuses what cannot work', async () => {
    await using storage = await openStorage(new MemoryProvider());
    const prices = storage.store(Present);
    const migrations = [
      () => new StateMigration({} as never),
      () => new StateMigration(storage.store(defineCounter('views')) as never),
      () => new StateMigration(prices, { rows: 5 } as never),
      () => new StateMigration(prices, { change: (value) => value }),
      () => new StateMigration(prices, { to: prices, change: 5 as never }),
      () => new StateMigration(prices, { onError: 'ignore' as never }),
      () => new StateMigration(prices, { to: {} as never }),
    ];
    for (const make of migrations) expect(make).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
    for (const options of [{ concurrency: 0 }, { pageRows: 1_001 }, { rowsPerSecond: 0 }, { pageRows: 1.5 }])
      expect(() => new StateMigration(prices, options)).toThrow(
        expect.objectContaining({ code: 'INVALID_OPTION' }),
      );
    await expect(new StateMigration(prices, { to: storage.store(Present) }).run()).rejects.toMatchObject({
      code: 'INVALID_OPTION',
    });
  });
});

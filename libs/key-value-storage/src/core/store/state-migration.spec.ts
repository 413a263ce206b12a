import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import { MemoryProvider } from '../../providers/memory/memory-provider.js';
import { ManualClock } from '../../testing/kit/manual-clock.js';
import { defineCounter } from './counter-definition.js';
import type { KeyValueStorage, KeyValueStore } from './key-value-store.js';
import { openStorage } from './open-storage.js';
import { defineState } from './state-definition.js';
import { StateMigration, type MigrationFailure } from './state-migration.js';

const Old = defineState<{ readonly cents: string }>('price');
const Present = defineState<{ readonly cents: number }, string>('price', {
  schemaVersion: 2,
  upcast: { 1: ({ cents }: { readonly cents: string }) => ({ cents: Number(cents) }) },
});

const Copies = defineState<{ readonly cents: number }, string>('copy');
const indexes = { byCents: { key: ({ cents }: { readonly cents: number }) => `${cents} ct`, unique: true } };
const Indexed = defineState<{ readonly cents: number }, string, typeof indexes>('indexed', { indexes });

interface Session {
  readonly user: number;
}
const Sessions = defineState<Session>('session', { ttlMs: 60_000, expiry: 'sliding' });
const SessionCopies = defineState<Session>('session', {
  container: 'copies',
  ttlMs: 60_000,
  expiry: 'sliding',
});

/** Work before copies are compared with their entries; until the returned function is called. */
function beforeComparing(provider: MemoryProvider, work: (round: number) => Promise<void>): () => void {
  const read = provider.read.bind(provider);
  let round = 0;
  provider.read = async (addresses, options) => {
    if (options?.values === 'omit') await work((round += 1));
    return await read(addresses, options);
  };
  return () => (provider.read = read);
}

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

  it('copies what was written behind the position of an interrupted run, however often it is interrupted', async () => {
    await using storage = await openStorage(new MemoryProvider());
    const prices = await filled(storage);
    const to = storage.store(Copies);
    const interrupted = async (pages: number): Promise<readonly string[]> => {
      const stop = new AbortController();
      const read: string[] = [];
      const change = (price: { readonly cents: number }, key: string) => {
        read.push(key);
        return price;
      };
      const onProgress = () => void ((pages -= 1) === 0 && stop.abort());
      const migration = new StateMigration(prices, { to, change, pageRows: 2, onProgress, concurrency: 1 });
      await expect(migration.run({ signal: stop.signal })).rejects.toMatchObject({ code: 'ABORTED' });
      return read;
    };
    expect(await interrupted(2)).toEqual(['p-0', 'p-1', 'p-2', 'p-3']);
    await prices.setMany(['p-0', 'p-2'].map((key) => ({ key, value: { cents: 9 } })));
    // the last page ahead, and one behind
    expect(await interrupted(3)).toEqual(['p-3', 'p-4', 'p-5', 'p-0', 'p-1']);
    await prices.set('p-1', { cents: 9 });
    const keys = ['p-0', 'p-1', 'p-2', 'p-3', 'p-4', 'p-5'];
    expect(await new StateMigration(prices, { to }).run()).toMatchObject({ read: 6, resumed: true });
    expect((await to.getMany(keys)).map((entry) => entry?.value.cents)).toEqual([9, 9, 9, 3, 4, 5]);
    expect(await new StateMigration(prices, { to }).run()).toMatchObject({ unchanged: 6, resumed: false });
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

  it('copies an entry again that was written in the millisecond of its copy: it may have waited for it', async () => {
    await using storage = await openStorage(new MemoryProvider({ clock: new ManualClock() }));
    const prices = await filled(storage, 1);
    for (const to of [storage.store(Copies), storage.store(Copies).forTenant('acme')]) {
      await new StateMigration(prices, { to }).run();
      await prices.set('p-0', { cents: 9 });
      expect(await new StateMigration(prices, { to }).run()).toMatchObject({ written: 1 });
      expect((await to.getOrThrow('p-0')).value).toEqual({ cents: 9 });
    }
  });

  it('calls `change` once for an entry, also when others write the copy at the same time', async () => {
    const provider = new MemoryProvider({ clock: new ManualClock() });
    await using storage = await openStorage(provider);
    const prices = await filled(storage, 1);
    const to = prices.forTenant('acme');
    const commit = provider.commit.bind(provider);
    provider.commit = async (batches, options) => {
      provider.commit = commit;
      await to.set('p-0', { cents: 5 });
      return await commit(batches, options);
    };
    let calls = 0;
    const change = (price: { readonly cents: number }) => {
      calls += 1;
      return price;
    };
    expect(await new StateMigration(prices, { to, change }).run()).toMatchObject({ written: 1 });
    expect(calls).toBe(1);
  });

  it('leaves what others write over a copy before it is compared with its entry', async () => {
    const clock = new ManualClock();
    const provider = new MemoryProvider({ clock });
    await using storage = await openStorage(provider);
    const prices = await filled(storage, 2);
    const to = storage.store(Copies).forTenant('acme');
    beforeComparing(provider, async (round) => {
      if (round > 1) return;
      await prices.set('p-0', { cents: 7 });
      await prices.delete('p-1');
      await clock.advance(1);
      await to.setMany(['p-0', 'p-1'].map((key) => ({ key, value: { cents: 8 } })));
    });
    await new StateMigration(prices, { to }).run();
    expect((await to.getMany(['p-0', 'p-1'])).map((entry) => entry?.value.cents)).toEqual([8, 8]);
    expect((await provider.administration.spaces('tenant:acme')).length).toBe(1);
  });

  it('removes the copy of an entry that `change` now leaves out, or that has expired, but not what others wrote over it', async () => {
    const clock = new ManualClock();
    const provider = new MemoryProvider({ clock });
    await using storage = await openStorage(provider);
    const target = new MemoryProvider({ clock });
    await using other = await openStorage(target);
    const prices = await filled(storage, 4);
    const to = other.store(Copies);
    const rest = beforeComparing(provider, async (round) => {
      if (round > 1) return;
      await prices.set('p-0', { cents: -1 });
      await prices.set('p-1', { cents: -1 });
      await to.set('p-1', { cents: 8 });
      await prices.set('p-2', { cents: 77 }, { ttlMs: 10 });
    });
    const change = async (price: { readonly cents: number }) => {
      if (price.cents === 77) await clock.advance(10);
      return price.cents < 0 ? undefined : price;
    };
    await new StateMigration(prices, { to, change, concurrency: 1 }).run();
    rest();
    expect((await to.getMany(['p-0', 'p-1', 'p-2', 'p-3'])).map((entry) => entry?.value.cents)).toEqual([
      undefined,
      8,
      undefined,
      3,
    ]);
    const spaces = await target.administration.spaces('shared');
    expect(spaces.map(({ entity }) => entity)).toEqual(['copy']);
  });

  it('ends while an entry is written all the time; the next run copies it, whatever the clocks say', async () => {
    const clock = new ManualClock();
    const provider = new MemoryProvider({ clock });
    await using storage = await openStorage(provider);
    await using other = await openStorage(
      new MemoryProvider({ clock: new ManualClock(clock.now() + 60_000) }),
    );
    const prices = await filled(storage, 1);
    const to = other.store(Indexed);
    const rest = beforeComparing(provider, async (round) => {
      await prices.set('p-0', { cents: round });
    });
    expect(await new StateMigration(prices, { to }).run()).toMatchObject({ written: 1 });
    rest();
    await prices.set('p-0', { cents: 99 });
    await new StateMigration(prices, { to }).run();
    expect((await to.getOrThrow('p-0')).value).toEqual({ cents: 99 });
    expect((await to.index('byCents').get('99 ct'))?.key).toBe('p-0');
  });

  it('reports a copy that cannot be written again, and tries it in the next run', async () => {
    const provider = new MemoryProvider();
    await using storage = await openStorage(provider);
    const prices = await filled(storage, 2);
    const to = storage.store(Copies).forTenant('acme');
    const rest = beforeComparing(provider, async (round) => {
      if (round === 1) await prices.set('p-0', { cents: -1 });
    });
    const change = (price: { readonly cents: number }) => {
      if (price.cents < 0) throw new Error('negative');
      return price;
    };
    await expect(new StateMigration(prices, { to, change }).run()).rejects.toThrow('negative');
    rest();
    const migration = new StateMigration(prices, { to, change, onError: 'continue' });
    expect((await migration.run()).failures[0]).toMatchObject({ key: 'p-0', error: new Error('negative') });
    await prices.set('p-0', { cents: 5 });
    await migration.run();
    expect((await to.getOrThrow('p-0')).value).toEqual({ cents: 5 });
  });

  describe('with onFailure', () => {
    type Report = (failure: MigrationFailure<string>) => void | Promise<void>;
    const change = async ({ cents }: { readonly cents: number }) => {
      // the first ones take longest
      for (let turns = cents % 7; turns < 7; turns += 1) await setImmediate();
      if (cents % 2 === 1) throw new Error('odd');
      return { cents };
    };
    const keyOf = (index: number): string => `p-${String(index).padStart(3, '0')}`;
    const odd = Array.from({ length: 130 }, (_, index) => keyOf(2 * index + 1));
    const withOdd = async (storage: KeyValueStorage) => {
      const items = Array.from({ length: 260 }, (_, index) => ({
        key: keyOf(index),
        value: { cents: String(index) },
      }));
      await storage.store(Old).setMany(items);
      return storage.store(Present);
    };
    const migrationOf = async (storage: KeyValueStorage, onFailure: Report) =>
      new StateMigration(await withOdd(storage), {
        to: storage.store(Copies),
        change,
        onError: 'continue',
        onFailure,
        pageRows: 20,
      });

    it('reports every entry that fails, one by one in the order of the keys', async () => {
      await using storage = await openStorage(new MemoryProvider());
      const reported: MigrationFailure<string>[] = [];
      let running = 0;
      const onFailure = async (failure: MigrationFailure<string>): Promise<void> => {
        running += 1;
        expect(running).toBe(1);
        await setImmediate();
        running -= 1;
        reported.push(failure);
      };
      const result = await (await migrationOf(storage, onFailure)).run();
      expect(result).toMatchObject({ written: 130, failed: 130 });
      expect(reported.map(({ key }) => key)).toEqual(odd);
      expect(result.failures).toEqual(reported.slice(0, 100));
    });

    it('ends with what it throws; the next run reports the entries of that page again', async () => {
      await using storage = await openStorage(new MemoryProvider());
      const reported: string[] = [];
      let last: string | undefined = keyOf(33);
      const full = new Error('the file of failures is full');
      const onFailure = ({ key }: MigrationFailure<string>): void => {
        reported.push(key);
        if (key === last) throw full;
      };
      const migration = await migrationOf(storage, onFailure);
      await expect(migration.run()).rejects.toBe(full);
      expect(reported.splice(0)).toEqual(odd.slice(0, 17));
      last = undefined;
      // its page was written, and is read again, with what is before it at the end
      expect(await migration.run()).toMatchObject({ resumed: true, written: 110, failed: 130 });
      expect(new Set(reported)).toEqual(new Set(odd));
    });

    it('is aborted by its signal, whatever waits', async () => {
      await using storage = await openStorage(new MemoryProvider());
      const aborting = new AbortController();
      const onFailure = async (): Promise<void> => {
        aborting.abort();
        return await new Promise<never>(() => undefined);
      };
      const migration = await migrationOf(storage, onFailure);
      await expect(migration.run({ signal: aborting.signal })).rejects.toMatchObject({
        code: 'ABORTED',
        effect: 'unknown',
        done: 10,
      });
    });
  });

  describe.each(['in one database', 'in two'])('that copies %s', (databases) => {
    const storesOf = (storage: KeyValueStorage) => {
      const [from, to] = [storage.store(Sessions), storage.store(SessionCopies)];
      return { from, to: databases === 'in two' ? to.forTenant('acme') : to };
    };
    const expiryOf = async (store: KeyValueStore<Session>, key = 's'): Promise<number | undefined> =>
      (await store.stat(key))?.expiresAt?.getTime();

    it('lets a copy expire when its entry does, however long the run takes', async () => {
      const clock = new ManualClock();
      await using storage = await openStorage(new MemoryProvider({ clock }));
      const prices = await filled(storage, 0);
      const all = storage.store(Indexed);
      const to = databases === 'in two' ? all.forTenant('acme') : all;
      for (const cents of [0, 1, 2]) await prices.set(`p-${cents}`, { cents }, { ttlMs: 1_000 });
      const end = new Date(clock.now() + 1_000);
      const change = async (price: { readonly cents: number }) => {
        if (price.cents === 2)
          expect((await to.getMany(['p-0', 'p-1'])).map((entry) => entry?.expiresAt)).toEqual([end, end]);
        await clock.advance(400);
        return price;
      };
      const counts = await new StateMigration(prices, { to, change, concurrency: 1 }).run();
      expect(counts).toMatchObject({ written: 2, skipped: 1 });
      expect([await to.count(), await to.index('byCents').count()]).toEqual([0, 0]);
    });

    it('renews a sliding copy by the whole time to live of its entry', async () => {
      const clock = new ManualClock();
      await using storage = await openStorage(new MemoryProvider({ clock }));
      const { from, to } = storesOf(storage);
      await from.set('s', { user: 1 }, { ttlMs: 2_000 });
      await clock.advance(1_300);
      await new StateMigration(from, { to }).run();
      // between two databases, a copy counts as a read
      expect(await expiryOf(to)).toBe(clock.now() + (databases === 'in two' ? 2_000 : 700));
      await clock.advance(400);
      await to.get('s');
      expect(await expiryOf(to)).toBe(clock.now() + 2_000);
    });

    it('moves the expiry of a copy when its entry was renewed since, and never back', async () => {
      const clock = new ManualClock();
      await using storage = await openStorage(new MemoryProvider({ clock }));
      const { from, to } = storesOf(storage);
      const migration = new StateMigration(from, { to });
      await from.set('s', { user: 1 }, { ttlMs: 2_000 });
      await from.set('touched', { user: 2 }, { ttlMs: 2_000 });
      await from.touch('touched', { ttlMs: 9_000 });
      await migration.run();
      expect(await expiryOf(to, 'touched')).toBe(clock.now() + 9_000);
      await clock.advance(1_500);
      await from.get('s');
      expect(await migration.run()).toMatchObject({ written: 0, unchanged: 2 });
      expect(await expiryOf(to)).toBe(clock.now() + 2_000);
      await to.touch('s', { ttlMs: 5_000 });
      await migration.run();
      expect(await expiryOf(to)).toBe(clock.now() + 5_000);
    });
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
      () => new StateMigration(prices, { onFailure: () => undefined }),
      () => new StateMigration(prices, { onFailure: 5 as never, onError: 'continue' }),
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

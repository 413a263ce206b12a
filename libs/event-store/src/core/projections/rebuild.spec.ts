/** A projection is built again beside the states that are read, and takes over as a whole. */
import { getEventListeners } from 'node:events';
import { inspect } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import { defineState, type StorageProvider } from '@kvent/key-value-storage';
import { defineProjection, type ResolvedProjection } from './projection-definition.js';
import { ProjectionRunner } from './projection-runner.js';
import { beforeCommits, faulty, isOf, openShop, Orders, type Fault, type Shop } from './spec-support.js';

interface Day {
  readonly orders: number;
  /** The version that has written it. */
  readonly by: number;
}
const Days = defineState<Day>('days');
const days = ['monday', 'tuesday', 'wednesday', 'thursday'];
const acme = 'acme';
const options = { leaseTtlMs: 300, keepOldMs: 1_000, retry: { attempts: 1 } } as const;

const byDay = (version: number, refuse = (_cents: number): boolean => false) =>
  defineProjection('by-day', {
    version,
    streams: [Orders],
    into: Days,
    partitions: 2,
    key: ({ type, data }) => (type === 'placed' ? data.day : undefined),
    initial: () => ({ orders: 0, by: version }),
    evolve: ({ orders }, { type, data }) => {
      if (type === 'placed' && refuse(data.cents)) throw new Error('refused');
      return { orders: orders + 1, by: version };
    },
  });

async function sellSome(shop: Shop, count = 12): Promise<void> {
  for (let index = 0; index < count; index += 1)
    await shop.sell(acme, `o-${index % 5}`, days[index % days.length] as string, index);
}
async function read(runner: ProjectionRunner): Promise<readonly Day[]> {
  const found: Day[] = [];
  for await (const { value } of runner.store(Days).forTenant(acme).list()) found.push(value);
  return found;
}
const total = (found: readonly Day[]): number => found.reduce((sum, { orders }) => sum + orders, 0);
const versionsOf = (found: readonly Day[]): readonly number[] => [...new Set(found.map(({ by }) => by))];
const states = async (runner: ProjectionRunner) =>
  (await runner.builds()).map(({ generation, version, state }) => `${generation} v${version} ${state}`);
/** Lets time pass until the condition holds. */
async function untilTrue(shop: Shop, condition: () => Promise<boolean>): Promise<void> {
  for (let round = 0; !(await condition()); round += 1) {
    if (round > 2_000) throw new Error('The condition does not become true.');
    await shop.clock.advance(50);
  }
}

describe('a newer version', () => {
  it('is built beside the older one, and every reader sees one of them as a whole, under load', async () => {
    await using shop = await openShop();
    await sellSome(shop, 40);
    const one = await shop.run(byDay(1), options);
    await shop.until(one.whenCaughtUp());
    const two = await shop.run(byDay(2), options);
    const seen = new Set<number>();
    let sold = 40;
    const sell = async (): Promise<void> => {
      const { position } = await shop.sell(acme, `o-${sold % 7}`, days[sold % days.length] as string, sold);
      sold += 1;
      // a caller reads its own write, also while the switch takes place
      await one.whenCaughtUp({ position });
    };
    const readers = [one, two];
    for (let round = 0; round < 400 && !(seen.has(2) && sold > 60); round += 1) {
      await shop.until(sell());
      await shop.clock.advance(10);
      for (const runner of readers) {
        const found = await shop.until(read(runner));
        expect(versionsOf(found)).toHaveLength(1);
        for (const { by } of found) seen.add(by);
        if (runner === one) expect(total(found)).toBe(sold);
      }
    }
    expect([...seen]).toEqual([1, 2]);
    await shop.until(two.whenRebuilt());
    // the process of the older release reads the newer version, and works on it no more
    expect(one.health().partitions.map(({ state }) => state)).toEqual(['waiting', 'waiting']);
    expect(one.health().status).toBe('up');
    await expect(one.rebuild()).rejects.toMatchObject({ code: 'INVALID_STATE' });
    await shop.until(one.whenCaughtUp());
    expect(await one.lag()).toEqual({ events: 0, ms: 0 });
  });

  it('is what a watch follows from the switch on', async () => {
    await using shop = await openShop();
    await shop.sell(acme, 'o-1', 'monday', 1);
    // the former build is not removed, which would end its watch too
    const kept = { ...options, keepOldMs: 86_400_000 };
    const one = await shop.run(byDay(1), kept);
    await shop.until(one.whenCaughtUp());
    const days = one.store(Days).forTenant(acme);
    expect(() => days.watch('monday', { recovr: true } as object)).toThrow("Did you mean 'recover'?");
    const watch = days.watch('monday')[Symbol.asyncIterator]();
    const many = days.watchMany(['monday', 'sunday'])[Symbol.asyncIterator]();
    const next = async () => {
      const [one, both] = await shop.until(Promise.all([watch.next(), many.next()]));
      expect(both).toMatchObject({ done: false, value: [one.value, undefined] });
      return one;
    };
    expect(await next()).toMatchObject({ value: { value: { orders: 1, by: 1 } } });
    const two = await shop.run(byDay(2), kept);
    await shop.until(two.whenRebuilt());
    expect(await next()).toMatchObject({ value: { value: { orders: 1, by: 2 } } });
    await shop.sell(acme, 'o-1', 'monday', 1);
    expect(await next()).toMatchObject({ value: { value: { orders: 2, by: 2 } } });
    // a reader that waits ends at once
    const waiting = watch.next();
    await watch.return?.();
    expect(await waiting).toMatchObject({ done: true });
    const stopped = new AbortController();
    const ended = days.watch('monday', { signal: stopped.signal })[Symbol.asyncIterator]();
    expect(await ended.next()).toMatchObject({ value: { value: { orders: 2, by: 2 } } });
    const last = ended.next();
    stopped.abort();
    expect(await last).toMatchObject({ done: true });
    const { signal } = new AbortController();
    const left = days.watch('monday', { signal })[Symbol.asyncIterator]();
    await left.next();
    expect(getEventListeners(signal, 'abort')).toHaveLength(1);
    await left.return?.();
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
    await many.return?.();
  });

  it('waits for a tenant that it cannot apply, and takes over once it can', async () => {
    await using shop = await openShop();
    await sellSome(shop);
    const one = await shop.run(byDay(1), options);
    await shop.until(one.whenCaughtUp());
    let isRefused = true;
    const two = await shop.run(
      byDay(2, (cents) => cents === 7 && isRefused),
      options,
    );
    await shop.clock.advance(10_000);
    expect(await states(two)).toEqual(['1 v1 live', '2 v2 building']);
    expect((await two.builds())[1]?.lag).toMatchObject({ events: expect.any(Number) });
    expect(two.health().status).toBe('degraded');
    expect(versionsOf(await read(two))).toEqual([1]);
    await expect(shop.until(two.whenRebuilt({ timeoutMs: 500 }))).rejects.toMatchObject({
      code: 'PROJECTION_BEHIND',
    });
    isRefused = false;
    two.retry();
    await shop.until(two.whenRebuilt());
    expect(versionsOf(await shop.until(read(one)))).toEqual([2]);
  });

  it('that is older than the live one does nothing', async () => {
    await using shop = await openShop();
    await sellSome(shop);
    await shop.until((await shop.run(byDay(2), options)).whenCaughtUp());
    const one = await shop.run(byDay(1), options);
    await shop.clock.advance(5_000);
    expect(await states(one)).toEqual(['1 v2 live']);
    expect(versionsOf(await read(one))).toEqual([2]);
  });
});

describe('rebuild', () => {
  it('builds the same version again, and removes the former states', async () => {
    await using shop = await openShop();
    await sellSome(shop);
    const runner = await shop.run(byDay(1), options);
    await shop.until(runner.whenCaughtUp());
    const declared = shop.storage.store(Days).forTenant(acme);
    expect(await declared.count()).toBe(4);
    await shop.until(runner.rebuild());
    await shop.until(runner.rebuild());
    expect(await states(runner)).toEqual(['1 v1 live', '2 v1 building']);
    await shop.until(runner.whenRebuilt());
    expect(await states(runner)).toEqual(['2 v1 live', '1 v1 kept']);
    await untilTrue(shop, async () => (await states(runner)).length === 1);
    expect(await declared.count()).toBe(0);
    const rows = { container: 'kvent.projections', scope: 'tenant' } as const;
    const checkpoints = shop.storage.store(defineState('by-day', rows)).forTenant(acme);
    for await (const key of checkpoints.keys()) expect(key).toEqual(['checkpoint', 2, expect.any(Number)]);
    await sellSome(shop);
    await shop.until(runner.whenCaughtUp());
    expect(total(await read(runner))).toBe(24);
    await shop.until(runner.rebuild());
    await shop.until(runner.whenRebuilt());
    expect(total(await read(runner))).toBe(24);
    expect((await states(runner))[0]).toBe('3 v1 live');
  });

  it('is continued by the next process', async () => {
    await using shop = await openShop();
    await sellSome(shop);
    let isOpen = false;
    // one at a time, and none after the fifth until it is opened
    let applied = 0;
    const slow = byDay(1) as ResolvedProjection;
    const gated: ResolvedProjection = {
      ...slow,
      handlerOn: (storage) => {
        const handler = slow.handlerOn(storage);
        return async (given, context) => {
          applied += 1;
          if (applied > 17 && !isOpen) throw new Error('not yet');
          await handler(given, context);
        };
      },
    };
    const first = await shop.run(gated, options);
    await shop.until(first.whenCaughtUp());
    await shop.until(first.rebuild());
    await shop.clock.advance(3_000);
    await shop.until(first.stop());
    isOpen = true;
    const second = await shop.run(gated, options);
    expect(await states(second)).toEqual(['1 v1 live', '2 v1 building']);
    await shop.until(second.whenRebuilt());
    expect(total(await read(second))).toBe(12);
    expect((await states(second))[0]).toBe('2 v1 live');
  });

  it.each(['refuse', 'lose the answer'] as const)(
    'has exact totals when any commit fails (%s)',
    async (fault) => {
      let failing = 0;
      for (let isReached = true; isReached; failing += 1) {
        let [commits, first] = [0, Number.POSITIVE_INFINITY];
        const faultOf = (index: number): Fault => {
          commits = index + 1;
          return index - first === failing ? fault : 'none';
        };
        await using shop = await openShop((provider) => faulty(provider, faultOf));
        await sellSome(shop);
        const runner = await shop.run(byDay(1), options);
        await shop.until(runner.whenCaughtUp());
        first = commits;
        const rebuild = async () => await runner.rebuild();
        await shop.until(rebuild().catch(rebuild));
        await shop.until(runner.whenRebuilt());
        await untilTrue(shop, async () => (await states(runner)).length === 1);
        expect(total(await read(runner))).toBe(12);
        expect(await shop.storage.store(Days).forTenant(acme).count()).toBe(0);
        isReached = commits - first > failing && failing < 40;
      }
      expect(failing).toBeGreaterThan(9);
    },
  );

  it('lets lists and pages that began before go on, until the former states are removed', async () => {
    await using shop = await openShop();
    await sellSome(shop);
    const runner = await shop.run(byDay(1), { ...options, keepOldMs: 60_000 });
    await shop.until(runner.whenCaughtUp());
    const store = runner.store(Days).forTenant(acme);
    const page = await store.page({ limit: 3 });
    await shop.until(runner.rebuild());
    await shop.until(runner.whenRebuilt());
    const cursor = page.next as string;
    expect(cursor).toMatch(/^1_/);
    expect((await store.page({ limit: 3, cursor })).items).toHaveLength(1);
    await untilTrue(shop, async () => (await states(runner)).length === 1);
    await expect(store.page({ limit: 3, cursor })).rejects.toMatchObject({ code: 'INVALID_CURSOR' });
    await expect(store.page({ limit: 3, cursor: 'x' })).rejects.toMatchObject({ code: 'INVALID_CURSOR' });
    const keys = ['monday', 'sunday'] as const;
    expect((await store.getMany(keys)).map((entry) => entry?.value.orders)).toEqual([3, undefined]);
    expect([await store.has('monday'), await store.count(), await store.get('sunday')]).toEqual([
      true,
      4,
      undefined,
    ]);
    await expect(store.getOrThrow('sunday')).rejects.toMatchObject({ code: 'KEY_NOT_FOUND' });
  });

  it('lets a list go on in its build, ends it where the build was removed, and not where it was read', async () => {
    await using shop = await openShop();
    for (let day = 0; day < 250; day += 1) await shop.sell(acme, 'o-1', `day ${day}`, 1);
    const runner = await shop.run(byDay(1), { ...options, keepOldMs: 60_000 });
    await shop.until(runner.whenCaughtUp());
    const store = runner.store(Days).forTenant(acme);
    const lists = [store.list(), store.list(), store.list({ start: 'day 99' })].map((list) =>
      list[Symbol.asyncIterator](),
    ) as AsyncIterator<unknown>[];
    const rest = async (list = 0): Promise<number> => {
      let count = 0;
      while ((await lists[list]?.next())?.done === false) count += 1;
      return count;
    };
    for (const list of lists) expect((await list.next()).done).toBe(false);
    await shop.until(runner.rebuild());
    await shop.until(runner.whenRebuilt());
    expect(await shop.until(rest(0))).toBe(249);
    await untilTrue(shop, async () => (await states(runner)).length === 1);
    await expect(rest(1)).rejects.toMatchObject({ code: 'INVALID_CURSOR' });
    // its only page was read before
    expect(await rest(2)).toBe(0);
  });

  it('refuses the write of a worker that was asleep while the former states were removed', async () => {
    await using shop = await openShop();
    const base = byDay(1) as ResolvedProjection;
    let wake = (): void => undefined;
    const awake = new Promise<void>((resolve) => (wake = resolve));
    let isAsleep = false;
    const sleepy: ResolvedProjection = {
      ...base,
      handlerOn: (storage) => {
        const handler = base.handlerOn(storage);
        return async (given, context) => {
          if (isAsleep) await awake;
          await handler(given, context);
        };
      },
    };
    await sellSome(shop);
    const one = await shop.run(sleepy, options);
    await shop.until(one.whenCaughtUp());
    isAsleep = true;
    await sellSome(shop);
    await shop.clock.advance(50);
    const two = await shop.run(byDay(2), options);
    await shop.until(two.whenRebuilt());
    await untilTrue(shop, async () => (await states(two)).length === 1);
    wake();
    await shop.clock.advance(10_000);
    expect(await shop.storage.store(Days).forTenant(acme).count()).toBe(0);
    expect(total(await read(two))).toBe(24);
  });

  it('removes nothing that a reader relies on, whichever process announces the removal', async () => {
    const announced: number[] = [];
    const removed: number[] = [];
    let page = async (): Promise<number> => await Promise.resolve(0);
    const watched = (provider: StorageProvider): StorageProvider =>
      beforeCommits(provider, async (batches) => {
        const ms = provider.clock?.monotonic() ?? 0;
        const isRemoval = batches.some(({ changes }) => changes.some(({ kind }) => kind === 'delete'));
        if (isRemoval && isOf(batches, 'days')) removed.push(ms);
        const isAnnouncement =
          isOf(batches, 'by-day') && inspect(batches, { depth: 6 }).includes('isRemoving');
        if (!isAnnouncement || announced.length > 0) return;
        // what the reader has read now it relies on from now on
        expect(await page()).toBe(1);
        announced.push(ms);
      });
    await using shop = await openShop(watched);
    await sellSome(shop);
    const one = await shop.run(byDay(1), options);
    // its rounds come later than those of the other one
    await shop.clock.advance(50);
    const two = await shop.run(byDay(1), options);
    await shop.until(one.whenCaughtUp());
    const reader = new ProjectionRunner(shop.storage, byDay(1)).store(Days).forTenant(acme);
    const { next: cursor } = await reader.page({ limit: 3 });
    page = async () => (await reader.page({ limit: 3, cursor })).items.length;
    await shop.until(one.rebuild());
    await shop.until(one.whenRebuilt());
    const refused = new Set<unknown>();
    await untilTrue(shop, async () => {
      const items = await page().catch((error: unknown) => refused.add((error as { code: unknown }).code));
      // never a page that lacks what was removed
      if (refused.size === 0) expect(items).toBe(1);
      return (await states(two)).length === 1;
    });
    expect([...refused]).toEqual(['INVALID_CURSOR']);
    expect((removed[0] as number) - (announced[0] as number)).toBeGreaterThanOrEqual(1_000);
  });

  it('refuses a time that is too short for readers', async () => {
    await using shop = await openShop();
    await expect(shop.run(byDay(1), { keepOldMs: 5 })).rejects.toThrow(
      'keepOldMs must be a whole number of milliseconds from 1000, below 2^31; got 5.',
    );
  });
});

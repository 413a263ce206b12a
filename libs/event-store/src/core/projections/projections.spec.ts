/** Each event counts once in the states of a projection, whatever fails between. */
import { getEventListeners } from 'node:events';
import { describe, expect, it, jest } from '@jest/globals';
import { defineState } from '@kvent/key-value-storage';
import { storageError, type Address, type RowAddress } from '@kvent/key-value-storage/provider';
import { Waiters, databaseOf } from '@kvent/key-value-storage/internal';
import { defineStream, event } from '../definition/stream-definition.js';
import { EventStore } from '../event-store.js';
import { partitionOf } from './partition-of.js';
import { defineProjection, type ResolvedProjection } from './projection-definition.js';
import { ProjectionRunner } from './projection-runner.js';
import {
  beforeCommits,
  DaySales,
  faulty,
  openShop,
  Orders,
  placed,
  SalesByDay,
  salesAndCounts,
  type Fault,
  type Shop,
} from './spec-support.js';

const tenants = ['acme', 'globex'];
type Sales = Record<string, DaySales>;

/** 36 orders of two tenants in 12 streams; returns what the projection must find of each tenant. */
async function sellMany(shop: Shop): Promise<Map<string, Sales>> {
  const totals = new Map<string, Sales>(tenants.map((tenant) => [tenant, {}]));
  for (let index = 0; index < 36; index += 1) {
    const tenant = tenants[index % 2] as string;
    const day = `day ${index % 5}`;
    await shop.sell(tenant, `o-${index % 12}`, day, index);
    const sales = totals.get(tenant) as Sales;
    const { orders, cents } = sales[day] ?? { orders: 0, cents: 0 };
    sales[day] = { orders: orders + 1, cents: cents + index };
  }
  return totals;
}
async function expectTotals(shop: Shop, totals: ReadonlyMap<string, Sales>): Promise<void> {
  for (const [tenant, sales] of totals) expect([tenant, await shop.sales(tenant)]).toEqual([tenant, sales]);
}
const held = (runner: ProjectionRunner): number =>
  runner.health().partitions.filter(({ state }) => state === 'running').length;

const refusal = async (work: Promise<unknown>) =>
  await work.then(
    () => 'nothing',
    (error: Error & { code: string }) => `${error.code}: ${error.message}`,
  );

describe('a projection', () => {
  it('has the effects of what was appended before and after its start', async () => {
    await using shop = await openShop();
    const { until } = shop;
    await shop.sell('acme', 'o-1', 'monday', 5);
    const runner = await shop.run();
    await until(runner.whenCaughtUp());
    expect(await shop.sales('acme')).toEqual({ monday: { orders: 1, cents: 5 } });
    const { position } = await shop.sell('acme', 'o-2', 'monday', 7);
    await shop.sell('globex', 'o-2', 'monday', 1);
    await until(runner.whenCaughtUp({ position }));
    await until(runner.whenCaughtUp());
    expect(await shop.sales('acme')).toEqual({ monday: { orders: 2, cents: 12 } });
    expect(await shop.sales('globex')).toEqual({ monday: { orders: 1, cents: 1 } });
    expect(runner.health()).toMatchObject({ projection: 'sales-by-day', version: 1, status: 'up' });
    expect(await runner.lag()).toEqual({ events: 0, ms: 0 });
  });

  it('is listed up to the last key that was there at the start, whatever is added while it runs', async () => {
    await using shop = await openShop();
    const sell = async (from: number, count: number): Promise<void> => {
      const items = Array.from({ length: count }, (_, index) => placed(dayOf(from + index), 1)[0]);
      await shop.orders.forTenant('acme').append('o-1', items, { expectedVersion: 'any' });
    };
    const dayOf = (index: number): string => `day ${String(index).padStart(4, '0')}`;
    const runner = await shop.run();
    await sell(0, 600);
    await shop.until(runner.whenCaughtUp());
    let count = 0;
    for await (const { key } of runner.store(DaySales).forTenant('acme').list()) {
      if (count % 100 === 0) {
        await sell(600 + count, 100);
        await shop.until(runner.whenCaughtUp());
      }
      expect(key).toBe(dayOf(count));
      count += 1;
      if (count > 2_000) break;
    }
    expect(count).toBe(600);
  });

  it('says how far it is behind with few reads, also where one partition has read what follows', async () => {
    let pages = 0;
    await using shop = await openShop((provider) => {
      const feed = provider.feed?.bind(provider);
      provider.feed = async (request) => {
        pages += 1;
        return await (feed as NonNullable<typeof feed>)(request);
      };
      return provider;
    });
    const orders = shop.orders.forTenant('acme');
    const inPartition = (partition: number): string => {
      for (let index = 0; ; index += 1)
        if (partitionOf({ database: databaseOf('acme'), entity: `o${index}` } as Address, 2) === partition)
          return `o${index}`;
    };
    const begin = await shop.sell('acme', inPartition(0), 'monday', 1);
    await shop.clock.advance(700);
    const day = Array.from({ length: 500 }, () => placed('monday', 1)[0]);
    let end = begin;
    for (let batch = 0; batch < 24; batch += 1)
      end = await orders.append(inPartition(0), day, { expectedVersion: 'any' });
    await shop.clock.advance(300);
    const readers = shop.storage.store(
      defineState<object>('sales-by-day', { container: 'kvent.projections', scope: 'shared' }),
    );
    await readers.set(['reader', 1, 0], { position: end.position, behind: [] });
    await readers.set(['reader', 1, 1], { position: begin.position, behind: [] });
    const runner = new ProjectionRunner(shop.storage, SalesByDay);
    pages = 0;
    // of the next 10,000 events none is of the partition that has not moved since the first of them
    expect(await runner.lag()).toEqual({ events: 0, ms: 300 });
    expect(pages).toBe(10);
    await readers.set(['reader', 1, 0], { position: begin.position, behind: [] });
    expect(await runner.lag()).toEqual({ events: 10_000, ms: 300 });
    await readers.set(['reader', 1, 0], { position: end.position, behind: [] });
    await readers.set(['reader', 1, 1], { position: end.position, behind: [] });
    await shop.sell('acme', inPartition(1), 'monday', 1);
    await shop.clock.advance(50);
    expect(await runner.lag()).toEqual({ events: 1, ms: 50 });
  });

  it('goes on where it was after a restart, and says until then how far it is behind', async () => {
    await using shop = await openShop();
    const totals = await sellMany(shop);
    const first = await shop.run();
    await shop.until(first.whenCaughtUp());
    await shop.until(first.stop());
    await shop.sell('acme', 'o-1', 'later', 1);
    await shop.clock.advance(500);
    await shop.sell('acme', 'o-2', 'later', 1);
    expect(await first.lag()).toEqual({ events: 2, ms: 500 });
    const second = await shop.run();
    await shop.until(second.whenCaughtUp());
    totals.set('acme', { ...totals.get('acme'), later: { orders: 2, cents: 2 } });
    await expectTotals(shop, totals);
    expect(await refusal(first.start())).toContain('INVALID_STATE');
  });

  it('of another version begins with the first event', async () => {
    await using shop = await openShop();
    const totals = await sellMany(shop);
    await shop.until((await shop.run()).whenCaughtUp());
    const Again = defineState<DaySales>('again');
    const next = defineProjection('sales-by-day', {
      version: 2,
      streams: [Orders],
      into: Again,
      key: ({ tenant }) => tenant ?? 'shared',
      initial: () => ({ orders: 0, cents: 0 }),
      evolve: ({ orders, cents }) => ({ orders: orders + 1, cents }),
    });
    const runner = await shop.run(next);
    await shop.until(runner.whenRebuilt());
    expect((await runner.store(Again).forTenant('acme').getOrThrow('acme')).value.orders).toBe(18);
    await expectTotals(shop, totals);
  });

  it('splits what does not fit into one batch, and its checkpoint moves with each part', async () => {
    await using shop = await openShop();
    const Texts = defineState<{ readonly text: string }>('texts');
    const large = defineProjection('large', {
      streams: [Orders],
      into: Texts,
      key: ({ stream, version }) => [stream, version],
      initial: () => ({ text: '' }),
      evolve: ({ text }, { version }) => ({ text: `${text}${version}`.padEnd(200_000, '.') }),
    });
    const many = Array.from({ length: 100 }, () => ({ type: 'noted', data: { text: '' } }) as const);
    await shop.orders.forTenant('acme').append('o-1', many, { expectedVersion: 0 });
    await shop.until((await shop.run(large)).whenCaughtUp());
    const texts = shop.storage.store(Texts).forTenant('acme');
    expect(await texts.count()).toBe(100);
    expect((await texts.getOrThrow(['o-1', 100])).value.text).toMatch(/^100\.+$/);
  });

  it.each([
    ['without an index', defineState<number>('each')],
    [
      'with an index, whose rows count too',
      defineState<number>('each', { indexes: { byCount: (count: number) => [count] } }),
    ],
  ])('of an entry for each event folds each of them once, %s', async (_, into) => {
    await using shop = await openShop();
    let folded = 0;
    const each = defineProjection('each', {
      streams: [Orders],
      into,
      key: ({ stream, version }) => [stream, version],
      initial: () => 0,
      evolve: () => (folded += 1),
    });
    const many = Array.from({ length: 500 }, () => ({ type: 'noted', data: { text: '' } }) as const);
    for (let version = 0; version < 3_000; version += many.length)
      await shop.orders.forTenant('acme').append('o-1', many, { expectedVersion: version });
    await shop.until((await shop.run(each)).whenCaughtUp());
    expect(folded).toBe(3_000);
  });

  it('of streams that all tenants share has its states there', async () => {
    await using shop = await openShop();
    const options = { events: { noted: event<{ text: string }>() }, initial: () => 0, evolve: () => 0 };
    const News = defineStream('news', { ...options, scope: 'shared' });
    const Read = defineState<{ readonly texts: readonly string[] }>('read', { scope: 'shared' });
    const projection = defineProjection('news', {
      streams: [News],
      into: Read,
      key: () => 'all',
      initial: () => ({ texts: [] }),
      evolve: ({ texts }, { data }) => ({ texts: [...texts, data.text] }),
    });
    const news = new EventStore(shop.storage).stream(News);
    await news.append('n', [{ type: 'noted', data: { text: 'one' } }], { expectedVersion: 0 });
    await shop.until((await shop.run(projection)).whenCaughtUp());
    expect((await shop.storage.store(Read).getOrThrow('all')).value.texts).toEqual(['one']);
  });

  it('refuses other streams or partitions for the same version, and options that are not allowed', async () => {
    await using shop = await openShop();
    await shop.run();
    const wide = { ...SalesByDay, partitions: 3 };
    expect(await refusal(shop.run(wide))).toBe(
      "INVALID_STATE: The version 1 of the projection 'sales-by-day' was run with streams order in 2 partitions; got streams order in 3 partitions. Raise its version: the new one begins with the first event.",
    );
    const define = (name: string, options: object) => () =>
      defineProjection(name, {
        streams: [Orders],
        into: DaySales,
        key: () => 'k',
        initial: () => ({ orders: 0, cents: 0 }),
        evolve: (sales) => sales,
        ...options,
      });
    expect(define(' ', {})).toThrow('name must be a string that is not blank');
    expect(define('a', { streams: [] })).toThrow('streams must be an array with at least one');
    expect(define('a', { partitions: 0 })).toThrow('partitions must be a whole number from 1 to 256; got 0.');
    expect(define('a', { version: 1.5 })).toThrow('version must be a whole number from 1');
    expect(define('a', { key: 'day' })).toThrow('key must be a function');
    expect(define('a', { other: 1 })).toThrow("'other'");
    expect(() => new ProjectionRunner(shop.storage, {} as never)).toThrow('must come from defineProjection');
    expect(() => new ProjectionRunner(shop.storage, SalesByDay, { leaseTtlMs: 5 })).toThrow('leaseTtlMs');
    const runner = new ProjectionRunner(shop.storage, SalesByDay);
    expect(await refusal(runner.whenCaughtUp({ at: 1 } as object))).toContain("'at'");
  });

  it('stores its position for other processes, also where the first write of it is refused', async () => {
    let isRefused = false;
    await using shop = await openShop((provider) =>
      beforeCommits(provider, (batches) => {
        if (!isRefused || !batches.some(({ changes }) => changes.some(isOfReader))) return;
        isRefused = false;
        throw storageError('STORAGE_UNAVAILABLE', 'Refused by the test.', {});
      }),
    );
    const one = await shop.run();
    await shop.until(one.whenCaughtUp());
    isRefused = true;
    await shop.sell('acme', 'o-1', 'monday', 1);
    await shop.until(new ProjectionRunner(shop.storage, SalesByDay).whenCaughtUp());
    expect(isRefused).toBe(false);
  });

  it.each(['refuse', 'lose the answer'] as const)(
    'starts again after a start that has failed (%s), and leaves its partitions to others',
    async (fault) => {
      let failing = 0;
      for (let isReached = true; isReached; failing += 1) {
        const { shop, totals } = await faultyShop((index) => (index === failing ? fault : 'none'));
        const runner = new ProjectionRunner(shop.storage, SalesByDay);
        const hasFailed = await shop.until(runner.start()).then(
          () => false,
          () => true,
        );
        if (hasFailed) await shop.until(runner.start());
        // a lease whose answer was lost may have to expire
        await shop.clock.advance(20_000);
        expect(held(runner)).toBe(2);
        isReached = hasFailed;
        await shop.until(runner.whenCaughtUp());
        await expectTotals(shop, totals);
        await shop.until(runner.stop());
        expect(held(await shop.run())).toBe(2);
        await shop[Symbol.asyncDispose]();
      }
      expect(failing).toBeGreaterThan(3);
    },
  );

  it('is behind after the timeout of a wait', async () => {
    await using shop = await openShop();
    await shop.sell('acme', 'o-1', 'monday', 5);
    const runner = new ProjectionRunner(shop.storage, SalesByDay);
    expect(await refusal(shop.until(runner.whenCaughtUp({ timeoutMs: 100 })))).toBe(
      "PROJECTION_BEHIND: The projection 'sales-by-day' did not reach the position in 100 ms.",
    );
  });
});

describe('a wait that has ended', () => {
  it('leaves nothing behind, also in a process without partitions', async () => {
    await using shop = await openShop();
    await shop.run();
    const idle = await shop.run();
    const { position } = await shop.sell('acme', 'o-1', 'monday', 5);
    await shop.until(idle.whenCaughtUp({ position }));
    const joined = jest.spyOn(Waiters.prototype, 'join');
    const { signal } = new AbortController();
    for (let round = 0; round < 20; round += 1)
      await shop.until(idle.whenCaughtUp({ position, tenant: 'acme', signal }));
    const NeverRun = defineProjection('never-run', {
      streams: [Orders],
      into: DaySales,
      key: () => undefined,
      initial: () => ({ orders: 0, cents: 0 }),
      evolve: (sales) => sales,
    });
    const stopped = new ProjectionRunner(shop.storage, NeverRun);
    expect(await refusal(shop.until(stopped.whenCaughtUp({ timeoutMs: 1_000, signal })))).toContain(
      '1000 ms',
    );
    const aborting = new AbortController();
    const waiting = refusal(stopped.whenCaughtUp({ signal: aborting.signal }));
    await shop.clock.advance(100);
    expect(getEventListeners(aborting.signal, 'abort')).toHaveLength(1);
    aborting.abort(new Error('enough'));
    expect(await waiting).toContain('enough');
    const sizes = (joined.mock.contexts as readonly Waiters[]).map(({ size }) => size);
    expect(sizes.length).toBeGreaterThan(25);
    expect(new Set(sizes)).toEqual(new Set([0]));
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
    joined.mockRestore();
  });
});

/** A shop with sales, whose commits fail from now on as `faultOf` says; they are counted from 0. */
async function faultyShop(faultOf: (index: number) => Fault) {
  let first = Number.POSITIVE_INFINITY;
  let commits = 0;
  const wrapped = await openShop((provider) =>
    faulty(provider, (index) => {
      commits = index + 1;
      return index < first ? 'none' : faultOf(index - first);
    }),
  );
  const totals = await sellMany(wrapped);
  first = commits;
  return { shop: wrapped, totals, commits: () => commits - first };
}

const isOfReader = ({ address }: { readonly address: RowAddress }): boolean => address.key.includes('reader');

const byFunctions = () => SalesByDay;
/** Three orders of each stream; none of those that the class does not count. */
async function expectCounts(shop: Shop, projection: unknown): Promise<void> {
  if (projection === byFunctions) return;
  for (const tenant of tenants) expect(Object.values(await shop.counts(tenant))).toEqual(Array(6).fill(3));
}

describe.each([
  ['functions', byFunctions],
  ['a class', salesAndCounts],
] as const)('a write that fails, in a projection of %s', (_, projection) => {
  it.each(['refuse', 'lose the answer'] as const)('at any commit (%s) leaves exact totals', async (fault) => {
    let failing = 0;
    for (let isReached = true; isReached; failing += 1) {
      const { shop, totals, commits } = await faultyShop((index) => (index === failing ? fault : 'none'));
      // a process that cannot start is started again
      const start = async () => await shop.run(projection(shop));
      const runner = await start().catch(start);
      await shop.until(runner.whenCaughtUp());
      await expectTotals(shop, totals);
      await expectCounts(shop, projection);
      await shop[Symbol.asyncDispose]();
      isReached = commits() > failing;
    }
    expect(failing).toBeGreaterThan(9);
  });

  it('and all after it, as in a crash, leaves exact totals to the next process', async () => {
    for (let crash = 0; crash < 10; crash += 1) {
      let isDown = true;
      const { shop, totals } = await faultyShop((index) => {
        if (!isDown || index < crash) return 'none';
        return index === crash ? 'lose the answer' : 'refuse';
      });
      const first = await shop.run(projection(shop)).catch(() => undefined);
      await shop.until(Promise.resolve(first?.whenCaughtUp({ timeoutMs: 2_000 })).catch(() => undefined));
      await shop.until(Promise.resolve(first?.stop()));
      isDown = false;
      await shop.until((await shop.run(projection(shop))).whenCaughtUp());
      await expectTotals(shop, totals);
      await expectCounts(shop, projection);
      await shop[Symbol.asyncDispose]();
    }
  });
});

it('does not fold what had no effect before, where a handler is added and a tenant fails', async () => {
  await using shop = await openShop();
  let fails = 0;
  const release = (countsNotes: boolean) =>
    defineProjection('sales-by-day', {
      streams: [Orders],
      into: DaySales,
      key: ({ type }) => (type === 'placed' || countsNotes ? type : undefined),
      initial: () => ({ orders: 0, cents: 0 }),
      evolve: ({ orders, cents }) => {
        fails -= 1;
        if (fails >= 0) throw new Error('Refused by the test.');
        return { orders: orders + 1, cents };
      },
    });
  const notes = Array.from({ length: 20 }, () => ({ type: 'noted', data: { text: 'former' } }) as const);
  await shop.sell('acme', 'o-1', 'monday', 1);
  const former = await shop.run(release(false));
  await shop.until(former.whenCaughtUp());
  await shop.orders.forTenant('acme').append('notes', notes, { expectedVersion: 0 });
  await shop.until(former.whenCaughtUp());
  await shop.until(former.stop());
  const runner = await shop.run(release(true));
  await shop.until(runner.whenCaughtUp());
  fails = 2;
  await shop.sell('acme', 'o-1', 'monday', 1);
  await shop.orders.forTenant('acme').append('notes', notes.slice(0, 1), { expectedVersion: 20 });
  await shop.until(runner.whenCaughtUp());
  expect(fails).toBeLessThan(0);
  expect(await shop.sales('acme')).toEqual({
    placed: { orders: 2, cents: 0 },
    noted: { orders: 1, cents: 0 },
  });
});

describe('two workers', () => {
  it('share the partitions, and one has all of them after the other has ended', async () => {
    await using shop = await openShop();
    const totals = await sellMany(shop);
    const one = await shop.run();
    expect(held(one)).toBe(2);
    const two = await shop.run();
    await shop.clock.advance(20_000);
    expect([held(one), held(two)]).toEqual([1, 1]);
    await shop.until(two.whenCaughtUp());
    await shop.until(one.whenCaughtUp());
    await expectTotals(shop, totals);
    await shop.until(one.stop());
    await shop.clock.advance(10_000);
    expect(held(two)).toBe(2);
  });

  it('never count an event twice, also where a lease is lost in the middle', async () => {
    await using shop = await openShop();
    const totals = await sellMany(shop);
    const one = await shop.run();
    // another process takes the leases while the first one reads
    const leases = shop.storage.store(
      defineState<object>('sales-by-day leases', { container: 'kvent.projections', scope: 'shared' }),
    );
    await leases.clear();
    const two = await shop.run();
    expect([held(one), held(two)]).toEqual([2, 2]);
    await shop.until(Promise.all([one.whenCaughtUp(), two.whenCaughtUp()]));
    await expectTotals(shop, totals);
    await shop.sell('acme', 'o-1', 'later', 1);
    await shop.until(Promise.all([one.whenCaughtUp(), two.whenCaughtUp()]));
    totals.set('acme', { ...totals.get('acme'), later: { orders: 1, cents: 1 } });
    await expectTotals(shop, totals);
    await shop.clock.advance(20_000);
    expect(held(one) + held(two)).toBe(2);
  });
});

function gate() {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open };
}

describe('a worker that sleeps in the middle of a page', () => {
  it('is refused when it wakes, after another worker has taken over', async () => {
    await using shop = await openShop();
    const totals = await sellMany(shop);
    let awake = gate();
    const { handlerOn } = SalesByDay as ResolvedProjection;
    const sleepy: ResolvedProjection = {
      ...(SalesByDay as ResolvedProjection),
      handlerOn: (storage) => {
        const handler = handlerOn(storage);
        return async (given, context) => {
          await awake.opened;
          await handler(given, context);
        };
      },
    };
    const leases = shop.storage.store(
      defineState<object>('sales-by-day leases', { container: 'kvent.projections', scope: 'shared' }),
    );
    const one = await shop.run(sleepy);
    // with the checkpoint absent at first, then with an older one
    for (const day of ['one', 'two']) {
      await shop.sell('acme', 'o-1', day, 1);
      for (let round = 0; round < 20; round += 1) await shop.clock.advance(0);
      await leases.clear();
      const two = await shop.run();
      await shop.until(two.whenCaughtUp());
      await shop.until(two.stop());
      awake.open();
      await shop.until(one.whenCaughtUp());
      totals.set('acme', { ...totals.get('acme'), [day]: { orders: 1, cents: 1 } });
      await expectTotals(shop, totals);
      awake = gate();
    }
    awake.open();
  });
});

describe('an event that cannot be applied', () => {
  it('stops its tenant alone, until it can be applied', async () => {
    await using shop = await openShop();
    let isRefused = true;
    const careful = defineProjection('careful', {
      streams: [Orders],
      into: DaySales,
      key: ({ type, data }) => (type === 'placed' ? data.day : undefined),
      initial: () => ({ orders: 0, cents: 0 }),
      evolve: (sales, { type, data }) => {
        if (type !== 'placed') return sales;
        if (data.cents < 0 && isRefused) throw new Error('secret');
        return { orders: sales.orders + 1, cents: sales.cents + data.cents };
      },
    });
    await shop.sell('acme', 'o-1', 'monday', 1);
    const bad = await shop.sell('acme', 'o-1', 'monday', -1);
    await shop.sell('acme', 'o-2', 'monday', 2);
    await shop.sell('globex', 'o-1', 'monday', 4);
    const runner = await shop.run(careful);
    expect(await refusal(shop.until(runner.whenCaughtUp()))).toBe(
      `PROJECTION_STOPPED: The projection 'careful' is stopped at order "o-1", version 2.`,
    );
    await shop.until(runner.whenCaughtUp({ tenant: 'globex' }));
    await shop.sell('globex', 'o-1', 'monday', 5);
    await shop.until(runner.whenCaughtUp({ tenant: 'globex' }));
    expect(await shop.sales('globex')).toEqual({ monday: { orders: 2, cents: 9 } });
    expect(await shop.sales('acme')).toEqual({ monday: { orders: 1, cents: 1 } });
    const [partition] = runner.health().partitions;
    expect(runner.health().status).toBe('degraded');
    expect(partition?.behind).toMatchObject([
      {
        tenant: 'acme',
        state: 'stopped',
        reason: 'secret',
        event: { streamType: 'order', stream: 'o-1', version: 2, position: bad.position },
      },
    ]);
    // the next process stops there too
    await shop.until(runner.stop());
    const next = await shop.run(careful);
    expect(await refusal(shop.until(next.whenCaughtUp()))).toContain('PROJECTION_STOPPED');
    isRefused = false;
    next.retry({ tenant: 'acme' });
    await shop.until(next.whenCaughtUp());
    expect(await shop.sales('acme')).toEqual({ monday: { orders: 3, cents: 2 } });
    expect(next.health().status).toBe('up');
  });

  it('is also one that cannot be decoded', async () => {
    await using shop = await openShop();
    const options = { initial: () => 0, evolve: () => 0 };
    const Other = defineStream('order', { ...options, events: { unknown: event() } });
    const others = new EventStore(shop.storage).stream(Other);
    await others.forTenant('acme').append('o-1', [{ type: 'unknown' }], { expectedVersion: 0 });
    await shop.sell('globex', 'o-1', 'monday', 4);
    const runner = await shop.run();
    await shop.until(runner.whenCaughtUp({ tenant: 'globex' }));
    expect(await shop.sales('globex')).toEqual({ monday: { orders: 1, cents: 4 } });
    expect(await refusal(shop.until(runner.whenCaughtUp()))).toContain('PROJECTION_STOPPED');
  });
});

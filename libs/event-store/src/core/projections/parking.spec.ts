/** Streams that are put aside because one of their events cannot be applied. */
import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import { defineState } from '@kvent/key-value-storage';
import { databaseOf } from '@kvent/key-value-storage/internal';
import { defineProjection, type ResolvedProjection } from './projection-definition.js';
import { ProjectionRunner } from './projection-runner.js';
import {
  beforeCommits,
  DaySales,
  faulty,
  isOf,
  openShop,
  Orders,
  SalesByDay,
  type Fault,
  type Shop,
} from './spec-support.js';

const options = { onError: 'park', retry: { attempts: 2 } } as const;

/** Refuses cents below a minimum, until it is corrected. */
function carefully(partitions = 2) {
  const state = { minimum: 0 };
  const projection = defineProjection('careful', {
    streams: [Orders],
    into: DaySales,
    partitions,
    key: ({ type, data }) => (type === 'placed' ? data.day : undefined),
    initial: () => ({ orders: 0, cents: 0 }),
    evolve: (sales, { type, data }) => {
      if (type !== 'placed') return sales;
      if (data.cents < state.minimum) throw new Error(`below ${state.minimum}`);
      return { orders: sales.orders + 1, cents: sales.cents + data.cents };
    },
  });
  return { state, projection };
}
/** Refuses every event. */
const failing = (message: string) =>
  defineProjection('failing', {
    streams: [Orders],
    into: DaySales,
    key: () => 'day',
    initial: () => ({ orders: 0, cents: 0 }),
    evolve: () => {
      throw new Error(message);
    },
  });

/** Two bad events, and others before and after them in their streams; three streams in total. */
async function sellSome(shop: Shop): Promise<void> {
  for (const [id, cents] of [
    ['o-1', 1],
    ['o-1', -2],
    ['o-2', 4],
    ['o-1', 8],
    ['o-3', 16],
    ['o-3', -32],
    ['o-2', 64],
  ] as const)
    await shop.sell('acme', id, 'monday', cents);
  await shop.sell('globex', 'o-1', 'monday', 128);
}
const acme = { tenant: 'acme' };
const corrected = { monday: { orders: 7, cents: 59 } };

it('an event whose error has a long message is parked with the beginning of it, on one line', async () => {
  await using shop = await openShop();
  const runner = await shop.run(failing(`quoted\n\ud800${'😀'.repeat(1_000_000)}`), options);
  await shop.sell('acme', 'o-1', 'monday', 1);
  await shop.until(runner.whenCaughtUp());
  const [parked] = await runner.parked(acme);
  expect(parked?.reason).toMatch(/^quoted\\n\\ud800(😀)+…$/u);
  expect(parked?.reason.length).toBeLessThanOrEqual(1_000);
});

describe('erasing', () => {
  it('keeps the message of a parked event, whose stream was deleted, until it is retried or discarded', async () => {
    await using shop = await openShop();
    const secret = 'Ada-Lovelace';
    const runner = await shop.run(failing(`no day of ${secret}`), options);
    for (const id of ['o-1', 'o-2']) await shop.sell('acme', id, 'monday', 1);
    await shop.until(runner.whenCaughtUp());
    for (const id of ['o-1', 'o-2']) await shop.orders.forTenant('acme').delete(id);
    expect((await runner.parked(acme)).map(({ reason }) => reason)).toEqual(
      ['o-1', 'o-2'].map(() => `no day of ${secret}`),
    );
    const [first] = await runner.parked(acme);
    expect(await runner.discardParked(String(first?.id), acme)).toBe(true);
    expect(await runner.parked(acme)).toHaveLength(1);
    expect(await shop.until(runner.retryParked(acme))).toEqual([]);
  });

  it('keeps the name of a dropped tenant that is stopped, until it is retried or the runner starts again', async () => {
    await using shop = await openShop();
    const { projection } = carefully();
    const runner = await shop.run(projection, { retry: { attempts: 2 } });
    const stopped = () =>
      runner.health().partitions.flatMap(({ behind }) => behind.map(({ tenant }) => tenant));
    await shop.sell('acme', 'o-1', 'monday', -1);
    await shop.sell('globex', 'o-1', 'monday', -1);
    await expect(shop.until(runner.whenCaughtUp(acme))).rejects.toMatchObject({ code: 'PROJECTION_STOPPED' });
    await shop.storage.dropTenant('acme');
    expect(stopped()).toContain('acme');
    runner.retry(acme);
    await shop.until(runner.whenCaughtUp(acme));
    expect(stopped()).not.toContain('acme');
    await shop.storage.dropTenant('globex');
    await shop.until(runner.stop());
    const again = await shop.run(projection, { retry: { attempts: 2 } });
    await shop.until(again.whenCaughtUp());
    expect(again.health()).toMatchObject({ status: 'up' });
  });
});

describe('a stream that is parked', () => {
  it('waits with what follows of it, and everything else goes on, also after a restart', async () => {
    await using shop = await openShop();
    const { state, projection } = carefully();
    await sellSome(shop);
    const runner = await shop.run(projection, options);
    await shop.until(runner.whenCaughtUp());
    await shop.sell('acme', 'o-1', 'monday', 256);
    await shop.sell('acme', 'o-2', 'monday', 512);
    await shop.until(runner.whenCaughtUp());
    const others = { monday: { orders: 5, cents: 1 + 4 + 16 + 64 + 512 } };
    expect(await shop.sales('acme')).toEqual(others);
    const parked = await runner.parked(acme);
    expect(parked.map(({ stream, version, reason }) => [stream, version, reason]).sort()).toEqual([
      ['o-1', 2, 'below 0'],
      ['o-3', 2, 'below 0'],
    ]);
    expect(await runner.parked({ tenant: 'globex' })).toEqual([]);
    await shop.until(runner.stop());
    const next = await shop.run(projection, options);
    await shop.sell('acme', 'o-3', 'monday', 1024);
    await shop.until(next.whenCaughtUp());
    expect(await shop.sales('acme')).toEqual(others);
    expect(await shop.until(next.retryParked(acme))).toHaveLength(2);
    expect(await shop.sales('acme')).toEqual(others);
    state.minimum = -100;
    expect(await shop.until(next.retryParked(acme))).toEqual([]);
    expect(await shop.sales('acme')).toEqual({ monday: { orders: 10, cents: 59 + 256 + 512 + 1024 } });
    await shop.sell('acme', 'o-1', 'monday', 2048);
    await shop.until(next.whenCaughtUp());
    expect((await shop.sales('acme')).monday?.cents).toBe(59 + 256 + 512 + 1024 + 2048);
  });

  it('is discarded, and its next event counts', async () => {
    await using shop = await openShop();
    const { projection } = carefully();
    await sellSome(shop);
    const runner = await shop.run(projection, options);
    await shop.until(runner.whenCaughtUp());
    const parked = await runner.parked(acme);
    const id = parked.find(({ stream }) => stream === 'o-1')?.id ?? '';
    expect(await shop.until(runner.discardParked(id, acme))).toBe(true);
    expect(await shop.until(runner.discardParked(id, acme))).toBe(false);
    await shop.sell('acme', 'o-1', 'monday', 256);
    await shop.until(runner.whenCaughtUp());
    expect(await shop.sales('acme')).toEqual({ monday: { orders: 5, cents: 1 + 4 + 16 + 64 + 256 } });
    expect(await runner.parked(acme)).toHaveLength(1);
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
        first = commits;
        const { state, projection } = carefully();
        const start = async () => await shop.run(projection, options);
        const runner = await start().catch(start);
        await shop.until(runner.whenCaughtUp());
        state.minimum = -100;
        const retry = async () => await runner.retryParked(acme);
        expect(await shop.until(retry().catch(retry))).toEqual([]);
        expect(await shop.sales('acme')).toEqual(corrected);
        isReached = commits - first > failing;
      }
      expect(failing).toBeGreaterThan(9);
    },
  );

  it('stays parked from the event on that fails again, and says at which', async () => {
    await using shop = await openShop();
    const { state, projection } = carefully();
    for (const cents of [-1, 2, -4, 8]) await shop.sell('acme', 'o-1', 'monday', cents);
    const runner = await shop.run(projection, options);
    await shop.until(runner.whenCaughtUp());
    const [before] = await runner.parked(acme);
    expect(before).toMatchObject({ version: 1, reason: 'below 0' });
    state.minimum = -3;
    for (let attempt = 0; attempt < 2; attempt += 1) {
      const left = await shop.until(runner.retryParked(acme));
      expect(left).toEqual([{ ...before, version: 3, reason: 'below -3' }]);
      expect(await shop.sales('acme')).toEqual({ monday: { orders: 2, cents: 1 } });
    }
    state.minimum = -100;
    expect(await shop.until(runner.retryParked(acme))).toEqual([]);
    expect(await shop.sales('acme')).toEqual({ monday: { orders: 4, cents: 5 } });
  });

  it('is applied once beside another process that commits in the middle of it', async () => {
    await using shop = await openShop();
    const { state, projection } = carefully(1);
    const { handlerOn } = projection as ResolvedProjection;
    let [calls, between] = [0, async (): Promise<void> => undefined];
    const interrupted: ResolvedProjection = {
      ...(projection as ResolvedProjection),
      handlerOn: (storage) => {
        const handler = handlerOn(storage);
        return async (given, context) => {
          if ((given.data as { cents: number }).cents < 0) {
            calls += 1;
            const once = between;
            between = async () => undefined;
            await once();
          }
          await handler(given, context);
        };
      },
    };
    await sellSome(shop);
    const reading = await shop.run(projection, options);
    await shop.until(reading.whenCaughtUp());
    state.minimum = -100;
    between = async () => {
      await shop.sell('acme', 'o-1', 'monday', 256);
      await shop.sell('acme', 'o-2', 'monday', 512);
      await shop.until(reading.whenCaughtUp());
    };
    const other = await shop.run(interrupted, options);
    expect(await shop.until(other.retryParked(acme))).toEqual([]);
    // two streams, and the repetition of the first
    expect(calls).toBe(3);
    expect(await shop.sales('acme')).toEqual({ monday: { orders: 9, cents: 59 + 256 + 512 } });
    await shop.sell('acme', 'o-1', 'monday', 1024);
    await shop.until(reading.whenCaughtUp());
    expect((await shop.sales('acme')).monday?.cents).toBe(59 + 256 + 512 + 1024);
  });

  it('fails again while another process commits, and the next stream is tried all the same', async () => {
    let between: (() => Promise<void>) | undefined;
    await using shop = await openShop((provider) =>
      beforeCommits(provider, async (batches) => {
        const once = between;
        if (once === undefined || !isOf(batches, 'careful parked')) return;
        between = undefined;
        await once();
      }),
    );
    const { state, projection } = carefully(1);
    for (const [id, cents] of [
      ['o-1', -32],
      ['o-2', -2],
    ] as const)
      await shop.sell('acme', id, 'monday', cents);
    const runner = await shop.run(projection, options);
    await shop.until(runner.whenCaughtUp());
    state.minimum = -3;
    between = async () => {
      await shop.sell('acme', 'o-3', 'monday', 64);
      await shop.until(runner.whenCaughtUp());
    };
    expect(await shop.until(runner.retryParked(acme))).toMatchObject([
      { stream: 'o-1', version: 1, reason: 'below -3' },
    ]);
    expect(between).toBeUndefined();
    expect(await shop.sales('acme')).toEqual({ monday: { orders: 2, cents: 62 } });
  });

  it('leaves nothing behind when it is deleted', async () => {
    await using shop = await openShop();
    const { projection } = carefully();
    await shop.sell('acme', 'o-1', 'monday', -1);
    const runner = await shop.run(projection, options);
    await shop.until(runner.whenCaughtUp());
    expect(await runner.countParked()).toBe(1);
    await shop.orders.forTenant('acme').delete('o-1', { expectedVersion: 1 });
    expect(await shop.until(runner.retryParked(acme))).toEqual([]);
    expect(await runner.countParked()).toBe(0);
    expect(await shop.sales('acme')).toEqual({});
  });

  it('is counted over all tenants, by every process, also after a restart', async () => {
    await using shop = await openShop();
    const { state, projection } = carefully();
    await sellSome(shop);
    await shop.sell('globex', 'o-2', 'monday', -1);
    const runner = await shop.run(projection, options);
    await shop.until(runner.whenCaughtUp());
    await shop.until(runner.stop());
    const next = await shop.run(projection, options);
    expect(await next.countParked()).toBe(3);
    expect(await runner.countParked()).toBe(3);
    state.minimum = -100;
    await shop.until(next.retryParked(acme));
    expect(await next.countParked()).toBe(1);
    await shop.sell('globex', 'o-2', 'monday', 1);
    await shop.until(next.whenCaughtUp());
    await shop.until(next.retryParked({ tenant: 'globex' }));
    expect(await next.countParked()).toBe(0);
  });

  it.each([1, 400, 1_000])('is counted with few round trips where %i tenants have some', async (tenants) => {
    const trips = new Set<number>();
    let [turn, reading, readingMax] = [0, 0, 0];
    await using shop = await openShop((provider) => {
      const read = provider.read.bind(provider);
      provider.read = async (...given) => {
        trips.add(turn);
        readingMax = Math.max(readingMax, (reading += 1));
        await setImmediate();
        turn += 1;
        reading -= 1;
        return await read(...given);
      };
      return provider;
    });
    const { position } = await shop.sell('acme', 'o-1', 'monday', 1);
    const names = Array.from({ length: tenants }, (_, index) => `tenant-${index}`);
    const container = 'kvent.projections';
    const readers = shop.storage.store(defineState<object>('sales-by-day', { container, scope: 'shared' }));
    const checkpoints = shop.storage.store(
      defineState<object>('sales-by-day', { container, scope: 'tenant' }),
    );
    for (const partition of [0, 1])
      await readers.set(['reader', 1, partition], { position, behind: [], parkedIn: names.map(databaseOf) });
    for (const name of names)
      for (const partition of [0, 1])
        await checkpoints.forTenant(name).set(['checkpoint', 1, partition], { position, parked: 2 });
    const runner = new ProjectionRunner(shop.storage, SalesByDay);
    trips.clear();
    expect(await runner.countParked()).toBe(tenants * 4);
    // the generations, the readers, and checkpoints by the 500
    expect(trips.size).toBeLessThanOrEqual(2 + Math.ceil((2 * tenants) / 500));
    expect(readingMax).toBeLessThanOrEqual(500);
  });

  it('stops its tenant where 1,000 are parked already, until one is discarded', async () => {
    await using shop = await openShop();
    const { projection } = carefully(1);
    const { position } = await shop.sell('acme', 'o-2', 'monday', 1);
    const runner = await shop.run(projection, options);
    await shop.until(runner.whenCaughtUp());
    await shop.until(runner.stop());
    const rows = { container: 'kvent.projections', scope: 'tenant' } as const;
    const row = { container: 'event:order', position, version: 1, reason: 'full', parkedAt: new Date(0) };
    const parked = shop.storage.store(defineState<object>('careful parked', rows)).forTenant('acme');
    const filled = await parked.loadFrom(
      Array.from({ length: 1_000 }, (_, index) => ({
        key: [1, 0, 'event:order', `x-${index}`],
        value: { ...row, entity: `x-${index}` },
      })),
    );
    expect(filled.failures).toEqual([]);
    const checkpoints = shop.storage.store(defineState<object>('careful', rows)).forTenant('acme');
    await checkpoints.set(['checkpoint', 1, 0], { position, parked: 1_000 });
    const next = await shop.run(projection, options);
    await shop.sell('acme', 'o-1', 'monday', -1);
    await expect(shop.until(next.whenCaughtUp())).rejects.toMatchObject({ code: 'PROJECTION_STOPPED' });
    expect(await next.countParked()).toBe(1_000);
    expect(await shop.until(next.discardParked('0/event:order/x-7', acme))).toBe(true);
    next.retry(acme);
    await shop.until(next.whenCaughtUp());
    expect(await next.countParked()).toBe(1_000);
  });

  it.each([
    [170, ' '],
    [73, '\u{1f600}'],
  ])('may have the longest id, %d times %j', async (length, character) => {
    await using shop = await openShop();
    const { state, projection } = carefully();
    const id = character.repeat(length);
    await shop.sell('acme', id, 'monday', -1);
    const runner = await shop.run(projection, options);
    await shop.until(runner.whenCaughtUp());
    expect(await runner.parked(acme)).toMatchObject([{ stream: id }]);
    state.minimum = -100;
    expect(await shop.until(runner.retryParked(acme))).toEqual([]);
    expect(await shop.sales('acme')).toEqual({ monday: { orders: 1, cents: -1 } });
  });

  it('refuses another word for onError', async () => {
    await using shop = await openShop();
    const run = shop.run(carefully().projection, { onError: 'skip' as never });
    await expect(run).rejects.toThrow("onError must be 'stop' or 'park'; got \"skip\".");
  });
});

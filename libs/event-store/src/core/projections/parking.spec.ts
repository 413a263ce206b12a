/** Streams that are put aside because one of their events cannot be applied. */
import { describe, expect, it } from '@jest/globals';
import { defineProjection } from './projection-definition.js';
import { DaySales, faulty, openShop, Orders, type Fault, type Shop } from './spec-support.js';

const options = { onError: 'park', retry: { attempts: 2 } } as const;

/** Refuses negative cents until it is corrected. */
function carefully() {
  const state = { isCorrected: false };
  const projection = defineProjection('careful', {
    streams: [Orders],
    into: DaySales,
    partitions: 2,
    key: ({ type, data }) => (type === 'placed' ? data.day : undefined),
    initial: () => ({ orders: 0, cents: 0 }),
    evolve: (sales, { type, data }) => {
      if (type !== 'placed') return sales;
      if (data.cents < 0 && !state.isCorrected) throw new Error('negative');
      return { orders: sales.orders + 1, cents: sales.cents + data.cents };
    },
  });
  return { state, projection };
}
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
      ['o-1', 2, 'negative'],
      ['o-3', 2, 'negative'],
    ]);
    expect(await runner.parked({ tenant: 'globex' })).toEqual([]);
    await shop.until(runner.stop());
    const next = await shop.run(projection, options);
    await shop.sell('acme', 'o-3', 'monday', 1024);
    await shop.until(next.whenCaughtUp());
    expect(await shop.sales('acme')).toEqual(others);
    expect(await shop.until(next.retryParked(acme))).toHaveLength(2);
    expect(await shop.sales('acme')).toEqual(others);
    state.isCorrected = true;
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
        state.isCorrected = true;
        const retry = async () => await runner.retryParked(acme);
        expect(await shop.until(retry().catch(retry))).toEqual([]);
        expect(await shop.sales('acme')).toEqual(corrected);
        isReached = commits - first > failing;
      }
      expect(failing).toBeGreaterThan(9);
    },
  );

  it('refuses another word for onError', async () => {
    await using shop = await openShop();
    const run = shop.run(carefully().projection, { onError: 'skip' as never });
    await expect(run).rejects.toThrow("onError must be 'stop' or 'park'; got \"skip\".");
  });
});

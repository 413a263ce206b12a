/** Projections as classes. Their exactness is in projections.spec.ts. */
import { describe, expect, it } from '@jest/globals';
import { defineState, MemoryProvider } from '@kvent/key-value-storage';
import { openKeyValueStorage } from '@kvent/key-value-storage/internal';
import { defineStream, event } from '../definition/stream-definition.js';
import { EventStore } from '../event-store.js';
import { On } from './class-handlers.js';
import { Projection, projectionFrom, type ProjectionClass } from './projection-class.js';
import type { ProjectionContext } from './projection-definition.js';
import { ProjectionRunner } from './projection-runner.js';
import { openShop, Orders, SalesAndCounts, salesAndCounts } from './spec-support.js';

const note = [{ type: 'noted', data: { text: '' } }] as const;

/** What `@On` does to a method, with types that the compiler would refuse. */
function declareOn(target: ProjectionClass, stream: unknown, types: readonly unknown[], method: string) {
  const on = On(stream as typeof Orders, ...(types as ['placed']));
  const prototype = target.prototype as object;
  on(prototype, method, Object.getOwnPropertyDescriptor(prototype, method) as TypedPropertyDescriptor<never>);
}
/** The message of what is wrong with a class that has the methods `one` and `two`. */
const declaring = (
  on: readonly (readonly [unknown, readonly unknown[], 'one' | 'two'])[],
  options: object = {},
  name: unknown = 'declared',
) =>
  function declare(): void {
    class Declared {
      one(): void {}
      two(): void {}
    }
    for (const [stream, types, method] of on) declareOn(Declared, stream, types, method);
    Projection(name as string, { streams: [Orders], ...options })(Declared);
  };

describe('a projection class', () => {
  it('changes several states of the tenant of the event in one commit, and removes entries', async () => {
    await using shop = await openShop();
    const runner = await shop.run(salesAndCounts(shop));
    await shop.sell('acme', 'o-1', 'monday', 5);
    await shop.sell('acme', 'o-2', 'monday', 7);
    await shop.sell('globex', 'o-1', 'monday', 1);
    await shop.until(runner.whenCaughtUp());
    expect(await shop.sales('acme')).toEqual({ monday: { orders: 2, cents: 12 } });
    expect(await shop.sales('globex')).toEqual({ monday: { orders: 1, cents: 1 } });
    expect([await shop.counts('acme'), await shop.counts('globex')]).toEqual([
      { 'o-1': 1, 'o-2': 1 },
      { 'o-1': 1 },
    ]);
    await shop.orders.forTenant('acme').append('o-1', note, { expectedVersion: 'any' });
    await shop.orders.forTenant('acme').append('o-2', note, { expectedVersion: 'any' });
    await shop.sell('acme', 'o-2', 'tuesday', 1);
    await shop.until(runner.whenCaughtUp());
    expect(await shop.counts('acme')).toEqual({ 'o-2': 1 });
  });

  it('has the handlers of its base class, and methods that it overrides', async () => {
    await using shop = await openShop();
    @Projection('silent', { streams: [Orders] })
    class Silent extends SalesAndCounts {
      override async noted(): Promise<void> {
        await Promise.resolve();
      }
    }
    await shop.sell('acme', 'o-1', 'monday', 5);
    await shop.orders.forTenant('acme').append('o-1', note, { expectedVersion: 'any' });
    await shop.until((await shop.run(projectionFrom(new Silent(shop.storage)))).whenCaughtUp());
    expect(await shop.counts('acme')).toEqual({ 'o-1': 1 });
  });

  it('is refused with what to write', () => {
    const on = [[Orders, ['placed'], 'one']] as const;
    expect(declaring(on)).not.toThrow();
    expect(declaring([])).toThrow(
      `@Projection on Declared ("declared") has no handler: write @On(stream, 'event type') on a method.`,
    );
    expect(declaring([[Orders, ['palced'], 'one']])).toThrow(
      `@On of Declared.one: the stream 'order' has no event "palced"; it has placed, noted.`,
    );
    expect(declaring([[Orders, [], 'one']])).toThrow(`needs an event type of the stream 'order'`);
    expect(declaring([['order', ['placed'], 'one']])).toThrow('must come from defineStream');
    const Other = defineStream('other', { events: { done: event() }, initial: () => 0, evolve: () => 0 });
    expect(declaring([[Other, ['done'], 'one']])).toThrow(
      "one has @On for the stream 'other', which is not in streams (order). Add it to streams.",
    );
    expect(declaring([...on, [Orders, ['noted', 'placed'], 'two']])).toThrow(
      "one and two both have @On for 'placed' of the stream 'order'.",
    );
    expect(declaring(on, { partition: 2 })).toThrow("Did you mean 'partitions'?");
    expect(declaring(on, {}, Date)).toThrow('@Projection needs a name and its streams');
    expect(() => projectionFrom(new Date())).toThrow('The class Date has no @Projection; declare it');
    expect(() => projectionFrom(undefined as never)).toThrow('undefined has no @Projection');
  });

  it('stops at a change of a state on another provider, and says what to write', async () => {
    const providers = { cache: new MemoryProvider() };
    const storage = await openKeyValueStorage({ provider: new MemoryProvider(), providers });
    const Cached = defineState<{ readonly orders: number }>('cached', { provider: 'cache' });
    @Projection('cached', { streams: [Orders] })
    class OnMain {
      @On(Orders, 'placed', 'noted')
      counted(_event: unknown, { change }: ProjectionContext): void {
        change(storage.store(Cached), 'all', ({ orders }) => ({ orders: orders + 1 }), {
          initial: { orders: 0 },
        });
      }
    }
    @Projection('cached', { streams: [Orders], provider: 'cache' })
    class OnCache extends OnMain {}
    await new EventStore(storage).stream(Orders).append('o-1', note, { expectedVersion: 0 });
    const options = { retry: { attempts: 1 } };
    const wrong = new ProjectionRunner(storage, projectionFrom(new OnMain()), options);
    const right = new ProjectionRunner(storage, projectionFrom(new OnCache()), options);
    await Promise.all([wrong.start(), right.start()]);
    await expect(wrong.whenCaughtUp()).rejects.toMatchObject({
      code: 'PROJECTION_STOPPED',
      cause: {
        code: 'INVALID_OPTION',
        message:
          "The projection 'cached' has its checkpoints on the main provider, and cannot change 'cached' of the provider 'cache' in the same commit. Its states must be on one provider: @Projection(…, { provider: '…' }).",
      },
    });
    await right.whenCaughtUp();
    expect((await storage.store(Cached).getOrThrow('all')).value).toEqual({ orders: 1 });
    await Promise.all([wrong.stop(), right.stop()]);
    await storage.close();
  });
});

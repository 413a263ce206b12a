/** The start and the end of a process with a reaction. */
import { describe, expect, it } from '@jest/globals';
import { defineState, type StorageProvider } from '@kvent/key-value-storage';
import { faulty, type Fault } from '../projections/spec-support.js';
import { ReactionRunner } from './reaction-runner.js';
import { Handlers, nameOf, openReactionShop, reactionTo } from './spec-support.js';

it('starts again after a start that has failed', async () => {
  let isRefused = true;
  await using shop = await openReactionShop((provider) =>
    faulty(provider, () => (isRefused ? 'refuse' : 'none')),
  );
  const handled: string[] = [];
  const runner = new ReactionRunner(
    shop.storage,
    reactionTo((given) => handled.push(nameOf(given))),
  );
  await expect(shop.until(runner.start())).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
  expect(runner.health().partitions).toMatchObject([{ state: 'stopped' }]);
  isRefused = false;
  await shop.sell('acme', 'a', 'monday', 1);
  await shop.until(Promise.all([runner.start(), runner.start()]));
  await shop.until(runner.whenCaughtUp());
  expect(handled).toEqual(['acme a 1']);
  await shop.until(runner.stop());
});

it('ends after stopTimeoutMs though a handler does not, for each call of stop', async () => {
  await using shop = await openReactionShop();
  const handlers = new Handlers();
  const ids = Array.from({ length: 12 }, (_, index) => `o-${index}`);
  for (const id of ids) await shop.sell('acme', id, 'monday', 1);
  const options = { partitions: 2, concurrency: 12 };
  const one = await shop.react(reactionTo(handlers.placed, options), { stopTimeoutMs: 1_000 });
  await shop.settle();
  expect(handlers.running).toBe(12);
  // one of the partitions is to be released, once its handlers have ended
  await shop.react(reactionTo(() => undefined, options));
  await shop.clock.advance(4_000);
  await shop.until(one.stop());
  try {
    let hasEnded = false;
    void one.stop().then(() => (hasEnded = true));
    await shop.clock.advance(1_000);
    await shop.settle();
    expect(hasEnded).toBe(true);
  } finally {
    for (const id of ids) handlers.end(`acme ${id} 1`);
  }
});

describe('a lease that cannot be renewed', () => {
  type Batches = Parameters<StorageProvider['commit']>[0];
  const isOfLease = (batches: Batches): boolean =>
    batches.some(({ changes }) => changes.some(({ address }) => address.key.includes('lease')));

  /** A handler that runs, with a second process that waits for its partition. */
  async function running(fault: { next: () => Fault }) {
    const shop = await openReactionShop((provider) =>
      faulty(provider, (_, batches) => (isOfLease(batches) ? fault.next() : 'none')),
    );
    const [handlers, signals, others] = [new Handlers(), [] as AbortSignal[], [] as string[]];
    const reaction = reactionTo(
      async (given, { signal }) => {
        signals.push(signal);
        await handlers.placed(given);
      },
      { concurrency: 2 },
    );
    await shop.sell('acme', 'a', 'monday', 1);
    const one = await shop.react(reaction);
    await shop.settle();
    const two = await shop.react(reactionTo((given) => others.push(nameOf(given))));
    const rows = { container: 'kvent.reactions', scope: 'shared' } as const;
    const leases = shop.storage.store(defineState<object>('mails leases', rows));
    return { shop, leases, one, two, handlers, signals, others };
  }

  it.each(['refuse', 'lose the answer'] as const)('once (%s) ends no handler', async (kind) => {
    const fault = { next: (): Fault => 'none' };
    const { shop, leases, one, handlers, signals, others } = await running(fault);
    await using _ = shop;
    fault.next = () => {
      fault.next = () => 'none';
      return kind;
    };
    for (let round = 0; round < 5; round += 1) {
      await shop.clock.advance(4_000);
      expect(signals.map(({ aborted }) => aborted)).toEqual([false]);
      expect(one.health().partitions).toMatchObject([{ state: 'running' }]);
    }
    expect(fault.next()).toBe('none');
    await shop.sell('acme', 'b', 'monday', 1);
    await shop.settle();
    expect(handlers.begun).toEqual(['acme a 1', 'acme b 1']);
    for (const name of handlers.begun) handlers.end(name);
    await shop.until(one.whenCaughtUp());
    expect(others).toEqual([]);
    await shop.until(one.stop());
    expect(await leases.count({ prefix: ['lease'] })).toBe(0);
  });

  it('at all ends the handlers before another process can take it', async () => {
    const fault = { next: (): Fault => 'none' };
    const { shop, leases, one, two, handlers, signals, others } = await running(fault);
    await using _ = shop;
    fault.next = () => 'refuse';
    const at = shop.clock.monotonic();
    while (signals[0]?.aborted === false) await shop.clock.advance(50);
    expect(shop.clock.monotonic() - at).toBeGreaterThan(7_000);
    expect(await leases.count({ prefix: ['lease'] })).toBe(1);
    handlers.end('acme a 1', new Error('aborted'));
    await shop.until(one.stop());
    fault.next = () => 'none';
    await shop.until(two.whenCaughtUp());
    expect([handlers.begun, others]).toEqual([['acme a 1'], ['acme a 1']]);
  });
});

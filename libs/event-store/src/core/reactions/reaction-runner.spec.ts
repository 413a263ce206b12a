/** The start and the end of a process with a reaction. */
import { expect, it } from '@jest/globals';
import { faulty } from '../projections/spec-support.js';
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

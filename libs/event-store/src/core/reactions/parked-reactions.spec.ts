/** Streams of a reaction that are put aside, and tried again while others go on. */
import { expect, it } from '@jest/globals';
import { nameOf, openReactionShop, reactionTo } from './spec-support.js';

const acme = { tenant: 'acme' };
const options = { onError: 'park', retry: { attempts: 1 } } as const;

it('calls the handler of a parked event once, also where the checkpoint moves while it runs', async () => {
  await using shop = await openReactionShop();
  const handled: string[] = [];
  let during: (() => Promise<void>) | undefined;
  let isBroken = true;
  const reaction = reactionTo(
    async (given) => {
      if (isBroken && given.stream === 'bad') throw new Error('broken');
      handled.push(nameOf(given));
      if (given.stream !== 'bad') return;
      const once = during;
      during = undefined;
      await once?.();
    },
    { partitions: 1 },
  );
  const runner = await shop.react(reaction, options);
  for (const id of ['bad', 'a']) await shop.sell('acme', id, 'monday', 1);
  await shop.until(runner.whenCaughtUp());
  expect(handled.splice(0)).toEqual(['acme a 1']);
  isBroken = false;
  during = async () => {
    await shop.sell('acme', 'a', 'monday', 1);
    // skipped by the reader, so the stream is not done with its first event
    await shop.sell('acme', 'bad', 'monday', 1);
    await shop.until(runner.whenCaughtUp());
  };
  expect(await shop.until(runner.retryParked(acme))).toEqual([]);
  expect(handled.splice(0)).toEqual(['acme bad 1', 'acme a 2', 'acme bad 2']);
  await shop.sell('acme', 'bad', 'monday', 1);
  await shop.until(runner.whenCaughtUp());
  expect(handled).toEqual(['acme bad 3']);
});

import { getEventListeners } from 'node:events';
import { expect, it } from '@jest/globals';
import type { WriterContext } from '../projections/tenant-writer.js';
import { openShop } from '../projections/spec-support.js';
import { HandlerCalls } from './handler-calls.js';
import { reactionDefinitionOf } from './reaction-definition.js';
import { reactionTo } from './spec-support.js';

it('the calls of handlers follow the signal of their partition, and leave nothing with it', async () => {
  await using shop = await openShop();
  const partition = new AbortController();
  const { signal } = partition;
  const listeners = (): number => getEventListeners(signal, 'abort').length;
  const signals: AbortSignal[] = [];
  let end = (): void => undefined;
  const gate = new Promise<void>((resolve) => (end = resolve));
  const reaction = reactionTo(async (_, context) => {
    signals.push(context.signal);
    await gate;
    if (context.signal.aborted) throw context.signal.reason;
  });
  const context = {
    source: { access: { detached: (_: string, work: () => unknown) => work() } },
    clock: shop.clock,
    signal,
  } as unknown as WriterContext;
  const calls = new HandlerCalls(reactionDefinitionOf(reaction), context);
  const event = { streamType: 'order', type: 'placed', tenant: 'acme' } as Parameters<typeof calls.apply>[0];
  const handled = [1, 2, 3].map(async () => await calls.apply(event));
  expect(listeners()).toBe(1);
  end();
  await Promise.all(handled);
  expect(listeners()).toBe(0);
  expect(shop.clock.waiting).toBe(0);
  const last = calls.apply(event);
  partition.abort(new Error('stopped'));
  await expect(last).rejects.toThrow('stopped');
  expect(signals.map(({ aborted }) => aborted)).toEqual([false, false, false, true]);
});

import { getEventListeners } from 'node:events';
import { expect, test } from '@jest/globals';
import { onAbort } from './on-abort.js';
import { withAbort } from './with-abort.js';

const listenersOf = (signal: AbortSignal): number => getEventListeners(signal, 'abort').length;

test('all that follow a signal share one listener, and leave none', () => {
  const controller = new AbortController();
  const { signal } = controller;
  const aborted: number[] = [];
  const leaves = Array.from({ length: 20 }, (_, number) => onAbort(signal, () => aborted.push(number)));
  expect(listenersOf(signal)).toBe(1);
  for (const leave of leaves) leave();
  expect(listenersOf(signal)).toBe(0);
  const [first, second] = [20, 21].map((number) => onAbort(signal, () => aborted.push(number)));
  first?.();
  first?.();
  controller.abort();
  second?.();
  expect(aborted).toEqual([21]);
  onAbort(signal, () => aborted.push(22));
  expect(aborted).toEqual([21, 22]);
  expect(listenersOf(signal)).toBe(0);
});

test('work has a signal that aborts with that of its caller, and with its own end', async () => {
  const controller = new AbortController();
  const { signal } = controller;
  const ended: AbortSignal[] = [];
  const work = async (own: AbortSignal): Promise<number> => {
    ended.push(own);
    expect(own.aborted).toBe(false);
    expect(listenersOf(signal)).toBe(1);
    return await Promise.resolve(7);
  };
  await expect(withAbort(signal, work)).resolves.toBe(7);
  await expect(
    withAbort(signal, async (own) => {
      await work(own);
      throw new Error('own error');
    }),
  ).rejects.toThrow('own error');
  expect(ended.map(({ aborted }) => aborted)).toEqual([true, true]);
  expect(listenersOf(signal)).toBe(0);
  const reason = await withAbort(signal, async (own) => {
    controller.abort(new Error('enough'));
    return await Promise.resolve(own.reason as Error);
  });
  expect(reason.message).toBe('enough');
  await expect(withAbort(signal, async (own) => own.aborted)).resolves.toBe(true);
  await expect(withAbort(undefined, async (own) => own.aborted)).resolves.toBe(false);
});

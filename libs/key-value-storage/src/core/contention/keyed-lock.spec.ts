import { getEventListeners } from 'node:events';
import { describe, expect, it } from '@jest/globals';
import { systemClock, type Clock } from '../base/clock.js';
import { KeyedLock } from './keyed-lock.js';

const wait = { stallTimeoutMs: 1, deadline: Number.POSITIVE_INFINITY };
/** A clock whose waits end only when they are aborted. */
const endless: Clock = {
  ...systemClock,
  wait: async (_, signal) =>
    await new Promise((_resolve, reject) =>
      signal?.addEventListener('abort', () => reject(signal.reason as Error)),
    ),
};
/** A clock whose waits end at once. */
const immediate: Clock = { ...systemClock, wait: async () => undefined };

describe('a keyed lock', () => {
  it('is held by one caller at a time, in the order of their calls', async () => {
    const locks = new KeyedLock();
    const order: number[] = [];
    await locks.acquire('a', wait, endless, undefined);
    const waiting = [1, 2, 3].map(async (number) => {
      expect(await locks.acquire('a', wait, endless, undefined)).toBe(true);
      order.push(number);
      locks.release('a');
    });
    locks.release('a');
    await Promise.all(waiting);
    expect(order).toEqual([1, 2, 3]);
    expect(locks.tryAcquire('a')).toBe(true);
  });

  it('is not waited for beyond the stall timeout: a holder that never releases it blocks no other call', async () => {
    const locks = new KeyedLock();
    await locks.acquire('a', wait, endless, undefined);
    expect(await locks.acquire('a', wait, immediate, undefined)).toBe(false);
    locks.release('a');
    expect(locks.tryAcquire('a')).toBe(true);
  });

  it('lets 1, then 2, then 4 waiters continue without it while the queue makes no progress', async () => {
    const locks = new KeyedLock();
    await locks.acquire('a', wait, endless, undefined);
    const ticks: (() => void)[] = [];
    const byHand: Clock = {
      ...endless,
      wait: async () => await new Promise((resolve) => ticks.push(resolve)),
    };
    const gone: number[] = [];
    const waiting = Array.from({ length: 9 }, async (_, number) => {
      expect(await locks.acquire('a', wait, byHand, undefined)).toBe(number >= 7);
      gone.push(number);
      if (number >= 7) locks.release('a');
    });
    const tick = async (): Promise<void> => {
      for (const fire of ticks.splice(0)) fire();
      await new Promise((resolve) => setImmediate(resolve));
    };
    await tick();
    expect(gone).toEqual([0]);
    await tick();
    expect(gone).toEqual([0, 1, 2]);
    await tick();
    expect(gone).toEqual([0, 1, 2, 3, 4, 5, 6]);
    locks.release('a');
    await Promise.all(waiting);
    expect(gone).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
    expect(locks.tryAcquire('a')).toBe(true);
  });

  it('is independent of the locks of other names', async () => {
    const locks = new KeyedLock();
    await locks.acquire('a', wait, endless, undefined);
    expect(await locks.acquire('b', wait, endless, undefined)).toBe(true);
  });

  it('leaves nothing with the signal of a caller that waited', async () => {
    const locks = new KeyedLock();
    const { signal } = new AbortController();
    await locks.acquire('a', wait, endless, undefined);
    const next = locks.acquire('a', wait, endless, signal);
    expect(getEventListeners(signal, 'abort')).toHaveLength(1);
    locks.release('a');
    expect(await next).toBe(true);
    expect(await locks.acquire('a', wait, immediate, signal)).toBe(false);
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });

  it('goes to the next waiter when the caller in front aborts', async () => {
    const locks = new KeyedLock();
    const controller = new AbortController();
    await locks.acquire('a', wait, endless, undefined);
    const aborted = locks.acquire('a', wait, endless, controller.signal).catch((error: unknown) => error);
    const next = locks.acquire('a', wait, endless, undefined);
    controller.abort(new Error('enough'));
    expect(await aborted).toEqual(new Error('enough'));
    locks.release('a');
    expect(await next).toBe(true);
  });
});

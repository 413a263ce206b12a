import { describe, expect, it } from '@jest/globals';
import { systemClock, type Clock } from '../base/clock.js';
import { KeyedLock } from './keyed-lock.js';

const patience = { stallTimeoutMs: 1, deadline: Number.POSITIVE_INFINITY };
/** A clock whose waits end only when they are aborted. */
const endless: Clock = {
  ...systemClock,
  wait: async (_, signal) =>
    await new Promise((_resolve, reject) =>
      signal?.addEventListener('abort', () => reject(signal.reason as Error)),
    ),
};
/** One whose waits are over at once. */
const impatient: Clock = { ...systemClock, wait: async () => undefined };

describe('turns at a row', () => {
  it('go to one at a time, in the order in which they were asked for', async () => {
    const turns = new KeyedLock();
    const order: number[] = [];
    await turns.acquire('a', patience, endless, undefined);
    const waiting = [1, 2, 3].map(async (number) => {
      expect(await turns.acquire('a', patience, endless, undefined)).toBe(true);
      order.push(number);
      turns.release('a');
    });
    turns.release('a');
    await Promise.all(waiting);
    expect(order).toEqual([1, 2, 3]);
    expect(turns.isHeld('a')).toBe(false);
  });

  it('are not waited for longer than the patience: a holder that never ends blocks nobody', async () => {
    const turns = new KeyedLock();
    await turns.acquire('a', patience, endless, undefined);
    expect(await turns.acquire('a', patience, impatient, undefined)).toBe(false);
    turns.release('a');
    expect(turns.isHeld('a')).toBe(false);
  });

  it('are given up by those in front first while the line stands: 1, then 2, then 4, and never by all of them at once', async () => {
    const turns = new KeyedLock();
    await turns.acquire('a', patience, endless, undefined);
    const ticks: (() => void)[] = [];
    const byHand: Clock = {
      ...endless,
      wait: async () => await new Promise((resolve) => ticks.push(resolve)),
    };
    const gone: number[] = [];
    const waiting = Array.from({ length: 9 }, async (_, number) => {
      expect(await turns.acquire('a', patience, byHand, undefined)).toBe(number >= 7);
      gone.push(number);
      if (number >= 7) turns.release('a');
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
    turns.release('a');
    await Promise.all(waiting);
    expect(gone).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
    expect(turns.isHeld('a')).toBe(false);
  });

  it('of different rows have nothing to do with each other', async () => {
    const turns = new KeyedLock();
    await turns.acquire('a', patience, endless, undefined);
    expect(await turns.acquire('b', patience, endless, undefined)).toBe(true);
  });

  it('are given up when the caller gives up, and the next in line gets them', async () => {
    const turns = new KeyedLock();
    const controller = new AbortController();
    await turns.acquire('a', patience, endless, undefined);
    const quitter = turns.acquire('a', patience, endless, controller.signal).catch((error: unknown) => error);
    const next = turns.acquire('a', patience, endless, undefined);
    controller.abort(new Error('enough'));
    expect(await quitter).toEqual(new Error('enough'));
    turns.release('a');
    expect(await next).toBe(true);
  });
});

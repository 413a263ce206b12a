import { describe, expect, it } from '@jest/globals';
import type { Clock } from '../base/clock.js';
import { isStorageError, storageError, type StorageErrorInit } from '../base/errors.js';
import { nextDelay, resolveRetry, retryDefaults, retrying, retryOnConflict } from './retry-on-conflict.js';

const conflict = (init: StorageErrorInit = {}) =>
  storageError(
    'STORAGE_CONFLICT',
    'a conflict',
    { key: 'a', expected: '1', actual: '2', check: 'own' },
    init,
  );
/** The waits of the clock, whose time advances only by them. */
const waits: number[] = [];
const clock: Clock = {
  now: () => 0,
  monotonic: () => waits.reduce((sum, ms) => sum + ms, 0),
  wait: async (ms) => void waits.push(ms),
};
const failing = (times: number, error: () => unknown = conflict) => {
  const calls: number[] = [];
  const work = async (attempt: number) => {
    calls.push(attempt);
    if (calls.length <= times) throw error();
    return 'done';
  };
  return { calls, work };
};
const caught = async (work: Promise<unknown>): Promise<unknown> =>
  await work.then(
    () => undefined,
    (error: unknown) => error,
  );

describe('the retry loop', () => {
  it('repeats the work until it succeeds, with the number of the attempt', async () => {
    const { calls, work } = failing(2);
    await expect(retrying(work, retryDefaults, { clock })).resolves.toBe('done');
    expect(calls).toEqual([1, 2, 3]);
  });

  it('gives up after `attempts`, and the error states their number', async () => {
    const { calls, work } = failing(99);
    const error = await caught(retrying(work, { ...retryDefaults, attempts: 4 }, { clock }));
    expect(calls).toHaveLength(4);
    expect(isStorageError(error) && error.attempts).toBe(4);
  });

  it('does not repeat the work of an inner loop that gave up: attempts do not multiply', async () => {
    const { calls, work } = failing(99);
    await caught(
      retryOnConflict(async () => await retrying(work, { ...retryDefaults, attempts: 3 }, { clock }), {
        attempts: 5,
        delayMs: 0,
      }),
    );
    expect(calls).toHaveLength(3);
  });

  it.each([
    ['a conflict with a check of the caller', conflict({ retryable: false })],
    ['a conflict whose effect is unknown', conflict({ effect: 'unknown' })],
    ['another error of the storage', storageError('STORAGE_UNAVAILABLE', 'down', {})],
    ['an error of the application', new Error('boom')],
    ['a thrown text', 'boom'],
  ])('never repeats %s', async (_, error) => {
    const { calls, work } = failing(99, () => error);
    expect(await caught(retryOnConflict(work))).toBe(error);
    expect(calls).toHaveLength(1);
  });

  it('waits with full jitter: from 0 to the doubled delay, never above `delayMsMax`', () => {
    const delay = (attempt: number, random: number) =>
      nextDelay(conflict(), attempt, 0, retryDefaults, { random: () => random });
    expect([1, 2, 3, 6, 9].map((attempt) => delay(attempt, 1))).toEqual([5, 10, 20, 100, 100]);
    expect(delay(3, 0)).toBe(0);
    expect(delay(50, 0)).toBeUndefined();
  });

  it('begins no attempt after `budgetMs`', async () => {
    waits.length = 0;
    const { calls, work } = failing(99);
    await caught(retrying(work, { attempts: 1_000, delayMs: 50, delayMsMax: 50, budgetMs: 200 }, { clock }));
    expect(clock.monotonic()).toBeLessThanOrEqual(200);
    expect(calls.length).toBeGreaterThan(3);
  });

  it('stops waiting when the caller aborts, with effect none', async () => {
    const controller = new AbortController();
    const { calls, work } = failing(99);
    const running = retryOnConflict(work, {
      delayMs: 60_000,
      delayMsMax: 60_000,
      budgetMs: 600_000,
      signal: controller.signal,
    });
    await Promise.resolve();
    controller.abort(new Error('enough'));
    const error = await caught(running);
    expect(isStorageError(error, 'ABORTED') && error.effect).toBe('none');
    expect((error as Error).cause).toEqual(new Error('enough'));
    expect(calls).toHaveLength(1);
  });

  it.each([{ attempts: 0 }, { attempts: 1.5 }, { delayMs: -1 }, { budgetMs: NaN }, { tries: 3 }])(
    'refuses the options %j',
    (options) => {
      expect(() => resolveRetry(options)).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
    },
  );
});

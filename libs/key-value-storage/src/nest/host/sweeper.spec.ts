import { AsyncLocalStorage } from 'node:async_hooks';
import { Logger } from '@nestjs/common';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { stoppedAfter, storageError } from '../../core/base/errors.js';
import { Sweeper } from './sweeper.js';

beforeEach(() => {
  jest.useFakeTimers();
});
afterEach(() => {
  jest.useRealTimers();
  jest.restoreAllMocks();
});
const everyMs = 60_000;
const storageOf = (sweep: () => Promise<number>) => ({
  sweep: jest.fn<(limit?: number) => Promise<number>>(sweep),
});

describe('The sweeper', () => {
  it('removes page by page until nothing is left, again and again', async () => {
    const pages = [1_000, 7, 0, 3, 0];
    const storage = storageOf(async () => pages.shift() ?? 0);
    const sweeper = new Sweeper(storage, everyMs);
    sweeper.start();
    await jest.advanceTimersByTimeAsync(everyMs - 1);
    expect(storage.sweep).toHaveBeenCalledTimes(0);
    await jest.advanceTimersByTimeAsync(1);
    expect(storage.sweep).toHaveBeenCalledTimes(3);
    await jest.advanceTimersByTimeAsync(everyMs);
    expect(storage.sweep).toHaveBeenCalledTimes(5);
    await sweeper.stop();
    await jest.advanceTimersByTimeAsync(10 * everyMs);
    expect(storage.sweep).toHaveBeenCalledTimes(5);
  });

  it('logs a failure and tries again at its next turn', async () => {
    const logged = jest.spyOn(Logger.prototype, 'error').mockImplementation(() => undefined);
    const storage = storageOf(() => Promise.reject(storageError('STORAGE_UNAVAILABLE', 'Gone', {})));
    const sweeper = new Sweeper(storage, everyMs);
    sweeper.start();
    await jest.advanceTimersByTimeAsync(2 * everyMs);
    expect(storage.sweep).toHaveBeenCalledTimes(2);
    expect(logged).toHaveBeenCalledTimes(2);
    await sweeper.stop();
  });

  it('goes on after the failure of one database while rows of others are removed', async () => {
    const logged = jest.spyOn(Logger.prototype, 'error').mockImplementation(() => undefined);
    const removed = [1_000, 7, 0];
    const storage = storageOf(async () => {
      const damaged = storageError('STORAGE_UNAVAILABLE', 'A tenant cannot be written to', {});
      throw stoppedAfter(damaged, removed.shift() ?? 0, damaged.message);
    });
    await new Sweeper(storage, everyMs).sweep();
    expect(storage.sweep).toHaveBeenCalledTimes(3);
    expect(logged).toHaveBeenCalledTimes(1);
  });

  it('begins no further page once it is stopped, and waits for the one under way', async () => {
    let answer = (_: number): void => undefined;
    const storage = storageOf(() => new Promise((resolve) => (answer = resolve)));
    const sweeper = new Sweeper(storage, everyMs);
    sweeper.start();
    await jest.advanceTimersByTimeAsync(everyMs);
    let stopped = false;
    const stopping = sweeper.stop().then(() => (stopped = true));
    await jest.advanceTimersByTimeAsync(everyMs);
    expect(stopped).toBe(false);
    answer(1_000);
    await stopping;
    expect(storage.sweep).toHaveBeenCalledTimes(1);
  });

  it('runs outside the request that it was begun in, at its second turn too', async () => {
    jest.useRealTimers(); // those of Jest carry no context along
    const awake = setInterval(() => undefined, 1_000); // the sweeper keeps nothing alive
    const requests = new AsyncLocalStorage<string>();
    const seen: unknown[] = [];
    let done: () => void;
    const twice = new Promise<void>((resolve) => (done = resolve));
    const storage = storageOf(async () => {
      if (seen.push(requests.getStore()) === 2) done();
      return 0;
    });
    const sweeper = new Sweeper(storage, 1);
    requests.run('a request', () => sweeper.start());
    await twice;
    expect(seen).toEqual([undefined, undefined]);
    await sweeper.stop();
    clearInterval(awake);
  });

  it('keeps no process alive', () => {
    jest.useRealTimers();
    const begun = jest.spyOn(globalThis, 'setTimeout');
    const sweeper = new Sweeper(
      storageOf(async () => 0),
      everyMs,
    );
    sweeper.start();
    const [timer] = begun.mock.results.map(({ value }) => value as NodeJS.Timeout);
    expect(timer?.hasRef()).toBe(false);
    return sweeper.stop();
  });
});

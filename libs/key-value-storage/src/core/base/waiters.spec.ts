import { expect, test } from '@jest/globals';
import { Waiters } from './waiters.js';

test('an event ends all waits, also of work that does not wait for it yet', async () => {
  const waiters = new Waiters();
  const works = [1, 2].map(
    async (number) =>
      await waiters.join(async (notified) => {
        await Promise.resolve();
        await notified;
        return number;
      }),
  );
  expect(waiters.size).toBe(2);
  waiters.notify();
  expect(await Promise.all(works)).toEqual([1, 2]);
});

test('work that ends before the event leaves nothing behind, whatever its result', async () => {
  const waiters = new Waiters();
  await waiters.join(async () => undefined);
  await expect(waiters.join(() => Promise.reject(new Error('own error')))).rejects.toThrow('own error');
  expect(waiters.size).toBe(0);
});

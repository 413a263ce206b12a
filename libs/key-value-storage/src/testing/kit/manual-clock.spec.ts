import { expect, test } from '@jest/globals';
import { ManualClock } from './manual-clock.js';

test('time stands still until it is moved, and both kinds move alike', async () => {
  const clock = new ManualClock(1_000);
  await new Promise((resolve) => setImmediate(resolve));
  expect([clock.now(), clock.monotonic()]).toEqual([1_000, 0]);
  await clock.advance(250);
  expect([clock.now(), clock.monotonic()]).toEqual([1_250, 250]);
});

test('waits end in the order of their times, at their time, also those that begin on the way', async () => {
  const clock = new ManualClock(0);
  const log: string[] = [];
  const sleep = async (name: string, ms: number): Promise<void> => {
    await clock.wait(ms);
    log.push(`${name} at ${clock.now()}`);
  };
  const chain = sleep('b', 20).then(() => sleep('d', 10));
  void sleep('c', 25);
  void sleep('a', 10);
  void sleep('late', 31);
  await clock.advance(30);
  expect(log).toEqual(['a at 10', 'b at 20', 'c at 25', 'd at 30']);
  expect(clock.waiting).toBe(1);
  await clock.advance(1);
  await chain;
  expect([log.at(-1), clock.waiting]).toEqual(['late at 31', 0]);
});

test('a wait ends with its signal, and a signal that was aborted before ends it at once', async () => {
  const clock = new ManualClock();
  const controller = new AbortController();
  const waiting = clock.wait(10, controller.signal);
  controller.abort('enough');
  await expect(waiting).rejects.toBe('enough');
  await expect(clock.wait(10, AbortSignal.abort('before'))).rejects.toBe('before');
  expect(clock.waiting).toBe(0);
});

test('the time of day can be set alone: no wait ends, and the monotonic time stands', async () => {
  const clock = new ManualClock(1_000);
  void clock.wait(10);
  clock.setNow(5);
  await clock.advance(5);
  expect([clock.now(), clock.monotonic(), clock.waiting]).toEqual([10, 5, 1]);
  await expect(clock.advance(-1)).rejects.toThrow(RangeError);
});

import { getEventListeners } from 'node:events';
import { expect, test } from '@jest/globals';
import { aborted, throwIfAborted, untilAborted } from './abort.js';

test('an abort says what was aborted, why, and whether something may have happened', () => {
  const signal = AbortSignal.abort('tired');
  expect(aborted('A write', 'unknown', signal)).toMatchObject({
    code: 'ABORTED',
    effect: 'unknown',
    cause: 'tired',
  });
  expect(() => throwIfAborted('A read', signal)).toThrow(/A read was aborted/);
  expect(() => throwIfAborted('A read', undefined)).not.toThrow();
  expect(() => throwIfAborted('A read', new AbortController().signal)).not.toThrow();
});

test('work that is aborted ends at once with the effect given, and its late failure is nobody’s', async () => {
  const controller = new AbortController();
  let fail: (error: Error) => void = () => undefined;
  const work = new Promise<never>((_, reject) => (fail = reject));
  const ended = untilAborted('A write', 'unknown', controller.signal, work);
  controller.abort();
  await expect(ended).rejects.toMatchObject({ code: 'ABORTED', effect: 'unknown' });
  fail(new Error('late'));
  await new Promise((resolve) => setImmediate(resolve));
});

test('work that is done first is answered, and the signal is let go of', async () => {
  const { signal } = new AbortController();
  await expect(untilAborted('A write', 'none', signal, Promise.resolve(7))).resolves.toBe(7);
  await expect(untilAborted('A write', 'none', signal, Promise.reject(new Error('its own')))).rejects.toThrow(
    'its own',
  );
  expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  await expect(untilAborted('A write', 'none', undefined, Promise.resolve(8))).resolves.toBe(8);
  await expect(
    untilAborted('A write', 'none', AbortSignal.abort(), new Promise(() => undefined)),
  ).rejects.toMatchObject({
    code: 'ABORTED',
  });
});

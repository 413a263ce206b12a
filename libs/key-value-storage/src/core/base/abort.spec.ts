import { getEventListeners } from 'node:events';
import { expect, test } from '@jest/globals';
import { aborted, throwIfAborted, untilAborted } from './abort.js';

test('the error of an abort names the call, its cause and its effect', () => {
  const signal = AbortSignal.abort('the cause');
  expect(aborted('A write', 'unknown', signal)).toMatchObject({
    code: 'ABORTED',
    effect: 'unknown',
    cause: 'the cause',
  });
  expect(() => throwIfAborted('A read', signal)).toThrow(/A read was aborted/);
  expect(() => throwIfAborted('A read', undefined)).not.toThrow();
  expect(() => throwIfAborted('A read', new AbortController().signal)).not.toThrow();
});

test('aborted work ends at once with the stated effect, and a later failure of it is not unhandled', async () => {
  const controller = new AbortController();
  let fail: (error: Error) => void = () => undefined;
  const work = new Promise<never>((_, reject) => (fail = reject));
  const ended = untilAborted('A write', 'unknown', controller.signal, work);
  controller.abort();
  await expect(ended).rejects.toMatchObject({ code: 'ABORTED', effect: 'unknown' });
  fail(new Error('late'));
  await new Promise((resolve) => setImmediate(resolve));
});

test('work that ends first gives its result, and its listener is removed from the signal', async () => {
  const { signal } = new AbortController();
  await expect(untilAborted('A write', 'none', signal, Promise.resolve(7))).resolves.toBe(7);
  await expect(
    untilAborted('A write', 'none', signal, Promise.reject(new Error('own error'))),
  ).rejects.toThrow('own error');
  expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  await expect(untilAborted('A write', 'none', undefined, Promise.resolve(8))).resolves.toBe(8);
  await expect(
    untilAborted('A write', 'none', AbortSignal.abort(), new Promise(() => undefined)),
  ).rejects.toMatchObject({
    code: 'ABORTED',
  });
});

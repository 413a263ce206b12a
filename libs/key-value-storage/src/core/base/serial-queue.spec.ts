import { getEventListeners } from 'node:events';
import { describe, expect, it } from '@jest/globals';
import { SerialQueue } from './serial-queue.js';

describe('a serial queue', () => {
  it('runs work in the order of the calls, one at a time', async () => {
    const queue = new SerialQueue();
    const log: string[] = [];
    const work = (name: string) => async (): Promise<string> => {
      log.push(`start ${name}`);
      await new Promise(setImmediate);
      log.push(`end ${name}`);
      return name;
    };
    expect(await Promise.all([queue.run(work('a')), queue.run(work('b'))])).toEqual(['a', 'b']);
    expect(log).toEqual(['start a', 'end a', 'start b', 'end b']);
  });

  it('goes on after a failure, which rejects the call that it belongs to and no other', async () => {
    const queue = new SerialQueue();
    const failing = queue.run(() => Promise.reject(new Error('broken')));
    const following = queue.run(async () => 'done');
    await expect(failing).rejects.toThrow('broken');
    expect(await following).toBe('done');
    await queue.settled();
  });

  it('removes work that has not begun when its signal aborts, and ends its call at once', async () => {
    const queue = new SerialQueue();
    const controller = new AbortController();
    const { signal } = controller;
    let end = (): void => undefined;
    const first = queue.runUntil('first', signal, () => new Promise<void>((resolve) => (end = resolve)));
    const begun: string[] = [];
    const add = (name: string) => async (): Promise<void> => void begun.push(name);
    const second = queue.runUntil('second', signal, add('second'));
    const third = queue.runUntil('third', new AbortController().signal, add('third'));
    // the first has begun: it ends by itself
    await new Promise(setImmediate);
    controller.abort(new Error('enough'));
    await expect(second).rejects.toMatchObject({ code: 'ABORTED', effect: 'none' });
    await expect(queue.runUntil('late', signal, add('late'))).rejects.toMatchObject({ code: 'ABORTED' });
    expect(begun).toEqual([]);
    end();
    await Promise.all([first, third, queue.settled()]);
    expect(begun).toEqual(['third']);
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });
});

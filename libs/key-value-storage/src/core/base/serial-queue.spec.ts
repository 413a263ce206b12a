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
});

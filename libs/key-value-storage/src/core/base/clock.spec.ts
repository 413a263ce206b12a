import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { SteadyTime, systemClock, type Clock } from './clock.js';

class SettableClock implements Clock {
  wall = 1_000;
  elapsed = 0;
  now = (): number => this.wall;
  monotonic = (): number => this.elapsed;
  wait = (): Promise<void> => Promise.resolve();
}

describe('steady time', () => {
  test('is the time of the wall clock while that goes forward', () => {
    const clock = new SettableClock();
    const time = new SteadyTime(clock);
    time.stored(time.now());
    [clock.wall, clock.elapsed] = [1_500, 500];
    expect(time.now()).toBe(1_500);
    clock.wall = 9_000;
    expect(time.now()).toBe(9_000);
  });

  test('continues from the stored time when the wall clock goes back', () => {
    const clock = new SettableClock();
    const time = new SteadyTime(clock);
    time.stored(time.now());
    [clock.wall, clock.elapsed] = [10, 250.9];
    expect(time.now()).toBe(1_250);
  });

  test('ignores a wrong wall time that was never stored', () => {
    const clock = new SettableClock();
    const time = new SteadyTime(clock);
    time.stored(time.now());
    clock.wall = 1e12;
    expect(time.now()).toBe(1e12);
    [clock.wall, clock.elapsed] = [1_010, 10];
    expect(time.now()).toBe(1_010);
  });

  test('begins at the stored time when that is later than the wall clock', () => {
    const clock = new SettableClock();
    const time = new SteadyTime(clock);
    time.stored(5_000);
    clock.elapsed = 7;
    expect(time.now()).toBe(5_007);
  });

  test('continues from a time that was stored ahead of the wall clock, and reports it', () => {
    const clock = new SettableClock();
    const time = new SteadyTime(clock);
    clock.wall = 3_000;
    time.found({ time: 50_000, wall: 1_000 });
    expect(time.now()).toBe(52_000);
    expect(time.ahead()).toEqual({ time: 52_000, wall: 3_000 });
    // no addition for a time that was equal to its wall clock: the wall clock went back since then
    time.found({ time: 60_000, wall: 60_000 });
    expect(time.now()).toBe(60_000);
    clock.wall = 70_000;
    expect([time.now(), time.ahead()]).toEqual([70_000, undefined]);
  });

  test('never goes back while each reading is stored, and is a whole number like the wall clock', () => {
    const step = fc.record({
      wall: fc.integer({ min: -5_000, max: 5_000 }),
      elapsed: fc.double({ min: 0, max: 100, noNaN: true }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const clock = new SettableClock();
        const time = new SteadyTime(clock);
        let last = Number.NEGATIVE_INFINITY;
        for (const { wall, elapsed } of steps) {
          clock.wall += wall;
          clock.elapsed += elapsed;
          const now = time.now();
          expect(now).toBeGreaterThanOrEqual(last);
          expect(Number.isInteger(now)).toBe(true);
          time.stored(now);
          last = now;
        }
      }),
    );
  });

  test('adds up the fractions of a millisecond between commits', () => {
    const clock = new SettableClock();
    const time = new SteadyTime(clock);
    time.stored(time.now());
    clock.wall = 0;
    for (let step = 0; step < 1_000; step += 1) {
      clock.elapsed += 0.5;
      time.stored(time.now());
    }
    expect(time.now()).toBe(1_500);
  });
});

describe('the system clock', () => {
  test('ends a wait with the reason of its signal', async () => {
    const controller = new AbortController();
    const waiting = systemClock.wait(60_000, controller.signal);
    controller.abort('the reason');
    await expect(waiting).rejects.toBe('the reason');
    await expect(systemClock.wait(60_000, AbortSignal.abort('aborted before'))).rejects.toBe(
      'aborted before',
    );
    await systemClock.wait(1, new AbortController().signal);
  });
});

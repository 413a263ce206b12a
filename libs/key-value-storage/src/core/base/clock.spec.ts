import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { SteadyTime, systemClock, type Clock } from './clock.js';

class Hands implements Clock {
  wall = 1_000;
  passed = 0;
  now = (): number => this.wall;
  monotonic = (): number => this.passed;
  wait = (): Promise<void> => Promise.resolve();
}

describe('steady time', () => {
  test('is the wall clock as long as that goes forward', () => {
    const hands = new Hands();
    const time = new SteadyTime(hands);
    time.stored(time.now());
    [hands.wall, hands.passed] = [1_500, 500];
    expect(time.now()).toBe(1_500);
    hands.wall = 9_000;
    expect(time.now()).toBe(9_000);
  });

  test('goes on from what was stored when the wall clock steps back: it neither goes back nor stands still', () => {
    const hands = new Hands();
    const time = new SteadyTime(hands);
    time.stored(time.now());
    [hands.wall, hands.passed] = [10, 250.9];
    expect(time.now()).toBe(1_250);
  });

  test('forgets a wrong reading that was never stored', () => {
    const hands = new Hands();
    const time = new SteadyTime(hands);
    time.stored(time.now());
    hands.wall = 1e12;
    expect(time.now()).toBe(1e12);
    [hands.wall, hands.passed] = [1_010, 10];
    expect(time.now()).toBe(1_010);
  });

  test('begins with what was found stored, when that is later than the wall clock', () => {
    const hands = new Hands();
    const time = new SteadyTime(hands);
    time.stored(5_000);
    hands.passed = 7;
    expect(time.now()).toBe(5_007);
  });

  test('that was found stored ahead of the wall clock goes on by what passed since, and is told', () => {
    const hands = new Hands();
    const time = new SteadyTime(hands);
    hands.wall = 3_000;
    time.found({ time: 50_000, wall: 1_000 });
    expect(time.now()).toBe(52_000);
    expect(time.ahead()).toEqual({ time: 52_000, wall: 3_000 });
    // one that was read with the wall clock does not: it may be ahead only now
    time.found({ time: 60_000, wall: 60_000 });
    expect(time.now()).toBe(60_000);
    hands.wall = 70_000;
    expect([time.now(), time.ahead()]).toEqual([70_000, undefined]);
  });

  test('never goes back while what was read is stored, whatever the wall clock does, and is whole where that is', () => {
    const step = fc.record({
      wall: fc.integer({ min: -5_000, max: 5_000 }),
      passed: fc.double({ min: 0, max: 100, noNaN: true }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const hands = new Hands();
        const time = new SteadyTime(hands);
        let last = Number.NEGATIVE_INFINITY;
        for (const { wall, passed } of steps) {
          hands.wall += wall;
          hands.passed += passed;
          const now = time.now();
          expect(now).toBeGreaterThanOrEqual(last);
          expect(Number.isInteger(now)).toBe(true);
          time.stored(now);
          last = now;
        }
      }),
    );
  });

  test('keeps the fractions of a millisecond that pass between two commits', () => {
    const hands = new Hands();
    const time = new SteadyTime(hands);
    time.stored(time.now());
    hands.wall = 0;
    for (let step = 0; step < 1_000; step += 1) {
      hands.passed += 0.5;
      time.stored(time.now());
    }
    expect(time.now()).toBe(1_500);
  });
});

describe('the system clock', () => {
  test('ends a wait with the reason of its signal, and lets go of the signal', async () => {
    const controller = new AbortController();
    const waiting = systemClock.wait(60_000, controller.signal);
    controller.abort('enough');
    await expect(waiting).rejects.toBe('enough');
    await expect(systemClock.wait(60_000, AbortSignal.abort('before'))).rejects.toBe('before');
    await systemClock.wait(1, new AbortController().signal);
  });
});

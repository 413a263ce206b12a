/** A clock whose time a test moves. */
import { setImmediate } from 'node:timers/promises';
import type { Clock } from '../../core.js';

interface Wait {
  readonly due: number;
  readonly wake: () => void;
}

const start = Date.UTC(2030, 0, 1);

/**
 * A `Clock` for tests: `await clock.advance(60_000)` moves the time of day and the monotonic time.
 * It ends the waits that are due, in the order of their times; after each, pending microtasks have
 * run. Waits end at whole milliseconds, as timers do. `setNow` sets the time of day alone, also
 * back.
 */
export class ManualClock implements Clock {
  #now: number;
  #monotonic = 0;
  readonly #waits = new Set<Wait>();

  constructor(now: number = start) {
    this.#now = now;
  }

  now(): number {
    return this.#now;
  }

  monotonic(): number {
    return this.#monotonic;
  }

  /** The number of pending waits. */
  get waiting(): number {
    return this.#waits.size;
  }

  wait(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) return reject(signal.reason as Error);
      const end = (settle: () => void): void => {
        this.#waits.delete(wait);
        signal?.removeEventListener('abort', stop);
        settle();
      };
      const stop = (): void => end(() => reject(signal?.reason as Error));
      const wait: Wait = { due: this.#monotonic + Math.max(0, Math.ceil(ms)), wake: () => end(resolve) };
      this.#waits.add(wait);
      signal?.addEventListener('abort', stop, { once: true });
    });
  }

  /** Moves the time by `ms` milliseconds. Waits that begin in between and are due end too. */
  async advance(ms: number): Promise<void> {
    if (!(ms >= 0))
      throw new RangeError(`ms must be 0 or more; got ${ms}. To set the time of day back, use setNow.`);
    const end = this.#monotonic + ms;
    await settled();
    for (let next = this.#next(end); next !== undefined; next = this.#next(end)) {
      this.#pass(Math.max(0, next.due - this.#monotonic));
      next.wake();
      await settled();
    }
    this.#pass(end - this.#monotonic);
    await settled();
  }

  /** Sets the time of day only: no wait ends, and the monotonic time stays the same. */
  setNow(now: number): void {
    this.#now = now;
  }

  #pass(ms: number): void {
    this.#monotonic += ms;
    this.#now += ms;
  }

  /** The wait that ends first, up to a time; of equal ones, the oldest. */
  #next(end: number): Wait | undefined {
    let next: Wait | undefined;
    for (const wait of this.#waits)
      if (wait.due <= end && (next === undefined || wait.due < next.due)) next = wait;
    return next;
  }
}

/** All pending microtasks have run. */
const settled = (): Promise<void> => setImmediate();

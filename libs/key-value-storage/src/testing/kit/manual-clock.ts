/** Time that stands still until a test moves it. */
import { setImmediate } from 'node:timers/promises';
import type { Clock } from '../../core.js';

interface Wait {
  readonly due: number;
  readonly wake: () => void;
}

const start = Date.UTC(2030, 0, 1);

/**
 * A `Clock` for tests: `await clock.advance(60_000)` moves the time of day and the monotonic time,
 * and wakes whoever waits, in the order of their times; what they do next has settled when it
 * answers. Waits end at whole milliseconds, as timers do. `setNow` moves the time of day alone,
 * back as well: as an administrator would.
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

  /** How many wait at this moment. */
  get waiting(): number {
    return this.#waits.size;
  }

  wait(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) return reject(signal.reason as Error);
      const end = (then: () => void): void => {
        this.#waits.delete(wait);
        signal?.removeEventListener('abort', stop);
        then();
      };
      const stop = (): void => end(() => reject(signal?.reason as Error));
      const wait: Wait = { due: this.#monotonic + Math.max(0, Math.ceil(ms)), wake: () => end(resolve) };
      this.#waits.add(wait);
      signal?.addEventListener('abort', stop, { once: true });
    });
  }

  /** Lets this many milliseconds pass. Waits that begin meanwhile and end in time are woken too. */
  async advance(ms: number): Promise<void> {
    if (!(ms >= 0))
      throw new RangeError(
        `Time passes forward: ${ms} ms were asked for. To move the time of day back, use setNow.`,
      );
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

  /** Sets the time of day and nothing else: no wait ends, the monotonic time stands. */
  setNow(now: number): void {
    this.#now = now;
  }

  #pass(ms: number): void {
    this.#monotonic += ms;
    this.#now += ms;
  }

  /** Who is to be woken first, up to a time; of equals the one that has waited longest. */
  #next(end: number): Wait | undefined {
    let next: Wait | undefined;
    for (const wait of this.#waits)
      if (wait.due <= end && (next === undefined || wait.due < next.due)) next = wait;
    return next;
  }
}

/** One turn of the event loop: all microtasks have run. */
const settled = (): Promise<void> => setImmediate();

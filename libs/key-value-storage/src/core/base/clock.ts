/** Time as a parameter: the library reads the time and waits only through a `Clock`. */

import { onAbort } from './on-abort.js';

/**
 * `now`: milliseconds since 1970; may jump. `monotonic`: milliseconds since any moment; never steps
 * back. `wait` rejects with the signal's reason.
 */
export interface Clock {
  now(): number;
  monotonic(): number;
  wait(ms: number, signal?: AbortSignal): Promise<void>;
}

/** The longest wait of a timer, in milliseconds: a longer one ends at once. */
export const timerMsMax = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  wait: (ms, signal) => wait(ms, signal, true),
};

/** The system's clock for work in the background: its timers do not keep the process alive. */
export const backgroundClock: Clock = {
  ...systemClock,
  wait: (ms, signal) => wait(ms, signal, false),
};

const wait = (ms: number, signal: AbortSignal | undefined, keepsAlive: boolean): Promise<void> =>
  new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason as Error);
    const stop = (): void => {
      clearTimeout(timer);
      reject(signal?.reason as Error);
    };
    const timer = setTimeout(() => {
      leave?.();
      resolve();
    }, ms);
    if (!keepsAlive) (timer as { unref?: () => void }).unref?.();
    const leave = signal && onAbort(signal, stop);
  });

/** A time that was stored, and the wall clock at that moment, which may have been behind it. */
export interface StoredTime {
  readonly time: number;
  readonly wall: number;
}

/**
 * The time of providers without a server: the wall clock, but never before the last stored time
 * plus the monotonic time since then. So a wall clock that steps back revives no expired row and
 * stops no countdown, and a reading that was never stored has no effect.
 */
export class SteadyTime {
  readonly #clock: Clock;
  /** The last stored time, and the monotonic clock at that moment. */
  #stored = Number.NEGATIVE_INFINITY;
  #storedAt = 0;
  /** The monotonic clock at the last reading. */
  #readAt = 0;
  /** The wall clock at the last reading. */
  #wall = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  now(): number {
    this.#readAt = this.#clock.monotonic();
    this.#wall = this.#clock.now();
    // whole milliseconds: they are stored, and compared for equality
    return Math.max(this.#wall, this.#stored + Math.floor(this.#readAt - this.#storedAt));
  }

  /** The wall clock at the last reading. */
  get wall(): number {
    return this.#wall;
  }

  /** Both times as they are now, where the time is ahead of the wall clock. */
  ahead(): StoredTime | undefined {
    const wall = this.#clock.now();
    const time = this.#stored + Math.floor(this.#clock.monotonic() - this.#storedAt);
    return time > wall ? { time, wall } : undefined;
  }

  /**
   * Continues from a time that was stored before the database was opened. Where the wall clock was
   * behind it, the wall time since then counts too: time passes while the database is closed.
   */
  found({ time, wall }: StoredTime): void {
    this.#readAt = this.#clock.monotonic();
    const resumed = time + (wall < time ? Math.max(0, this.#clock.now() - wall) : 0);
    if (resumed <= this.#stored + (this.#readAt - this.#storedAt)) return;
    this.#stored = resumed;
    this.#storedAt = this.#readAt;
  }

  /** Records that a time just read from `now()` was stored with a commit. */
  stored(time: number): void {
    if (this.#stored === Number.NEGATIVE_INFINITY) this.#readAt = this.#clock.monotonic();
    if (time < this.#stored + (this.#readAt - this.#storedAt)) return;
    this.#stored = time;
    this.#storedAt = this.#readAt;
  }
}

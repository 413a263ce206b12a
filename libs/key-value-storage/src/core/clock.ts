/** Time as a parameter: nothing in the library reads the time of day or sleeps except through a `Clock`. */

/** `now`: milliseconds since 1970, may jump. `monotonic`: milliseconds since some moment, never steps back. `wait` rejects with the signal's reason. */
export interface Clock {
  now(): number;
  monotonic(): number;
  wait(ms: number, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  wait: (ms, signal) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason as Error);
      const stop = (): void => {
        clearTimeout(timer);
        reject(signal?.reason as Error);
      };
      const timer = setTimeout(() => {
        signal?.removeEventListener('abort', stop);
        resolve();
      }, ms);
      signal?.addEventListener('abort', stop, { once: true });
    }),
};

/**
 * The time that providers without a server run on: the wall clock, but never before the last time stored plus the monotonic time passed
 * since. So a wall clock that steps back revives no expired row and stops no countdown, and a reading that was never stored spoils nothing.
 */
export class SteadyTime {
  readonly #clock: Clock;
  /** The last time stored, and what the monotonic clock said then. */
  #stored = Number.NEGATIVE_INFINITY;
  #storedAt = 0;
  /** What the monotonic clock said at the last reading. */
  #readAt = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  now(): number {
    this.#readAt = this.#clock.monotonic();
    // whole milliseconds: they are stored, and compared for equality
    return Math.max(this.#clock.now(), this.#stored + Math.floor(this.#readAt - this.#storedAt));
  }

  /** Remembers a time just read from `now()` that was stored with a commit, or one found stored when the database was opened. */
  stored(time: number): void {
    if (this.#stored === Number.NEGATIVE_INFINITY) this.#readAt = this.#clock.monotonic();
    if (time < this.#stored + (this.#readAt - this.#storedAt)) return;
    this.#stored = time;
    this.#storedAt = this.#readAt;
  }
}

/**
 * Time as a parameter: nothing in the library reads the time of day or sleeps except through a
 * `Clock`.
 */

/**
 * `now`: milliseconds since 1970, may jump. `monotonic`: milliseconds since some moment, never
 * steps back. `wait` rejects with the signal's reason.
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
 * A time that was stored, and what the wall clock said at that moment: less, where it had been
 * ahead and was put right.
 */
export interface StoredTime {
  readonly time: number;
  readonly wall: number;
}

/**
 * The time that providers without a server run on: the wall clock, but never before the last time
 * stored plus the monotonic time passed since. So a wall clock that steps back revives no expired
 * row and stops no countdown, and a reading that was never stored spoils nothing.
 */
export class SteadyTime {
  readonly #clock: Clock;
  /** The last time stored, and what the monotonic clock said then. */
  #stored = Number.NEGATIVE_INFINITY;
  #storedAt = 0;
  /** What the monotonic clock said at the last reading. */
  #readAt = 0;
  /** What the wall clock said at the last reading. */
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

  /** What the wall clock said at the last reading. */
  get wall(): number {
    return this.#wall;
  }

  /**
   * Where the time stored goes on ahead of the wall clock: both as they are now. `undefined` where
   * the wall clock leads.
   */
  ahead(): StoredTime | undefined {
    const wall = this.#clock.now();
    const time = this.#stored + Math.floor(this.#clock.monotonic() - this.#storedAt);
    return time > wall ? { time, wall } : undefined;
  }

  /**
   * Goes on from a time found stored when the database was opened. Where the wall clock was behind
   * it, what has passed by the wall clock since then counts too: the time does not stand still
   * while nobody has it open.
   */
  found({ time, wall }: StoredTime): void {
    this.#readAt = this.#clock.monotonic();
    const resumed = time + (wall < time ? Math.max(0, this.#clock.now() - wall) : 0);
    if (resumed <= this.#stored + (this.#readAt - this.#storedAt)) return;
    this.#stored = resumed;
    this.#storedAt = this.#readAt;
  }

  /** Remembers a time just read from `now()` that was stored with a commit. */
  stored(time: number): void {
    if (this.#stored === Number.NEGATIVE_INFINITY) this.#readAt = this.#clock.monotonic();
    if (time < this.#stored + (this.#readAt - this.#storedAt)) return;
    this.#stored = time;
    this.#storedAt = this.#readAt;
  }
}

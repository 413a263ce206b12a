/**
 * The server's time between its answers: where an answer carries none, it is reckoned from the last
 * that did, by the monotonic time passed since. It is the one place where a time of this process
 * meets the server's: only as a span, for ten seconds at most, and for reads that found nothing. A
 * clock of the server that is set meanwhile is noticed at the next answer.
 */
import { systemClock } from '@kvent/key-value-storage/provider';

/** Clocks drift apart; beyond this many milliseconds without an answer the server is asked. */
const reckonedMsMax = 10_000;

export class ServerTime {
  #time = Number.NaN;
  #observedAt = Number.NEGATIVE_INFINITY;

  /** Remembers the time of an answer that has just come. */
  observe(time: number): void {
    this.#time = time;
    this.#observedAt = systemClock.monotonic();
  }

  /**
   * When a statement began that was sent at this moment of the monotonic clock: never later than it
   * did. Undefined when too long nothing was heard.
   */
  at(sent: number): number | undefined {
    const elapsed = sent - this.#observedAt;
    return elapsed >= 0 && elapsed < reckonedMsMax
      ? this.#time + Math.floor(elapsed)
      : elapsed < 0 && elapsed > -reckonedMsMax
        ? this.#time
        : undefined;
  }
}

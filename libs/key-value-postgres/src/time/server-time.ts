/**
 * Estimates the server's time for a read that found no row, and so returned no time: from the last
 * time that the server sent, and the monotonic time of this process since then, for ten seconds at
 * most. If the server's clock is set, the next time that it sends corrects the estimate.
 */
import { systemClock } from '@kvent/key-value-storage/provider';

/** Clocks drift apart: after this time the server is asked. */
const estimatedMsMax = 10_000;

export class ServerTime {
  #time = Number.NaN;
  #observedAt = Number.NEGATIVE_INFINITY;

  /** Takes the time of a response that has just arrived. */
  observe(time: number): void {
    this.#time = time;
    this.#observedAt = systemClock.monotonic();
  }

  /**
   * When a statement began that was sent at this time of the monotonic clock, never too late.
   * Undefined when the last response is too old.
   */
  at(sent: number): number | undefined {
    const elapsed = sent - this.#observedAt;
    return elapsed >= 0 && elapsed < estimatedMsMax
      ? this.#time + Math.floor(elapsed)
      : elapsed < 0 && elapsed > -estimatedMsMax
        ? this.#time
        : undefined;
  }
}

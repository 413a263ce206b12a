/**
 * Whether the owner of a lock is dead: its process has ended, or there was no heartbeat for 3 s.
 * The silence is the sum of the steps between two polls, each counted with at most twice its
 * planned length. So a suspended observer, or a clock that leaps, declares no owner dead.
 */
import type { ProcessIdentity } from './process-identity.js';
import { readOwner } from './lock-text.js';

const silenceMs = 3_000;
export const pollMs = 100;

export class OwnerLiveness {
  readonly #isGone: (process: ProcessIdentity) => boolean;
  #text: string | undefined;
  #seenAt = 0;
  #silence = 0;

  constructor(isGone: (process: ProcessIdentity) => boolean) {
    this.#isGone = isGone;
  }

  /** `text`: the lock at this time of the observer's monotonic clock. */
  isDead(text: string, monotonic: number): boolean {
    const owner = readOwner(text);
    if (owner !== undefined && this.#isGone(owner)) return true;
    if (text === this.#text) this.#silence += Math.min(monotonic - this.#seenAt, 2 * pollMs);
    else this.#silence = 0;
    this.#text = text;
    this.#seenAt = monotonic;
    return this.#silence >= silenceMs;
  }
}

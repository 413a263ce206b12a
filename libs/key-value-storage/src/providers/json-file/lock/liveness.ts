/**
 * Whether the owner of a lock is dead: its process is gone, or no beat came for 3 s. Silence is
 * counted by looking: a step between two looks counts for no more than it was meant to last, so a
 * judge that was asleep itself, or a clock that leaps, condemns nobody.
 */
import type { ProcessIdentity } from './process-identity.js';
import { readOwner } from './lock-text.js';

const silenceMs = 3_000;
export const lookEveryMs = 100;

export class LockJudge {
  readonly #isGone: (process: ProcessIdentity) => boolean;
  #text: string | undefined;
  #seenAt = 0;
  #silence = 0;

  constructor(isGone: (process: ProcessIdentity) => boolean) {
    this.#isGone = isGone;
  }

  /** Takes in what the lock says at a moment of the judge's own monotonic clock. */
  isDead(text: string, monotonic: number): boolean {
    const owner = readOwner(text);
    if (owner !== undefined && this.#isGone(owner)) return true;
    if (text === this.#text) this.#silence += Math.min(monotonic - this.#seenAt, 2 * lookEveryMs);
    else this.#silence = 0;
    this.#text = text;
    this.#seenAt = monotonic;
    return this.#silence >= silenceMs;
  }
}

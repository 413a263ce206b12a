/**
 * Whether the owner of a lock is dead: its process has ended, or there was no heartbeat for 3 s.
 * The silence is the sum of the steps between two polls, each counted with at most twice its
 * planned length. So a suspended observer, or a clock that leaps, declares no owner dead.
 */
import { canSee, type Processes } from './process-identity.js';
import { readOwner } from './lock-text.js';

const silenceMs = 3_000;
export const pollMs = 100;

export class OwnerLiveness {
  readonly #processes: Processes;
  #text: string | undefined;
  #seenAt = 0;
  #silence = 0;
  #hasChanged = false;

  constructor(processes: Processes) {
    this.#processes = processes;
  }

  /** `text`: the lock at this time of the observer's monotonic clock. */
  isDead(text: string, monotonic: number): boolean {
    const owner = readOwner(text);
    if (owner !== undefined && this.#processes.isGone(owner)) return true;
    if (text === this.#text) this.#silence += Math.min(monotonic - this.#seenAt, 2 * pollMs);
    else {
      this.#silence = 0;
      this.#hasChanged = this.#text !== undefined;
    }
    this.#text = text;
    this.#seenAt = monotonic;
    return this.#silence >= silenceMs;
  }

  /**
   * Whether the owner of a lock that is not dead certainly lives: its process can be seen, or has
   * written to the lock since the first look. Else it may have ended with its machine or container.
   */
  isAlive(text: string): boolean {
    const owner = readOwner(text);
    return this.#hasChanged || (owner !== undefined && canSee(this.#processes.own, owner));
  }
}

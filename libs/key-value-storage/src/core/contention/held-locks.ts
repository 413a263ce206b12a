/**
 * The turns that one caller has while it repeats its work: at the row it works at, and at the other
 * row of its commits where it was last beaten. At one such row and not at all of them: who held one
 * line while waiting in another would keep everybody waiting in both.
 */
import { throwIfAborted } from '../base/abort.js';
import { systemClock } from '../base/clock.js';
import { rowNameOf } from '../commit/commit.js';
import { isConflict } from '../base/errors.js';
import type { RetryPolicy } from './retry-on-conflict.js';
import type { RowAddress } from '../port/storage-provider.js';
import type { KeyedLock } from './keyed-lock.js';

/**
 * How long a line may stand still. Whoever goes without the turn makes the conflicts that turns are
 * there to avoid, so this is long beside a commit, on a busy machine too; it is short beside the
 * time that work is repeated for.
 */
const stallTimeoutMs = 1_000;

/** On a conflict: the row where it was met. */
const lostAt = Symbol('kvent.lost-at');

/** The name of a row's turn. */
export const lockNameOf = (database: string, address: RowAddress): string =>
  `${database}\0${rowNameOf(address)}`;

/** Tells the loop that repeats the work where it was lost. */
export function lost<E extends Error>(error: E, turn: string): E {
  if (isConflict(error)) Object.defineProperty(error, lostAt, { value: turn, configurable: true });
  return error;
}

export class HeldLocks {
  readonly #turns: KeyedLock;
  readonly #policy: RetryPolicy;
  readonly #deadline: number;
  readonly #own: string | undefined;
  readonly #held = new Set<string>();
  #beatenAt: string | undefined;

  /** `held`: the turn at the caller's own row was begun already. */
  constructor(
    turns: KeyedLock,
    policy: RetryPolicy,
    own?: { readonly turn: string; readonly held: boolean },
  ) {
    this.#turns = turns;
    this.#policy = policy;
    this.#deadline = systemClock.monotonic() + policy.budgetMs;
    this.#own = own?.turn;
    if (own?.held === true) this.#held.add(own.turn);
  }

  /** Runs an attempt, and hears where it was lost. */
  async noting<R>(attempt: () => Promise<R>): Promise<R> {
    try {
      return await attempt();
    } catch (error) {
      this.#beatenAt = (error as { readonly [lostAt]?: string } | undefined)?.[lostAt] ?? this.#beatenAt;
      throw error;
    }
  }

  /**
   * Before an attempt: waits in line for the turns that are missing, as long as the line moves;
   * where none is, for so many milliseconds. Answers whether it stood in line.
   */
  async wait(ms: number): Promise<boolean> {
    const { signal } = this.#policy;
    const wanted = [this.#own, this.#beatenAt].filter((turn) => turn !== undefined);
    for (const turn of this.#held) if (!wanted.includes(turn)) this.#leave(turn);
    const missing = wanted.filter((turn) => !this.#held.has(turn));
    try {
      if (missing.length === 0) await systemClock.wait(ms, signal);
      const patience = { stallTimeoutMs: Math.max(ms, stallTimeoutMs), deadline: this.#deadline };
      for (const turn of new Set(missing))
        if (await this.#turns.acquire(turn, patience, systemClock, signal)) this.#held.add(turn);
    } catch (error) {
      throwIfAborted('A call that waited for its turn', signal);
      throw error;
    }
    return missing.length > 0;
  }

  /** Gives all of them on. */
  leave(): void {
    for (const turn of this.#held) this.#leave(turn);
  }

  #leave(turn: string): void {
    this.#held.delete(turn);
    this.#turns.release(turn);
  }
}

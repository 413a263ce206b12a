/**
 * Turns at a row, within this process: whoever lost against a rival waits in line instead of racing
 * again, so a hundred rivals need a hundred commits and not thousands. It only makes conflicts
 * rare; what is right is decided by versions. While a line does not move, patience ends: first of
 * the one in front, then of two more, then of four. So a slow holder, or one that waits for itself,
 * delays and never blocks, and does not turn a whole line into rivals at once.
 */
import type { Clock } from '../base/clock.js';

interface Waiting {
  /** Ends the wait, with the turn or without it. */
  readonly end: (granted: boolean) => void;
}
interface Line {
  readonly waiting: Waiting[];
  /** How often somebody in front has gone on. */
  moves: number;
  /** How many lose their patience together the next time. */
  impatient: number;
}

export interface LockWait {
  /** How long to wait while the line does not move. */
  readonly stallTimeoutMs: number;
  /** When to stop waiting in any case, by the monotonic clock. */
  readonly deadline: number;
}

export class KeyedLock {
  /** Of each name that somebody holds: who waits for it. */
  readonly #lines = new Map<string, Line>();

  isHeld(name: string): boolean {
    return this.#lines.has(name);
  }

  /** Takes a turn that nobody has. */
  acquireFree(name: string): void {
    this.#lines.set(name, { waiting: [], moves: 0, impatient: 1 });
  }

  /**
   * Answers whether the turn was granted; not, once the patience is over. Rejects with the signal's
   * reason.
   */
  async acquire(
    name: string,
    patience: LockWait,
    clock: Clock,
    signal: AbortSignal | undefined,
  ): Promise<boolean> {
    const line = this.#lines.get(name);
    if (line === undefined) {
      this.acquireFree(name);
      return true;
    }
    let granted: boolean | undefined;
    let end = (): void => undefined;
    const ended = new Promise<void>((resolve) => (end = resolve));
    const waiting: Waiting = {
      end: (how) => {
        granted = how;
        end();
      },
    };
    line.waiting.push(waiting);
    try {
      await this.#wait(line, ended, patience, clock, signal);
    } catch (error) {
      if (granted === true) this.release(name);
      throw error;
    } finally {
      if (granted === undefined) line.waiting.splice(line.waiting.indexOf(waiting), 1);
    }
    return granted === true;
  }

  /** Ends with the turn, without it, or at the deadline. */
  async #wait(
    line: Line,
    ended: Promise<void>,
    { stallTimeoutMs, deadline }: LockWait,
    clock: Clock,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const over = new AbortController();
    const stopped = signal === undefined ? over.signal : AbortSignal.any([signal, over.signal]);
    try {
      for (let isOver = false; !isOver && clock.monotonic() < deadline;) {
        const { moves } = line;
        isOver = await Promise.race([
          ended.then(() => true),
          clock.wait(stallTimeoutMs, stopped).then(() => false),
        ]);
        if (!isOver && line.moves === moves) losePatience(line);
      }
    } finally {
      over.abort();
    }
  }

  /** Gives the turn to the next in line. Only whoever was granted it calls this. */
  release(name: string): void {
    const line = this.#lines.get(name);
    const next = line?.waiting.shift();
    if (line === undefined || next === undefined) {
      this.#lines.delete(name);
      return;
    }
    line.moves += 1;
    line.impatient = 1;
    next.end(true);
  }
}

/** Those in front go on without the turn; who stands behind them waits once more. */
function losePatience(line: Line): void {
  for (const { end } of line.waiting.splice(0, line.impatient)) end(false);
  line.moves += 1;
  line.impatient *= 2;
}

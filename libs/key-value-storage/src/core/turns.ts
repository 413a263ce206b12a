/**
 * Turns at a row, within this process: whoever lost against a rival waits in line instead of racing again, so a hundred rivals need a hundred
 * commits and not thousands. It only makes conflicts rare; what is right is decided by versions. Nobody waits longer than their patience, so a
 * slow holder, or one that waits for itself, delays and never blocks.
 */
import type { Clock } from './clock.js';

interface Line {
  readonly waiting: (() => void)[];
  /** How often the turn went on to the next. */
  moves: number;
}

export interface Patience {
  /** How long to wait while the line does not move. */
  readonly patienceMs: number;
  /** When to stop waiting in any case, by the monotonic clock. */
  readonly deadline: number;
}

export class Turns {
  /** Of each name that somebody holds: who waits for it. */
  readonly #lines = new Map<string, Line>();

  isTaken(name: string): boolean {
    return this.#lines.has(name);
  }

  /** Takes a turn that nobody has. */
  begin(name: string): void {
    this.#lines.set(name, { waiting: [], moves: 0 });
  }

  /** Answers whether the turn was granted; not, once the patience is over. Rejects with the signal's reason. */
  async take(name: string, patience: Patience, clock: Clock, signal: AbortSignal | undefined): Promise<boolean> {
    const line = this.#lines.get(name);
    if (line === undefined) {
      this.begin(name);
      return true;
    }
    let granted = false;
    let grant = (): void => undefined;
    const turn = new Promise<void>((resolve) => {
      grant = () => {
        granted = true;
        resolve();
      };
    });
    line.waiting.push(grant);
    try {
      await this.#wait(line, turn, patience, clock, signal);
    } catch (error) {
      if (granted) this.leave(name);
      throw error;
    } finally {
      if (!granted) line.waiting.splice(line.waiting.indexOf(grant), 1);
    }
    return granted;
  }

  /** Ends with the turn, or when the line has not moved for as long as the patience lasts. */
  async #wait(
    line: Line,
    turn: Promise<void>,
    { patienceMs, deadline }: Patience,
    clock: Clock,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const over = new AbortController();
    const ended = signal === undefined ? over.signal : AbortSignal.any([signal, over.signal]);
    try {
      for (let moved = true; moved && clock.monotonic() < deadline;) {
        const { moves } = line;
        const granted = await Promise.race([turn.then(() => true), clock.wait(patienceMs, ended).then(() => false)]);
        moved = !granted && line.moves > moves;
      }
    } finally {
      over.abort();
    }
  }

  /** Gives the turn to the next in line. Only whoever was granted it calls this. */
  leave(name: string): void {
    const line = this.#lines.get(name);
    const next = line?.waiting.shift();
    if (line === undefined || next === undefined) {
      this.#lines.delete(name);
      return;
    }
    line.moves += 1;
    next();
  }
}

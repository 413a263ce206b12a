/**
 * Turns at a row, within this process: whoever lost against a rival waits in line instead of racing again, so a hundred rivals need a hundred
 * commits and not thousands. It only makes conflicts rare; what is right is decided by versions. Nobody waits longer than their patience, so a
 * slow holder, or one that waits for itself, delays and never blocks.
 */
import type { Clock } from './clock.js';

interface Waiter {
  readonly grant: () => void;
}

export class Turns {
  /** Of each name that somebody holds: who waits for it. */
  readonly #lines = new Map<string, Waiter[]>();

  isTaken(name: string): boolean {
    return this.#lines.has(name);
  }

  /** Answers whether the turn was granted; not, once the patience is over. Rejects with the signal's reason. */
  async take(name: string, patienceMs: number, clock: Clock, signal: AbortSignal | undefined): Promise<boolean> {
    const line = this.#lines.get(name);
    if (line === undefined) {
      this.#lines.set(name, []);
      return true;
    }
    const over = new AbortController();
    const patience = signal === undefined ? over.signal : AbortSignal.any([signal, over.signal]);
    let granted = false;
    const turn = new Promise<void>((resolve) => {
      line.push({
        grant: () => {
          granted = true;
          resolve();
        },
      });
    });
    const waiter = line.at(-1) as Waiter;
    try {
      await Promise.race([turn, clock.wait(patienceMs, patience)]);
    } catch (error) {
      if (granted) this.leave(name);
      throw error;
    } finally {
      if (!granted) line.splice(line.indexOf(waiter), 1);
      over.abort();
    }
    return granted;
  }

  /** Gives the turn to the next in line. Only whoever was granted it calls this. */
  leave(name: string): void {
    const next = this.#lines.get(name)?.shift();
    if (next === undefined) this.#lines.delete(name);
    else next.grant();
  }
}

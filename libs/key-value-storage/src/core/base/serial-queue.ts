/**
 * Runs asynchronous work in the order of the calls, one at a time. A failure stops nothing behind
 * it.
 */
import { aborted, throwIfAborted } from './abort.js';
import { onAbort } from './on-abort.js';

export class SerialQueue {
  #last: Promise<unknown> = Promise.resolve();

  run<R>(work: () => Promise<R>): Promise<R> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => undefined);
    return result;
  }

  /**
   * The same; work that has not begun when the signal aborts never begins: `ABORTED` at once,
   * without effect. What has begun ends the work itself.
   */
  runUntil<R>(what: string, signal: AbortSignal | undefined, work: () => Promise<R>): Promise<R> {
    if (signal === undefined) return this.run(work);
    let leave = (): void => undefined;
    const left = new Promise<never>((_, reject) => {
      leave = onAbort(signal, () => reject(aborted(what, 'none', signal)));
    });
    const result = this.run(async () => {
      leave();
      throwIfAborted(what, signal);
      return await work();
    });
    return Promise.race([result, left]);
  }

  /** Resolves when all work that was added before has ended, whatever its result. */
  async settled(): Promise<void> {
    await this.#last;
  }
}

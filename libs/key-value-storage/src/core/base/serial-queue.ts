/**
 * Runs asynchronous work in the order of the calls, one at a time. A failure stops nothing behind
 * it.
 */
export class SerialQueue {
  #last: Promise<unknown> = Promise.resolve();

  run<R>(work: () => Promise<R>): Promise<R> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => undefined);
    return result;
  }

  /** Resolves when all work that was added before has ended, whatever its result. */
  async settled(): Promise<void> {
    await this.#last;
  }
}

/** Work in flight that `close` waits for. */
export class PendingWork {
  readonly #pending = new Set<Promise<unknown>>();

  async track<R>(work: Promise<R>): Promise<R> {
    this.#pending.add(work);
    try {
      return await work;
    } finally {
      this.#pending.delete(work);
    }
  }

  /** Resolves when all work that is tracked now has ended, whatever its result. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#pending);
  }
}

/** Work in flight that `close` waits for. */
export class PendingWork {
  readonly #pending = new Set<Promise<unknown>>();

  /** Returns `work` itself: no async frame for the caller. */
  track<R>(work: Promise<R>): Promise<R> {
    this.#pending.add(work);
    const end = (): void => void this.#pending.delete(work);
    work.then(end, end);
    return work;
  }

  /** Resolves when all work that is tracked now has ended, whatever its result. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#pending);
  }
}

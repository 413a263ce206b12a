/** Calls that wait for one event, however often it comes. */
export class Waiters {
  readonly #waiting = new Set<() => void>();

  get size(): number {
    return this.#waiting.size;
  }

  /** The event has come. */
  notify(): void {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }

  /**
   * The result of the work, which gets a promise of the next event. It counts from this call on, so
   * the work may look first whether it has to wait. Nothing is left here once the work has ended.
   */
  async join<R>(work: (notified: Promise<void>) => Promise<R>): Promise<R> {
    let resolve = (): void => undefined;
    const notified = new Promise<void>((done) => (resolve = done));
    this.#waiting.add(resolve);
    try {
      return await work(notified);
    } finally {
      this.#waiting.delete(resolve);
    }
  }
}

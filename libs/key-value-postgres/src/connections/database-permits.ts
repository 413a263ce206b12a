/**
 * Permits to use connections of a pool: limited in all, and for each database, by default to half
 * of that, so that the calls of one tenant do not take those of all.
 */
export class DatabasePermits {
  readonly #mostOfDatabase: number;
  /** How many are in use, of each database that has any. */
  readonly #inUse = new Map<string, number>();
  /** The calls that wait, of each database that has any; the next database in turn is first. */
  readonly #waiting = new Map<string, (() => void)[]>();
  #free: number;

  constructor(permits: number, mostOfDatabase = Math.ceil(permits / 2)) {
    this.#free = permits;
    this.#mostOfDatabase = mostOfDatabase;
  }

  /** Runs the work with a permit, once there is one: in turn over the databases that wait. */
  async run<R>(database: string, work: () => Promise<R>): Promise<R> {
    await new Promise<void>((resolve) => {
      const waiting = this.#waiting.get(database);
      if (waiting === undefined) this.#waiting.set(database, [resolve]);
      else waiting.push(resolve);
      this.#grant();
    });
    try {
      return await work();
    } finally {
      this.#count(database, -1);
      this.#grant();
    }
  }

  #grant(): void {
    for (const [database, waiting] of this.#waiting) {
      if (this.#free === 0) return;
      if (this.#used(database) >= this.#mostOfDatabase) continue;
      const next = waiting.shift();
      this.#waiting.delete(database);
      // behind the other databases: this loop comes to it again
      if (waiting.length > 0) this.#waiting.set(database, waiting);
      this.#count(database, 1);
      next?.();
    }
  }

  #used(database: string): number {
    return this.#inUse.get(database) ?? 0;
  }

  #count(database: string, by: 1 | -1): void {
    this.#free -= by;
    const used = this.#used(database) + by;
    if (used === 0) this.#inUse.delete(database);
    else this.#inUse.set(database, used);
  }
}

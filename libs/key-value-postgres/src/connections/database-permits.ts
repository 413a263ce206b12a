/**
 * Permits to use connections of a pool: limited in all, and for each database, by default to half
 * of that, so that the calls of one tenant do not take those of all.
 */
export interface PermitWait {
  readonly waitMs: number;
  /** The error of a call that got no permit. */
  readonly late: () => Error;
}

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

  /**
   * Runs the work with a permit, once there is one: in turn over the databases that wait. Rejects
   * with what `late` returns where there was none for `waitMs`; the work was not begun then.
   */
  async run<R>(database: string, wait: PermitWait, work: () => Promise<R>): Promise<R> {
    await new Promise<void>((resolve, reject) => {
      const late: { timer?: NodeJS.Timeout } = {};
      const granted = (): void => {
        clearTimeout(late.timer);
        resolve();
      };
      const waiting = this.#waiting.get(database);
      if (waiting === undefined) this.#waiting.set(database, [granted]);
      else waiting.push(granted);
      this.#grant();
      if (this.#waiting.get(database)?.includes(granted) !== true) return;
      late.timer = setTimeout(() => {
        this.#leave(database, granted);
        reject(wait.late());
      }, wait.waitMs);
    });
    try {
      return await work();
    } finally {
      this.#count(database, -1);
      this.#grant();
    }
  }

  #leave(database: string, granted: () => void): void {
    const rest = (this.#waiting.get(database) ?? []).filter((each) => each !== granted);
    if (rest.length === 0) this.#waiting.delete(database);
    else this.#waiting.set(database, rest);
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

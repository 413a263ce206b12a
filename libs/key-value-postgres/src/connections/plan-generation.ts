/**
 * When to plan the statements again. After a few runs Postgres keeps the plan of a prepared
 * statement. A plan made while the table was small and analyzed scans the whole table, even when it
 * has grown to a million rows, until it is analyzed again. So the number in the names of the
 * statements rises while the table grows; beyond some thousand rows every plan uses the key.
 */

/** Rows at which the statements get another name; beyond the last, the key is always cheaper. */
const steps = [100, 1_000, 10_000, 50_000] as const;
/** Other processes fill the table too, so its size is read at this interval. */
const lookEveryMs = 5_000;

export class PlanGeneration {
  #rows = 0;
  #generation = 1;
  #lookedAt = Number.NEGATIVE_INFINITY;

  get current(): number {
    return this.#generation;
  }

  /** Counts rows that were created here. */
  created(rows: number): void {
    this.#rows += rows;
    this.#raise();
  }

  /** Whether the size should be read, at this time of the monotonic clock. */
  isDue(now: number): boolean {
    if (this.#generation > steps.length || now - this.#lookedAt < lookEveryMs) return false;
    this.#lookedAt = now;
    return true;
  }

  /** Takes the size that was read. */
  found(rows: number): void {
    this.#rows = Math.max(this.#rows, rows);
    this.#raise();
  }

  #raise(): void {
    while (this.#generation <= steps.length && this.#rows >= (steps[this.#generation - 1] as number))
      this.#generation += 1;
  }
}

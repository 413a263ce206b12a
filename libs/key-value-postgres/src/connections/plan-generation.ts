/**
 * When to plan the statements anew. After a few runs Postgres keeps the plan of a prepared
 * statement; one made while the table was small and analyzed reads the whole table, also when it
 * has a million rows, until somebody analyzes it again. So the number in the names of the
 * statements rises while the table grows; beyond some thousand rows every plan goes by the key.
 */

/** Rows at which the statements get another name; from then on the key is always the better way. */
const steps = [100, 1_000, 10_000, 50_000] as const;
/** Other processes fill the table too: how often its size is looked at, in milliseconds. */
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

  /** Whether the size should be looked at, now that the monotonic clock says this. */
  isDue(now: number): boolean {
    if (this.#generation > steps.length || now - this.#lookedAt < lookEveryMs) return false;
    this.#lookedAt = now;
    return true;
  }

  /** There are about so many rows. */
  found(rows: number): void {
    this.#rows = Math.max(this.#rows, rows);
    this.#raise();
  }

  #raise(): void {
    while (this.#generation <= steps.length && this.#rows >= (steps[this.#generation - 1] as number))
      this.#generation += 1;
  }
}

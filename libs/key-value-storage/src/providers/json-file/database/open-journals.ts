/**
 * The journals that are open at the same time, at most so many: however many tenants write, they
 * take no more descriptors. The one that was used longest ago is closed for the next; where all are
 * in use, each gives its place on at the end of its turn.
 */

export interface JournalHolder {
  /** Whether it has an open journal and nothing to do. */
  readonly mayRest: boolean;
  /** Asks it to close its journal, and to release its place then. */
  rest(): void;
}

export class OpenJournals {
  readonly #max: number;
  /** In the order of their last use. */
  readonly #holders = new Set<JournalHolder>();
  /** Who was asked for its place. */
  readonly #asked = new Set<JournalHolder>();
  readonly #waiting: (() => void)[] = [];

  constructor(max: number) {
    this.#max = max;
  }

  /**
   * Before a journal is opened, and before it is written to: waits for a place, unless there is one
   * already.
   */
  async acquire(holder: JournalHolder): Promise<void> {
    if (this.#holders.delete(holder) || this.#holders.size < this.#max) {
      this.#holders.add(holder);
      return;
    }
    await new Promise<void>((resolve) => {
      this.#waiting.push(() => {
        this.#holders.add(holder);
        resolve();
      });
      for (const other of this.#holders) if (other.mayRest && this.isWanted(other)) other.rest();
    });
  }

  /** Once the journal is closed. */
  release(holder: JournalHolder): void {
    this.#asked.delete(holder);
    if (this.#holders.delete(holder)) this.#waiting.shift()?.();
  }

  /** Whether somebody waits for the place of this one. */
  isWanted(holder: JournalHolder): boolean {
    if (!this.#holders.has(holder) || this.#asked.has(holder) || this.#waiting.length <= this.#asked.size)
      return false;
    this.#asked.add(holder);
    return true;
  }
}

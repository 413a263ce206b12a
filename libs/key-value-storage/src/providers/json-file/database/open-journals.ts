/**
 * Limits how many journals are open at the same time, so that the number of descriptors does not
 * grow with the number of tenants. The journal that was used longest ago is suspended for the next
 * one; if all are in use, each releases its slot at the end of its group.
 */

export interface JournalHolder {
  /** Whether it has an open journal and nothing to do. */
  readonly canSuspend: boolean;
  /** Asks it to close its journal and then to release its slot. */
  suspend(): void;
}

export class OpenJournals {
  readonly #max: number;
  /** In the order of their last use. */
  readonly #holders = new Set<JournalHolder>();
  /** Holders whose slot is claimed already. */
  readonly #claimed = new Set<JournalHolder>();
  readonly #waiting: (() => void)[] = [];

  constructor(max: number) {
    this.#max = max;
  }

  /** Waits for a slot, unless the holder has one. Call it before each write to a journal. */
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
      for (const other of this.#holders) if (other.canSuspend && this.isClaimed(other)) other.suspend();
    });
  }

  /** Call it once the journal is closed. */
  release(holder: JournalHolder): void {
    this.#claimed.delete(holder);
    if (this.#holders.delete(holder)) this.#waiting.shift()?.();
  }

  /**
   * Whether a waiting holder claims the slot of this one. Each waiting one claims one slot, once.
   */
  isClaimed(holder: JournalHolder): boolean {
    if (!this.#holders.has(holder) || this.#claimed.has(holder) || this.#waiting.length <= this.#claimed.size)
      return false;
    this.#claimed.add(holder);
    return true;
  }
}

/** Pages that are applied at the same time: everything up to a position is done in their order. */
import { Waiters } from '@kvent/key-value-storage/internal';
import type { FeedPage } from '@kvent/key-value-storage/provider';

interface PageInFlight {
  readonly page: FeedPage;
  /** The databases whose entries are not done. */
  readonly pending: Set<string>;
}

export class PagesInFlight {
  /** Notified once the first page is done. */
  readonly waiters = new Waiters();
  readonly #pages: PageInFlight[] = [];
  readonly #work = new Map<string, Set<Promise<void>>>();
  readonly #passed: (page: FeedPage) => void;

  /** `passed` is called for each page once it, and all before it, are done. */
  constructor(passed: (page: FeedPage) => void) {
    this.#passed = passed;
  }

  /** How many entries the pages have. */
  get entries(): number {
    return this.#pages.reduce((sum, { page }) => sum + page.entries.length, 0);
  }

  /** The databases that the first page waits for. */
  get slowest(): readonly string[] {
    return [...(this.#pages[0]?.pending ?? [])];
  }

  add(page: FeedPage, databases: readonly string[]): void {
    this.#pages.push({ page, pending: new Set(databases) });
    this.#advance();
  }

  /** Work for a database, until `whenEnded`. It does not reject. */
  track(database: string, work: Promise<void>): void {
    const all = this.#work.get(database) ?? new Set();
    this.#work.set(database, all.add(work));
    void work.then(() => {
      all.delete(work);
      if (all.size === 0) this.#work.delete(database);
    });
  }

  isWorkingFor(database: string): boolean {
    return this.#work.has(database);
  }

  async whenEnded(database: string): Promise<void> {
    await Promise.all([...(this.#work.get(database) ?? [])]);
  }

  /** The entries of the database are done in this page. */
  done(page: FeedPage, database: string): void {
    this.#pages.find((each) => each.page === page)?.pending.delete(database);
    this.#advance();
  }

  /** No page waits for the database any more. */
  leave(database: string): void {
    for (const { pending } of this.#pages) pending.delete(database);
    this.#advance();
  }

  #advance(): void {
    let first = this.#pages[0];
    if (first?.pending.size !== 0) return;
    for (; first?.pending.size === 0; first = this.#pages[0]) {
      this.#pages.shift();
      this.#passed(first.page);
    }
    this.waiters.notify();
  }
}

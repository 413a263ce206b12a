/**
 * Reads pages of the feed ahead, while the ones before are applied. Those that wait become one
 * page, so that a subscription that is behind has fewer and larger commits: a state that several
 * events change is read and written once. `npm run bench -- --suite feed` measures projections.
 */
import type { FeedPage } from '@kvent/key-value-storage/provider';

/** Where a page ends early, it is large: it waits alone. */
interface Room {
  readonly pageEvents: number;
  /** The most events of the pages that wait together. */
  readonly aheadEvents: number;
}

export class PagesAhead {
  readonly #pages: AsyncIterator<FeedPage, void>;
  readonly #room: Room;
  #waiting: FeedPage[] = [];
  #reading: Promise<void> | undefined;
  /** What the end was: it rejects where the pages could not be read. */
  #end: Promise<undefined> | undefined;

  constructor(pages: AsyncIterator<FeedPage, void>, room: Room) {
    this.#pages = pages;
    this.#room = room;
  }

  /** The pages that wait, as one; `undefined` at the end. Rejects as the read of pages does. */
  async next(): Promise<FeedPage | undefined> {
    if (this.#waiting.length === 0 && this.#end === undefined) await (this.#reading ??= this.#read());
    const pages = this.#waiting;
    const last = pages.at(-1);
    if (last === undefined) return await this.#end;
    this.#waiting = [];
    if (this.#end === undefined) this.#reading ??= this.#read();
    return pages.length === 1 ? last : { ...last, entries: pages.flatMap(({ entries }) => entries) };
  }

  async #read(): Promise<void> {
    const reading = this.#pages.next();
    try {
      const { value: page, done } = await reading;
      if (done === true) this.#end = Promise.resolve(undefined);
      else this.#waiting.push(page);
    } catch {
      this.#end = reading.then(() => undefined);
      this.#end.catch(() => undefined);
    }
    this.#reading = this.#end === undefined && this.#hasRoom ? this.#read() : undefined;
  }

  get #hasRoom(): boolean {
    const { pageEvents, aheadEvents } = this.#room;
    const entries = this.#waiting.reduce((sum, page) => sum + page.entries.length, 0);
    const last = this.#waiting.at(-1);
    const isLarge = last !== undefined && !last.upToDate && last.entries.length < pageEvents;
    return entries + pageEvents <= aheadEvents && !isLarge;
  }
}

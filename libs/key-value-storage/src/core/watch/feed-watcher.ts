/**
 * A reader of the feed that goes on with what comes. A hint marks it, or, where the engine is
 * polled, a commit of this process or a poll; then it reads pages until the feed ends.
 */
import type { FeedPosition } from '../port/storage-provider.js';
import { Watcher, type WatchRoom, type WatcherOptions } from './watcher.js';

/** A page of the feed as its reader has it. */
interface WatchedPage<Item> {
  readonly items: readonly Item[];
  readonly next: FeedPosition;
  readonly upToDate: boolean;
}

interface WatchedFeed<Item> {
  readonly after: FeedPosition | undefined;
  readonly page: (after: FeedPosition | undefined, signal: AbortSignal) => Promise<WatchedPage<Item>>;
}

export class FeedWatcher<Item> extends Watcher<Item> {
  /** Hints without targets are of the feed. */
  readonly targets = [];
  readonly #page: WatchedFeed<Item>['page'];
  #next: FeedPosition | undefined;

  constructor(room: WatchRoom, { after, page }: WatchedFeed<Item>, options: WatcherOptions) {
    super(room, options);
    this.#next = after;
    this.#page = page;
  }

  /** Where its next page begins. */
  get next(): FeedPosition | undefined {
    return this.#next;
  }

  observe(): void {
    this.mark();
  }

  /** Marks it if a row stands behind what it has read; returns whether it is marked. */
  compare(position: FeedPosition | undefined): boolean {
    if (position !== undefined && (this.#next === undefined || position > this.#next)) this.mark();
    return this.isMarked;
  }

  protected async *changes(): AsyncGenerator<Item, void, undefined> {
    for (let upToDate = false; !upToDate;) {
      const page = await this.untilEnded(this.#page(this.#next, this.ended));
      yield* page.items;
      this.#next = page.next;
      upToDate = page.upToDate;
    }
  }
}

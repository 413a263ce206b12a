/** A watch of a range of one space: first every entry, then each change. */
import { assertAtMost } from '../base/assert-limits.js';
import { isStorageError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import type { Hint, HintTarget, ReadResult, Row, ScannedRow, Version } from '../port/storage-provider.js';
import { Watcher, type WatchRoom, type WatcherOptions } from './watcher.js';

type Awaitable<T> = T | Promise<T>;

/** The rows of one page, and the provider's time. */
export interface RangePage {
  readonly time: number;
  readonly rows: readonly ScannedRow[];
}

export interface WatchedRange<Item> {
  readonly target: HintTarget;
  readonly pages: (values: 'include' | 'omit', signal: AbortSignal) => AsyncIterable<RangePage>;
  readonly put: (row: ScannedRow) => Awaitable<Item>;
  readonly deleted: (key: string) => Item;
  readonly listed: Item;
}

/** Changed rows that are read together, and their number where such a read is too large. */
const changedRowsMax = 100;
const largestRowsMax = Math.floor(limits.pageBytesMax / limits.valueBytesMax);

/** Rows that were read, and the monotonic clock before that. */
type ReadRows = RangePage & { readonly from: number };

interface Known {
  readonly version: Version;
  readonly expiresAt: number | undefined;
}

export class RangeWatcher<Item> extends Watcher<Item> {
  readonly targets: readonly HintTarget[];
  readonly #range: WatchedRange<Item>;
  /** What the reader has: versions and expiries, at most `watchedKeysMax`. */
  readonly #known = new Map<string, Known>();
  /** Keys to read again. */
  readonly #changed = new Set<string>();
  /** Whether the whole range must be compared. */
  #isStale = false;
  #isListed = false;
  /** Not after the first expiry of a known row. */
  #nextExpiry = Number.POSITIVE_INFINITY;

  constructor(room: WatchRoom, range: WatchedRange<Item>, options: WatcherOptions) {
    super(room, options);
    this.#range = range;
    this.targets = [range.target];
  }

  observe(hint: Hint | undefined): void {
    if (hint?.key === undefined) this.#isStale = true;
    else this.#add(hint.key);
    this.mark();
  }

  /**
   * Reads the versions of the whole range, and marks it if they differ from what its reader has;
   * returns whether it is marked.
   */
  async compare(): Promise<boolean> {
    const missing = new Set(this.#known.keys());
    let count = 0;
    for await (const { rows } of this.#pages('omit')) {
      assertWatched((count += rows.length));
      for (const { key, row } of rows) {
        missing.delete(key);
        if (this.#known.get(key)?.version !== row.version) this.#add(key);
      }
    }
    for (const key of missing) this.#add(key);
    if (this.#changed.size > 0) this.mark();
    return this.isMarked;
  }

  protected async *changes(): AsyncGenerator<Item, void, undefined> {
    if (!this.#isListed) yield* this.#list();
    if (this.#isStale) {
      this.#isStale = false;
      await this.compare().catch((error: unknown) => {
        this.#isStale = true;
        throw error;
      });
    }
    while (this.#changed.size > 0) yield* this.#readChanged();
  }

  async *#list(): AsyncGenerator<Item, void, undefined> {
    // a listing that was interrupted begins again
    const missing = new Set(this.#known.keys());
    for await (const page of this.#pages('include')) {
      for (const { key } of page.rows) missing.delete(key);
      for (const row of this.#put(page)) yield await this.#range.put(row);
    }
    for (const key of missing) this.#add(key);
    this.#isListed = true;
    yield this.#range.listed;
  }

  /** Ends at once with the watch, whatever the engine does. */
  async *#pages(values: 'include' | 'omit'): AsyncGenerator<ReadRows> {
    const pages = this.#range.pages(values, this.ended)[Symbol.asyncIterator]();
    while (true) {
      const from = this.room.clock.monotonic();
      const page = await this.untilEnded(pages.next());
      if (page.done === true) return;
      yield { ...page.value, from };
    }
  }

  async *#readChanged(): AsyncGenerator<Item, void, undefined> {
    const { keys, rows, time, from } = await this.#takeChanged();
    const present = keys.flatMap((key, index) => scanned(key, rows[index]));
    const deleted = keys.filter((key, index) => rows[index] === undefined && this.#known.delete(key));
    for (const row of this.#put({ rows: present, time, from })) yield await this.#range.put(row);
    for (const key of deleted) yield this.#range.deleted(key);
  }

  async #takeChanged(): Promise<ReadResult & { readonly keys: readonly string[]; readonly from: number }> {
    for (let most = changedRowsMax; ; most = largestRowsMax) {
      const keys = [...this.#changed].slice(0, most);
      for (const key of keys) this.#changed.delete(key);
      const { database, container, entity } = this.#range.target;
      const addresses = keys.map((key) => ({ database, container, entity, key }));
      const from = this.room.clock.monotonic();
      try {
        return { keys, from, ...(await this.untilEnded(this.room.read(addresses))) };
      } catch (error) {
        for (const key of keys) this.#changed.add(key);
        if (most === largestRowsMax || !isStorageError(error, 'LIMIT_EXCEEDED')) throw error;
      }
    }
  }

  /** Takes note of rows, and returns those that the reader does not have. */
  #put({ rows, time, from }: ReadRows): readonly ScannedRow[] {
    const changed = rows.filter(({ key, row }) => this.#known.get(key)?.version !== row.version);
    for (const { key, row } of rows) {
      const { version, expiresAt } = row;
      this.#known.set(key, { version, expiresAt });
      if (expiresAt !== undefined) this.#nextExpiry = Math.min(this.#nextExpiry, expiresAt);
    }
    assertWatched(this.#known.size);
    this.#expectExpiry(time, from);
    return changed;
  }

  #expectExpiry(time: number, from = this.room.clock.monotonic()): void {
    const expires = this.#nextExpiry !== Number.POSITIVE_INFINITY;
    this.setAlarm(from, expires ? this.#nextExpiry - time : undefined, this.#expire);
  }

  readonly #expire = (): void => {
    const due = this.#nextExpiry;
    this.#nextExpiry = Number.POSITIVE_INFINITY;
    for (const [key, { expiresAt }] of this.#known) {
      if (expiresAt === undefined) continue;
      if (expiresAt <= due) this.#add(key);
      else this.#nextExpiry = Math.min(this.#nextExpiry, expiresAt);
    }
    this.#expectExpiry(due);
    this.mark();
  };

  #add(key: string): void {
    if (this.#changed.size < limits.watchedKeysMax) this.#changed.add(key);
    else if (!this.#changed.has(key)) this.#isStale = true;
  }
}

const scanned = (key: string, row: Row | undefined): readonly ScannedRow[] =>
  row === undefined ? [] : [{ key, row }];

const assertWatched = (count: number): void =>
  assertAtMost('watchedKeysMax', count, 'keys in one watchRange');

/** A watch of one row, or of several in one consistent read. */
import type { Address, Hint, Row, Version } from '../port/storage-provider.js';
import { Watcher, type WatchRoom, type WatcherOptions } from './watcher.js';

type Rows = readonly (Row | undefined)[];

export class RowsWatcher<Item> extends Watcher<Item> {
  readonly targets: readonly Address[];
  readonly #itemOf: (rows: Rows) => Item | Promise<Item>;
  readonly #keys: ReadonlySet<string>;
  /** Of the last item. */
  #versions: readonly (Version | undefined)[] | undefined;
  /** While an item is read: the versions that polls have found since, by the index of the row. */
  #polled: Map<number, Version | undefined> | undefined;

  constructor(
    room: WatchRoom,
    addresses: readonly Address[],
    itemOf: (rows: Rows) => Item | Promise<Item>,
    options: WatcherOptions,
  ) {
    super(room, options);
    this.targets = addresses;
    this.#itemOf = itemOf;
    this.#keys = new Set(addresses.map(({ key }) => key));
  }

  observe(hint: Hint | undefined): void {
    if (hint?.key === undefined || this.#keys.has(hint.key)) this.mark();
  }

  /**
   * Marks it if a row has another version than in its last item, or than in the one that is being
   * read, once that is known; returns whether it is marked.
   */
  compare(index: number, version: Version | undefined): boolean {
    if (this.#polled !== undefined) this.#polled.set(index, version);
    else if (this.#versions?.[index] !== version) this.mark();
    return this.isMarked;
  }

  protected async *changes(): AsyncGenerator<Item, void, undefined> {
    const polled = new Map<number, Version | undefined>();
    this.#polled = polled;
    const items = await this.#read().finally(() => (this.#polled = undefined));
    // the read may be older than a poll
    for (const [index, version] of polled) this.compare(index, version);
    yield* items;
  }

  /** The next item, if a row has changed since the last one. */
  async #read(): Promise<readonly Item[]> {
    const from = this.room.clock.monotonic();
    const { rows, time } = await this.untilEnded(this.room.read(this.targets));
    this.setAlarm(from, untilExpiry(rows, time), () => this.mark());
    const versions = rows.map((row) => row?.version);
    if (this.#versions?.every((version, index) => version === versions[index]) === true) return [];
    const item = await this.#itemOf(rows);
    this.#versions = versions;
    return [item];
  }
}

/** Milliseconds until the first of the rows expires. */
function untilExpiry(rows: Rows, time: number): number | undefined {
  let ms: number | undefined;
  for (const row of rows)
    if (row?.expiresAt !== undefined) ms = Math.min(ms ?? Number.POSITIVE_INFINITY, row.expiresAt - time);
  return ms;
}

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

  /** Marks it if a row has another version than in its last item; returns whether it is marked. */
  compare(index: number, version: Version | undefined): boolean {
    if (this.#versions !== undefined && this.#versions[index] !== version) this.mark();
    return this.isMarked;
  }

  protected async *changes(): AsyncGenerator<Item, void, undefined> {
    const from = this.room.clock.monotonic();
    const { rows, time } = await this.untilEnded(this.room.read(this.targets));
    this.setAlarm(from, untilExpiry(rows, time), () => this.mark());
    const versions = rows.map((row) => row?.version);
    if (this.#versions?.every((version, index) => version === versions[index]) === true) return;
    const item = await this.#itemOf(rows);
    this.#versions = versions;
    yield item;
  }
}

/** Milliseconds until the first of the rows expires. */
function untilExpiry(rows: Rows, time: number): number | undefined {
  let ms: number | undefined;
  for (const row of rows)
    if (row?.expiresAt !== undefined) ms = Math.min(ms ?? Number.POSITIVE_INFINITY, row.expiresAt - time);
  return ms;
}

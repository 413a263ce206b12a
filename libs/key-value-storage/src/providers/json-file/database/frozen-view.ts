/**
 * The rows of a table as they were at one moment, read page by page while commits go on: what a
 * commit changes ahead of the reader is kept aside first. So a snapshot is exact, and costs the
 * rows that changed meanwhile, not a second copy.
 */
import { RowTable } from '../../../core/providers/row-table.js';
import { compareAddresses } from '../../../core/port/row-order.js';
import type { RawRow, RowAddress } from '../../../core/port/storage-provider.js';

export class FrozenView {
  readonly #table: RowTable;
  readonly #release: (view: FrozenView) => void;
  /** Rows as they were, and the names of those that were not there. */
  readonly #before = new RowTable();
  readonly #added = new Set<string>();
  /** Everything up to here was read. */
  #last: RowAddress | undefined;

  constructor(table: RowTable, release: (view: FrozenView) => void) {
    this.#table = table;
    this.#release = release;
  }

  /** Called before a row of the table changes. */
  keep(address: RowAddress): void {
    if (this.#last !== undefined && compareAddresses(address, this.#last) <= 0) return;
    if (this.#before.get(address) !== undefined || this.#added.has(nameOf(address))) return;
    const row = this.#table.get(address);
    if (row === undefined) this.#added.add(nameOf(address));
    else this.#before.set({ container: address.container, entity: address.entity, key: address.key }, row);
  }

  /**
   * Every row in the order of container, entity and key, a page at a time: other work may be done
   * between pages.
   */
  *pages(size = 500): Generator<readonly RawRow[]> {
    for (let more = true; more;) {
      const rows = this.#table.next(this.#last, size);
      more = rows.length === size;
      const page = this.#merge(rows, more ? rows.at(-1) : undefined);
      if (page.length > 0) yield page;
    }
  }

  /** Ends the view: from now on nothing is kept for it. */
  release(): void {
    this.#release(this);
  }

  #merge(rows: readonly RawRow[], end: RawRow | undefined): readonly RawRow[] {
    const kept = this.#before
      .next(this.#last, Number.POSITIVE_INFINITY)
      .filter((row) => end === undefined || compareAddresses(row, end) <= 0);
    const same = rows.filter((row) => this.#before.get(row) === undefined && !this.#added.has(nameOf(row)));
    this.#last = end ?? this.#last;
    for (const row of kept) this.#before.set(row, undefined);
    return kept.length === 0 ? same : [...kept, ...same].sort(compareAddresses);
  }
}

/** NUL is in no address. */
export const nameOf = ({ container, entity, key }: RowAddress): string => `${container}\0${entity}\0${key}`;

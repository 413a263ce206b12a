/**
 * The rows of a table at one moment, read page by page while commits continue: a row that a commit
 * changes before the reader reaches it is preserved first. So a snapshot is exact, and its memory
 * is that of the changed rows, not of a second copy.
 */
import { RowTable } from '../../../core/providers/row-table.js';
import { rowNameOf } from '../../../core/port/row-name.js';
import { compareAddresses } from '../../../core/port/row-order.js';
import type { RawRow, RowAddress } from '../../../core/port/storage-provider.js';

export class FrozenView {
  readonly #table: RowTable;
  readonly #onRelease: (view: FrozenView) => void;
  /** Changed rows as they were, and the names of rows that did not exist. */
  readonly #before = new RowTable();
  readonly #added = new Set<string>();
  /** The last row that was read. */
  #last: RowAddress | undefined;

  constructor(table: RowTable, onRelease: (view: FrozenView) => void) {
    this.#table = table;
    this.#onRelease = onRelease;
  }

  /** Call it before a row of the table changes. */
  preserve(address: RowAddress): void {
    if (this.#last !== undefined && compareAddresses(address, this.#last) <= 0) return;
    if (this.#before.get(address) !== undefined || this.#added.has(rowNameOf(address))) return;
    const row = this.#table.get(address);
    if (row === undefined) this.#added.add(rowNameOf(address));
    else this.#before.set({ container: address.container, entity: address.entity, key: address.key }, row);
  }

  /** All rows in the order of container, entity and key; commits may run between two pages. */
  *pages(size = 500): Generator<readonly RawRow[]> {
    for (let more = true; more;) {
      const rows = this.#table.next(this.#last, size);
      more = rows.length === size;
      const page = this.#merge(rows, more ? rows.at(-1) : undefined);
      if (page.length > 0) yield page;
    }
  }

  /** From now on nothing is preserved for it. */
  release(): void {
    this.#onRelease(this);
  }

  #merge(rows: readonly RawRow[], end: RawRow | undefined): readonly RawRow[] {
    const preserved = this.#before
      .next(this.#last, Number.POSITIVE_INFINITY)
      .filter((row) => end === undefined || compareAddresses(row, end) <= 0);
    const unchanged = rows.filter(
      (row) => this.#before.get(row) === undefined && !this.#added.has(rowNameOf(row)),
    );
    this.#last = end ?? this.#last;
    for (const row of preserved) this.#before.set(row, undefined);
    return preserved.length === 0 ? unchanged : [...preserved, ...unchanged].sort(compareAddresses);
  }
}

/**
 * The rows of a table at one moment, read page by page while commits continue: a row that a commit
 * changes before the reader reaches it is preserved first. So a snapshot is exact, and its memory
 * is that of the changed rows, not of a second copy.
 */
import { storageError } from '../base/errors.js';
import { inspect } from '../base/inspect.js';
import { RowTable } from './row-table.js';
import { rowNameOf } from '../port/row-name.js';
import { compareAddresses } from '../port/row-order.js';
import type { ExportPart, RawRow, RowAddress } from '../port/storage-provider.js';

/** Open exports of one database: each keeps rows that change, and is a step of every write. */
const exportsMax = 16;

/** `STORAGE_UNAVAILABLE` where as many exports of a database are open as may be. */
export function assertMayExport(database: string, open: number): void {
  if (open < exportsMax) return;
  throw storageError(
    'STORAGE_UNAVAILABLE',
    `${open} exports of ${inspect(database)} are open, and at most ${exportsMax} may be: read one to its end, or end it.`,
    {},
  );
}

export class FrozenView {
  readonly #table: RowTable;
  readonly #onRelease: (view: FrozenView) => void;
  /** Changed rows as they were, and the names of rows that did not exist. */
  readonly #before = new RowTable();
  readonly #added = new Set<string>();
  readonly #part: ExportPart | undefined;
  /** The last row that was read. */
  #last: RowAddress | undefined;

  /** `part`: only its rows are read. */
  constructor(table: RowTable, onRelease: (view: FrozenView) => void, part?: ExportPart) {
    this.#table = table;
    this.#onRelease = onRelease;
    this.#part = part;
    // no key is empty: the first row of the space comes after it
    if (part !== undefined) this.#last = { container: part.container, entity: part.entity, key: '' };
  }

  /** Call it before a row of the table changes. */
  preserve(address: RowAddress): void {
    if (!this.#isOfPart(address)) return;
    if (this.#last !== undefined && compareAddresses(address, this.#last) <= 0) return;
    if (this.#before.get(address) !== undefined || this.#added.has(rowNameOf(address))) return;
    const row = this.#table.get(address);
    if (row === undefined) this.#added.add(rowNameOf(address));
    else this.#before.set({ container: address.container, entity: address.entity, key: address.key }, row);
  }

  /** All rows in the order of container, entity and key; commits may run between two pages. */
  *pages(size = 500): Generator<readonly RawRow[]> {
    for (let more = true; more;) {
      const found = this.#table.next(this.#last, size);
      const rows = this.#part === undefined ? found : found.filter((row) => this.#isOfPart(row));
      more = rows.length === size;
      const page = this.#merge(rows, more ? rows.at(-1) : undefined);
      if (page.length > 0) yield page;
    }
  }

  /** From now on nothing is preserved for it. */
  release(): void {
    this.#onRelease(this);
  }

  #isOfPart({ container, entity, key }: RowAddress): boolean {
    const part = this.#part;
    return (
      part === undefined ||
      (container === part.container && entity === part.entity && (part.end === undefined || key < part.end))
    );
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

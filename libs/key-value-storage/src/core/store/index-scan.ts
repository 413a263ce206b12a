/**
 * Scans of an index: of a ready one only, and without rows whose entry has expired. Rows in step
 * with their entry need nothing more. Where a page holds loose rows, their entries are read too.
 */
import { conflictOf } from '../commit/commit.js';
import type { StorageAccess } from '../commit/storage-access.js';
import type { ResolvedIndex } from './index-definition.js';
import { isLoose, readIndexRow } from './index-row.js';
import type { IndexedState } from './indexed-commit.js';
import type { Row, ScannedRow, ScanPage, ScanRange } from '../port/storage-provider.js';

interface ScanOptions {
  readonly signal?: AbortSignal | undefined;
}

const attemptsMax = 20;

export class IndexScan {
  readonly #access: StorageAccess;
  readonly #indexed: IndexedState;
  readonly #index: ResolvedIndex;

  constructor(access: StorageAccess, indexed: IndexedState, index: ResolvedIndex) {
    this.#access = access;
    this.#indexed = indexed;
    this.#index = index;
  }

  /** One page of each range. A page with `more` has at least one row. */
  async scan<R extends readonly ScanRange[]>(
    ranges: readonly [...R],
    options?: ScanOptions,
  ): Promise<{ readonly [I in keyof R]: ScanPage }> {
    const [first] = ranges;
    if (first === undefined) return [] as unknown as { readonly [I in keyof R]: ScanPage };
    for (let attempt = 1; attempt <= attemptsMax; attempt += 1) {
      const ready = await this.#indexed.statuses.ready(this.#index, first.database, options?.signal);
      const pages = await this.#access.scan<readonly ScanRange[]>(ranges, options);
      const verified: ScanPage[] = [];
      for (const [position, page] of pages.entries())
        verified.push(await this.#verified(ranges[position], page, options));
      const isReady = ready.isStillReady();
      if (isReady === true || (await isReady))
        return verified as unknown as { readonly [I in keyof R]: ScanPage };
    }
    throw this.#unsettled(first);
  }

  async *scanPages(range: ScanRange, options?: ScanOptions): AsyncGenerator<ScanPage, void, undefined> {
    for (let next: ScanRange | undefined = range; next !== undefined;) {
      const [page]: readonly [ScanPage] = await this.scan([next], options);
      yield page;
      const last = page.rows.at(-1);
      next = page.more && last !== undefined ? { ...range, after: last.key } : undefined;
    }
  }

  /** Without values the rows are not verified: the caller sees which are loose. */
  async #verified(range: ScanRange, scanned: ScanPage, options: ScanOptions | undefined): Promise<ScanPage> {
    if (range.values === 'omit') return scanned;
    let page = scanned;
    let from = range;
    /** The rows that did not fit to their entry, with their versions. */
    let misfits = new Map<string, string>();
    for (let attempt = 1; attempt <= attemptsMax; attempt += 1) {
      const { rows, unfit } = await this.#fitting(from, page.rows, options);
      // a row that did not change in between had no such entry all the time
      if (unfit.every(({ key, row }) => misfits.get(key) === row.version)) {
        if (rows.length > 0 || !page.more) return { ...page, rows };
        from = { ...from, after: (page.rows.at(-1) as ScannedRow).key };
      }
      misfits = new Map(unfit.map(({ key, row }) => [key, row.version]));
      [page] = await this.#access.scan([from], options);
    }
    throw this.#unsettled(range);
  }

  async #fitting(
    { database, container, entity }: ScanRange,
    rows: readonly ScannedRow[],
    options: ScanOptions | undefined,
  ): Promise<{ readonly rows: readonly ScannedRow[]; readonly unfit: readonly ScannedRow[] }> {
    const loose = rows.filter(({ row }) => isLoose(row));
    if (loose.length === 0) return { rows, unfit: [] };
    const { state } = this.#indexed;
    const indexed = loose.map(({ key, row }) => readIndexRow({ database, container, entity, key }, row));
    const space = { database, container: state.container, entity: state.entity };
    const owners = await this.#access.read(
      indexed.map(({ own }) => ({ ...space, key: own })),
      { ...options, values: 'omit' },
    );
    const unfit: ScannedRow[] = [];
    const found = new Map<ScannedRow, Row>();
    for (const [position, each] of loose.entries()) {
      const owner = owners.rows[position];
      if (owner?.version === indexed[position]?.version)
        found.set(each, withExpiryOf(each.row, owner as Row));
      else unfit.push(each);
    }
    const fitting = rows.flatMap((each) => {
      if (!isLoose(each.row)) return [each];
      const row = found.get(each);
      return row === undefined ? [] : [{ key: each.key, row }];
    });
    return { rows: fitting, unfit };
  }

  #unsettled(range: ScanRange): Error {
    const what = 'an index that does not change all the time';
    return conflictOf({ ...range, key: this.#index.name }, what, what, undefined, 'own');
  }
}

function withExpiryOf(row: Row, { expiresAt }: Row): Row {
  const { expiresAt: _, ttlMs: __, ...rest } = row;
  return expiresAt === undefined ? rest : { ...rest, expiresAt };
}

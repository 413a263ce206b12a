/** Scans of an index that is ready before and after, or of one of a state without entries. */
import { conflictOf } from '../commit/commit.js';
import type { StorageAccess } from '../commit/storage-access.js';
import type { ResolvedIndex } from './index-definition.js';
import type { IndexedState } from './indexed-commit.js';
import type { ScanPage, ScanRange } from '../port/storage-provider.js';

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

  /** The same in the transaction that is current, where calls join one. */
  get joined(): IndexScan {
    const { joined } = this.#access;
    return joined === this.#access ? this : new IndexScan(joined, this.#indexed, this.#index);
  }

  /** One page of each range. A page with `more` has at least one row. */
  async scan<R extends readonly ScanRange[]>(
    ranges: readonly [...R],
    options?: ScanOptions,
  ): Promise<{ readonly [I in keyof R]: ScanPage }> {
    const [first] = ranges;
    if (first === undefined) return [] as unknown as { readonly [I in keyof R]: ScanPage };
    for (let attempt = 1; attempt <= attemptsMax; attempt += 1) {
      const empty = await this.#emptyPage(first, options);
      if (empty !== undefined)
        return ranges.map(() => empty) as unknown as { readonly [I in keyof R]: ScanPage };
      const ready = await this.#indexed.statuses.ready(this.#index, first.database, options?.signal);
      const pages = await this.#access.scan<readonly ScanRange[]>(ranges, options);
      const isReady = ready.isStillReady();
      if (isReady === true || (await isReady))
        return pages as unknown as { readonly [I in keyof R]: ScanPage };
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

  /**
   * A page without rows, where the index has no status and the state has no entry: to claim the
   * index would let a database begin to exist because it was read.
   */
  async #emptyPage(
    { database, consistency }: ScanRange,
    options: ScanOptions | undefined,
  ): Promise<ScanPage | undefined> {
    const { state, statuses } = this.#indexed;
    if (await statuses.isClaimed(this.#index, database, options?.signal)) return undefined;
    const { container, entity } = state;
    const entries = { database, container, entity, limit: 1, values: 'omit' } as const;
    const [page] = await this.#access.scan([{ ...entries, ...(consistency && { consistency }) }], options);
    return page.rows.length === 0 ? page : undefined;
  }

  #unsettled(range: ScanRange): Error {
    const what = 'an index that does not change all the time';
    return conflictOf({ ...range, key: this.#index.name }, what, what, undefined, 'own');
  }
}

/** Lists, pages, counts and deletes by range, page by page. */
import { throwIfAborted } from '../base/abort.js';
import { conflictError } from '../commit/commit.js';
import type { CursorScope } from './cursor.js';
import { CursorPage } from './cursor-page.js';
import type { StorageAccess } from '../commit/storage-access.js';
import { frozenKey, ReadEntryInfo, type EntryInfo } from './entry.js';
import { assertAtMost } from '../base/assert-limits.js';
import { isStorageError, partlyDone, storageError } from '../base/errors.js';
import { decodeKey, encodeRange } from '../encoding/key-encoding.js';
import { inspect } from '../base/inspect.js';
import type { Key, KeyRange } from '../base/key.js';
import { untilSignal } from '../base/until-signal.js';
import type { ExportRange } from './bulk-types.js';
import type { CallOptions, ReadOptions } from './call-options.js';
import type { ListRange, Page, PageRequest } from './key-value-store.js';
import { limits } from '../base/limits.js';
import { assertOptions, invalidOption, outOfRange } from '../base/options.js';
import type { DefinitionRows } from './definition-rows.js';
import { isOfPart } from '../port/export-part.js';
import type { ScannedRow, ScanRange } from '../port/storage-provider.js';
import type { RangePage, WatchedRange } from '../watch/range-watcher.js';

const rangeNames = ['prefix', 'start', 'end', 'reverse'];
export const pageItemsDefault = 100;
/** Rows of one page of a list: small with the largest values, and few round trips. */
export const listPageItems = 200;

/** `RangeChange` of what a row is read as. */
type ItemChange<Item, K extends Key> =
  | { readonly type: 'put'; readonly entry: Item }
  | { readonly type: 'delete'; readonly key: K }
  | { readonly type: 'listed' };

/** `Item`: what a row is read as. */
export class RangeReader<Item, K extends Key = Key> {
  readonly #rows: DefinitionRows<Item, K>;

  constructor(rows: DefinitionRows<Item, K>) {
    this.#rows = rows;
  }

  entries(list: ListRange, options: ReadOptions | undefined): AsyncIterable<Item> {
    const scope = this.#listed(list);
    const read = async function* (this: RangeReader<Item, K>, access: StorageAccess): AsyncGenerator<Item> {
      for await (const page of boundedPages(access, { ...scope, limit: listPageItems }, options)) {
        for (const row of page.rows) {
          throwIfAborted('A list', options?.signal);
          yield await this.#entry(scope, row);
        }
      }
    };
    return this.#joining(read);
  }

  /** The entries of one moment, as the provider exports them. */
  exported(range: ExportRange, options: CallOptions | undefined): AsyncIterable<Item> {
    assertOptions('A range of an export', range, ['prefix', 'start', 'end']);
    const scope = this.#scope(range);
    const { database, container, entity, start = '', end } = scope;
    const { access } = this.#rows;
    assertOutside(access);
    const part = { container, entity, start, ...(end !== undefined && { end }) };
    const read = async function* (this: RangeReader<Item, K>, current: StorageAccess): AsyncGenerator<Item> {
      assertOutside(current);
      throwIfAborted('An export', options?.signal);
      access.assertOpen();
      const rows = access.provider.administration.export(database, part);
      for await (const raw of untilSignal('An export', rows, options?.signal))
        if (isOfPart(raw, part)) yield await this.#entry(scope, raw);
    };
    return this.#joining(read);
  }

  /** Key, etag and times of the entries. */
  infos(list: ListRange, options: ReadOptions | undefined): AsyncIterable<EntryInfo<K>> {
    const scope = this.#listed(list);
    const read = async function* (
      this: RangeReader<Item, K>,
      access: StorageAccess,
    ): AsyncGenerator<EntryInfo<K>> {
      const pages = { ...scope, limit: limits.pageItemsMax, values: 'omit' } as const;
      for await (const { rows } of boundedPages(access, pages, options)) {
        for (const row of rows) {
          throwIfAborted('A list', options?.signal);
          yield this.#info(scope, row);
        }
      }
    };
    return this.#joining(read);
  }

  keys(range: KeyRange, options: ReadOptions | undefined): AsyncIterable<K> {
    const scope = this.#scope(range);
    const read = async function* (this: RangeReader<Item, K>, access: StorageAccess): AsyncGenerator<K> {
      const pages = { ...scope, limit: limits.pageItemsMax, values: 'omit' } as const;
      for await (const { rows } of boundedPages(access, pages, options)) {
        for (const { key } of rows) {
          throwIfAborted('A list', options?.signal);
          yield this.#key(scope, key);
        }
      }
    };
    return this.#joining(read);
  }

  async page(request: PageRequest | undefined, options: ReadOptions | undefined): Promise<Page<Item>> {
    const { scope, rows, ...cursors } = await this.#page(request, options, 'include');
    const items = await Promise.all(rows.map(async (row) => await this.#entry(scope, row)));
    return { items, ...cursors };
  }

  /** The same without values. */
  async infoPage(
    request: PageRequest | undefined,
    options: ReadOptions | undefined,
  ): Promise<Page<EntryInfo<K>>> {
    const { scope, rows, ...cursors } = await this.#page(request, options, 'omit');
    return { items: rows.map((row) => this.#info(scope, row)), ...cursors };
  }

  async #page(
    request: PageRequest | undefined,
    options: ReadOptions | undefined,
    values: 'include' | 'omit',
  ): Promise<{ readonly scope: CursorScope } & ReturnType<CursorPage['of']>> {
    assertOptions('page', request, [...rangeNames, 'limit', 'cursor']);
    const { limit = pageItemsDefault, cursor, ...range } = request ?? {};
    assertPageLimit(limit);
    const scope = this.#scope(range);
    const page = new CursorPage(scope, cursor);
    const [scanned] = await this.#rows.access.scan(
      [{ ...page.range, ...consistencyOf(options), limit, values }],
      options,
    );
    return { scope, ...page.of(scanned) };
  }

  async count(range: KeyRange, options: ReadOptions | undefined): Promise<number> {
    let count = 0;
    const scope = this.#scope(range);
    const { access } = this.#rows;
    const counted = access.count({ ...scope, ...consistencyOf(options) }, options);
    if (counted !== undefined) return await counted;
    for await (const page of this.#pages({ ...scope, limit: limits.pageItemsMax, values: 'omit' }, options))
      count += page.rows.length;
    return count;
  }

  /** The rows of a range as changes, for a watch. */
  watched(range: KeyRange): WatchedRange<ItemChange<Item, K>> {
    const scope = this.#scope(range);
    const limitOf = { include: listPageItems, omit: limits.pageItemsMax };
    return {
      target: scope,
      pages: (values, signal) => this.#pages({ ...scope, limit: limitOf[values], values }, { signal }),
      put: async (row) => ({ type: 'put', entry: (await this.#entry(scope, row)) as Item }),
      deleted: (key) => ({ type: 'delete', key: this.#key(scope, key) }),
      listed: { type: 'listed' },
    };
  }

  /** One batch for each page; an error says how many were deleted before it (`done`). */
  async delete(range: KeyRange, options: CallOptions | undefined): Promise<number> {
    const scope = this.#scope(range);
    let done = 0;
    try {
      // its row and one in each index
      const rowsOfEntry = 1 + (this.#rows.indexed?.indexes.length ?? 0);
      const limit = Math.floor(limits.batchEntriesMax / rowsOfEntry);
      for await (const page of this.#pages({ ...scope, limit, values: 'omit' }, options)) {
        const changes = page.rows.map(({ key }) => ({ kind: 'delete', address: { ...scope, key } }) as const);
        const result = await this.#rows.commit(scope.database, { checks: [], changes }, options);
        if (result.outcome === 'conflict') throw conflictError(result, 'own');
        // behind these rows are those of the indexes
        done += result.rows.slice(0, changes.length).filter(({ existed }) => existed).length;
      }
    } catch (error) {
      throw isStorageError(error) ? partlyDone(error, done) : error;
    }
    return done;
  }

  /** Each reading joins the transaction in which it begins, and keeps it for all of its pages. */
  #joining<Read>(
    read: (this: RangeReader<Item, K>, access: StorageAccess) => AsyncGenerator<Read>,
  ): AsyncIterable<Read> {
    return { [Symbol.asyncIterator]: () => read.call(this, this.#rows.access.joined) };
  }

  #pages(asked: ScanRange, options: ReadOptions | undefined): AsyncGenerator<RangePage> {
    return boundedPages(this.#rows.access, asked, options);
  }

  #scope(range: KeyRange): CursorScope {
    assertOptions('A range', range, rangeNames);
    if (range.reverse !== undefined && typeof range.reverse !== 'boolean')
      throw invalidOption(`A range's reverse must be true or false; got ${inspect(range.reverse)}.`);
    const { container, entity } = this.#rows.definition;
    return {
      database: this.#rows.database(),
      container,
      entity,
      ...encodeRange(range),
      reverse: range.reverse ?? false,
    };
  }

  /** What a list scans: from a cursor on, where it has one. */
  #listed(list: ListRange): CursorScope & Pick<ScanRange, 'after'> {
    assertOptions('A range', list, [...rangeNames, 'cursor']);
    const { cursor, ...range } = list;
    return new CursorPage(this.#scope(range), cursor).range;
  }

  #info(scope: CursorScope, { key, row }: ScannedRow): EntryInfo<K> {
    return new ReadEntryInfo(this.#key(scope, key), row.version, row.updatedAt, row.expiresAt);
  }

  async #entry(scope: CursorScope, { key, row }: ScannedRow): Promise<Item> {
    const { database, container, entity } = scope;
    return await this.#rows.entry({ database, container, entity, key }, this.#key(scope, key), row);
  }

  #key({ database, container, entity }: CursorScope, encoded: string): K {
    const key = decodeKey(encoded);
    // not checked by a schema, as stored values are not
    if (key !== undefined) return frozenKey(key) as K;
    const place = `${database}/${container}/${entity}/${encoded}`;
    throw storageError('STORAGE_CORRUPT', `The row at ${place} has a key that Kvent did not write.`, {
      place,
    });
  }
}

/**
 * The pages of a range, up to the last key that was there at the start: a writer that adds keys
 * behind what was read, the reader of a list too, does not keep the list from ending. That key is
 * read together with the first page.
 */
export async function* boundedPages(
  access: Pick<StorageAccess, 'scan' | 'scanPages'>,
  asked: ScanRange,
  options: ReadOptions | undefined,
): AsyncGenerator<RangePage> {
  throwIfAborted('A list', options?.signal);
  const range: ScanRange = { ...asked, ...consistencyOf(options) };
  const { after: _, ...whole } = range;
  const fromTheEnd: ScanRange = { ...whole, reverse: range.reverse !== true, limit: 1, values: 'omit' };
  const [first, end] = await access.scan([range, fromTheEnd], options);
  const last = end.rows[0]?.key;
  const isWithin = (key: string): boolean =>
    last !== undefined && (range.reverse === true ? key >= last : key <= last);
  if (first.rows.length > 0) yield first;
  const after = first.rows.at(-1)?.key;
  if (!first.more || after === undefined || after === last || !isWithin(after)) return;
  throwIfAborted('A list', options?.signal);
  for await (const page of access.scanPages({ ...range, after }, options)) {
    const rows = page.rows.filter(({ key }) => isWithin(key));
    if (rows.length > 0) yield { ...page, rows };
    if (rows.length < page.rows.length || rows.at(-1)?.key === last) return;
    throwIfAborted('A list', options?.signal);
  }
}

function assertOutside(access: StorageAccess): void {
  if (access.inTransaction)
    throw storageError('STORAGE_UNSUPPORTED', 'An export cannot begin inside a transaction.', {});
}

export const consistencyOf = (options: ReadOptions | undefined): Pick<ScanRange, 'consistency'> =>
  options?.consistency === undefined ? {} : { consistency: options.consistency };

/** `INVALID_OPTION`, `OUT_OF_RANGE` or `LIMIT_EXCEEDED` for an invalid limit of a page. */
export function assertPageLimit(limit: unknown): asserts limit is number {
  if (typeof limit !== 'number')
    throw invalidOption(`A page's limit must be a number; got ${inspect(limit)}.`);
  if (!Number.isInteger(limit) || limit < 1)
    throw outOfRange(
      `A page's limit must be a whole number from 1 to ${limits.pageItemsMax}; got ${inspect(limit)}.`,
    );
  assertAtMost('pageItemsMax', limit, 'items of a page');
}

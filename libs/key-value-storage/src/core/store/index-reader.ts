/** The reads of an index: entries in the order of its keys. */
import { throwIfAborted } from '../base/abort.js';
import { withCaller } from '../base/call-site.js';
import { storageError } from '../base/errors.js';
import { inspect } from '../base/inspect.js';
import type { Key } from '../base/key.js';
import { limits } from '../base/limits.js';
import { assertOptions, didYouMean, invalidOption } from '../base/options.js';
import { decodeKey, encodeRange } from '../encoding/key-encoding.js';
import { isEncodedKey, type CursorScope } from './cursor.js';
import { CursorPage } from './cursor-page.js';
import { frozenKey, type Entry } from './entry.js';
import type { ResolvedIndex } from './index-definition.js';
import { isIndexRowKey } from '../encoding/index-encoding.js';
import { boundsOfKey, readIndexRow, rowBounds } from './index-row.js';
import { IndexScan } from './index-scan.js';
import type { IndexListRange, IndexPageRequest, IndexRange } from './index-types.js';
import type { ReadOptions } from './call-options.js';
import { StoreIndex, type Page } from './key-value-store.js';
import {
  assertPageLimit,
  boundedPages,
  consistencyOf,
  listPageItems,
  pageItemsDefault,
} from './range-reader.js';
import type { StateRows } from './state-rows.js';

import type { ScannedRow } from '../port/storage-provider.js';

const readNames = ['signal', 'consistency'];
const rangeNames = ['key', 'prefix', 'start', 'end', 'reverse'];

export class IndexReader<T, K extends Key> extends StoreIndex<T, K> {
  readonly #rows: StateRows<T, K>;
  readonly #index: ResolvedIndex;
  readonly #scan: IndexScan;

  constructor(rows: StateRows<T, K>, name: string) {
    super();
    const { indexed, state, access } = rows;
    const index = indexed?.indexes.find((each) => each.name === name);
    if (indexed === undefined || index === undefined) {
      const known = indexed?.indexes.map((each) => each.name) ?? [];
      const list = known.map((each) => `'${each}'`).join(', ') || 'none';
      throw withCaller(
        invalidOption(
          `The state '${state.name}' has no index ${inspect(name)}; its indexes are: ${list}.${didYouMean(String(name), known)}`,
        ),
      );
    }
    this.#rows = rows;
    this.#index = index;
    this.#scan = new IndexScan(access, indexed, index);
  }

  list(list: IndexListRange = {}, options?: ReadOptions): AsyncIterable<Entry<T, K>> {
    assertOptions('list', options, readNames);
    assertOptions('A range', list, [...rangeNames, 'cursor']);
    const { cursor, ...range } = list;
    const scope = new CursorPage(this.#scope(range), cursor, isRowKey).range;
    const read = async function* (this: IndexReader<T, K>, scan: IndexScan): AsyncGenerator<Entry<T, K>> {
      let begun: number | undefined;
      /** Of the listed entries those that were written since, by their keys. */
      const written = new Set<string>();
      const pages = boundedPages(scan, { ...scope, limit: listPageItems }, options);
      for await (const { time, rows } of pages) {
        begun ??= time;
        for (const row of rows) {
          throwIfAborted('A list', options?.signal);
          const indexed = this.#indexed(scope, row);
          const { own, updatedAt } = indexed;
          // a reader that moves what it reads forward would follow it for ever
          if (written.has(own)) continue;
          if (updatedAt >= begun) written.add(own);
          yield await this.#entry(scope, row, indexed);
        }
      }
    };
    // each reading joins the transaction in which it begins
    return { [Symbol.asyncIterator]: () => read.call(this, this.#scan.joined) };
  }

  async page(request: IndexPageRequest, options?: ReadOptions): Promise<Page<Entry<T, K>>> {
    assertOptions('page', options, readNames);
    assertOptions('page', request, [...rangeNames, 'limit', 'cursor']);
    const { limit = pageItemsDefault, cursor, ...range } = (request as IndexPageRequest | undefined) ?? {};
    assertPageLimit(limit);
    const scope = this.#scope(range);
    const page = new CursorPage(scope, cursor, isRowKey);
    const [scanned] = await this.#scan.scan([{ ...page.range, ...consistencyOf(options), limit }], options);
    const { rows, ...cursors } = page.of(scanned);
    const items = await Promise.all(rows.map(async (row) => await this.#entry(scope, row)));
    return { items, ...cursors };
  }

  async count(range: IndexRange = {}, options?: ReadOptions): Promise<number> {
    assertOptions('count', options, readNames);
    const scope = this.#scope(range);
    const all = { ...scope, limit: limits.pageItemsMax, values: 'omit' } as const;
    let count = 0;
    for await (const { rows } of boundedPages(this.#scan, all, options)) count += rows.length;
    return count;
  }

  async get(key: Key, options?: ReadOptions): Promise<Entry<T, K> | undefined> {
    assertOptions('get', options, readNames);
    const scope = this.#scope({ key });
    const [{ rows }] = await this.#scan.scan([{ ...scope, ...consistencyOf(options), limit: 1 }], options);
    const [first] = rows;
    return first && (await this.#entry(scope, first));
  }

  #scope(range: IndexRange): CursorScope {
    assertOptions('A range', range, rangeNames);
    const { key, reverse = false, ...bounds } = range;
    if (typeof reverse !== 'boolean')
      throw invalidOption(`A range's reverse must be true or false; got ${inspect(reverse)}.`);
    if ('key' in range && (key === undefined || Object.values(bounds).some((bound) => bound !== undefined)))
      throw invalidOption(
        'A range of an index has a key, or a prefix, start and end; a key must not be undefined.',
      );
    return {
      database: this.#rows.database(),
      ...this.#index.space,
      ...(key === undefined ? rowBounds(encodeRange(bounds)) : boundsOfKey(this.#index, key)),
      reverse,
    };
  }

  #indexed({ database }: CursorScope, { key, row }: ScannedRow): ReturnType<typeof readIndexRow> {
    return readIndexRow({ database, ...this.#index.space, key }, row);
  }

  async #entry(
    scope: CursorScope,
    scanned: ScannedRow,
    { own, version, updatedAt, value } = this.#indexed(scope, scanned),
  ): Promise<Entry<T, K>> {
    const { database } = scope;
    const { container, entity } = this.#rows.state;
    const ownKey = decodeKey(own);
    if (ownKey === undefined) {
      const { space } = this.#index;
      const place = `${database}/${space.container}/${space.entity}/${scanned.key}`;
      throw storageError('STORAGE_CORRUPT', `The row at ${place} has no key of an entry.`, { place });
    }
    const entry = { ...scanned.row, version, updatedAt, value };
    return await this.#rows.entry({ database, container, entity, key: own }, frozenKey(ownKey) as K, entry);
  }
}

const isRowKey = (rowKey: string): boolean => isIndexRowKey(rowKey, isEncodedKey);

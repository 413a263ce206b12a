/** The watches of one store: rows as entries. */
import { assertAtMost } from '../base/assert-limits.js';
import { storageError } from '../base/errors.js';
import { inspect } from '../base/inspect.js';
import type { Key, KeyRange } from '../base/key.js';
import { assertOptions, invalidOption } from '../base/options.js';
import { frozenKey, type Entry } from './entry.js';
import type { RangeChange, WatchOptions } from './key-value-store.js';
import type { RangeReader } from './range-reader.js';
import type { StateRows } from './state-rows.js';
import type { Row } from '../port/storage-provider.js';
import { RangeWatcher } from '../watch/range-watcher.js';
import { RowsWatcher } from '../watch/rows-watcher.js';
import type { Watcher } from '../watch/watcher.js';

const watchNames = ['signal', 'recover'];

export class StateWatches<T, K extends Key> {
  readonly #rows: StateRows<T, K>;
  readonly #ranges: RangeReader<Entry<T, K>, K>;

  constructor(rows: StateRows<T, K>, ranges: RangeReader<Entry<T, K>, K>) {
    this.#rows = rows;
    this.#ranges = ranges;
  }

  one(key: K, options: WatchOptions = {}): AsyncIterable<Entry<T, K> | undefined> {
    this.#assert('watch', options);
    const address = this.#rows.address(key);
    const ownKey = frozenKey(key);
    const entryOf = ([row]: readonly (Row | undefined)[]) => row && this.#rows.entry(address, ownKey, row);
    return each(() => new RowsWatcher(this.#rows.access.watches, [address], entryOf, options));
  }

  many(keys: readonly K[], options: WatchOptions = {}): AsyncIterable<readonly (Entry<T, K> | undefined)[]> {
    this.#assert('watchMany', options);
    if (!isArray(keys)) throw invalidOption(`watchMany: keys must be an array; got ${inspect(keys)}.`);
    assertAtMost('readAddressesMax', keys.length, 'keys in one watchMany');
    const database = this.#rows.database();
    const addresses = keys.map((key) => this.#rows.address(key, database));
    const ownKeys = keys.map<K>(frozenKey);
    const entriesOf = async (rows: readonly (Row | undefined)[]) =>
      await Promise.all(
        addresses.map(async (address, index) => {
          const row = rows[index];
          return row && (await this.#rows.entry(address, ownKeys[index] as K, row));
        }),
      );
    return each(() => new RowsWatcher(this.#rows.access.watches, addresses, entriesOf, options));
  }

  range(range: KeyRange<K>, options: WatchOptions = {}): AsyncIterable<RangeChange<T, K>> {
    this.#assert('watchRange', options);
    const watched = this.#ranges.watched(range);
    return each(() => new RangeWatcher<RangeChange<T, K>>(this.#rows.access.watches, watched, options));
  }

  #assert(verb: string, options: WatchOptions): void {
    assertOptions(verb, options, watchNames);
    const { recover } = options;
    if (recover !== undefined && typeof recover !== 'boolean')
      throw invalidOption(`${verb}: recover must be true or false; got ${inspect(recover)}.`);
    if (this.#rows.access.inTransaction)
      throw storageError('STORAGE_UNSUPPORTED', 'A watch cannot begin inside a transaction.', {});
  }
}

/** Each iteration is a watch of its own. */
const each = <Item>(start: () => Watcher<Item>): AsyncIterable<Item> => ({
  [Symbol.asyncIterator]: () => start().iterator(),
});

// `Array.isArray` makes any items of a readonly array
const isArray = (given: unknown): boolean => Array.isArray(given);

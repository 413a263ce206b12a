/** The `KeyValueStore` of users: each verb checks its arguments, encodes, and calls the port. */
import { notFoundError } from '../commit/commit.js';
import { assertAtMost } from '../base/assert-limits.js';
import type { StorageAccess } from '../commit/storage-access.js';
import { EntryWrites } from './entry-writes.js';
import { BulkWriter } from './bulk-writer.js';
import type { ExportRange, LoadItem, LoadFromOptions, LoadResult } from './bulk-types.js';
import { frozenKey, type Entry, type EntryInfo } from './entry.js';
import { inspect } from '../base/inspect.js';
import type { Key, KeyRange } from '../base/key.js';
import { isPromise } from '../base/kinds.js';
import type { AnyIndexes } from './index-types.js';
import type { CallOptions, IdempotentOptions, ReadOptions } from './call-options.js';
import {
  IndexedStore,
  type DeleteOptions,
  type GotOrAdded,
  type GuardedWriteOptions,
  type KeyedWriteOptions,
  type ListRange,
  type Page,
  type PageRequest,
  type RangeChange,
  type ReadInfoOptions,
  type TouchOptions,
  type UpdateOptions,
  type WatchOptions,
  type StoreIndex,
  type WriteOptions,
} from './key-value-store.js';
import { invalidOption, assertOptions } from '../base/options.js';
import { IndexReader } from './index-reader.js';
import { RangeReader } from './range-reader.js';
import type { Input, ResolvedState } from './state-definition.js';
import { StateRows } from './state-rows.js';
import { StateWatches } from './state-watches.js';
import type { Address } from '../port/storage-provider.js';
import { databaseOf } from './tenant.js';

const callNames = ['signal'];
const readNames = ['signal', 'consistency'];
const writeNames = ['signal', 'ttlMs'];

/** On a store: its rows, for batches and other packages of Kvent. */
export const storeRows = Symbol('kvent.store-rows');

export class TypedStore<T, K extends Key = Key, I = Input<T>> extends IndexedStore<T, AnyIndexes, K, I> {
  readonly [storeRows]: StateRows<T, K>;
  readonly #rows: StateRows<T, K>;
  readonly #writes: EntryWrites<T, K, I>;
  readonly #ranges: RangeReader<Entry<T, K>, K>;
  readonly #watches: StateWatches<T, K>;
  readonly #bulk: BulkWriter<T, K, I>;

  constructor(access: StorageAccess, state: ResolvedState<T>, database: () => string) {
    super();
    this.#rows = new StateRows(access, state, database);
    this.#writes = new EntryWrites(this.#rows);
    this.#ranges = new RangeReader(this.#rows);
    this.#watches = new StateWatches(this.#rows, this.#ranges);
    this.#bulk = new BulkWriter(this.#rows);
    this[storeRows] = this.#rows;
  }

  // ─── one

  async get(key: K, options?: ReadOptions): Promise<Entry<T, K> | undefined> {
    assertOptions('get', options, readNames);
    const address = this.#rows.address(key);
    const ownKey = frozenKey(key);
    const { rows, time } = await this.#rows.access.read([address], options);
    const row = rows[0];
    if (row === undefined) return undefined;
    const expiresAt = this.#rows.state.sliding
      ? await this.#rows.slide(address, row, time, options?.signal)
      : row.expiresAt;
    const entry = this.#rows.entry(address, ownKey, row, expiresAt);
    return isPromise(entry) ? await entry : entry;
  }

  async getOrThrow(key: K, options?: ReadOptions): Promise<Entry<T, K>> {
    const entry = await this.get(key, options);
    if (entry === undefined) throw notFoundError(this.#rows.state.name, key);
    return entry;
  }

  async has(key: K, options?: ReadOptions): Promise<boolean> {
    assertOptions('has', options, readNames);
    return (await this.#readInfo(this.#rows.address(key), options)).row !== undefined;
  }

  async stat(key: K, options?: ReadOptions): Promise<EntryInfo<K> | undefined> {
    assertOptions('stat', options, readNames);
    const address = this.#rows.address(key);
    const ownKey = frozenKey(key);
    const { row } = await this.#readInfo(address, options);
    return row === undefined ? undefined : this.#rows.info(ownKey, row);
  }

  add(key: K, value: I, options?: KeyedWriteOptions): Promise<Entry<T, K>> {
    return this.#writes.add(key, value, options);
  }

  getOrAdd(key: K, make: () => I | Promise<I>, options?: KeyedWriteOptions): Promise<GotOrAdded<T, K>> {
    return this.#writes.getOrAdd(key, make, options);
  }

  set(key: K, value: I, options?: GuardedWriteOptions): Promise<Entry<T, K>> {
    return this.#writes.set(key, value, options);
  }

  replace(key: K, value: I, options?: KeyedWriteOptions): Promise<Entry<T, K>> {
    return this.#writes.replace(key, value, options);
  }

  save(entry: Entry<T, K>, options?: KeyedWriteOptions): Promise<Entry<T, K>> {
    return this.#writes.save(entry, options);
  }

  update(key: K, change: (value: T) => I | Promise<I>, options?: UpdateOptions<I>): Promise<Entry<T, K>> {
    return this.#writes.update(key, change, options);
  }

  touch(key: K, options: TouchOptions): Promise<EntryInfo<K>> {
    return this.#writes.touch(key, options);
  }

  delete(key: K, options?: DeleteOptions): Promise<boolean> {
    return this.#writes.delete(key, options);
  }

  take(key: K, options?: CallOptions & IdempotentOptions): Promise<Entry<T, K> | undefined> {
    return this.#writes.take(key, options);
  }

  // ─── many

  async getMany<const Keys extends readonly K[]>(
    keys: Keys,
    options?: ReadOptions,
  ): Promise<{ readonly [Index in keyof Keys]: Entry<T, K> | undefined }> {
    assertOptions('getMany', options, readNames);
    if (!Array.isArray(keys)) throw invalidOption(`getMany: keys must be an array; got ${inspect(keys)}.`);
    assertAtMost('readAddressesMax', keys.length, 'keys in one getMany');
    const database = this.#rows.database();
    const addresses = keys.map((key) => this.#rows.address(key, database));
    const ownKeys = keys.map(frozenKey);
    const { rows } = await this.#rows.access.read(addresses, options);
    const entries = addresses.map((address, index) => {
      const row = rows[index];
      const entry = row && this.#rows.entry(address, ownKeys[index] as K, row);
      // handled here too: another entry may throw first
      if (isPromise(entry)) entry.then(undefined, () => undefined);
      return entry;
    });
    // a promise for each entry would cost as much as the rest of it
    const all = entries.some(isPromise)
      ? await Promise.all(entries.map(async (entry) => await entry))
      : entries;
    return all as { readonly [Index in keyof Keys]: Entry<T, K> | undefined };
  }

  async setMany(
    items: Iterable<{ readonly key: K; readonly value: I }>,
    options?: WriteOptions,
  ): Promise<readonly Entry<T, K>[]> {
    assertOptions('setMany', options, writeNames);
    return await this.#bulk.write('setMany', items, options);
  }

  async addMany(
    items: Iterable<{ readonly key: K; readonly value: I }>,
    options?: WriteOptions,
  ): Promise<readonly Entry<T, K>[]> {
    assertOptions('addMany', options, writeNames);
    return await this.#bulk.write('addMany', items, options);
  }

  async loadFrom(
    source: Iterable<LoadItem<K, I>> | AsyncIterable<LoadItem<K, I>>,
    options?: LoadFromOptions,
  ): Promise<LoadResult> {
    return await this.#bulk.load(source, options);
  }

  export(range: ExportRange<K> = {}, options?: CallOptions): AsyncIterable<Entry<T, K>> {
    assertOptions('export', options, callNames);
    return this.#ranges.exported(range, options);
  }

  list(range?: ListRange<K>, options?: ReadOptions): AsyncIterable<Entry<T, K>>;
  list(range: ListRange<K> | undefined, options: ReadInfoOptions): AsyncIterable<EntryInfo<K>>;
  list(range: ListRange<K> = {}, options?: ReadOptions | ReadInfoOptions): AsyncIterable<EntryInfo<K>> {
    return omitsValues('list', options)
      ? this.#ranges.infos(range, options)
      : this.#ranges.entries(range, options);
  }

  page(request: PageRequest<K>, options?: ReadOptions): Promise<Page<Entry<T, K>>>;
  page(request: PageRequest<K>, options: ReadInfoOptions): Promise<Page<EntryInfo<K>>>;
  async page(request: PageRequest<K>, options?: ReadOptions | ReadInfoOptions): Promise<Page<EntryInfo<K>>> {
    return omitsValues('page', options)
      ? await this.#ranges.infoPage(request, options)
      : await this.#ranges.page(request, options);
  }

  keys(range: KeyRange<K> = {}, options?: ReadOptions): AsyncIterable<K> {
    assertOptions('keys', options, readNames);
    return this.#ranges.keys(range, options);
  }

  async count(range: KeyRange<K> = {}, options?: ReadOptions): Promise<number> {
    assertOptions('count', options, readNames);
    return await this.#ranges.count(range, options);
  }

  async deleteKeys(keys: Iterable<K> | AsyncIterable<K>, options?: CallOptions): Promise<number> {
    assertOptions('deleteKeys', options, callNames);
    return await this.#bulk.delete(keys, options);
  }

  async deleteMany(range: KeyRange<K>, options?: CallOptions): Promise<number> {
    assertOptions('deleteMany', options, callNames);
    assertBounded(range);
    return await this.#ranges.delete(range, options);
  }

  async clear(options?: CallOptions): Promise<number> {
    assertOptions('clear', options, callNames);
    return await this.#ranges.delete({}, options);
  }

  // ─── changes

  watch(key: K, options?: WatchOptions): AsyncIterable<Entry<T, K> | undefined> {
    return this.#watches.one(key, options);
  }

  watchMany<const Keys extends readonly K[]>(
    keys: Keys,
    options?: WatchOptions,
  ): AsyncIterable<{ readonly [Index in keyof Keys]: Entry<T, K> | undefined }> {
    return this.#watches.many(keys, options) as AsyncIterable<{
      readonly [Index in keyof Keys]: Entry<T, K> | undefined;
    }>;
  }

  watchRange(range: KeyRange<K> = {}, options?: WatchOptions): AsyncIterable<RangeChange<T, K>> {
    return this.#watches.range(range, options);
  }

  // ─── elsewhere

  index(name: string): StoreIndex<T, K> {
    return new IndexReader(this.#rows, name);
  }

  forTenant(tenant: string): IndexedStore<T, AnyIndexes, K, I> {
    const { access, state } = this.#rows;
    const database = databaseOf(tenant);
    if (state.scope === 'shared')
      throw invalidOption(`The state '${state.name}' is shared: it has no tenants.`);
    return new TypedStore(access, state, () => database);
  }

  within(transaction: object): IndexedStore<T, AnyIndexes, K, I> {
    const { access, state, database } = this.#rows;
    return new TypedStore(access.within(transaction), state, database);
  }

  // ─── parts

  /** The row at an address without its value. */
  async #readInfo(address: Address, options: ReadOptions | undefined) {
    return await this.#rows.access.readOne(address, { ...options, values: 'omit' });
  }
}

/** Whether `values: false` is given. */
function omitsValues(verb: string, options: ReadOptions | ReadInfoOptions | undefined): boolean {
  assertOptions(verb, options, [...readNames, 'values']);
  const values: unknown = options && 'values' in options ? options.values : undefined;
  if (values !== undefined && typeof values !== 'boolean')
    throw invalidOption(`${verb}: values must be true or false; got ${inspect(values)}.`);
  return values === false;
}

/** A forgotten bound must never mean "everything". */
function assertBounded(range: KeyRange): void {
  if (typeof range !== 'object' || (range as unknown) === null)
    throw invalidOption('deleteMany: range must be an object; to delete everything, use clear().');
  const bounds = (['prefix', 'start', 'end'] as const).filter((name) => name in range);
  const empty = bounds.filter(
    (name) => range[name] === undefined || range[name] === null || range[name].length === 0,
  );
  if (empty.length > 0)
    throw invalidOption(
      `deleteMany: got ${empty.join(' and ')} without a value; to delete everything, use clear().`,
    );
  if (bounds.length === 0)
    throw invalidOption(
      'deleteMany: range must have a prefix, a start or an end; to delete everything, use clear().',
    );
}

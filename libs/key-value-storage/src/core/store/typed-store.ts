/** The `KeyValueStore` of users: each verb checks its arguments, encodes, and calls the port. */
import {
  conflictError,
  conflictOf,
  existsError,
  notFoundError,
  type ConflictedBatch,
} from '../commit/commit.js';
import { assertAtMost } from '../base/assert-limits.js';
import type { StorageAccess } from '../commit/storage-access.js';
import { throwIfAborted } from '../base/abort.js';
import { frozenKey, type Entry, type EntryInfo } from './entry.js';
import type { Precondition } from './etag.js';
import { inspect } from '../base/inspect.js';
import type { Key, KeyRange } from '../base/key.js';
import { isPromise } from '../base/kinds.js';
import type { AnyIndexes } from './index-types.js';
import type { CallOptions, ReadOptions } from './call-options.js';
import {
  IndexedStore,
  type EtagLike,
  type GuardedWriteOptions,
  type ListRange,
  type Page,
  type PageRequest,
  type RangeChange,
  type ReadInfoOptions,
  type WatchOptions,
  type StoreIndex,
  type WriteOptions,
} from './key-value-store.js';
import { invalidOption, assertOptions, assertTtl } from '../base/options.js';
import { IndexReader } from './index-reader.js';
import { RangeReader } from './range-reader.js';
import { resolveRetry, type RetryOptions, type RetryPolicy } from '../contention/retry-on-conflict.js';
import type { Input, ResolvedState } from './state-definition.js';
import { StateRows } from './state-rows.js';
import { StateWatches } from './state-watches.js';
import type { Address, Expected } from '../port/storage-provider.js';
import { databaseOf } from './tenant.js';
import { conditionOf, etagIn, isOneOf, ttlOf, type OneOf } from './write-options.js';

const callNames = ['signal'];
const readNames = ['signal', 'consistency'];
const writeNames = ['signal', 'ttlMs'];
const guardedNames = [...writeNames, 'ifMatch'];
const updateNames = [...writeNames, 'retry', 'initial'];

/** On a store: its rows, for batches and other packages of Kvent. */
export const storeRows = Symbol('kvent.store-rows');

export class TypedStore<T, K extends Key = Key, I = Input<T>> extends IndexedStore<T, AnyIndexes, K, I> {
  readonly [storeRows]: StateRows<T, K>;
  readonly #rows: StateRows<T, K>;
  readonly #ranges: RangeReader<Entry<T, K>, K>;
  readonly #watches: StateWatches<T, K>;

  constructor(access: StorageAccess, state: ResolvedState<T>, database: () => string) {
    super();
    this.#rows = new StateRows(access, state, database);
    this.#ranges = new RangeReader(this.#rows);
    this.#watches = new StateWatches(this.#rows, this.#ranges);
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
    if (entry === undefined) throw this.#notFound(key);
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

  add(key: K, value: I, options?: WriteOptions): Promise<Entry<T, K>> {
    return this.#write('add', key, value, options, {
      expected: 'absent',
      onConflict: () => existsError(this.#rows.state.name, key),
    });
  }

  async getOrAdd(
    key: K,
    make: () => I | Promise<I>,
    options?: WriteOptions,
  ): Promise<{ readonly entry: Entry<T, K>; readonly added: boolean }> {
    assertOptions('getOrAdd', options, writeNames);
    assertFunction('getOrAdd', 'make', make);
    const address = this.#rows.address(key);
    const ownKey = frozenKey(key);
    const ttl = ttlOf('getOrAdd', options?.ttlMs, this.#rows.state.ttlMs, 'replace');
    return await this.#rows.retry(address, this.#policy(options), async () => {
      const { row } = await this.#rows.access.readOne(address, callOptions(options));
      if (row !== undefined) return { entry: await this.#rows.entry(address, ownKey, row), added: false };
      const encoded = await this.#rows.codec.encode(ownKey, await make());
      const result = await this.#rows.change(
        { kind: 'put', address, value: encoded.stored, ttl },
        'absent',
        options,
      );
      return result.outcome === 'conflict'
        ? result
        : { entry: this.#rows.written(address, ownKey, encoded, result), added: true };
    });
  }

  set(key: K, value: I, options?: GuardedWriteOptions): Promise<Entry<T, K>> {
    return this.#write('set', key, value, options, { onConflict: callerConflict, guarded: true });
  }

  replace(key: K, value: I, options?: WriteOptions): Promise<Entry<T, K>> {
    return this.#write('replace', key, value, options, {
      expected: 'present',
      onConflict: () => this.#notFound(key),
    });
  }

  async save(entry: Entry<T, K>, options?: WriteOptions): Promise<Entry<T, K>> {
    assertEntry('save', entry);
    const expected = { version: etagIn(entry) };
    return await this.#write('save', entry.key, entry.value, options, {
      expected,
      onConflict: ownConflict,
      expiry: 'keep',
    });
  }

  async update(
    key: K,
    change: (value: T) => I | Promise<I>,
    options?: WriteOptions & {
      readonly retry?: RetryOptions | undefined;
      readonly initial?: (() => I) | undefined;
    },
  ): Promise<Entry<T, K>> {
    assertOptions('update', options, updateNames);
    assertFunction('update', 'change', change);
    if (options?.initial !== undefined) assertFunction('update', 'initial', options.initial);
    const rows = this.#rows;
    const address = rows.address(key);
    const ownKey = frozenKey(key);
    const ttl = ttlOf('update', options?.ttlMs, rows.state.ttlMs, 'keep');
    return await rows.retry(address, this.#policy(options, options?.retry), async () => {
      const { row } = await rows.access.readOne(address, callOptions(options));
      if (row === undefined && options?.initial === undefined) throw this.#notFound(ownKey);
      const before =
        row === undefined
          ? (await rows.codec.encode(ownKey, options?.initial?.())).value
          : await rows.codec.decode(address, row.value);
      const after = await change(before);
      if (row !== undefined && after === before && options?.ttlMs === undefined)
        return await rows.entry(address, ownKey, row);
      const encoded = await rows.codec.encode(ownKey, after);
      const result = await rows.change(
        { kind: 'put', address, value: encoded.stored, ttl },
        row === undefined ? 'absent' : { version: row.version },
        options,
        row,
      );
      return result.outcome === 'conflict' ? result : rows.written(address, ownKey, encoded, result);
    });
  }

  async touch(key: K, options: CallOptions & { readonly ttlMs: number }): Promise<EntryInfo<K>> {
    assertOptions('touch', options, writeNames);
    assertTtl('touch', (options as Partial<typeof options> | undefined)?.ttlMs);
    const { ttlMs } = options;
    const address = this.#rows.address(key);
    const ownKey = frozenKey(key);
    return await this.#rows.retry(address, this.#policy(options), async () => {
      const { row, time } = await this.#readInfo(address, callOptions(options));
      if (row === undefined) throw this.#notFound(ownKey);
      if (row.expiresAt === undefined || row.expiresAt >= time + ttlMs) return this.#rows.info(ownKey, row);
      const expected = { version: row.version };
      const result = await this.#rows.change({ kind: 'renew', address, ttlMs }, expected, options);
      return result.outcome === 'conflict' ? result : this.#rows.info(ownKey, row, result.rows[0]?.expiresAt);
    });
  }

  async delete(
    key: K,
    options?: CallOptions & { readonly ifMatch?: EtagLike | Precondition | '*' },
  ): Promise<boolean> {
    assertOptions('delete', options, ['signal', 'ifMatch']);
    const address = this.#rows.address(key);
    const condition = conditionOf(options, address);
    const expected = isOneOf(condition) ? await this.#oneOf(address, condition, options) : condition;
    const checks = expected === undefined ? [] : [{ address, expected }];
    const changes = [{ kind: 'delete', address } as const];
    const result = await this.#rows.commit(address.database, { checks, changes }, options, address);
    if (result.outcome === 'conflict') throw conflictError(result, 'caller');
    return result.rows[0]?.existed === true;
  }

  async take(key: K, options?: CallOptions): Promise<Entry<T, K> | undefined> {
    assertOptions('take', options, callNames);
    const address = this.#rows.address(key);
    const ownKey = frozenKey(key);
    return await this.#rows.retry(address, this.#policy(options), async () => {
      const { row } = await this.#rows.access.readOne(address, options);
      if (row === undefined) return undefined;
      // decoded first: a value that cannot be read back is not removed
      const entry = await this.#rows.entry(address, ownKey, row);
      const expected = { version: row.version };
      const result = await this.#rows.change({ kind: 'delete', address }, expected, options, row);
      return result.outcome === 'conflict' ? result : entry;
    });
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
    const rows = this.#rows;
    const ttl = ttlOf('setMany', options?.ttlMs, rows.state.ttlMs, 'replace');
    const database = rows.database();
    const lines: { key: K; value: I; address: Address }[] = [];
    const names = new Set<string>();
    if (typeof (items as Partial<Iterable<unknown>> | null | undefined)?.[Symbol.iterator] !== 'function') {
      throw invalidOption(`setMany: items must be an iterable of { key, value }; got ${inspect(items)}.`);
    }
    for (const { key, value } of items) {
      const address = rows.address(key, database);
      if (names.has(address.key)) throw invalidOption(`setMany: got the key ${inspect(key)} twice.`);
      names.add(address.key);
      assertAtMost('batchEntriesMax', names.size, 'rows in one batch');
      lines.push({ key: frozenKey(key), value, address });
    }
    throwIfAborted('A commit', options?.signal);
    rows.access.assertOpen();
    if (lines.length === 0) return [];
    const encoded = await Promise.all(
      lines.map(async ({ key, value }) => await rows.codec.encode(key, value)),
    );
    const changes = encoded.map(
      ({ stored }, index) =>
        ({
          kind: 'put',
          address: (lines[index] as (typeof lines)[number]).address,
          value: stored,
          ttl,
        }) as const,
    );
    const result = await rows.commit(database, { checks: [], changes }, options);
    if (result.outcome === 'conflict') throw conflictError(result, 'own');
    return lines.map(({ key, address }, index) =>
      rows.written(address, key, encoded[index] as (typeof encoded)[number], result, index),
    );
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

  /** Writes one value. `write`: what it checks, and the error of its conflict. */
  async #write(
    verb: string,
    key: K,
    value: I | T,
    options: GuardedWriteOptions | undefined,
    write: Write,
  ): Promise<Entry<T, K>> {
    assertOptions(verb, options, write.guarded === true ? guardedNames : writeNames);
    const rows = this.#rows;
    const address = rows.address(key);
    const condition = write.guarded === true ? conditionOf(options, address) : write.expected;
    const ownKey = frozenKey(key);
    const ttl = ttlOf(verb, options?.ttlMs, rows.state.ttlMs, write.expiry ?? 'replace');
    const pending = rows.codec.encode(ownKey, value);
    const encoded = isPromise(pending) ? await pending : pending;
    const expected = isOneOf(condition) ? await this.#oneOf(address, condition, options) : condition;
    const checks = expected === undefined ? [] : [{ address, expected }];
    const changes = [{ kind: 'put', address, value: encoded.stored, ttl } as const];
    const result = await rows.commit(address.database, { checks, changes }, options, address);
    if (result.outcome === 'conflict') throw write.onConflict(result);
    return rows.written(address, ownKey, encoded, result);
  }

  /** The row at an address without its value. */
  async #readInfo(address: Address, options: ReadOptions | undefined) {
    return await this.#rows.access.readOne(address, { ...options, values: 'omit' });
  }

  /** Of several etags, the one that the row has; `STORAGE_CONFLICT` where it has none of them. */
  async #oneOf(address: Address, { versions }: OneOf, options: CallOptions | undefined): Promise<Expected> {
    const { row } = await this.#readInfo(address, callOptions(options));
    if (row !== undefined && versions.includes(row.version)) return { version: row.version };
    const expected = versions.length === 0 ? 'an etag of this row' : `one of ${versions.length} etags`;
    throw conflictOf(address, expected, expected, row?.version, 'caller');
  }

  #policy(options: CallOptions | undefined, retry?: RetryOptions): RetryPolicy {
    const policy = resolveRetry(retry, this.#rows.access.retry);
    return options?.signal ? { ...policy, signal: options.signal } : policy;
  }

  #notFound(key: Key) {
    return notFoundError(this.#rows.state.name, key);
  }
}

const callOptions = (options: CallOptions | undefined): CallOptions | undefined =>
  options?.signal ? { signal: options.signal } : undefined;

interface Write {
  readonly expected?: Expected;
  /** The condition is the caller's `ifMatch`. */
  readonly guarded?: boolean;
  readonly onConflict: (conflict: ConflictedBatch) => Error;
  readonly expiry?: 'keep';
}

const callerConflict = (conflict: ConflictedBatch): Error => conflictError(conflict, 'caller');
const ownConflict = (conflict: ConflictedBatch): Error => conflictError(conflict, 'own');

function assertEntry(verb: string, entry: unknown): void {
  if (typeof entry === 'object' && entry !== null && 'key' in entry && 'etag' in entry && 'value' in entry)
    return;
  throw invalidOption(`${verb}: entry must be an entry that was read; got ${inspect(entry)}.`);
}

function assertFunction(verb: string, name: string, given: unknown): void {
  if (typeof given !== 'function')
    throw invalidOption(`${verb}: ${name} must be a function; got ${inspect(given)}.`);
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

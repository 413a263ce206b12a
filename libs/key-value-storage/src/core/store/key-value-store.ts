/**
 * The classes that users inject and call; `typed-store.ts` implements the store. Abstract classes,
 * because Nest needs a runtime value for a decorated parameter. No private members, so that a stub
 * is assignable.
 */
import type { CommitParticipant } from '../commit/participant.js';
import type { ExportRange, LoadItem, LoadFromOptions, LoadResult } from './bulk-types.js';
import type { CallOptions, IdempotentOptions, ReadOptions } from './call-options.js';
import type { CounterDefinition, ShardedCounterDefinition } from './counter-definition.js';
import type { CounterStore, CounterWriteOptions } from './counter-store.js';
import type { ShardedCounter } from './sharded-counter.js';
import type { Entry, EntryInfo } from './entry.js';
import type { Precondition } from './etag.js';
import type { Key, KeyRange } from '../base/key.js';
import type { IdempotentCall } from '../commit/idempotency-record.js';
import type { RetryOptions } from '../contention/retry-on-conflict.js';
import type {
  AnyIndexes,
  IndexKeyOf,
  IndexListRange,
  IndexPageRequest,
  IndexRange,
  NoIndexes,
} from './index-types.js';
import type { Input, StateClass, StateDefinition } from './state-definition.js';

type Awaitable<T> = T | Promise<T>;

/** An etag, or something that carries one. */
export type EtagLike = string | EntryInfo;

/**
 * `ttlMs` in milliseconds above 0. Left out: `add`, `set` and `replace` take the state's own,
 * `save` and `update` keep the expiry the entry has.
 */
export interface WriteOptions extends CallOptions {
  readonly ttlMs?: number | 'keep' | 'never' | undefined;
}
export interface KeyedWriteOptions extends WriteOptions, IdempotentOptions {}
export interface GuardedWriteOptions extends KeyedWriteOptions {
  /**
   * The etag that the row must have. Present as undefined or null it is `INVALID_OPTION`, blank or
   * malformed `INVALID_ETAG`, never "no check". `'*'`: the row must exist.
   */
  readonly ifMatch?: EtagLike | Precondition | '*';
}
export interface UpdateOptions<I> extends KeyedWriteOptions {
  readonly retry?: RetryOptions | undefined;
  /** The value that an absent key counts as. */
  readonly initial?: (() => I) | undefined;
}
export interface TouchOptions extends CallOptions, IdempotentOptions {
  /** Milliseconds from now, above 0. */
  readonly ttlMs: number;
}
export interface DeleteOptions extends CallOptions, IdempotentOptions {
  /** As of `set`. */
  readonly ifMatch?: EtagLike | Precondition | '*';
}
/** `added`: whether the call created the entry. */
export interface GotOrAdded<out T, out K extends Key = Key> {
  readonly entry: Entry<T, K>;
  readonly added: boolean;
}
export interface WatchOptions extends CallOptions {
  /**
   * Whether the watch goes on when a storage engine that could not be reached is back. Otherwise it
   * ends with `STORAGE_UNAVAILABLE`. @default false
   */
  readonly recover?: boolean | undefined;
}
/** An item of `watchRange`. `listed`: every entry that was there at the start has come. */
export type RangeChange<T, K extends Key = Key> =
  | { readonly type: 'put'; readonly entry: Entry<T, K> }
  | { readonly type: 'delete'; readonly key: K }
  | { readonly type: 'listed' };
/** A range, from a cursor on. */
export interface ListRange<K extends Key = Key> extends KeyRange<K> {
  /**
   * `next` of a page: what comes after it, in the order of the range. `previous` of a page: what
   * comes before it; a list of it goes backward, in the opposite order. Bound to the range and the
   * tenant of the page.
   */
  readonly cursor?: string | undefined;
}
export interface PageRequest<K extends Key = Key> extends ListRange<K> {
  /** Items at most, up to 1,000. @default 100 */
  readonly limit?: number;
}
export interface Page<Item> {
  /** In the order of the range, also of a previous page. */
  readonly items: readonly Item[];
  /** The cursor of the next page; `undefined` after the last. */
  readonly next: string | undefined;
  /**
   * The cursor of the page before; `undefined` before the first. That page is empty when its
   * entries have been deleted.
   */
  readonly previous: string | undefined;
}
/** Of a read of keys, etags and times. No value is fetched. */
export interface ReadInfoOptions extends ReadOptions {
  readonly values: false;
}

/**
 * Keys to values of one state, of one tenant. Every method rejects with `INVALID_KEY`,
 * `LIMIT_EXCEEDED` or `INVALID_OPTION` before any I/O for an argument that is not allowed; with
 * `TENANT_MISSING` outside a tenant; and with `STORAGE_UNAVAILABLE`, `STORAGE_OUTCOME_UNKNOWN`,
 * `STORAGE_CORRUPT` or `STORAGE_NOT_OPEN` as the storage is. Writes of a value reject with
 * `INVALID_VALUE` when the schema or the codec refuses it.
 *
 * `T`: what reads return; `K`: its keys; `I`: what writes take, for a state with a schema the input
 * of the schema. `Store<typeof X>` names all three.
 */
export abstract class KeyValueStore<in out T, in out K extends Key = Key, in I = Input<T>> {
  // ─── one

  /** The entry, or `undefined` where there is none or it has expired. Renews a sliding expiry. */
  abstract get(key: K, options?: ReadOptions): Promise<Entry<T, K> | undefined>;
  /** The entry; `KEY_NOT_FOUND`. Renews a sliding expiry. */
  abstract getOrThrow(key: K, options?: ReadOptions): Promise<Entry<T, K>>;
  abstract has(key: K, options?: ReadOptions): Promise<boolean>;
  /** Etag and times; no value is fetched. */
  abstract stat(key: K, options?: ReadOptions): Promise<EntryInfo<K> | undefined>;
  /** Creates an entry; `KEY_EXISTS` if there is one. Of concurrent callers exactly one creates. */
  abstract add(key: K, value: I, options?: KeyedWriteOptions): Promise<Entry<T, K>>;
  /**
   * The entry, and whether this call created it: of concurrent callers exactly one gets `added:
   * true`. `make` runs only where there is none.
   */
  abstract getOrAdd(key: K, make: () => Awaitable<I>, options?: KeyedWriteOptions): Promise<GotOrAdded<T, K>>;
  /**
   * Creates or overwrites. With `ifMatch` only the version that the caller has read:
   * `STORAGE_CONFLICT` (never retried) otherwise, also where there is none.
   */
  abstract set(key: K, value: I, options?: GuardedWriteOptions): Promise<Entry<T, K>>;
  /** Overwrites; `KEY_NOT_FOUND` if there is none. */
  abstract replace(key: K, value: I, options?: KeyedWriteOptions): Promise<Entry<T, K>>;
  /**
   * Overwrites the version that was read; `STORAGE_CONFLICT` if it has changed or is gone. Keeps
   * the expiry unless `ttlMs` is given.
   */
  abstract save(entry: Entry<T, K>, options?: KeyedWriteOptions): Promise<Entry<T, K>>;
  /**
   * Reads, changes and writes; repeats that after a conflict (50 attempts within 5 s by default,
   * then `STORAGE_CONFLICT` with `attempts`), so `change` may run several times. Nothing is written
   * when it returns the same reference and no `ttlMs` is given; `undefined` is `INVALID_VALUE`. An
   * absent key is `KEY_NOT_FOUND`, unless `initial` is given. Keeps the expiry unless `ttlMs` is
   * given.
   */
  abstract update(
    key: K,
    change: (value: T) => Awaitable<I>,
    options?: UpdateOptions<I>,
  ): Promise<Entry<T, K>>;
  /**
   * Moves the expiry forward to `ttlMs` from now; the etag stays. Unchanged where there is no
   * expiry or more is left. `KEY_NOT_FOUND`.
   */
  abstract touch(key: K, options: TouchOptions): Promise<EntryInfo<K>>;
  /**
   * Deletes, and returns whether there was an entry. With `ifMatch` only the version that the
   * caller has read: `STORAGE_CONFLICT` otherwise, also where there is none.
   */
  abstract delete(key: K, options?: DeleteOptions): Promise<boolean>;
  /** Gets and deletes: of concurrent callers exactly one gets the entry. */
  abstract take(key: K, options?: CallOptions & IdempotentOptions): Promise<Entry<T, K> | undefined>;

  // ─── many

  /**
   * One consistent read of at most 1,000 keys, in their order, `undefined` where there is none.
   * `LIMIT_EXCEEDED` above that, and where their values are over 8 MB together (`pageBytesMax`).
   */
  abstract getMany<const Keys extends readonly K[]>(
    keys: Keys,
    options?: ReadOptions,
  ): Promise<{ readonly [Index in keyof Keys]: Entry<T, K> | undefined }>;
  /** Creates or overwrites up to 900 keys, all or none. The same key twice is `INVALID_OPTION`. */
  abstract setMany(
    items: Iterable<{ readonly key: K; readonly value: I }>,
    options?: WriteOptions,
  ): Promise<readonly Entry<T, K>[]>;
  /** Creates up to 900 keys, all or none: `KEY_EXISTS` with the first that exists. */
  abstract addMany(
    items: Iterable<{ readonly key: K; readonly value: I }>,
    options?: WriteOptions,
  ): Promise<readonly Entry<T, K>[]>;
  /**
   * Creates or overwrites the items of a source of any length, each as `set` does, in commits of
   * many items: not all or none. Of several items with one key the last counts. The source is read
   * no faster than the items are stored.
   *
   * An item that is refused ends the load with its error, or, with `onError: 'continue'`, is one of
   * the `failures`, of which `onFailure` gets every one. Every other error ends the load too, and
   * so does an error of the source, which is thrown as it is. An error of the storage has the
   * number of stored items as `done`; these need not be the first ones. A failed commit ends the
   * load at once, also while the source yields nothing. `OUT_OF_RANGE` for a `chunk` or a
   * `concurrency` beyond its bounds.
   */
  abstract loadFrom(
    source: Iterable<LoadItem<K, I>> | AsyncIterable<LoadItem<K, I>>,
    options?: LoadFromOptions,
  ): Promise<LoadResult>;
  /**
   * Entries in key order, all of the moment of the first read, whatever is written while they are
   * read. Memory does not grow with their number. On Postgres it holds a connection and a snapshot
   * until it ends. `STORAGE_UNSUPPORTED` inside a transaction.
   */
  abstract export(range?: ExportRange<K>, options?: CallOptions): AsyncIterable<Entry<T, K>>;
  /**
   * Entries in key order, read page by page: not a snapshot, but no key that exists all the time is
   * repeated or missed. Ends with the key that was the last at the start; so do `keys`, `count`,
   * `deleteMany` and `clear`.
   */
  abstract list(range?: ListRange<K>, options?: ReadOptions): AsyncIterable<Entry<T, K>>;
  /** The same without values. */
  abstract list(range: ListRange<K> | undefined, options: ReadInfoOptions): AsyncIterable<EntryInfo<K>>;
  /**
   * One page: fewer items than `limit` where their values would be over 8 MB together
   * (`pageBytesMax`), one at least. Only `next` and `previous` say whether more come.
   * `INVALID_CURSOR` for a cursor of another range or tenant.
   */
  abstract page(request: PageRequest<K>, options?: ReadOptions): Promise<Page<Entry<T, K>>>;
  /** The same without values. */
  abstract page(request: PageRequest<K>, options: ReadInfoOptions): Promise<Page<EntryInfo<K>>>;
  /** Keys in order; no value is fetched. */
  abstract keys(range?: KeyRange<K>, options?: ReadOptions): AsyncIterable<K>;
  /** The number of entries; no value is fetched. */
  abstract count(range?: KeyRange<K>, options?: ReadOptions): Promise<number>;
  /**
   * Deletes the keys of a source of any length, commit by commit, and returns how many existed; an
   * error has their number as `done`.
   */
  abstract deleteKeys(keys: Iterable<K> | AsyncIterable<K>, options?: CallOptions): Promise<number>;
  /**
   * Deletes page by page and returns how many; an error has their number as `done`. Without a
   * bound, or with an empty one, it is `INVALID_OPTION`.
   */
  abstract deleteMany(range: KeyRange<K>, options?: CallOptions): Promise<number>;
  /** Deletes every entry of this store and tenant, as `deleteMany` does. */
  abstract clear(options?: CallOptions): Promise<number>;

  // ─── changes

  /**
   * The entry of a key, `undefined` where there is none: first the current one, then one after each
   * change, also by other processes, by an expiry, or by a deletion. Only what is committed.
   * Changes that follow each other quickly may be one item; the last state always comes. A renewed
   * expiry is no change.
   *
   * Ends with `return` (the `break` of a loop), with the signal, and when the storage or the
   * application closes. An error ends it too: `STORAGE_UNAVAILABLE` unless `recover` is given,
   * `STORAGE_CORRUPT` for an entry that cannot be read. `ABORTED` for a signal that is aborted
   * already, `STORAGE_UNSUPPORTED` inside a transaction. Each iteration is a watch of its own, of
   * the tenant of the call.
   */
  abstract watch(key: K, options?: WatchOptions): AsyncIterable<Entry<T, K> | undefined>;
  /**
   * As `watch`, of at most 1,000 keys in one consistent read: all of them, in their order, after
   * each change. `LIMIT_EXCEEDED` as for `getMany`.
   */
  abstract watchMany<const Keys extends readonly K[]>(
    keys: Keys,
    options?: WatchOptions,
  ): AsyncIterable<{ readonly [Index in keyof Keys]: Entry<T, K> | undefined }>;
  /**
   * As `watch`, of a range: `put` for every entry, `listed`, then `put` and `delete` for each
   * change. Of one key the order is that of its versions; the listing is no snapshot. At most
   * 10,000 keys (`watchedKeysMax`): with more it ends with `LIMIT_EXCEEDED`.
   */
  abstract watchRange(range?: KeyRange<K>, options?: WatchOptions): AsyncIterable<RangeChange<T, K>>;

  // ─── elsewhere

  /**
   * The same store of one tenant, whatever the current one. `TENANT_MISSING` for a malformed name,
   * `INVALID_OPTION` for a shared state.
   */
  abstract forTenant(tenant: string): KeyValueStore<T, K, I>;
  /**
   * The same store, of the same tenant, inside the caller's own database transaction, with which
   * its writes are committed or rolled back. `INVALID_OPTION` for anything else than an open
   * transaction, `STORAGE_UNSUPPORTED` when the provider has no transactions.
   */
  abstract within(transaction: object): KeyValueStore<T, K, I>;
}

/**
 * The entries of a store in the order of an index: by the key of the index, then by their own key.
 * It changes in the commit of each write, and expires with its entries. A read does not renew a
 * sliding expiry. Every method rejects with `INDEX_NOT_READY` while the index is being built, with
 * `INVALID_OPTION` or `INVALID_KEY` for an argument that is not allowed, and as the store does.
 */
export abstract class StoreIndex<out T, out K extends Key = Key, in X extends Key = Key> {
  /**
   * Entries in order, read page by page. Not a snapshot: an entry whose key in the index changes
   * while it is read may be missed, or repeated once: so a list ends, also when its reader moves
   * each entry forward. It ends at the key of the index that was the last at the start.
   */
  abstract list(range?: IndexListRange<X>, options?: ReadOptions): AsyncIterable<Entry<T, K>>;
  /** One page, as `page` of the store. Its entries are of one moment. */
  abstract page(request: IndexPageRequest<X>, options?: ReadOptions): Promise<Page<Entry<T, K>>>;
  abstract count(range?: IndexRange<X>, options?: ReadOptions): Promise<number>;
  /** The entry with this key of the index, the first by its own key where several have it. */
  abstract get(key: X, options?: ReadOptions): Promise<Entry<T, K> | undefined>;
}

/**
 * A store of a state with indexes. `X`: the definitions of its indexes: `Store<typeof Slots>`
 * takes them from the definition. For a class with `@State` they are given, as
 * `IndexedStore<Slot, typeof indexes>`; left out, an index of any name compiles.
 */
export abstract class IndexedStore<
  in out T,
  X extends AnyIndexes = AnyIndexes,
  in out K extends Key = Key,
  in I = Input<T>,
> extends KeyValueStore<T, K, I> {
  /** The index with this name; `INVALID_OPTION` where the state has none. */
  abstract index<N extends keyof X & string>(name: N): StoreIndex<T, K, IndexKeyOf<X[N]>>;
  abstract override forTenant(tenant: string): IndexedStore<T, X, K, I>;
  abstract override within(transaction: object): IndexedStore<T, X, K, I>;
}

/** The store of a state: with `index` where its definition has indexes. */
export type StoreWith<T, K extends Key, I, X extends AnyIndexes> = [keyof X] extends [never]
  ? KeyValueStore<T, K, I>
  : IndexedStore<T, X, K, I>;

/** The changes, in the order in which they were added. */
export interface AtomicResult {
  /** The result of the first call with the idempotency key: nothing was written. */
  readonly replayed: boolean;
  readonly changes: readonly {
    readonly key: Key;
    /** undefined: deleted */
    readonly etag: string | undefined;
    /** Of a counter: its number after the commit. */
    readonly value?: number | bigint;
  }[];
}

/* oxlint-disable typescript/no-explicit-any -- KeyValueStore is invariant */
type StoreWithKeys<K extends Key> = KeyValueStore<any, K, never>;
export type AnyStore = KeyValueStore<any, any, never>;

/** What was read of a row: an entry, the result of `stat`, or a key with the etag of a client. */
export interface KeyWithEtag<K extends Key = Key> {
  readonly key: K;
  readonly etag: string;
}

export interface AtomicWriteOptions {
  readonly ttlMs?: number | 'keep' | 'never';
}
/** `ttlMs` counts only when the change creates the counter. */
export type AtomicCounterOptions = Pick<CounterWriteOptions, 'ttlMs'>;
export interface AtomicCondition {
  /**
   * As of the store's `set`: a failed check is the caller's, never retried, and a 412 over HTTP.
   */
  readonly ifMatch?: EtagLike | Precondition | '*';
}

/**
 * Changes of one commit, all or none, within one tenant and one storage provider. A store of
 * another tenant, scope or provider is `INVALID_OPTION` at that call. Of several writes of one row
 * the last counts; checks see the state before the commit. Once it is committed, each further call
 * is `INVALID_STATE`.
 */
export abstract class AtomicChanges {
  /**
   * Commits nothing unless the row still has this etag. For an entry or the result of `stat`,
   * `STORAGE_CONFLICT` is retried with the reading; for a plain `{ key, etag }` it is the caller's
   * check, as `ifMatch` is.
   */
  abstract check<K extends Key>(store: StoreWithKeys<K>, read: NoInfer<KeyWithEtag<K>>): this;
  /** Commits nothing unless the key is absent: `STORAGE_CONFLICT`, retried with the reading. */
  abstract checkAbsent<K extends Key>(store: StoreWithKeys<K>, key: NoInfer<K>): this;
  /** Creates; `KEY_EXISTS`, never retried, if there is one. */
  abstract add<T, K extends Key, I>(
    store: KeyValueStore<T, K, I>,
    key: NoInfer<K>,
    value: NoInfer<I>,
    options?: { readonly ttlMs?: number },
  ): this;
  /** Creates or overwrites; with `ifMatch` only the version that the caller has read. */
  abstract set<T, K extends Key, I>(
    store: KeyValueStore<T, K, I>,
    key: NoInfer<K>,
    value: NoInfer<I>,
    options?: AtomicWriteOptions & AtomicCondition,
  ): this;
  /** Overwrites; `KEY_NOT_FOUND`, never retried, if there is none. */
  abstract replace<T, K extends Key, I>(
    store: KeyValueStore<T, K, I>,
    key: NoInfer<K>,
    value: NoInfer<I>,
    options?: AtomicWriteOptions,
  ): this;
  /** Overwrites the version that was read; keeps its expiry. */
  abstract save<T, K extends Key>(store: KeyValueStore<T, K, never>, entry: NoInfer<Entry<T, K>>): this;
  /**
   * Deletes; with an entry instead of a key, or with `ifMatch`, only the version that was read.
   */
  abstract delete<K extends Key>(
    store: StoreWithKeys<K>,
    key: NoInfer<K | KeyWithEtag<K>>,
    options?: AtomicCondition,
  ): this;
  /**
   * Adds `by` (1 by default) to a counter, as `increment` of its store. One batch changes a counter
   * once: a second change is `INVALID_OPTION`.
   */
  abstract increment<N extends number | bigint, K extends Key>(
    store: CounterStore<N, K>,
    key: NoInfer<K>,
    by?: NoInfer<N>,
    options?: AtomicCounterOptions,
  ): this;
  /** Subtracts `by` (1 by default) from a counter. */
  abstract decrement<N extends number | bigint, K extends Key>(
    store: CounterStore<N, K>,
    key: NoInfer<K>,
    by?: NoInfer<N>,
    options?: AtomicCounterOptions,
  ): this;
  /** Sets a counter to `atLeast` where it is lower. */
  abstract raiseTo<N extends number | bigint, K extends Key>(
    store: CounterStore<N, K>,
    key: NoInfer<K>,
    atLeast: NoInfer<N>,
    options?: AtomicCounterOptions,
  ): this;
  /** Sets a counter to `atMost` where it is higher. */
  abstract lowerTo<N extends number | bigint, K extends Key>(
    store: CounterStore<N, K>,
    key: NoInfer<K>,
    atMost: NoInfer<N>,
    options?: AtomicCounterOptions,
  ): this;
  /**
   * Adds a part of another package: `orders.appending(…)`. One stream twice is `INVALID_OPTION`.
   */
  abstract include(participant: CommitParticipant): this;
}

export abstract class AtomicBatch extends AtomicChanges {
  /**
   * Commits everything or nothing. Rejects with `STORAGE_CONFLICT` and the first key whose check
   * failed (`KEY_EXISTS` for an `add`), `COUNTER_OUT_OF_RANGE` for a counter that would leave its
   * bounds, `LIMIT_EXCEEDED` over 900 rows or 8 MB, and the errors of included parts. A second
   * commit of the batch is `INVALID_STATE`.
   *
   * With `idempotencyKey`, for a day: a repeat of the batch returns the result of the first commit,
   * with `replayed: true`; another batch with the same key is `IDEMPOTENCY_CONFLICT`. What is
   * compared is the `content` given with the key, else the calls that made the batch; only their
   * verbs and rows where the batch rests on reading (`save`, `check(entry)`, `delete(entry)`, an
   * entry as `ifMatch`, a loaded stream). The key belongs to the tenant. Counters are then read
   * before they are changed, so that a repeat returns their first numbers, and a concurrent change
   * makes the commit read again.
   */
  abstract commit(
    options?: CallOptions & { readonly idempotencyKey?: string | IdempotentCall | undefined },
  ): Promise<AtomicResult>;
}

/** The stores of one application, opened by `KeyValueStorageModule`, or by `openStorage`. */
export abstract class KeyValueStorage implements AsyncDisposable {
  /** The counters of a definition of `defineCounter` or `defineBigCounter`. */
  abstract store<N extends number | bigint, K extends Key>(
    definition: CounterDefinition<N, K>,
  ): CounterStore<N, K>;
  /** The counters of a definition of `defineShardedCounter`. */
  abstract store<K extends Key>(definition: ShardedCounterDefinition<K>): ShardedCounter<K>;
  /**
   * The store of a state: of a class with `@State` or `stateOf`, or a definition of `defineState`.
   */
  abstract store<T, K extends Key = Key, I = Input<T>, X extends AnyIndexes = NoIndexes>(
    definition: StateDefinition<T, K, I, X>,
  ): StoreWith<T, K, NoInfer<I>, X>;
  abstract store<T, K extends Key = Key, I = Input<T>, X extends AnyIndexes = AnyIndexes>(
    state: StateClass<T, K, I, X>,
  ): StoreWith<T, K, NoInfer<I>, X>;
  abstract atomic(): AtomicBatch;
  /**
   * The same stores inside the caller's own database transaction; `STORAGE_UNSUPPORTED` where the
   * provider has none.
   */
  abstract within(transaction: object): KeyValueStorage;
  /**
   * Physically removes rows that have expired, at most `limit` (1,000 by default) of each provider;
   * returns how many. A provider or a tenant that fails keeps no other from being swept: the first
   * error, thrown at the end, has the number of removed rows in `done`.
   */
  abstract sweep(limit?: number): Promise<number>;
  /**
   * Removes expired rows and the remains of deleted and overwritten values from the files of
   * `JsonFileProvider`; returns the number of bytes that this frees. Other providers do nothing. A
   * tenant that fails keeps no other from it: the first error is thrown at the end.
   */
  abstract compact(): Promise<number>;
  /** The names of the tenants that have a row on any provider of the storage, in order. */
  abstract tenants(): Promise<readonly string[]>;
  /**
   * Removes all rows of a tenant from every provider of the storage, streams included; returns
   * whether there were any. After an error a part may be gone (`effect`): a repeat removes the
   * rest. `TENANT_MISSING` for an invalid name, `STORAGE_UNSUPPORTED` inside a transaction.
   */
  abstract dropTenant(name: string): Promise<boolean>;
  /**
   * Closes the storage and its providers, once the calls in flight have ended. A call that has more
   * to send then rejects with `STORAGE_NOT_OPEN`, and changes nothing more. Inside a transaction it
   * does nothing: the transaction is the caller's.
   */
  abstract close(): Promise<void>;

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

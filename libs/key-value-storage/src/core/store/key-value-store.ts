/**
 * What users inject and call. Abstract classes, not interfaces: they stand in decorated signatures,
 * where a type alone dies at start-up; and without private members, so that a stub of the right
 * shape is a store too. `typed-store.ts` is what they get.
 */
import type { CommitParticipant } from '../commit/participant.js';
import type { Entry, EntryInfo } from './entry.js';
import type { Precondition } from './etag.js';
import type { Key, KeyRange } from '../base/key.js';
import type { IdempotentCall } from '../commit/idempotency-record.js';
import type { RetryOptions } from '../contention/retry-on-conflict.js';
import type { ClassOf, Input, StateDefinition } from './state-definition.js';

type Awaitable<T> = T | Promise<T>;

/** An etag, or something that carries one. */
export type EtagLike = string | EntryInfo;

// `?: T | undefined` where undefined means the default; bare `?: T` where it would silently drop a
// check.
export interface CallOptions {
  /**
   * Still queued: nothing is done. On its way: the call ends at once with `ABORTED` and `effect:
   * 'unknown'`.
   */
  readonly signal?: AbortSignal | undefined;
}
export interface ReadOptions extends CallOptions {
  /** 'stale': may be answered by a replica or a cache. @default 'current' */
  readonly consistency?: 'current' | 'stale';
}
/**
 * `ttlMs` in milliseconds above 0. Left out: `add`, `set` and `replace` take the state's own,
 * `save` and `update` keep the expiry the entry has.
 */
export interface WriteOptions extends CallOptions {
  readonly ttlMs?: number | 'keep' | 'never' | undefined;
}
export interface GuardedWriteOptions extends WriteOptions {
  /**
   * Given but undefined or null is `INVALID_OPTION`, blank or malformed is `INVALID_ETAG`, never
   * "no check". `'*'`: whatever is there now, but something.
   */
  readonly ifMatch?: EtagLike | Precondition | '*';
}
export interface PageRequest extends KeyRange {
  /** Items at most, up to 1,000. @default 100 */
  readonly limit?: number;
  /** What the page before answered as `next`; bound to its range and tenant. */
  readonly cursor?: string | undefined;
}
export interface Page<Item> {
  readonly items: readonly Item[];
  /** The cursor of the next page; `undefined` after the last. */
  readonly next: string | undefined;
}

/**
 * Keys to values of one state, of one tenant. Every method rejects with `INVALID_KEY`,
 * `LIMIT_EXCEEDED` or `INVALID_OPTION` before any I/O when what it was given is not allowed; with
 * `TENANT_MISSING` outside a tenant; and with `STORAGE_UNAVAILABLE`, `STORAGE_OUTCOME_UNKNOWN`,
 * `STORAGE_CORRUPT` or `STORAGE_NOT_OPEN` as the storage is. Writes of a value reject with
 * `INVALID_VALUE` when the schema or the codec refuses it.
 */
export abstract class KeyValueStore<in out T> {
  // ─── one

  /** The entry, or `undefined` where there is none or it has expired. Renews a sliding expiry. */
  abstract get(key: Key, options?: ReadOptions): Promise<Entry<T> | undefined>;
  /** The entry; `KEY_NOT_FOUND`. Renews a sliding expiry. */
  abstract getOrThrow(key: Key, options?: ReadOptions): Promise<Entry<T>>;
  abstract has(key: Key, options?: ReadOptions): Promise<boolean>;
  /** Etag and times; no value is fetched. */
  abstract stat(key: Key, options?: ReadOptions): Promise<EntryInfo | undefined>;
  /**
   * Creates; `KEY_EXISTS` if it is there, and then nothing has changed. Of many callers one
   * creates.
   */
  abstract add(key: Key, value: Input<T>, options?: WriteOptions): Promise<Entry<T>>;
  /**
   * The entry, and whether this call made it: of many callers one hears `added: true`. `make` runs
   * only where there is none.
   */
  abstract getOrAdd(
    key: Key,
    make: () => Awaitable<Input<T>>,
    options?: WriteOptions,
  ): Promise<{ readonly entry: Entry<T>; readonly added: boolean }>;
  /**
   * Overwrites, whatever is there; with `ifMatch` only what the caller saw: `STORAGE_CONFLICT`
   * (never retried) otherwise, also where it is gone.
   */
  abstract set(key: Key, value: Input<T>, options?: GuardedWriteOptions): Promise<Entry<T>>;
  /** Overwrites; `KEY_NOT_FOUND` if it is not there. */
  abstract replace(key: Key, value: Input<T>, options?: WriteOptions): Promise<Entry<T>>;
  /**
   * Overwrites only what was read; `STORAGE_CONFLICT` if it has changed or is gone. Keeps the
   * expiry unless told otherwise.
   */
  abstract save(entry: Entry<T>, options?: WriteOptions): Promise<Entry<T>>;
  /**
   * Reads, changes, writes; again on fresh state if someone was faster (50 attempts within 5 s by
   * default, then `STORAGE_CONFLICT` with `attempts`). `change` may run several times. The same
   * reference back, and no `ttlMs`: nothing is written. `undefined` back is `INVALID_VALUE`. An
   * absent key is `KEY_NOT_FOUND`, unless `initial` says what it counts as. Keeps the expiry unless
   * told otherwise.
   */
  abstract update(
    key: Key,
    change: (value: T) => Awaitable<Input<T>>,
    options?: WriteOptions & {
      readonly retry?: RetryOptions | undefined;
      /** What an absent key counts as. */
      readonly initial?: (() => Input<T>) | undefined;
    },
  ): Promise<Entry<T>>;
  /**
   * Moves the expiry forward to `ttlMs` from now; the etag stays. Unchanged where there is no
   * expiry or more is left. `KEY_NOT_FOUND`.
   */
  abstract touch(key: Key, options: CallOptions & { readonly ttlMs: number }): Promise<EntryInfo>;
  /**
   * Whether it was there. With `ifMatch` only what the caller saw: `STORAGE_CONFLICT` otherwise,
   * also where it is gone.
   */
  abstract delete(
    key: Key,
    options?: CallOptions & { readonly ifMatch?: EtagLike | Precondition | '*' },
  ): Promise<boolean>;
  /** Gets and deletes: of many callers one hears the entry. */
  abstract take(key: Key, options?: CallOptions): Promise<Entry<T> | undefined>;

  // ─── many

  /**
   * One consistent read of at most 1,000 keys, in their order, `undefined` where there is none.
   * `LIMIT_EXCEEDED` above that, and where their values are over 8 MB together (`pageBytesMax`).
   */
  abstract getMany<const K extends readonly Key[]>(
    keys: K,
    options?: ReadOptions,
  ): Promise<{ readonly [I in keyof K]: Entry<T> | undefined }>;
  /**
   * Overwrites up to 900 keys in one batch: all of them or none. The same key twice is
   * `INVALID_OPTION`.
   */
  abstract setMany(
    items: Iterable<{ readonly key: Key; readonly value: Input<T> }>,
    options?: WriteOptions,
  ): Promise<readonly Entry<T>[]>;
  /**
   * Entries in key order, page by page: no snapshot, but it neither repeats nor misses a key that
   * was there all the time. It ends with the last key that was there when it began; so do `keys`,
   * `count`, `deleteMany` and `clear`.
   */
  abstract list(range?: KeyRange, options?: ReadOptions): AsyncIterable<Entry<T>>;
  /**
   * One page: fewer items than `limit` where their values would be over 8 MB together
   * (`pageBytesMax`), one at least. Only `next` says whether more come. `INVALID_CURSOR` for a
   * cursor of another range or tenant.
   */
  abstract page(request: PageRequest, options?: ReadOptions): Promise<Page<Entry<T>>>;
  /** Keys in order; no value is fetched. */
  abstract keys(range?: KeyRange, options?: ReadOptions): AsyncIterable<Key>;
  abstract count(range?: KeyRange, options?: ReadOptions): Promise<number>;
  /**
   * Deletes page by page and answers how many; an error on the way says `done`. At least one bound;
   * a bound of nothing is `INVALID_OPTION`.
   */
  abstract deleteMany(range: KeyRange, options?: CallOptions): Promise<number>;
  /** Deletes every entry of this store and tenant, as `deleteMany` does. */
  abstract clear(options?: CallOptions): Promise<number>;

  // ─── elsewhere

  /**
   * The same store of this tenant, whatever the context. `TENANT_MISSING` for a malformed name,
   * `INVALID_OPTION` for a shared state.
   */
  abstract forTenant(tenant: string): KeyValueStore<T>;
  /**
   * The same store, of the same tenant, inside the caller's own database transaction: what it
   * writes is committed or rolled back with it. For a service that is handed a transaction.
   * `INVALID_OPTION` for what is no open transaction, `STORAGE_UNSUPPORTED` where the provider has
   * none.
   */
  abstract within(transaction: object): KeyValueStore<T>;
}

/** One line for each change, in the order in which they were added. */
export interface AtomicResult {
  /** This is the first answer of the idempotency key, given again: nothing was written. */
  readonly replayed: boolean;
  readonly changes: readonly {
    readonly key: Key;
    /** undefined: deleted */
    readonly etag: string | undefined;
  }[];
}

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- a store of any state: KeyValueStore is invariant
export type AnyStore = KeyValueStore<any>;

/**
 * Changes of one commit: all of them or none, within one tenant and one storage provider. A store
 * of another tenant, scope or provider is `INVALID_OPTION` at that call, naming both. Of several
 * writes of one row the last counts; checks see the state before the commit.
 */
export abstract class AtomicChanges {
  /** Nothing is committed unless this is still what was read. */
  abstract check(store: AnyStore, read: EntryInfo): this;
  /**
   * Nothing is committed unless there is none, as was read: `STORAGE_CONFLICT`, which is retried
   * together with the reading.
   */
  abstract checkAbsent(store: AnyStore, key: Key): this;
  /** Creates: `KEY_EXISTS` if it is there, which is never retried. */
  abstract add<T>(
    store: KeyValueStore<T>,
    key: Key,
    value: NoInfer<Input<T>>,
    options?: { readonly ttlMs?: number },
  ): this;
  abstract set<T>(
    store: KeyValueStore<T>,
    key: Key,
    value: NoInfer<Input<T>>,
    options?: { readonly ttlMs?: number | 'keep' | 'never' },
  ): this;
  /** Written only if it is still what was read; keeps its expiry. */
  abstract save<T>(store: KeyValueStore<T>, entry: Entry<NoInfer<T>>): this;
  /** An entry instead of a key: checked too. */
  abstract delete(store: AnyStore, key: Key | EntryInfo): this;
  /**
   * What another package adds to this commit: `orders.appending(…)`. One stream twice is
   * `INVALID_OPTION`.
   */
  abstract include(part: CommitParticipant): this;
}

export abstract class AtomicBatch extends AtomicChanges {
  /**
   * All of it, or none: throws `STORAGE_CONFLICT` with the first key whose check failed
   * (`KEY_EXISTS` of an `add`), `LIMIT_EXCEEDED` over 900 rows or 8 MB. There is no result one
   * could forget to look at. A part that was included rejects with its own error. A batch is
   * committed once; a second time is `INVALID_STATE`.
   *
   * With `idempotencyKey`, for a day: the same batch again answers what the first one did, its keys
   * included, with `replayed: true`; another one under the same key is `IDEMPOTENCY_CONFLICT`.
   * Compared is the `content` given with the key, else the calls that made the batch; only their
   * verbs and rows where something in it was read (`save`, `check`, `delete(entry)`, a stream as it
   * was loaded). The key belongs to the tenant.
   */
  abstract commit(
    options?: CallOptions & { readonly idempotencyKey?: string | IdempotentCall | undefined },
  ): Promise<AtomicResult>;
}

/**
 * The stores of one application. Made by `KeyValueStorageModule`, or by `openStorage` without Nest.
 */
export abstract class KeyValueStorage implements AsyncDisposable {
  /** The store of a state: a class with `@State`, or what `defineState` answered. */
  abstract store<T>(definition: StateDefinition<T>): KeyValueStore<T>;
  abstract store<T>(state: ClassOf<T>): KeyValueStore<T>;
  abstract atomic(): AtomicBatch;
  /**
   * The same stores inside the caller's own database transaction; `STORAGE_UNSUPPORTED` where the
   * provider has none.
   */
  abstract within(transaction: object): KeyValueStorage;
  /**
   * Physically removes rows that have expired, at most `limit` (1,000 by default) of each provider;
   * returns how many.
   */
  abstract sweep(limit?: number): Promise<number>;
  /** The names of the tenants that have a row on any provider of the storage, in order. */
  abstract tenants(): Promise<readonly string[]>;
  /**
   * Removes all rows of a tenant from every provider of the storage, streams included; returns
   * whether there were any. `TENANT_MISSING` for what is no tenant's name, `STORAGE_UNSUPPORTED`
   * inside a transaction.
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

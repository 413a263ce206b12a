/**
 * The port: the contract of a storage engine. Typed stores, tenants, batches and event streams are
 * built above it, once. `evaluateBatch` defines the meaning of a batch as a pure function, and the
 * conformance kit in `@kvent/key-value-storage/testing` proves the contract on every provider.
 *
 * The layers above check what they pass to the port: addresses are encoded and within the limits,
 * values are JSON text, bytes or a 64-bit number, and a batch has at most one change for each
 * address. Keys, types, tenants and retries are above the port.
 */
import type { Clock } from '../base/clock.js';
import type { StorageError } from '../base/errors.js';

/**
 * The version of a row: a decimal number from 1 to 2^63 − 1 without leading zeros. Versions are
 * compared for equality only. They are made above the port, one for each batch.
 */
export type Version = string;

/**
 * A place in the feed: 32 digits of lower-case hexadecimal, compared as text. A position is opaque
 * above the port: it is stored, compared and passed back, and never calculated with.
 */
export type FeedPosition = string;

/** A group of rows. A container of a database may hold many entities. */
export interface Space {
  readonly database: string;
  readonly container: string;
  readonly entity: string;
}

/**
 * All four parts together identify a row, on every provider. No part contains NUL or a lone
 * surrogate. Only `entity` may be empty.
 */
export interface Address extends Space {
  readonly key: string;
}

/** An address within a batch: the batch names the database. */
export type RowAddress = Omit<Address, 'database'>;

/**
 * `json` is returned character for character. `take` returns what `JSON.parse` makes of it, to its
 * first caller, whose own that is: of providers that parse many values at once. `number` is a
 * signed 64-bit integer. `omitted` is returned by reads with `values: 'omit'`, and is never
 * written.
 */
export type Value =
  | { readonly kind: 'json'; readonly text: string; readonly take?: () => unknown }
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array }
  | { readonly kind: 'number'; readonly number: bigint }
  | { readonly kind: 'omitted' };
export type StoredValue = Exclude<Value, { readonly kind: 'omitted' }>;

/**
 * A row as stored. Times are milliseconds since 1970 by the provider's clock. `ttlMs` is the time
 * to live of the last write. A row is absent from `expiresAt` on. `position`: where it stands in
 * the feed; only of a row that was put with `feed`, on a provider with `features.feed`.
 */
export interface Row {
  readonly version: Version;
  readonly value: Value;
  readonly updatedAt: number;
  readonly expiresAt?: number;
  readonly ttlMs?: number;
  readonly position?: FeedPosition;
}

/**
 * What a row must be for its batch to be applied. `number`: a numeric row with exactly this value.
 * An expired row is absent. The expiry is evaluated once, while the row is locked; the row may
 * expire before the batch becomes visible.
 */
export type Expected = { readonly version: Version } | { readonly number: bigint } | 'absent' | 'present';

export interface Check {
  readonly address: RowAddress;
  readonly expected: Expected;
}

/**
 * The time to live of a written row: milliseconds by the provider's clock, without end, or that of
 * the existing row, with its expiry (`keepElse` where no row exists). `of`: another row, which the
 * batch checks or changes too; it counts as it is before the batch.
 */
export type TimeToLive = number | 'never' | { readonly keepElse: number | 'never'; readonly of?: RowAddress };

export type Change =
  /**
   * `feed`: the row belongs to the feed, at a new position (law 15). Without it, the row leaves the
   * feed. A provider without `features.feed` ignores it.
   */
  | {
      readonly kind: 'put';
      readonly address: RowAddress;
      readonly value: StoredValue;
      readonly ttl: TimeToLive;
      readonly feed?: boolean;
    }
  /** Also removes an expired row. */
  | { readonly kind: 'delete'; readonly address: RowAddress }
  /**
   * Moves the expiry forward to `ttlMs` from now. Version, value and `updatedAt` stay the same, and
   * so does a row without an expiry or with a later one. The batch must check the row's version.
   */
  | { readonly kind: 'renew'; readonly address: RowAddress; readonly ttlMs: number }
  /**
   * Computed by the engine, exact under contention. An absent row counts as 0. The expiry stays;
   * `ttlMs` applies only when the change creates the row. The batch is refused with `range` when
   * the result is outside 64 bits, or further outside `floor` and `ceiling` than before; with
   * `type` when the row is not a number.
   */
  | {
      readonly kind: 'sum' | 'min' | 'max';
      readonly address: RowAddress;
      readonly operand: bigint;
      readonly floor?: bigint;
      readonly ceiling?: bigint;
      readonly ttlMs?: number;
    };

/**
 * Checks and changes of one database, applied completely or not at all. Checks see the state before
 * the batch. Every change except `renew` gives its row the version of the batch.
 */
export interface Batch {
  readonly database: string;
  readonly version: Version;
  readonly checks: readonly Check[];
  readonly changes: readonly Change[];
  /**
   * Of a batch that checks and renews one row: it must not wait. If another transaction holds the
   * row, its result may be `failed` with `STORAGE_UNAVAILABLE` and effect 'none'. For other batches
   * it is a hint, which a provider with `transactions` follows: the row may be held by the caller's
   * own transaction. A provider that never waits ignores it.
   */
  readonly noWait?: boolean;
}

/**
 * The result of one change: whether an unexpired row existed before, and the number and the expiry
 * after it.
 */
export interface ChangedRow {
  readonly existed: boolean;
  readonly number?: bigint;
  readonly expiresAt?: number;
}

export type CommitResult =
  /**
   * `time` is the time of the commit, and the `updatedAt` of the rows it wrote. `rows` has one item
   * for each change, in order. `position`: the last position that the batch has taken; absent when
   * it put no row into the feed, and in a transaction of an engine that gives positions at its end.
   */
  | {
      readonly outcome: 'committed';
      readonly time: number;
      readonly rows: readonly ChangedRow[];
      readonly position?: FeedPosition | undefined;
    }
  /** The first check of the batch that did not hold. A result, not an error. */
  | {
      readonly outcome: 'conflict';
      readonly address: RowAddress;
      readonly expected: Expected;
      readonly actual: Version | undefined;
    }
  /** The first numeric change that is impossible. */
  | { readonly outcome: 'refused'; readonly address: RowAddress; readonly reason: 'range' | 'type' }
  | { readonly outcome: 'failed'; readonly error: StorageError };

export interface ProviderReadOptions {
  /**
   * `omit`: no value is fetched, and each is returned as `{ kind: 'omitted' }`. @default 'include'
   */
  readonly values?: 'include' | 'omit';
  /**
   * `stale`: the rows may come from a replica, if the provider has `features.staleReads`. @default
   * 'current'
   */
  readonly consistency?: 'current' | 'stale';
  readonly signal?: AbortSignal | undefined;
}

/**
 * Rows in the order of the addresses, `undefined` where no row exists, and the provider's time.
 */
export interface ReadResult {
  readonly time: number;
  readonly rows: readonly (Row | undefined)[];
}

export interface CommitOptions {
  readonly signal?: AbortSignal | undefined;
  /**
   * Called with the result of a batch that is known before the others. So a caller does not wait
   * for another batch whose rows an open transaction holds. Optional, because the promise resolves
   * to all results.
   */
  readonly answered?: ((index: number, result: CommitResult) => void) | undefined;
  /**
   * Called when a batch waits for a row that an open transaction holds. This may take long; the
   * batch holds no other row while it waits. Optional.
   */
  readonly waiting?: ((index: number, row: RowAddress) => void) | undefined;
}

/**
 * A part of one space in key order. `start` is inclusive, `end` exclusive. `after` is the last key
 * of the page before, in the direction of reading, and exclusive.
 */
export interface ScanRange extends Space {
  readonly start?: string;
  readonly end?: string;
  readonly after?: string;
  readonly reverse?: boolean;
  readonly limit: number;
  readonly values?: 'include' | 'omit';
  readonly consistency?: 'current' | 'stale';
  /**
   * Where the range may be read in parts: keys within it, in ascending order, and how many rows are
   * expected before each and after the key before it. The rows are the same without: a provider may
   * read a part while the reader works on the one before.
   */
  readonly parts?: { readonly splitAt: readonly string[]; readonly rows: number };
  /**
   * A few rows of the same database to read in the same call: see `features.readsInScans`.
   */
  readonly alsoRead?: readonly Address[];
}

/** A part of one space, to be counted. */
export type CountRange = Omit<ScanRange, 'after' | 'reverse' | 'limit' | 'values' | 'parts' | 'alsoRead'>;

export interface ScannedRow {
  readonly key: string;
  readonly row: Row;
}

/**
 * `more`: whether unexpired rows of the range follow. Only `more` says where the range ends: a page
 * ends before the row with which its values would exceed `pageBytesMax`, so it may have fewer rows
 * than its limit. A page with `more` has at least one row.
 */
export interface ScanPage {
  readonly time: number;
  readonly rows: readonly ScannedRow[];
  readonly more: boolean;
  /** The rows of `alsoRead`, in order, as of the moment of the page or of one before. */
  readonly alsoRead?: readonly (Row | undefined)[];
}

/**
 * A part of the feed. `after` is exclusive; without it the page begins with the first row.
 * `databases` and `containers` filter. `limit` 0 returns no rows: `next` is then the end.
 */
export interface FeedRequest {
  readonly after?: FeedPosition | undefined;
  readonly limit: number;
  readonly databases?: readonly string[] | undefined;
  readonly containers?: readonly string[] | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface FeedEntry {
  readonly address: Address;
  readonly row: Row;
  /** That of the row. */
  readonly position: FeedPosition;
}

/**
 * A page of the feed, in the order of positions. Its values are at most `feedPageBytesMax`
 * together, except where it has one row. It may have fewer rows than its limit, or none, while more
 * follow: only `upToDate` says where the feed ends.
 */
export interface FeedPage {
  readonly time: number;
  readonly entries: readonly FeedEntry[];
  /**
   * The next page begins after it. It moves forward also past rows that the filter leaves out, and
   * never back: it is not below `after`.
   */
  readonly next: FeedPosition;
  /** Whether the page ends where the feed ended when it was read. */
  readonly upToDate: boolean;
  /**
   * Milliseconds since an open transaction has held back what stands behind it. Absent when nothing
   * is held back.
   */
  readonly heldBackMs?: number | undefined;
  /** With `heldBackMs`: the position of the last committed row that is held back. */
  readonly heldBackTo?: FeedPosition | undefined;
}

/**
 * The rows that a watch shows: a space, one row of it (`key`), or its rows from `start` up to
 * `end`, exclusive.
 */
export interface HintTarget extends Space {
  readonly key?: string;
  readonly start?: string;
  readonly end?: string;
}

/** Something in this space (or this row) may have changed; without a space: rows of the feed. */
export interface Hint {
  readonly space?: Space | undefined;
  readonly key?: string;
}

/**
 * What a provider promises beyond the contract. The kit proves each claimed feature, and that the
 * others are refused.
 */
export interface ProviderFeatures {
  /**
   * What an acknowledged commit survives: nothing (`false`), power loss ('fsync'), or the loss of a
   * machine ('quorum').
   */
  readonly durable: false | 'fsync' | 'quorum';
  /** Several processes may use the same data at the same time. */
  readonly shared: boolean;
  /** Reads with `consistency: 'stale'` may come from a replica. Otherwise they are current. */
  readonly staleReads: boolean;
  /** Fewer, larger calls are faster: `CoalescingProvider` should wrap it. */
  readonly coalesce: boolean;
  /** 'exact', or how long an expired row may still fail a check for 'absent'. */
  readonly expiry: 'exact' | { readonly lagMs: number };
  /** 'collected': a scan reads all keys of the space and sorts them. */
  readonly scan: 'ordered' | 'collected';
  /** 'replaceable': the provider takes its time from the clock in its options. */
  readonly clock: 'replaceable' | 'own';
  /** It has `feed`, and rows that are put with `feed` have a `position`. */
  readonly feed: boolean;
  /** Pages have `alsoRead` where their range has. @default false */
  readonly readsInScans?: boolean;
}

/**
 * A row outside any batch, for copies and backups, with its version and absolute times.
 */
export interface RawRow {
  readonly container: string;
  readonly entity: string;
  readonly key: string;
  readonly row: Row;
}

/** The rows that the reader of an export needs: a space, or its rows from `start` up to `end`. */
export interface ExportPart {
  readonly container: string;
  readonly entity: string;
  readonly start?: string;
  readonly end?: string;
}

/** A frozen database. Disposing it allows writes again; a second disposal does nothing. */
export interface Freeze extends AsyncDisposable {
  /**
   * Rejects with `STORAGE_UNAVAILABLE` when the freeze ended before, for example with a lost
   * connection. What was read since may be inconsistent.
   */
  verify(): Promise<void>;
}

/** What operators need. Expired rows are left out. */
export interface StorageAdministration {
  /** The databases that hold a row, in order. */
  databases(): Promise<readonly string[]>;
  /** The spaces of a database that hold a row, in the order of container and entity. */
  spaces(database: string): Promise<readonly Space[]>;
  /**
   * Every row of a database, in the order of container, entity and key, as of one moment. Later
   * commits are not visible in it. `part`: only these rows are needed. A provider may return others
   * too.
   */
  export(database: string, part?: ExportPart): AsyncIterable<RawRow>;
  /**
   * Writes rows with their versions and times (whole milliseconds), and returns their number. An
   * existing row is overwritten. Rows are taken one by one, so the use of memory does not grow with
   * their number. If the iteration of `rows` throws, the import rejects with the same error, and
   * the rows written before may stay.
   *
   * A row keeps its position in the feed. If another row has it, or if it is too large (from
   * `feedKeptEnd`), the row gets a new one, behind all rows, and so do the later rows of its space:
   * for that, rows come in the order of an export. A row of the stored version stays where it
   * stands.
   */
  import(database: string, rows: AsyncIterable<RawRow> | Iterable<RawRow>): Promise<number>;
  /**
   * Removes a database with all its rows, and returns whether it existed. A provider may do it in
   * steps: after an error some rows may be removed, and a drop that is repeated removes the rest.
   */
  drop(database: string): Promise<boolean>;
  /**
   * Removes expired rows, and what the storage engine keeps of removed and overwritten values;
   * returns the number of bytes that this frees. Only for engines that keep such values until a
   * compaction of their own.
   */
  compact?(): Promise<number>;
  /**
   * The approximate number of rows of an export, for progress bars. Much cheaper than an export.
   */
  count?(database: string): Promise<number>;
  /**
   * Freezes a database, or all of them when `database` is missing, for a copy. When this resolves,
   * earlier changes have ended. Until it is disposed, each change of the database (commit, import,
   * drop or sweep, of this or another process) waits, or is refused with `STORAGE_UNAVAILABLE` and
   * effect 'none'. A provider may freeze more than the named database. Reads continue: all exports,
   * reads and scans in between see the same rows, except those that expire. Rejects with
   * `STORAGE_UNAVAILABLE` when the freeze is not possible in reasonable time. Only for engines that
   * several processes write to; an engine that one process owns does not need it.
   */
  freeze?(database?: string): Promise<Freeze>;
}

/** The transactions of the async context in which these methods are called. */
export interface CallerTransactions {
  /** The one that calls join without `within`. Absent where no call does. */
  current?(): object | undefined;
  /**
   * What is one for each transaction: the object that `within` takes may begin several, one after
   * the other. Absent where that object is.
   */
  identityOf?(transaction: object): object;
  /**
   * The identities of the open transactions of the current caller that are known to wait for a call
   * inside `transaction` (`undefined`: inside none): the call must not wait for their rows.
   */
  open(transaction: object | undefined): readonly object[];
}

/**
 * A storage engine. Methods that return a promise reject and never throw; methods that return an
 * iterable check their arguments at once. Before `open` and after `close`, every other call fails
 * with `STORAGE_NOT_OPEN`. A second `open` fails with `INVALID_STATE`, a second `close` does
 * nothing, and a closed provider may be opened again.
 */
export interface StorageProvider {
  /** For messages and health checks: 'memory', 'JSON file ./data'. */
  readonly name: string;
  readonly features: ProviderFeatures;
  /**
   * The clock in its options, where that is not the system's: watches and indexes wait by it, so
   * that a test can move their time too.
   */
  readonly clock?: Clock | undefined;

  open(): Promise<void>;
  /** Waits for calls in progress. */
  close(): Promise<void>;

  /**
   * The rows at `addresses`, in their order, as one consistent view. `LIMIT_EXCEEDED` when the
   * values of several rows exceed `pageBytesMax` together, before much more is read. A single
   * address is never refused.
   */
  read(addresses: readonly Address[], options?: ProviderReadOptions): Promise<ReadResult>;

  /**
   * One page of each range, in key order or reversed, each of at most `pageBytesMax`. The pages may
   * be of different moments.
   */
  scan(
    ranges: readonly ScanRange[],
    options?: { readonly signal?: AbortSignal | undefined },
  ): Promise<readonly ScanPage[]>;

  /**
   * The number of unexpired rows of a range, at one moment. No value is read. Optional: without it,
   * rows are counted page by page.
   */
  count?(range: CountRange, options?: { readonly signal?: AbortSignal | undefined }): Promise<number>;

  /**
   * Commits independent batches, each completely or not at all, and returns their results in order.
   * The caller ensures that no two of them share a row, checks included. An exception are batches
   * that only change a number (`numberChangeOf`): several may change the same row, and take effect
   * one after the other, in their order. Rejects only when none of them can have taken effect.
   */
  commit(batches: readonly Batch[], options?: CommitOptions): Promise<readonly CommitResult[]>;

  /** The same contract inside a transaction of the caller, if the engine has transactions. */
  within?(transaction: object): StorageProvider;

  /** What a provider with `within` can find out about the transactions of a caller. */
  readonly transactions?: CallerTransactions;

  /**
   * Of a provider inside a transaction: runs `work` once the transaction is committed, and forgets
   * it when the transaction, or the savepoint in which this is called, is rolled back. `work` must
   * not throw. Work with a `name` may be dropped: where work of this name waits already, and where
   * too much waits. Optional.
   */
  afterCommit?(work: () => void, name?: string): void;

  /**
   * Hints that something in these targets may have changed, from the call on. A hint may repeat,
   * may come early, and may name another row of the space. A provider that is not `shared` loses
   * none: each change is hinted at once it can be read, so that watches need not poll; it ends its
   * hints, those of no targets too, when its rows can be read no longer, so that watches read again
   * and get the error. Of other providers hints may be lost. Without targets, the hints are of the
   * feed: that rows can be read there which could not be read before, by a commit, an import, or
   * because nothing holds them back any more. Ends with the signal and with `close`.
   */
  hints?(targets: readonly HintTarget[], signal: AbortSignal): AsyncIterable<Hint>;

  /**
   * The rows that were put with `feed`, of all databases, in one order (law 15). Each committed row
   * is returned exactly once to a reader that goes on from `next`, however late its transaction
   * ended; the order never changes. Rows of one batch and space stand in the order of their keys,
   * in which the batch must have them. A batch stands behind every row of its spaces that was
   * committed before the batch was checked. A row that is put again stands at its new position
   * only; a deleted, expired or dropped row is left out. Positions survive a restart, and an export
   * followed by an import. With `features.feed`, and only then.
   */
  feed?(request: FeedRequest): Promise<FeedPage>;

  /**
   * Deletes at most `limit` expired rows, and returns their number. A database that cannot be swept
   * keeps no other from it: the error, thrown at the end, has the number of deleted rows in `done`.
   */
  sweep(limit: number): Promise<number>;

  readonly administration: StorageAdministration;
}

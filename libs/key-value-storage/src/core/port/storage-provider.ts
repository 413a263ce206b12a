/**
 * The port: the contract of a storage engine. Typed stores, tenants, batches and event streams are
 * built above it, once. `evaluateBatch` defines the meaning of a batch as a pure function, and the
 * conformance kit in `@kvent/key-value-storage/testing` proves the contract on every provider.
 *
 * What crosses the port is checked before: addresses are encoded and within the limits, values are
 * JSON text, bytes or a 64-bit number, a batch has at most one change for each address. A provider
 * knows nothing of keys, types, tenants or retries.
 */
import type { StorageError } from '../base/errors.js';

/**
 * A row's version: a decimal number from 1 to 2^63 − 1 without leading zeros. Compared for equality
 * only; made above the port, one for each batch.
 */
export type Version = string;

/** Where rows live that belong together: one container of one database may hold many entities. */
export interface Space {
  readonly database: string;
  readonly container: string;
  readonly entity: string;
}

/**
 * All four parts are the identity of a row, on every provider. No part holds NUL or a lone
 * surrogate; only `entity` may be empty.
 */
export interface Address extends Space {
  readonly key: string;
}

/** An address within a batch: the batch names the database. */
export type RowAddress = Omit<Address, 'database'>;

/**
 * `json` comes back character for character. `number` is 64-bit signed. `omitted`: answered where
 * `values: 'omit'` was asked, never written.
 */
export type Value =
  | { readonly kind: 'json'; readonly text: string }
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array }
  | { readonly kind: 'number'; readonly number: bigint }
  | { readonly kind: 'omitted' };
export type StoredValue = Exclude<Value, { readonly kind: 'omitted' }>;

/**
 * A row as stored. Times are milliseconds since 1970 by the provider's clock. `ttlMs`: what it was
 * last written with. At `expiresAt` itself the row is gone.
 */
export interface Row {
  readonly version: Version;
  readonly value: Value;
  readonly updatedAt: number;
  readonly expiresAt?: number;
  readonly ttlMs?: number;
}

/**
 * What a row must be for its batch to be applied. `number`: a numeric row that is exactly this. An
 * expired row is absent. A row that expires is judged at one moment, while it is held; it may
 * expire before the batch becomes visible.
 */
export type Expected = { readonly version: Version } | { readonly number: bigint } | 'absent' | 'present';

export interface Check {
  readonly address: RowAddress;
  readonly expected: Expected;
}

/**
 * How long what is written lives: milliseconds from the provider's clock, for ever, or as long as
 * the row that is there (and `else` where none is).
 */
export type TimeToLive = number | 'never' | { readonly keepElse: number | 'never' };

export type Change =
  | {
      readonly kind: 'put';
      readonly address: RowAddress;
      readonly value: StoredValue;
      readonly ttl: TimeToLive;
    }
  /** Also clears away an expired row. */
  | { readonly kind: 'delete'; readonly address: RowAddress }
  /**
   * Moves the expiry forward to `ttlMs` from now, and nothing else: version, value and `updatedAt`
   * stay. A row without an expiry, or with more left than that, stays as it is. The batch must
   * check the row's version.
   */
  | { readonly kind: 'renew'; readonly address: RowAddress; readonly ttlMs: number }
  /**
   * Done by the engine, exact under contention. An absent row counts as 0. The expiry stays;
   * `ttlMs` counts when the change creates the row. A result outside 64 bits, or a move further
   * outside `floor` and `ceiling`, refuses the batch (`range`), a row that is no number too
   * (`type`).
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
 * Checks and changes of one database, applied whole or not at all. Checks see the state before the
 * batch. Every change but `renew` gives its row `version`.
 */
export interface Batch {
  readonly database: string;
  readonly version: Version;
  readonly checks: readonly Check[];
  readonly changes: readonly Change[];
  /**
   * The batch must not wait: where another transaction holds a row of it, its result may be
   * `failed` with `STORAGE_UNAVAILABLE` and effect 'none'. A provider that never waits ignores it.
   */
  readonly noWait?: boolean;
}

/**
 * What became of one change: whether a living row was there before, the number now, the expiry now.
 */
export interface ChangedRow {
  readonly existed: boolean;
  readonly number?: bigint;
  readonly expiresAt?: number;
}

export type CommitResult =
  /**
   * `time`: the commit's one time, the `updatedAt` of what it wrote; `rows`: one for each change,
   * in order.
   */
  | { readonly outcome: 'committed'; readonly time: number; readonly rows: readonly ChangedRow[] }
  /** The first check, in the order given, that was not met. An answer, not an error. */
  | {
      readonly outcome: 'conflict';
      readonly address: RowAddress;
      readonly expected: Expected;
      readonly actual: Version | undefined;
    }
  /** The first numeric change that could not be made. */
  | { readonly outcome: 'refused'; readonly address: RowAddress; readonly reason: 'range' | 'type' }
  | { readonly outcome: 'failed'; readonly error: StorageError };

export interface ProviderReadOptions {
  /**
   * `omit`: every answered value is `{ kind: 'omitted' }`, and none is fetched. @default 'include'
   */
  readonly values?: 'include' | 'omit';
  /**
   * `stale`: may come from a replica, where the provider has `features.staleReads`. @default
   * 'current'
   */
  readonly consistency?: 'current' | 'stale';
  readonly signal?: AbortSignal | undefined;
}

/**
 * Rows in the order of the addresses asked, `undefined` where there is none, and the provider's
 * time.
 */
export interface ReadResult {
  readonly time: number;
  readonly rows: readonly (Row | undefined)[];
}

export interface CommitOptions {
  readonly signal?: AbortSignal | undefined;
  /**
   * Called with the result of a batch that is known before the others, so that it does not wait for
   * a batch whose rows an open transaction holds. Optional: the promise resolves to all results.
   */
  readonly answered?: ((index: number, result: CommitResult) => void) | undefined;
  /**
   * Called when a batch waits for a row that an open transaction holds: it may take long, and holds
   * no other row while it waits. Optional.
   */
  readonly waiting?: ((index: number, row: RowAddress) => void) | undefined;
}

/**
 * A stretch of one space in key order. `start` is inclusive, `end` exclusive; `after` is exclusive,
 * in the direction of reading: where the last page ended.
 */
export interface ScanRange extends Space {
  readonly start?: string;
  readonly end?: string;
  readonly after?: string;
  readonly reverse?: boolean;
  readonly limit: number;
  readonly values?: 'include' | 'omit';
  readonly consistency?: 'current' | 'stale';
}

export interface ScannedRow {
  readonly key: string;
  readonly row: Row;
}

/**
 * `more`: whether living rows of the range come after these. An empty page with `more` never
 * happens. A page may have fewer rows than its limit and `more`: it ends before the row with which
 * its values would be over `pageBytesMax`, and has one row at least. Only `more` says where the
 * range ends.
 */
export interface ScanPage {
  readonly time: number;
  readonly rows: readonly ScannedRow[];
  readonly more: boolean;
}

/** Something in this space (or this row) may have changed. */
export interface Hint {
  readonly space: Space;
  readonly key?: string;
}

/**
 * What a provider promises beyond the contract. The kit proves what is claimed, and that what is
 * not claimed is refused.
 */
export interface ProviderFeatures {
  /**
   * What an acknowledged commit survives: nothing, power loss ('fsync'), or the loss of a machine
   * ('quorum').
   */
  readonly durable: false | 'fsync' | 'quorum';
  /** Several processes may use the same data at once. */
  readonly shared: boolean;
  /** `consistency: 'stale'` reads may be answered by a replica. Without it they are current. */
  readonly staleReads: boolean;
  /** It gains from calls that are gathered: put `CoalescingProvider` around it. */
  readonly coalesce: boolean;
  /** 'exact', or how long an expired row may still hold off 'absent'. */
  readonly expiry: 'exact' | { readonly lagMs: number };
  /** 'collected': a scan gathers all keys of the space before it sorts them. */
  readonly scan: 'ordered' | 'collected';
  /** 'replaceable': it runs on the clock it was given. */
  readonly clock: 'replaceable' | 'own';
}

/**
 * A row outside any batch, as it is moved, backed up and restored: versions and absolute times
 * included.
 */
export interface RawRow {
  readonly container: string;
  readonly entity: string;
  readonly key: string;
  readonly row: Row;
}

/** A database that is held still. Disposing it lets writers go on; a second time is harmless. */
export interface Freeze extends AsyncDisposable {
  /**
   * Rejects with `STORAGE_UNAVAILABLE` when it did not hold until now (a lost connection, say):
   * what was read since may be inconsistent.
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
   * Every row of a database, in the order of container, entity and key, as of one moment: commits
   * that land while it is read do not show.
   */
  export(database: string): AsyncIterable<RawRow>;
  /**
   * Puts rows as they are, versions and times included, whole milliseconds; returns how many. A row
   * that is there already is overwritten. Rows are taken as they are needed, so that memory stays
   * flat however many come. What the rows throw, the import rejects with, and what was put until
   * then may stay.
   */
  import(database: string, rows: AsyncIterable<RawRow> | Iterable<RawRow>): Promise<number>;
  /** Removes a database and everything in it; returns whether there was one. */
  drop(database: string): Promise<boolean>;
  /** About how many rows an export has, for progress bars: far cheaper than to export them. */
  count?(database: string): Promise<number>;
  /**
   * Holds a database still, or all of them when none is named, while it is moved: for engines that
   * several processes write to. Work in flight has ended when this resolves. From
   * then on, until disposed, a change of it (commit, import, drop, sweep; this process or
   * another) waits, or is refused with `STORAGE_UNAVAILABLE` and effect 'none'. More may be held
   * off than was named. Reading goes on: any number of exports, reads and scans that begin
   * meanwhile see the same rows, but for those that expire. `STORAGE_UNAVAILABLE` when it cannot be
   * had in reasonable time. Engines that one process owns leave it out: whoever opened them decides
   * what is written.
   */
  freeze?(database?: string): Promise<Freeze>;
}

/**
 * A storage engine. Methods that return a promise reject, never throw; iterables check when they
 * are called. Before `open` and after `close` every other call is `STORAGE_NOT_OPEN`; a second
 * `open` is `INVALID_STATE`, a second `close` harmless, and a closed provider may be opened again.
 */
export interface StorageProvider {
  /** For messages and the health page: 'memory', 'JSON file ./data'. */
  readonly name: string;
  readonly features: ProviderFeatures;

  open(): Promise<void>;
  /** Waits for what is under way. */
  close(): Promise<void>;

  /**
   * The rows at `addresses`, in their order, as one consistent view. `LIMIT_EXCEEDED` where the
   * values of several rows are over `pageBytesMax` together, before much more than that was read;
   * one address is always answered.
   */
  read(addresses: readonly Address[], options?: ProviderReadOptions): Promise<ReadResult>;

  /**
   * One page of each range, in key order or reversed, each of at most `pageBytesMax`. The ranges
   * share no view.
   */
  scan(
    ranges: readonly ScanRange[],
    options?: { readonly signal?: AbortSignal | undefined },
  ): Promise<readonly ScanPage[]>;

  /**
   * Several independent batches, no two of which share a row, checks included (the caller's duty):
   * each is all-or-nothing and has its own answer, in order. Rejects only when none of them can
   * have taken effect.
   */
  commit(batches: readonly Batch[], options?: CommitOptions): Promise<readonly CommitResult[]>;

  /** The same contract inside the caller's own transaction, where the engine has them. */
  within?(transaction: object): StorageProvider;

  /**
   * Hints that something in these spaces may have changed: they may repeat, may be early, may be
   * lost. Ends with the signal and with `close`.
   */
  hints?(spaces: readonly Space[], signal: AbortSignal): AsyncIterable<Hint>;

  /** Physically removes expired rows, at most `limit`; returns how many. */
  sweep(limit: number): Promise<number>;

  readonly administration: StorageAdministration;
}

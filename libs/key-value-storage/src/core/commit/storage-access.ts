/**
 * One storage provider, as the stores and streams on it use it: every read, scan and commit goes
 * through here, and is refused with `STORAGE_NOT_OPEN` once the storage is closed. It owns the
 * versions, the retry policy and the locks.
 */
import { systemClock, type Clock } from '../base/clock.js';
import { storageError } from '../base/errors.js';
import { invalidOption, invalidState } from '../base/options.js';
import type { OnConflict } from '../contention/held-locks.js';
import { KeyedLock } from '../contention/keyed-lock.js';
import { Renewals } from '../contention/renewals.js';
import type { RetryPolicy } from '../contention/retry-on-conflict.js';
import { retryWithLock } from '../contention/retry-with-lock.js';
import { inspect } from '../base/inspect.js';
import type {
  Address,
  Batch,
  CallerTransactions,
  CommitResult,
  CountRange,
  FeedPage,
  FeedRequest,
  ProviderReadOptions,
  ReadResult,
  Row,
  RowAddress,
  ScanPage,
  ScanRange,
  StorageProvider,
  Version,
} from '../port/storage-provider.js';
import type { PollPolicy } from '../watch/poll-options.js';
import { Watches } from '../watch/watches.js';
import {
  assertBatchLimits,
  keyOf,
  type CommittedBatch,
  type ConflictedBatch,
  type Contribution,
} from './commit.js';
import { recordLocks, rowLockedBy } from './transaction-rows.js';

interface StorageAccessOptions {
  readonly provider: StorageProvider;
  readonly nextVersion: (database: string) => Version;
  readonly retry: RetryPolicy;
  readonly poll: PollPolicy;
  /** Throws `STORAGE_NOT_OPEN` once the storage is closed. */
  readonly assertOpen: () => void;
  /**
   * Runs work that follows a commit, or that continues in the background, for the tenant of the
   * database (`undefined`: for no tenant) and outside the async context of the caller: what belongs
   * to a request (its tenant, its user, its trace) does not leak into it.
   */
  readonly detached: <R>(database: string | undefined, work: () => R) => R;
}

interface AccessOptions {
  readonly signal?: AbortSignal | undefined;
}
interface AccessCommitOptions extends AccessOptions {
  /** @default the next version of the database */
  readonly version?: Version | undefined;
  readonly noWait?: boolean | undefined;
  /** The error of a numeric change that is impossible. @default `INVALID_OPTION` */
  readonly refused?: RefusalError | undefined;
}

export type RefusedBatch = Extract<CommitResult, { outcome: 'refused' }>;
export type RefusalError = (refused: RefusedBatch) => Error;

/** The access outside a transaction of the caller's, and that transaction. */
interface Outside {
  readonly access: StorageAccess;
  readonly transaction: object;
}

export class StorageAccess {
  readonly provider: StorageProvider;
  readonly retry: RetryPolicy;
  /** Part of a transaction of the caller's: nothing in it is coalesced or repeated. */
  readonly inTransaction: boolean;
  // of its own in a transaction too: a call that waits outside for a row that the transaction holds
  // must not delay it
  readonly locks = new KeyedLock();
  readonly renewals = new Renewals();
  readonly watches: Watches;
  readonly #options: StorageAccessOptions;
  readonly #outside: Outside | undefined;
  readonly #callers: CallerTransactions | undefined;
  readonly #transactions = new WeakMap<object, StorageAccess>();

  /** `outside`: given for the access inside a transaction. */
  constructor(options: StorageAccessOptions, outside?: Outside) {
    this.provider = options.provider;
    this.retry = outside === undefined ? options.retry : { ...options.retry, attempts: 1 };
    this.inTransaction = outside !== undefined;
    this.watches = new Watches(this, options.poll);
    this.#options = options;
    this.#outside = outside;
    this.#callers = outside === undefined ? options.provider.transactions : outside.access.#callers;
  }

  /**
   * What finds the transaction that a call joins without `within`; undefined where no call does.
   */
  get currentTransaction(): (() => object | undefined) | undefined {
    const callers = this.#callers;
    return this.inTransaction || callers?.current === undefined ? undefined : () => callers.current?.();
  }

  /** The access that a call uses: inside the transaction that it joins, else this one. */
  get joined(): StorageAccess {
    const transaction = this.currentTransaction?.();
    return transaction === undefined ? this : this.within(transaction);
  }

  /** This access outside of any transaction. */
  get root(): StorageAccess {
    return this.#outside?.access ?? this;
  }

  /**
   * By which callers wait, and leases of indexes are kept: that of the provider's options, so that
   * a test moves it. Its waits keep the process alive.
   */
  get clock(): Clock {
    return this.root.provider.clock ?? systemClock;
  }

  assertOpen(): void {
    this.#options.assertOpen();
  }

  nextVersion(database: string): Version {
    return this.#options.nextVersion(database);
  }

  detached<R>(database: string | undefined, work: () => R): R {
    return this.#options.detached(database, work);
  }

  /** The rows at the addresses, in their order, as one consistent view. Not async: a frame less. */
  read(addresses: readonly Address[], options?: ProviderReadOptions): Promise<ReadResult> {
    this.assertOpen();
    return this.provider.read(addresses, options);
  }

  async readOne(
    address: Address,
    options?: ProviderReadOptions,
  ): Promise<{ readonly row: Row | undefined; readonly time: number }> {
    const { rows, time } = await this.read([address], options);
    return { row: rows[0], time };
  }

  /** One page of each range, in one call of the provider. */
  async scan<R extends readonly ScanRange[]>(
    ranges: readonly [...R],
    options?: AccessOptions,
  ): Promise<{ readonly [I in keyof R]: ScanPage }> {
    this.assertOpen();
    const pages = await this.provider.scan(ranges, options);
    if (ranges.some((_, index) => pages[index] === undefined))
      throw storageError('STORAGE_UNAVAILABLE', `${this.#name} returned no page for a scan.`, {});
    return pages as unknown as { readonly [I in keyof R]: ScanPage };
  }

  /**
   * Rows and pages, in one round trip. The rows are not newer than the first page, where the
   * provider reads both in one call; else either may be.
   */
  async readWithScan<R extends readonly [ScanRange, ...ScanRange[]]>(
    addresses: readonly Address[],
    ranges: readonly [...R],
    options?: AccessOptions,
  ): Promise<{ readonly read: ReadResult; readonly pages: { readonly [I in keyof R]: ScanPage } }> {
    if (this.provider.features.readsInScans !== true) {
      const [read, pages] = await Promise.all([this.read(addresses, options), this.scan(ranges, options)]);
      return { read, pages };
    }
    const [first, ...others] = ranges as readonly [ScanRange, ...ScanRange[]];
    const pages = await this.scan([{ ...first, alsoRead: addresses }, ...others], options);
    const { time, alsoRead: rows } = pages[0];
    if (rows === undefined)
      throw storageError('STORAGE_UNAVAILABLE', `${this.#name} returned no rows with a page.`, {});
    return { read: { time, rows }, pages: pages as unknown as { readonly [I in keyof R]: ScanPage } };
  }

  /** The number of rows of a range; undefined where the provider does not count. */
  count(range: CountRange, options?: AccessOptions): Promise<number> | undefined {
    this.assertOpen();
    return this.provider.count?.(range, options);
  }

  /** The pages of a range, each read on demand. */
  async *scanPages(range: ScanRange, options?: AccessOptions): AsyncGenerator<ScanPage, void, undefined> {
    for (let next: ScanRange | undefined = range; next !== undefined;) {
      const [page]: readonly [ScanPage] = await this.scan([next], options);
      yield page;
      const last = page.rows.at(-1);
      next = page.more && last !== undefined ? { ...range, after: last.key } : undefined;
    }
  }

  /**
   * Commits one batch, all of it or nothing. Returns that it was committed, or its conflict;
   * rejects with every other result. Not async: a frame less is a tenth of a write in memory.
   */
  commit(
    database: string,
    { checks, changes }: Contribution,
    options?: AccessCommitOptions,
  ): Promise<CommittedBatch | ConflictedBatch> {
    try {
      this.assertOpen();
      const version = options?.version ?? this.nextVersion(database);
      let batch: Batch =
        options?.noWait === true
          ? { database, version, checks, changes, noWait: true }
          : { database, version, checks, changes };
      const own = this.#callers === undefined ? undefined : this.#lockedByCaller(this.#callers, batch);
      if (own !== undefined) batch = { ...batch, noWait: true };
      if (checks.length + changes.length > 2) assertBatchLimits(batch);
      const signal = options?.signal;
      return this.provider
        .commit([batch], signal === undefined ? undefined : { signal })
        .then((results) => this.#outcomeOf(results[0], version, own, options?.refused));
    } catch (error) {
      // oxlint-disable-next-line typescript/prefer-promise-reject-errors -- an error of ours
      return Promise.reject(error);
    }
  }

  #outcomeOf(
    result: CommitResult | undefined,
    version: Version,
    own: RowAddress | undefined,
    refused: RefusalError | undefined,
  ): CommittedBatch | ConflictedBatch {
    if (result?.outcome === 'committed') {
      const { time, rows, position } = result;
      if (position === undefined) return { outcome: 'committed', time, rows, version };
      this.#reportFeed();
      return { outcome: 'committed', time, rows, version, position };
    }
    if (result?.outcome === 'conflict') return result;
    if (own !== undefined && result?.outcome === 'failed' && result.error.code === 'STORAGE_UNAVAILABLE')
      throw waitsForItself(own, this.inTransaction);
    if (result?.outcome === 'refused' && refused !== undefined) throw refused(result);
    throw this.#errorOf(result);
  }

  /**
   * The first row of a batch that another open transaction of the same caller has locked: to wait
   * for it would be to wait for the caller itself.
   */
  #lockedByCaller(callers: CallerTransactions, batch: Batch): RowAddress | undefined {
    const transaction = this.#outside?.transaction;
    const own = transaction && (callers.identityOf?.(transaction) ?? transaction);
    const { name } = this.root.provider;
    if (own !== undefined) recordLocks(own, name, batch);
    const others = callers.open(transaction).filter((each) => each !== own);
    return others.length === 0 ? undefined : rowLockedBy(others, name, batch);
  }

  /** Readers of the feed in this process read on at once, and wait for no poll. */
  #reportFeed(): void {
    if (!this.inTransaction) this.watches.feedMoved();
    else if (this.root.watches.followsFeed) this.afterCommit(() => this.root.watches.feedMoved());
  }

  /**
   * A page of the feed, also of a provider inside a transaction: the feed has what is committed.
   * `STORAGE_UNSUPPORTED` where the provider has none.
   */
  async feed(request: FeedRequest): Promise<FeedPage> {
    this.assertOpen();
    const { provider } = this.root;
    this.assertFeed();
    return await (provider.feed as NonNullable<typeof provider.feed>)(request);
  }

  /** `STORAGE_UNSUPPORTED` where the provider has no feed. */
  assertFeed(): void {
    const { features, feed } = this.root.provider;
    if (!features.feed || feed === undefined)
      throw storageError('STORAGE_UNSUPPORTED', `${this.root.#name} has no feed.`, {});
  }

  /**
   * Runs work once the caller's transaction is committed; it is forgotten when that is rolled back.
   * Does nothing where the provider does not report the end of a transaction. `name`: as of
   * `StorageProvider.afterCommit`.
   */
  afterCommit(work: () => void, name?: string): void {
    this.provider.afterCommit?.(work, name);
  }

  /**
   * Repeats work at a row while it conflicts, with the row's lock. Not async: a frame less.
   */
  retryWithLock<R>(
    lock: string,
    policy: RetryPolicy,
    attempt: (onConflict: OnConflict) => Promise<R>,
  ): Promise<R> {
    return retryWithLock(this.locks, lock, policy, attempt);
  }

  /**
   * The access inside a transaction of the caller's. One transaction has one access, so that all
   * stores and streams in it go into one batch. `STORAGE_UNSUPPORTED` where the provider has none.
   */
  within(transaction: object): StorageAccess {
    const outer = this.root;
    const { provider } = outer;
    if (provider.within === undefined)
      throw storageError('STORAGE_UNSUPPORTED', `${outer.#name} has no transactions to join.`, {});
    if (typeof transaction !== 'object' || (transaction as unknown) === null)
      throw invalidOption(`within takes an open transaction; got ${inspect(transaction)}.`);
    // called each time: it refuses a transaction that has ended
    const inside = provider.within(transaction);
    let access = outer.#transactions.get(transaction);
    if (access === undefined) {
      access = new StorageAccess({ ...outer.#options, provider: inside }, { access: outer, transaction });
      outer.#transactions.set(transaction, access);
    }
    return access;
  }

  get #name(): string {
    return `The provider '${this.provider.name}'`;
  }

  #errorOf(result: Extract<CommitResult, { outcome: 'failed' }> | RefusedBatch | undefined): Error {
    if (result === undefined)
      return storageError('STORAGE_OUTCOME_UNKNOWN', `${this.#name} returned no result for a batch.`, {});
    if (result.outcome === 'failed') return result.error;
    const what = `The number at ${inspect(keyOf(result.address))} cannot be changed`;
    return storageError('INVALID_OPTION', `${what}: ${result.reason}.`, {});
  }
}

const waitsForItself = (address: RowAddress, inTransaction: boolean): Error =>
  invalidState(
    `${address.entity} ${inspect(keyOf(address))} is locked by an open transaction of the same caller, and this call is in ${inTransaction ? 'another' : 'none'}: it would wait for its own caller. Use within(transaction) of the storage, the store or the stream with the transaction that has locked it.`,
  );

/**
 * Rewrites the values of a store to the present schema version, or copies them into another store,
 * page by page, while others read and write.
 */
import { throwIfAborted, untilAborted } from '../base/abort.js';
import { systemClock } from '../base/clock.js';
import { isStorageError, stoppedAfter } from '../base/errors.js';
import { inspect } from '../base/inspect.js';
import type { Key } from '../base/key.js';
import { limits } from '../base/limits.js';
import { assertOptions, invalidOption } from '../base/options.js';
import { safely } from '../base/safely.js';
import { conflictError } from '../commit/commit.js';
import { parseStored } from '../encoding/codec.js';
import { textDigest } from '../encoding/text-digest.js';
import { compareAddresses } from '../port/row-order.js';
import type { Address, Row, ScannedRow, ScanRange } from '../port/storage-provider.js';
import type { RangePage } from '../watch/range-watcher.js';
import type { CallOptions } from './call-options.js';
import type { CopyMark } from './copy-marks.js';
import type { KeyValueStore } from './key-value-store.js';
import { MigrationPosition } from './migration-position.js';
import { boundedPages } from './range-reader.js';
import { StateCopy } from './state-copy.js';
import type { Input } from './state-definition.js';
import type { StateRows } from './state-rows.js';
import { corruptRow, storedKey } from './stored-key.js';
import { storeRows } from './typed-store.js';

export interface StateMigrationOptions<T, K extends Key = Key, I = Input<T>> {
  /**
   * The store that gets the values; also of another state, tenant, container or storage. @default
   * the store itself: its values are rewritten to the present schema version
   */
  // oxlint-disable-next-line typescript/no-explicit-any -- KeyValueStore is invariant
  readonly to?: KeyValueStore<any, K, I>;
  /**
   * The value for the other store; `undefined` leaves the entry out. @default the value as it is
   */
  readonly change?: (value: T, key: K) => I | undefined | Promise<I | undefined>;
  /** At most so many entries are written in a second. @default no limit */
  readonly rowsPerSecond?: number;
  /** Entries that are written at the same time, from 1 to 1,000. @default 16 */
  readonly concurrency?: number;
  /**
   * Entries that are read at once, from 1 to 1,000. The position is stored after each page.
   * @default 200
   */
  readonly pageRows?: number;
  /**
   * 'continue': an entry that cannot be read or written is left as it is, and reported in
   * `failures`. @default 'stop'
   */
  readonly onError?: 'stop' | 'continue';
  /**
   * For `onError: 'continue'`: called for every entry that fails, one after the other in the order
   * of the keys, after each page. The run waits for it. What it throws ends the run: what is
   * written stays written, and the next run reads the page again, and reports its failures again.
   * It is not called any more once the run has ended.
   */
  readonly onFailure?: (failure: MigrationFailure<K>) => void | Promise<void>;
  /** Called after each page with the counts so far. Exceptions in it are ignored. */
  readonly onProgress?: (counts: MigrationCounts) => void;
}

export interface MigrationCounts {
  /** Entries that were read. */
  readonly read: number;
  /** Entries that were rewritten, or copied. */
  readonly written: number;
  /** Entries with the present schema version, or that the other store has as they are. */
  readonly unchanged: number;
  /**
   * Entries that were not touched because they are newer: a later schema version wrote them, or in
   * the other store they were written later.
   */
  readonly newer: number;
  /** Entries that `change` left out, or that were deleted before they were written. */
  readonly skipped: number;
  readonly failed: number;
}

/** An entry that could not be read or written, and was left as it is. */
export interface MigrationFailure<K extends Key = Key> {
  readonly key: K;
  readonly error: unknown;
}

export interface MigrationResult<K extends Key = Key> extends MigrationCounts {
  /**
   * Whether the run began where an interrupted one had stopped, and read what is before at its end.
   * The counts are its own.
   */
  readonly resumed: boolean;
  /** The first 100 entries that failed, with `onError: 'continue'`; `onFailure` gets all. */
  readonly failures: readonly MigrationFailure<K>[];
}

/** How many entries a schema version has written. */
export interface StoredVersion {
  readonly schemaVersion: number;
  readonly entries: number;
}

interface PageRead {
  readonly page: RangePage;
  /** The monotonic clock before the read. */
  readonly readAt: number;
  /** Whether it is behind the position of an earlier run. */
  readonly isBehind: boolean;
}

type Outcome = Exclude<keyof MigrationCounts, 'read' | 'failed'>;

const optionNames = [
  'to',
  'change',
  'rowsPerSecond',
  'concurrency',
  'pageRows',
  'onError',
  'onFailure',
  'onProgress',
] as const;
/**
 * A migration of one store in the background. A run may be interrupted at any time, and repeated:
 * it begins at the position that is stored beside the entries, in the same database. Two runs at
 * a time do no harm.
 */
export class StateMigration<T, K extends Key = Key, I = Input<T>> {
  readonly #from: StateRows<T, K>;
  readonly #to: StateRows<unknown, K> | undefined;
  readonly #options: StateMigrationOptions<T, K, I>;
  readonly #concurrency: number;
  readonly #pageRows: number;

  /**
   * `store`: of the current tenant, or of one: `products.forTenant('acme')`. `INVALID_OPTION` for
   * an invalid option, and for a store inside a transaction.
   */
  // oxlint-disable-next-line typescript/no-explicit-any -- the input of the store is not used
  constructor(store: KeyValueStore<T, K, any>, options: StateMigrationOptions<T, K, I> = {}) {
    assertOptions('StateMigration', options, optionNames);
    const {
      to,
      change,
      rowsPerSecond,
      concurrency = 16,
      pageRows = 200,
      onError = 'stop',
      onFailure,
      onProgress,
    } = options;
    this.#from = rowsOf<T, K>('store', store);
    this.#to = to === undefined ? undefined : rowsOf('to', to);
    for (const [name, given] of Object.entries({ change, onFailure, onProgress }))
      if (given !== undefined && typeof given !== 'function')
        throw invalidOption(`StateMigration: ${name} must be a function; got ${inspect(given)}.`);
    if (change !== undefined && to === undefined)
      throw invalidOption('StateMigration: change is for another store; to rewrite values, use upcast.');
    if (!['stop', 'continue'].includes(onError))
      throw invalidOption(`StateMigration: onError must be 'stop' or 'continue'; got ${inspect(onError)}.`);
    if (onFailure !== undefined && onError !== 'continue')
      throw invalidOption(
        "StateMigration: onFailure is for onError: 'continue'; else the run ends with the error.",
      );
    if (rowsPerSecond !== undefined && !(typeof rowsPerSecond === 'number' && rowsPerSecond > 0))
      throw invalidOption(
        `StateMigration: rowsPerSecond must be a number above 0; got ${inspect(rowsPerSecond)}.`,
      );
    this.#concurrency = countOf('concurrency', concurrency);
    // at most the writes of a second follow each other without a pause
    this.#pageRows = Math.min(countOf('pageRows', pageRows), Math.ceil(rowsPerSecond ?? limits.pageItemsMax));
    this.#options = options;
  }

  /**
   * Reads every entry, and returns how many each schema version has written, in the order of the
   * versions. Nothing is changed. `STORAGE_CORRUPT` for a damaged value.
   */
  async versions(options?: CallOptions): Promise<readonly StoredVersion[]> {
    assertOptions('versions', options, ['signal']);
    const counts = new Map<number, number>();
    const database = this.#from.database();
    for await (const { rows } of this.#pages({}, options?.signal, database))
      for (const { key, row } of rows) {
        const version = schemaVersionOf(this.#addressOf(database, key), row);
        counts.set(version, (counts.get(version) ?? 0) + 1);
      }
    return Array.from(counts, ([schemaVersion, entries]) => ({ schemaVersion, entries })).sort(
      (a, b) => a.schemaVersion - b.schemaVersion,
    );
  }

  /**
   * Migrates every entry that is there when it begins, and returns the counts. It begins where an
   * interrupted run has stopped; what is before is read at its end, because others may have written
   * there since. Each entry is written under the check of the version that was read: one that was
   * written since is read again. Rewritten entries keep their expiry, and get a new etag.
   *
   * A copy keeps etag and expiry; into another database, that of a sliding entry begins anew, as
   * with a read. A repeated run moves it forward where the entry was renewed since. A copy replaces
   * a row of the other store unless that was written after the entry, so a run may be repeated. An
   * entry that is overwritten or deleted while it is copied is copied again, or its copy is
   * deleted; where the process ends before, the next run does it.
   *
   * Rejects with the error of the first entry that cannot be read or written, and with `ABORTED`;
   * what is written stays written, and the error has its number as `done`.
   */
  async run(options?: CallOptions): Promise<MigrationResult<K>> {
    assertOptions('run', options, ['signal']);
    const signal = options?.signal;
    const database = this.#from.database();
    const target = this.#to?.database();
    const { access } = this.#from;
    this.#assertOtherStore(database, target);
    const copying = this.#copyTo(database, target, signal);
    const position = new MigrationPosition(access, this.#from.state, database, this.#nameOf(target), signal);
    const after = await position.read();
    const counts = { read: 0, written: 0, unchanged: 0, newer: 0, skipped: 0, failed: 0 };
    const failures = new PageFailures<K>(this.#options.onFailure, signal);
    const pause = this.#pacer(signal);
    const attempt = async (address: Address, work: () => Promise<void>): Promise<void> => {
      throwIfAborted('A migration', signal);
      try {
        await work();
      } catch (error) {
        if (this.#options.onError !== 'continue' || !isOfEntry(error)) throw error;
        counts.failed += 1;
        failures.add(address, error);
      }
    };
    try {
      if (copying !== undefined)
        for await (const copies of copying.uncompared()) {
          await copying.compare(copies, attempt);
          await failures.endPage();
        }
      for await (const { page, readAt, isBehind } of this.#allPages(after, signal, database)) {
        const written = counts.written;
        const copies: CopyMark[] = [];
        await this.#eachOf(page.rows, async ({ key, row }) => {
          const address = this.#addressOf(database, key);
          counts.read += 1;
          await attempt(address, async () => {
            const outcome =
              copying === undefined
                ? await this.#rewrite(address, row, signal)
                : await copying.copy(address, { row, time: page.time, readAt });
            counts[outcome] += 1;
            if (outcome === 'written') copies.push({ key, version: row.version });
          });
        });
        if (copying?.isOneDatabase === false) await copying.compare(copies, attempt);
        await failures.endPage();
        const last = page.rows.at(-1);
        // a page without a write is read again in no time
        if (counts.written > written && last !== undefined && !isBehind) await position.save(last.key);
        safely(() => this.#options.onProgress?.({ ...counts }));
        await pause(counts.written);
      }
      await position.remove();
    } catch (error) {
      throw this.#errorOf(error, counts.written + (copying?.repeated ?? 0));
    }
    return { ...counts, resumed: after !== undefined, failures: failures.first };
  }

  #errorOf(error: unknown, done: number): unknown {
    if (!isStorageError(error)) return error;
    return stoppedAfter(
      error,
      done,
      `The migration ended after ${done} entries, which are written: ${error.message}`,
    );
  }

  /** A copy onto itself would find every entry as it is. */
  #assertOtherStore(database: string, target: string | undefined): void {
    if (this.#to === undefined || database !== target) return;
    const [one, other] = [this.#from, this.#to];
    const isSame =
      one.access.provider === other.access.provider &&
      one.state.container === other.state.container &&
      one.state.entity === other.state.entity;
    if (isSame) throw invalidOption('StateMigration: to must be another store; got the store itself.');
  }

  #copyTo(
    database: string,
    targetDatabase: string | undefined,
    signal: AbortSignal | undefined,
  ): StateCopy<T, K> | undefined {
    const [from, to, { change }] = [this.#from, this.#to, this.#options];
    if (to === undefined || targetDatabase === undefined) return undefined;
    return new StateCopy({ from, database, to, targetDatabase, change, signal });
  }

  /** Whatever is migrated to the same target has the same position. */
  #nameOf(target: string | undefined): string {
    if (this.#to === undefined) return `v${this.#from.state.schemaVersion}`;
    const { access, state } = this.#to;
    return textDigest(JSON.stringify([access.provider.name, target, state.container, state.entity]));
  }

  /**
   * From the position of an earlier run to the end, then what is behind it: others may have written
   * there since.
   */
  async *#allPages(
    after: string | undefined,
    signal: AbortSignal | undefined,
    database: string,
  ): AsyncGenerator<PageRead, void, undefined> {
    // the last entry of the earlier run is read again: `start` is inclusive
    const parts = after === undefined ? [{}] : [{ start: after }, { end: after }];
    const { clock } = this.#from.access;
    for (const part of parts) {
      let readAt = clock.monotonic();
      for await (const page of this.#pages(part, signal, database)) {
        yield { page, readAt, isBehind: 'end' in part };
        readAt = clock.monotonic();
      }
    }
  }

  #pages(
    part: Pick<ScanRange, 'start' | 'end'>,
    signal: AbortSignal | undefined,
    database: string,
  ): AsyncIterable<RangePage> {
    const { access, state } = this.#from;
    const { container, entity } = state;
    const range = { database, container, entity, limit: this.#pageRows, ...part };
    return boundedPages(access, range, signal && { signal });
  }

  #addressOf(database: string, key: string): Address {
    const { container, entity } = this.#from.state;
    return { database, container, entity, key };
  }

  async #rewrite(address: Address, scanned: Row, signal: AbortSignal | undefined): Promise<Outcome> {
    const { access, codec, state } = this.#from;
    let current: Row | undefined = scanned;
    let isFirst = true;
    return await this.#from.retry<Outcome>(
      address,
      { ...access.retry, ...(signal && { signal }) },
      async () => {
        if (!isFirst) current = (await access.readOne(address, { signal })).row;
        isFirst = false;
        if (current === undefined) return 'skipped';
        const version = schemaVersionOf(address, current);
        if (version === state.schemaVersion) return 'unchanged';
        if (version > state.schemaVersion) return 'newer';
        const value = await codec.decode(address, current.value);
        const { stored } = await codec.encode(storedKey<K>(address), value);
        const change = { kind: 'put', address, value: stored, ttl: { keepElse: 'never' } } as const;
        const result = await this.#from.change(change, { version: current.version }, { signal }, current);
        if (result.outcome === 'conflict') throw conflictError(result, 'own');
        return 'written';
      },
    );
  }

  /**
   * Calls the work for each row, `concurrency` at a time; the first error ends all. Of several
   * errors one counts that leaves it unknown what is written.
   */
  async #eachOf(rows: readonly ScannedRow[], work: (row: ScannedRow) => Promise<void>): Promise<void> {
    const remaining = rows[Symbol.iterator]();
    let isStopped = false;
    const worker = async (): Promise<void> => {
      for (let next = remaining.next(); next.done !== true && !isStopped; next = remaining.next())
        try {
          await work(next.value);
        } catch (error) {
          isStopped = true;
          throw error;
        }
    };
    const workers = Array.from({ length: Math.min(this.#concurrency, rows.length) }, worker);
    const ended = await Promise.allSettled(workers);
    const errors = ended.flatMap((each) => (each.status === 'rejected' ? [each.reason as unknown] : []));
    if (errors.length > 0) throw errors.find(isUnknown) ?? errors[0];
  }

  /** Waits until so many writes are allowed since the run began. */
  #pacer(signal: AbortSignal | undefined): (written: number) => Promise<void> {
    const { rowsPerSecond } = this.#options;
    const clock = this.#from.access.provider.clock ?? systemClock;
    const begun = clock.monotonic();
    return async (written) => {
      throwIfAborted('A migration', signal);
      if (rowsPerSecond === undefined) return;
      const ms = begun + (written / rowsPerSecond) * 1_000 - clock.monotonic();
      try {
        if (ms > 0) await clock.wait(ms, signal);
      } catch (error) {
        throwIfAborted('A migration', signal);
        throw error;
      }
    };
  }
}

/** The failures of one page, which come in any order, and the first ones of all pages. */
class PageFailures<K extends Key> {
  readonly first: MigrationFailure<K>[] = [];
  readonly #onFailure: StateMigrationOptions<never, K>['onFailure'];
  readonly #signal: AbortSignal | undefined;
  #page: { readonly address: Address; readonly error: unknown }[] = [];

  constructor(onFailure: StateMigrationOptions<never, K>['onFailure'], signal: AbortSignal | undefined) {
    this.#onFailure = onFailure;
    this.#signal = signal;
  }

  add(address: Address, error: unknown): void {
    this.#page.push({ address, error });
  }

  /** Reports the failures of the page, in the order of their keys. */
  async endPage(): Promise<void> {
    const page = this.#page.sort((one, other) => compareAddresses(one.address, other.address));
    this.#page = [];
    for (const { address, error } of page) {
      if (this.first.length === failuresMax && this.#onFailure === undefined) return;
      const failure = { key: storedKey<K>(address), error };
      if (this.first.length < failuresMax) this.first.push(failure);
      const reported = Promise.resolve(this.#onFailure?.(failure));
      await untilAborted('A migration', 'none', this.#signal, reported);
    }
  }
}

const failuresMax = 100;

function rowsOf<T, K extends Key>(name: string, store: unknown): StateRows<T, K> {
  const rows = (store as { readonly [storeRows]?: StateRows<T, K> } | null | undefined)?.[storeRows];
  if (rows === undefined)
    throw invalidOption(`StateMigration: ${name} must be the store of a state; got ${inspect(store)}.`);
  if (rows.access.inTransaction)
    throw invalidOption(
      `StateMigration: ${name} must not be inside a transaction, because it commits each page.`,
    );
  return rows;
}

function countOf(name: string, given: unknown): number {
  if (typeof given === 'number' && Number.isInteger(given) && given >= 1 && given <= limits.pageItemsMax)
    return given;
  throw invalidOption(
    `StateMigration: ${name} must be a whole number from 1 to ${limits.pageItemsMax}; got ${inspect(given)}.`,
  );
}

/** `STORAGE_CORRUPT` for what is no value of a state. */
function schemaVersionOf(address: Address, { value }: Row): number {
  try {
    if (value.kind === 'json') return parseStored(value.text).schemaVersion;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw corruptRow(address, 'is not JSON that Kvent wrote');
}

const isUnknown = (error: unknown): boolean => isStorageError(error) && error.effect === 'unknown';

/** Whether an error is one of the entry alone: the others may be fine. */
const isOfEntry = (error: unknown): boolean =>
  !isStorageError(error) ||
  (!isUnknown(error) &&
    [
      'STORAGE_CORRUPT',
      'INVALID_VALUE',
      'INVALID_OPTION',
      'INVALID_KEY',
      'UNIQUE_TAKEN',
      'LIMIT_EXCEEDED',
      'STORAGE_CONFLICT',
    ].includes(error.code));

/**
 * Coalesces independent calls: a hundred concurrent requests become one round trip. While fewer
 * than four groups are in flight, a group is sent at the end of the microtask, so a lone call is
 * not delayed; otherwise when one of them has ended. Batches that share a row are never in flight
 * together: the later one waits for the earlier, except that changes of one number join a group.
 * Calls are taken from each database in turn, so that one tenant does not delay another. A group
 * that the engine refuses as a whole is repeated call by call, so that the failure of one caller
 * does not reach the others. Scans are sent one by one: a page may be large, and waits for no
 * other.
 */
import { aborted, throwIfAborted } from '../base/abort.js';
import type { Clock } from '../base/clock.js';
import { footprintOf } from '../port/footprint.js';
import { numberChangeOf } from '../port/number-change.js';
import { lockNameOf } from '../port/row-name.js';
import { isStorageError, storageError, type StorageError } from '../base/errors.js';
import { CallBatcher, type Answered, type Call } from './call-batcher.js';
import { limits } from '../base/limits.js';
import type {
  Address,
  Batch,
  CallerTransactions,
  CommitResult,
  Expected,
  FeedPage,
  FeedRequest,
  Hint,
  HintTarget,
  ProviderFeatures,
  ProviderReadOptions,
  ReadResult,
  ScanPage,
  ScanRange,
  StorageAdministration,
  StorageProvider,
} from '../port/storage-provider.js';

/** The maximum of batches in a group. Larger statements cost the engine more than they save. */
const groupBatchesMax = 128;

interface ReadCall {
  readonly addresses: readonly Address[];
  readonly values: 'include' | 'omit';
  readonly consistency: 'current' | 'stale';
}

export class CoalescingProvider implements StorageProvider {
  readonly name: string;
  readonly features: ProviderFeatures;
  readonly administration: StorageAdministration;
  readonly within?: (transaction: object) => StorageProvider;
  readonly transactions?: CallerTransactions;
  readonly hints?: (targets: readonly HintTarget[], signal: AbortSignal) => AsyncIterable<Hint>;
  readonly feed?: (request: FeedRequest) => Promise<FeedPage>;
  readonly count?: NonNullable<StorageProvider['count']>;
  readonly clock: Clock | undefined;
  readonly #inner: StorageProvider;
  readonly #reads: CallBatcher<ReadCall, ReadResult>;
  readonly #scans: CallBatcher<ScanRange, ScanPage>;
  readonly #commits: CallBatcher<Batch, CommitResult>;
  /**
   * The maximum of addresses in a group of reads; smaller after a group was refused as too large.
   */
  #readAddresses: number = limits.readAddressesMax;

  constructor(inner: StorageProvider) {
    this.#inner = inner;
    this.name = inner.name;
    this.features = { ...inner.features, coalesce: false };
    this.administration = inner.administration;
    this.clock = inner.clock;
    if (inner.within !== undefined)
      this.within = (transaction) => (inner.within as NonNullable<typeof inner.within>)(transaction);
    if (inner.count !== undefined) this.count = inner.count.bind(inner);
    if (inner.transactions !== undefined) this.transactions = inner.transactions;
    if (inner.hints !== undefined)
      this.hints = (targets, signal) => (inner.hints as NonNullable<typeof inner.hints>)(targets, signal);
    if (inner.feed !== undefined) this.feed = inner.feed.bind(inner);
    this.#reads = new CallBatcher({
      what: 'A read',
      effect: 'none',
      database: ({ addresses }) => addresses[0]?.database ?? '',
      pick: (waiting) => pickReads(waiting, this.#readAddresses),
      send: (calls) => this.#sendReads(calls),
    });
    this.#scans = new CallBatcher({
      what: 'A scan',
      effect: 'none',
      database: (range) => range.database,
      alone: true,
      pick: (waiting, _, free) => waiting.slice(0, free),
      send: (ranges) => inner.scan(ranges),
    });
    this.#commits = new CallBatcher({
      what: 'A commit',
      effect: 'unknown',
      database: (batch) => batch.database,
      pick: pickBatches,
      send: (batches, { answered, waiting }) =>
        inner.commit(batches, {
          answered,
          waiting: (index, row) => waiting(index, lockNameOf((batches[index] as Batch).database, row)),
        }),
      predict: resultsAfter,
    });
  }

  async open(): Promise<void> {
    await this.#inner.open();
  }

  async close(): Promise<void> {
    await Promise.all([this.#reads.idle(), this.#scans.idle(), this.#commits.idle()]);
    await this.#inner.close();
  }

  read(addresses: readonly Address[], options: ProviderReadOptions = {}): Promise<ReadResult> {
    const { values = 'include', consistency = 'current', signal } = options;
    return this.#reads.call({ addresses, values, consistency }, signal);
  }

  async scan(
    ranges: readonly ScanRange[],
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<readonly ScanPage[]> {
    throwIfAborted('A scan', options.signal);
    return await Promise.all(ranges.map((range) => this.#scans.call(range, options.signal)));
  }

  async commit(
    batches: readonly Batch[],
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<readonly CommitResult[]> {
    throwIfAborted('A commit', options.signal);
    if (batches.length === 1) return [await this.#commit(batches[0] as Batch, options.signal)];
    const settled = await Promise.allSettled(batches.map((batch) => this.#commit(batch, options.signal)));
    const failures = settled.flatMap((result) =>
      result.status === 'rejected' ? [result.reason as StorageError] : [],
    );
    // a rejection means that nothing took effect, or that the effect is unknown
    if (
      (failures.length > 0 && failures.length === settled.length) ||
      failures.some(({ code }) => code === 'ABORTED')
    )
      throw abortedOrFirst(failures, options.signal);
    return settled.map((result) =>
      result.status === 'fulfilled'
        ? result.value
        : { outcome: 'failed', error: result.reason as StorageError },
    );
  }

  async sweep(limit: number): Promise<number> {
    return await this.#inner.sweep(limit);
  }

  #commit(batch: Batch, signal: AbortSignal | undefined): Promise<CommitResult> {
    if (batch.noWait === true) {
      const rows = new Set(footprintOf(batch).rows);
      if (this.#commits.has((other) => footprintOf(other).rows.some((row) => rows.has(row))))
        return Promise.resolve(skipped());
    }
    return this.#commits.call(batch, signal);
  }

  /** One call of the provider for reads with the same options. */
  async #sendReads(calls: readonly ReadCall[]): Promise<readonly ReadResult[]> {
    const [first] = calls;
    if (first === undefined) return [];
    const { values, consistency } = first;
    const addresses = calls.flatMap((call) => call.addresses);
    const { time, rows } = await this.#inner
      .read(addresses, { values, consistency })
      .catch((error: unknown) => {
        if (calls.length > 1 && isStorageError(error, 'LIMIT_EXCEEDED'))
          this.#readAddresses = Math.max(1, Math.floor(addresses.length / 2));
        throw error;
      });
    if (addresses.length >= this.#readAddresses)
      this.#readAddresses = Math.min(limits.readAddressesMax, this.#readAddresses + 1);
    let next = 0;
    return calls.map(({ addresses }) => ({ time, rows: rows.slice(next, (next += addresses.length)) }));
  }
}

/** The result of a batch with `noWait` whose row another batch holds. */
function skipped(): CommitResult {
  return {
    outcome: 'failed',
    error: storageError(
      'STORAGE_UNAVAILABLE',
      'The batch must not wait, and another batch holds a row of it.',
      {},
    ),
  };
}

function abortedOrFirst(failures: readonly StorageError[], signal: AbortSignal | undefined): Error {
  const unknown = failures.find(({ effect }) => effect === 'unknown');
  if (unknown === undefined || signal?.aborted !== true) return unknown ?? (failures[0] as Error);
  return aborted('A commit', 'unknown', signal);
}

/** Calls with the options of the first, up to `addressesMax` addresses; a call is never split. */
function pickReads(
  waiting: readonly Call<ReadCall, ReadResult>[],
  addressesMax: number,
): readonly Call<ReadCall, ReadResult>[] {
  const [first] = waiting;
  let addresses = 0;
  return waiting.filter(({ input }, index) => {
    if (input.values !== first?.input.values || input.consistency !== first.input.consistency) return false;
    if (index > 0 && addresses + input.addresses.length > addressesMax) return false;
    addresses += input.addresses.length;
    return true;
  });
}

/**
 * Batches that share no row with each other, with one in flight, or with one that waits before
 * them. Changes of one number follow each other in one group: a round trip for each would make many
 * callers of a counter wait in a line. A batch that waits in the engine for a row of another
 * transaction may take long, and holds no other row while it waits: only that row is treated as
 * taken.
 */
function pickBatches(
  waiting: readonly Call<Batch, CommitResult>[],
  inFlight: ReadonlySet<Call<Batch, CommitResult>>,
): readonly Call<Batch, CommitResult>[] {
  const taken = new Set<string>();
  const held = new Set<string>();
  /** The rows of the group that only changes of a number have taken. */
  const counters = new Set<string>();
  for (const { input, blockedBy } of inFlight)
    if (blockedBy === undefined) for (const row of footprintOf(input).rows) taken.add(row);
    else held.add(blockedBy);
  const group: Call<Batch, CommitResult>[] = [];
  let bytes = 0;
  for (const call of waiting) {
    const { rows, bytes: size } = footprintOf(call.input);
    if (held.size > 0 && rows.some((row) => held.has(row))) continue;
    const counter = numberChangeOf(call.input) === undefined ? undefined : rows[0];
    const free = rows.every((row) => !taken.has(row) || (row === counter && counters.has(row)));
    for (const row of rows) {
      taken.add(row);
      if (row !== counter) counters.delete(row);
    }
    if (!free) continue;
    if (counter !== undefined) counters.add(counter);
    bytes += size;
    if (group.length > 0 && bytes > limits.batchBytesMax) break;
    group.push(call);
    if (group.length === groupBatchesMax) break;
  }
  return group;
}

/** A row after a commit: its version, and its value where that is a number. */
type RowAfter = { readonly version: string; readonly number: bigint | undefined } | undefined;

/**
 * The results of waiting batches that the group before them decides:
 *
 * - one that waits for a row that another transaction held until the lock timeout fails as well;
 * - one whose first check does not hold after the group conflicts. So many concurrent writers of
 *   one row cost one round trip for each that wins, and none for the others.
 */
function resultsAfter(
  answered: readonly Answered<Batch, CommitResult>[],
): (waiting: Batch) => CommitResult | undefined {
  const after = new Map<string, RowAfter>();
  const held = new Map<string, CommitResult>();
  for (const { input: batch, output: result, blockedBy } of answered) {
    if (blockedBy !== undefined && result.outcome === 'failed' && result.error.code === 'STORAGE_UNAVAILABLE')
      held.set(blockedBy, result);
    if (result.outcome !== 'committed') continue;
    for (const [index, change] of batch.changes.entries()) {
      if (change.kind === 'renew') continue;
      const row =
        change.kind === 'delete' ? undefined : { version: batch.version, number: result.rows[index]?.number };
      after.set(lockNameOf(batch.database, change.address), row);
    }
  }
  return (batch) => {
    const refused = held.size === 0 ? undefined : footprintOf(batch).rows.find((row) => held.has(row));
    if (refused !== undefined) return held.get(refused);
    const [check] = batch.checks;
    const name = check === undefined ? '' : lockNameOf(batch.database, check.address);
    const row = after.get(name);
    if (check === undefined || !after.has(name) || isMetBy(check.expected, row)) return undefined;
    return { outcome: 'conflict', ...check, actual: row?.version };
  };
}

function isMetBy(expected: Expected, row: RowAfter): boolean {
  if (expected === 'absent') return row === undefined;
  if (row === undefined) return false;
  return (
    expected === 'present' ||
    ('version' in expected ? row.version === expected.version : row.number === expected.number)
  );
}

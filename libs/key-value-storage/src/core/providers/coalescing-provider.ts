/**
 * Gathers independent calls: put around a provider that gains from it, a hundred concurrent
 * requests become one round trip. A group is sent at the end of the microtask while fewer than four
 * are on their way, else when one is back; so a lone call waits for nobody. Batches that share a
 * row are never in flight together: a later one waits for the earlier. Databases take turns, so
 * that one tenant's crowd holds up no other. A group that the engine refuses as a whole is repeated
 * call by call, so that one caller's failure never reaches its neighbours.
 */
import { aborted, throwIfAborted } from '../base/abort.js';
import { sizeOfValue } from '../commit/commit.js';
import { rowNameOf } from '../port/row-name.js';
import { isStorageError, storageError, type StorageError } from '../base/errors.js';
import { CallBatcher, type Answered, type Call } from './call-batcher.js';
import { limits } from '../base/limits.js';
import type {
  Address,
  Batch,
  CommitResult,
  Expected,
  Hint,
  ProviderFeatures,
  ProviderReadOptions,
  ReadResult,
  ScanPage,
  ScanRange,
  Space,
  StorageAdministration,
  StorageProvider,
} from '../port/storage-provider.js';

/** Batches of one group at most. More make the engine's statements slower than they save. */
const groupBatchesMax = 128;
const groupRangesMax = 32;

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
  readonly hints?: (spaces: readonly Space[], signal: AbortSignal) => AsyncIterable<Hint>;
  readonly #inner: StorageProvider;
  readonly #reads: CallBatcher<ReadCall, ReadResult>;
  readonly #scans: CallBatcher<ScanRange, ScanPage>;
  readonly #commits: CallBatcher<Batch, CommitResult>;
  /**
   * Addresses of one group of reads at most: fewer while values are so large that groups of more
   * were refused.
   */
  #readAddresses: number = limits.readAddressesMax;

  constructor(inner: StorageProvider) {
    this.#inner = inner;
    this.name = inner.name;
    this.features = { ...inner.features, coalesce: false };
    this.administration = inner.administration;
    if (inner.within !== undefined)
      this.within = (transaction) => (inner.within as NonNullable<typeof inner.within>)(transaction);
    if (inner.hints !== undefined)
      this.hints = (spaces, signal) => (inner.hints as NonNullable<typeof inner.hints>)(spaces, signal);
    this.#reads = new CallBatcher({
      what: 'A read',
      effect: 'none',
      database: ({ addresses }) => addresses[0]?.database ?? '',
      pick: (waiting) => pickReads(waiting, this.#readAddresses),
      send: async (calls) => await this.#sendReads(calls),
    });
    this.#scans = new CallBatcher({
      what: 'A scan',
      effect: 'none',
      database: (range) => range.database,
      pick: (waiting) => waiting.slice(0, groupRangesMax),
      send: async (ranges) => await inner.scan(ranges),
    });
    this.#commits = new CallBatcher({
      what: 'A commit',
      effect: 'unknown',
      database: (batch) => batch.database,
      pick: pickBatches,
      send: async (batches, { answered, waiting }) =>
        await inner.commit(batches, {
          answered,
          waiting: (index, row) => waiting(index, `${(batches[index] as Batch).database}\0${rowNameOf(row)}`),
        }),
      foretell: answersAfter,
    });
  }

  async open(): Promise<void> {
    await this.#inner.open();
  }

  async close(): Promise<void> {
    await Promise.all([this.#reads.idle(), this.#scans.idle(), this.#commits.idle()]);
    await this.#inner.close();
  }

  async read(addresses: readonly Address[], options: ProviderReadOptions = {}): Promise<ReadResult> {
    const { values = 'include', consistency = 'current', signal } = options;
    return await this.#reads.call({ addresses, values, consistency }, signal);
  }

  async scan(
    ranges: readonly ScanRange[],
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<readonly ScanPage[]> {
    throwIfAborted('A scan', options.signal);
    return await Promise.all(ranges.map(async (range) => await this.#scans.call(range, options.signal)));
  }

  async commit(
    batches: readonly Batch[],
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<readonly CommitResult[]> {
    throwIfAborted('A commit', options.signal);
    if (batches.length === 1) return [await this.#commit(batches[0] as Batch, options.signal)];
    const calls = batches.map(async (batch) => await this.#commit(batch, options.signal));
    const settled = await Promise.allSettled(calls);
    const failures = settled.flatMap((result) =>
      result.status === 'rejected' ? [result.reason as StorageError] : [],
    );
    // rejecting says that nothing took effect, or that nobody knows
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

  async #commit(batch: Batch, signal: AbortSignal | undefined): Promise<CommitResult> {
    if (batch.noWait === true) {
      const rows = new Set(rowsOf(batch));
      if (this.#commits.has((other) => rowsOf(other).some((row) => rows.has(row)))) return leftOut();
    }
    return await this.#commits.call(batch, signal);
  }

  /** One call of the engine for reads that ask alike; each caller gets the rows it asked for. */
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

/** What becomes of a batch with `noWait` whose row somebody else has. */
function leftOut(): CommitResult {
  return {
    outcome: 'failed',
    error: storageError(
      'STORAGE_UNAVAILABLE',
      'The batch was not to wait, and somebody else has a row of it at the moment.',
      {},
    ),
  };
}

function abortedOrFirst(failures: readonly StorageError[], signal: AbortSignal | undefined): Error {
  const unknown = failures.find(({ effect }) => effect === 'unknown');
  if (unknown === undefined || signal?.aborted !== true) return unknown ?? (failures[0] as Error);
  return aborted('A commit', 'unknown', signal);
}

/** Calls from the front that ask alike, up to so many addresses; a call is never split. */
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
 * Batches from the front that share no row with each other, with one in flight, or with one that
 * waits before them. Only a row that somebody's transaction holds is waited for where it may take
 * long: what else is wanted by a batch that waits for such a row is free for others.
 */
function pickBatches(
  waiting: readonly Call<Batch, CommitResult>[],
  inFlight: ReadonlySet<Call<Batch, CommitResult>>,
): readonly Call<Batch, CommitResult>[] {
  const taken = new Set<string>();
  const held = new Set<string>();
  for (const { input, waitsFor } of inFlight)
    if (waitsFor === undefined) for (const row of rowsOf(input)) taken.add(row);
    else held.add(waitsFor);
  const group: Call<Batch, CommitResult>[] = [];
  let bytes = 0;
  for (const call of waiting) {
    const rows = rowsOf(call.input);
    if (held.size > 0 && rows.some((row) => held.has(row))) continue;
    const free = rows.every((row) => !taken.has(row));
    for (const row of rows) taken.add(row);
    if (!free) continue;
    bytes += bytesOf(call.input);
    if (group.length > 0 && bytes > limits.batchBytesMax) break;
    group.push(call);
    if (group.length === groupBatchesMax) break;
  }
  return group;
}

/** A row as a commit left it: its version, and the number it is. */
type Left = { readonly version: string; readonly number: bigint | undefined } | undefined;

/**
 * Of batches that waited for a row while others were on their way to it, those whose answer is
 * certain now. Sent or not, they come right behind:
 *
 * - one that found the row held by somebody's open transaction until its patience was over has
 *   waited for all who stood behind it;
 * - one whose first check is not met by what was left there conflicts. So a crowd at one row costs
 *   one round trip for whoever wins, and not one for each who loses.
 */
function answersAfter(
  answered: readonly Answered<Batch, CommitResult>[],
): (waiting: Batch) => CommitResult | undefined {
  const left = new Map<string, Left>();
  const held = new Map<string, CommitResult>();
  for (const { input: batch, output: result, waitedFor } of answered) {
    if (waitedFor !== undefined && result.outcome === 'failed' && result.error.code === 'STORAGE_UNAVAILABLE')
      held.set(waitedFor, result);
    if (result.outcome !== 'committed') continue;
    for (const [index, change] of batch.changes.entries()) {
      if (change.kind === 'renew') continue;
      const row =
        change.kind === 'delete' ? undefined : { version: batch.version, number: result.rows[index]?.number };
      left.set(`${batch.database}\0${rowNameOf(change.address)}`, row);
    }
  }
  return (batch) => {
    const refused = held.size === 0 ? undefined : rowsOf(batch).find((row) => held.has(row));
    if (refused !== undefined) return held.get(refused);
    const [check] = batch.checks;
    const name = check === undefined ? '' : `${batch.database}\0${rowNameOf(check.address)}`;
    const row = left.get(name);
    if (check === undefined || !left.has(name) || isMetBy(check.expected, row)) return undefined;
    return { outcome: 'conflict', ...check, actual: row?.version };
  };
}

function isMetBy(expected: Expected, row: Left): boolean {
  if (expected === 'absent') return row === undefined;
  if (row === undefined) return false;
  return (
    expected === 'present' ||
    ('version' in expected ? row.version === expected.version : row.number === expected.number)
  );
}

/** What is asked about a batch again and again while it waits. */
interface Weighed {
  readonly rows: readonly string[];
  readonly bytes: number;
}
const weighed = new WeakMap<Batch, Weighed>();

function weigh(batch: Batch): Weighed {
  const known = weighed.get(batch);
  if (known !== undefined) return known;
  const { database, checks, changes } = batch;
  const rows = new Set([...changes, ...checks].map(({ address }) => `${database}\0${rowNameOf(address)}`));
  const bytes = changes.reduce(
    (sum, change) => sum + (change.kind === 'put' ? sizeOfValue(change.value) : 0),
    0,
  );
  const found = { rows: [...rows], bytes };
  weighed.set(batch, found);
  return found;
}

const rowsOf = (batch: Batch): readonly string[] => weigh(batch).rows;
const bytesOf = (batch: Batch): number => weigh(batch).bytes;

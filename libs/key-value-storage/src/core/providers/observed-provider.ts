/**
 * Reports the start and the end of each call of a storage provider to an observer, and changes
 * nothing else. It wraps the provider below the coalescing one, so that one call here is one round
 * trip of the engine.
 */
import { systemClock, type Clock } from '../base/clock.js';
import { isStorageError } from '../base/errors.js';
import { safely } from '../base/safely.js';
import type {
  Address,
  Batch,
  CallerTransactions,
  CommitResult,
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

/** A call of a provider, without keys, tenants and values. */
export interface StorageCall {
  readonly provider: string;
  readonly operation: 'read' | 'scan' | 'count' | 'commit' | 'feed' | 'sweep';
  /** The number of its addresses, ranges or batches; of a feed, its limit. */
  readonly size: number;
}

/** The end of a call. */
export interface StorageCallEnd {
  readonly durationMs: number;
  /** The number of batches with a conflict. */
  readonly conflicts: number;
  /** Codes of the errors, of single batches too; 'UNKNOWN' for other errors. */
  readonly errors: readonly string[];
}

export interface StorageObserver {
  /** Called when a call begins; returns what is called when it ends. Their errors are ignored. */
  begin(call: StorageCall): (end: StorageCallEnd) => void;
}

type Ended = Pick<StorageCallEnd, 'conflicts' | 'errors'>;
const success: Ended = { conflicts: 0, errors: [] };

export class ObservedProvider implements StorageProvider {
  readonly name: string;
  readonly features: ProviderFeatures;
  readonly administration: StorageAdministration;
  readonly within?: (transaction: object) => StorageProvider;
  readonly transactions?: CallerTransactions;
  readonly afterCommit?: NonNullable<StorageProvider['afterCommit']>;
  readonly hints?: (targets: readonly HintTarget[], signal: AbortSignal) => AsyncIterable<Hint>;
  readonly feed?: (request: FeedRequest) => Promise<FeedPage>;
  readonly count?: NonNullable<StorageProvider['count']>;
  readonly clock: Clock | undefined;
  readonly #inner: StorageProvider;
  readonly #observer: StorageObserver;
  readonly #clock: Clock;

  constructor(inner: StorageProvider, observer: StorageObserver, clock: Clock = systemClock) {
    this.name = inner.name;
    this.features = inner.features;
    this.administration = inner.administration;
    this.clock = inner.clock;
    this.#inner = inner;
    this.#observer = observer;
    this.#clock = clock;
    const { within, transactions, afterCommit, hints, count, feed } = inner;
    if (within !== undefined)
      this.within = (transaction) => new ObservedProvider(within.call(inner, transaction), observer, clock);
    if (transactions !== undefined) this.transactions = transactions;
    if (afterCommit !== undefined) this.afterCommit = afterCommit.bind(inner);
    if (hints !== undefined) this.hints = hints.bind(inner);
    if (feed !== undefined)
      this.feed = (request) => this.#observe('feed', request.limit, () => feed.call(inner, request));
    if (count !== undefined)
      this.count = async (range, options) =>
        await this.#observe('count', 1, () => count.call(inner, range, options));
  }

  async open(): Promise<void> {
    await this.#inner.open();
  }

  async close(): Promise<void> {
    await this.#inner.close();
  }

  async read(addresses: readonly Address[], options?: ProviderReadOptions): Promise<ReadResult> {
    return await this.#observe('read', addresses.length, () => this.#inner.read(addresses, options));
  }

  async scan(
    ranges: readonly ScanRange[],
    options?: { readonly signal?: AbortSignal | undefined },
  ): Promise<readonly ScanPage[]> {
    return await this.#observe('scan', ranges.length, () => this.#inner.scan(ranges, options));
  }

  async commit(
    batches: readonly Batch[],
    options?: { readonly signal?: AbortSignal | undefined },
  ): Promise<readonly CommitResult[]> {
    return await this.#observe(
      'commit',
      batches.length,
      () => this.#inner.commit(batches, options),
      endOfCommit,
    );
  }

  async sweep(limit: number): Promise<number> {
    return await this.#observe('sweep', limit, () => this.#inner.sweep(limit));
  }

  async #observe<R>(
    operation: StorageCall['operation'],
    size: number,
    work: () => Promise<R>,
    endOf: (answer: R) => Ended = () => success,
  ): Promise<R> {
    const begun = this.#clock.monotonic();
    const end = safely(() => this.#observer.begin({ provider: this.name, operation, size }));
    const report = (ended: Ended): void => {
      safely(() => end?.({ ...ended, durationMs: this.#clock.monotonic() - begun }));
    };
    try {
      const answer = await work();
      report(endOf(answer));
      return answer;
    } catch (error) {
      report({ conflicts: 0, errors: [codeOf(error)] });
      throw error;
    }
  }
}

function endOfCommit(results: readonly CommitResult[]): Ended {
  if (results.every(({ outcome }) => outcome === 'committed')) return success;
  return {
    conflicts: results.filter(({ outcome }) => outcome === 'conflict').length,
    errors: results.flatMap((result) => (result.outcome === 'failed' ? [codeOf(result.error)] : [])),
  };
}

const codeOf = (error: unknown): string => (isStorageError(error) ? error.code : 'UNKNOWN');

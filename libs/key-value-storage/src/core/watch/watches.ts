/**
 * The watches of one storage provider in this process. An engine that only this process writes to
 * hints at every change, also one whose caller has left. Any other engine is polled: the truth is a
 * read of the versions of all watched rows, and hints only make it earlier.
 */
import { backgroundClock, type Clock } from '../base/clock.js';
import { storageError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import { feedStart } from '../port/feed-position.js';
import { lockNameOf } from '../port/row-name.js';
import type {
  Address,
  FeedPage,
  FeedRequest,
  ProviderReadOptions,
  ReadResult,
  StorageProvider,
  Version,
} from '../port/storage-provider.js';
import { FeedWatcher } from './feed-watcher.js';
import type { PollPolicy } from './poll-options.js';
import { RangeWatcher } from './range-watcher.js';
import { RowsWatcher } from './rows-watcher.js';
import type { StartedWatcher, WatchRoom } from './watcher.js';

/** The way to the provider. */
interface WatchSource {
  readonly provider: StorageProvider;
  read(addresses: readonly Address[], options?: ProviderReadOptions): Promise<ReadResult>;
  feed(request: FeedRequest): Promise<FeedPage>;
  assertOpen(): void;
  detached<R>(database: undefined, work: () => R): R;
}

/** What a poll without a change multiplies the time until the next one by. */
const idleFactor = 1.5;

interface PolledRow {
  readonly address: Address;
  readonly watchers: { readonly watcher: RowsWatcher<unknown>; readonly index: number }[];
}

export class Watches implements WatchRoom {
  readonly #source: WatchSource;
  readonly #poll: PollPolicy;
  readonly #active = new Set<StartedWatcher>();
  readonly #feeds = new Set<FeedWatcher<unknown>>();
  /** Reads of single rows that began in this microtask: watchers of one row share one. */
  readonly #reads = new Map<string, Promise<ReadResult>>();
  /** Watches of which any row may have changed, until their rows are polled. */
  readonly #hinted = new Set<RowsWatcher<unknown>>();
  #hintedPoll: Promise<unknown> = Promise.resolve();
  #polling: AbortController | undefined;
  #isEnded = false;

  constructor(source: WatchSource, poll: PollPolicy) {
    this.#source = source;
    this.#poll = poll;
  }

  get clock(): Clock {
    return this.#source.provider.clock ?? backgroundClock;
  }

  start(watcher: StartedWatcher): void {
    this.#source.assertOpen();
    if (this.#isEnded)
      throw storageError('STORAGE_NOT_OPEN', 'The storage is about to close: no further watch begins.', {});
    this.#active.add(watcher);
    if (watcher instanceof FeedWatcher) this.#feeds.add(watcher);
    const { provider } = this.#source;
    if (provider.hints !== undefined && (watcher.targets.length > 0 || !this.#polls))
      void this.#follow(watcher, provider.hints(watcher.targets, watcher.ended));
    if (this.#polls && this.#polling === undefined) this.#startPolling();
  }

  stop(watcher: StartedWatcher): void {
    this.#active.delete(watcher);
    if (watcher instanceof FeedWatcher) this.#feeds.delete(watcher);
    if (this.#active.size > 0) return;
    this.#polling?.abort();
    this.#polling = undefined;
  }

  get followsFeed(): boolean {
    return this.#feeds.size > 0;
  }

  /** A commit of this process has put rows into the feed: nothing is left to a poll. */
  feedMoved(): void {
    if (this.#polls) for (const watcher of this.#feeds) watcher.mark();
  }

  /** Ends every watch; a further one is `STORAGE_NOT_OPEN`. */
  end(): void {
    this.#isEnded = true;
    for (const watcher of this.#active) watcher.end();
  }

  read(addresses: readonly Address[]): Promise<ReadResult> {
    const [address] = addresses;
    if (address === undefined || addresses.length > 1) return this.#source.read(addresses);
    const name = lockNameOf(address.database, address);
    let read = this.#reads.get(name);
    if (read === undefined) {
      if (this.#reads.size === 0) queueMicrotask(() => this.#reads.clear());
      this.#reads.set(name, (read = this.#source.read(addresses)));
    }
    return read;
  }

  get #polls(): boolean {
    const { features, hints } = this.#source.provider;
    return features.shared || hints === undefined;
  }

  async #follow(watcher: StartedWatcher, hints: ReturnType<NonNullable<StorageProvider['hints']>>) {
    try {
      for await (const hint of hints)
        if (hint.key === undefined && this.#polls && watcher instanceof RowsWatcher) this.#pollSoon(watcher);
        else watcher.observe(hint);
      if (!watcher.ended.aborted) watcher.observe(undefined);
    } catch (error) {
      if (!this.#polls) watcher.fail(error);
    }
  }

  #startPolling(): void {
    const polling = new AbortController();
    this.#polling = polling;
    this.#source.detached(undefined, () => void this.#pollUntil(polling.signal).catch(() => undefined));
  }

  async #pollUntil(signal: AbortSignal): Promise<void> {
    for (let { delayMs } = this.#poll; ;) {
      await this.clock.wait(delayMs, signal);
      const hasChanged = await this.#pollAll();
      delayMs = hasChanged ? this.#poll.delayMs : Math.min(this.#poll.delayMsMax, delayMs * idleFactor);
    }
  }

  /**
   * A hint that any row may have changed is given to all watches: one poll of their versions costs
   * less than a read of the values by each.
   */
  #pollSoon(watcher: RowsWatcher<unknown>): void {
    this.#hinted.add(watcher);
    if (this.#hinted.size > 1) return;
    this.#hintedPoll = this.#hintedPoll.then(async () => {
      const rows = new Map<string, Map<string, PolledRow>>();
      for (const each of this.#hinted) if (this.#active.has(each) && !each.isMarked) addRows(rows, each);
      this.#hinted.clear();
      await this.#source.detached(undefined, () => Promise.all(this.#pollsOf(rows)));
    });
  }

  /** Marks the watches whose rows have changed; returns whether there are any. */
  async #pollAll(): Promise<boolean> {
    const polls: Promise<boolean>[] = [];
    const rows = new Map<string, Map<string, PolledRow>>();
    for (const watcher of this.#active)
      if (watcher instanceof RangeWatcher) {
        if (!watcher.isMarked) polls.push(failing([watcher], watcher.compare()));
      } else if (watcher instanceof RowsWatcher && !watcher.isMarked) addRows(rows, watcher);
    polls.push(...this.#pollsOf(rows));
    const feeds = [...this.#feeds].filter(({ isMarked }) => !isMarked);
    if (feeds.length > 0) polls.push(failing(feeds, this.#pollFeed(feeds)));
    return (await Promise.all(polls)).includes(true);
  }

  /** One read for all readers that wait: whether a row stands behind the first of them. */
  async #pollFeed(feeds: readonly FeedWatcher<unknown>[]): Promise<boolean> {
    const after = feeds.map(({ next }) => next ?? feedStart).sort()[0];
    const { entries } = await this.#source.feed({ after, limit: 1 });
    const last = entries.at(-1)?.position;
    return feeds.map((watcher) => watcher.compare(last)).includes(true);
  }

  #pollsOf(rows: ReadonlyMap<string, ReadonlyMap<string, PolledRow>>): Promise<boolean>[] {
    const polls: Promise<boolean>[] = [];
    for (const polled of rows.values()) {
      const all = [...polled.values()];
      for (let from = 0; from < all.length; from += limits.readAddressesMax)
        polls.push(this.#pollRows(all.slice(from, from + limits.readAddressesMax)));
    }
    return polls;
  }

  #pollRows(polled: readonly PolledRow[]): Promise<boolean> {
    const compare = async (): Promise<boolean> => {
      const { rows } = await this.#source.read(
        polled.map(({ address }) => address),
        { values: 'omit' },
      );
      return polled.map(({ watchers }, index) => compareRow(watchers, rows[index]?.version)).includes(true);
    };
    return failing(
      polled.flatMap(({ watchers }) => watchers.map(({ watcher }) => watcher)),
      compare(),
    );
  }
}

/** By database, so that no read is of two tenants. */
function addRows(rows: Map<string, Map<string, PolledRow>>, watcher: RowsWatcher<unknown>): void {
  for (const [index, address] of watcher.targets.entries()) {
    const { database } = address;
    const polled = rows.get(database) ?? new Map<string, PolledRow>();
    rows.set(database, polled);
    const name = lockNameOf(database, address);
    const row = polled.get(name) ?? { address, watchers: [] };
    polled.set(name, row);
    row.watchers.push({ watcher, index });
  }
}

const compareRow = (watchers: PolledRow['watchers'], version: Version | undefined): boolean =>
  watchers.map(({ watcher, index }) => watcher.compare(index, version)).includes(true);

/** The result of a poll; its failure ends the watches, unless they recover. */
async function failing(watchers: readonly StartedWatcher[], poll: Promise<boolean>): Promise<boolean> {
  try {
    return await poll;
  } catch (error) {
    for (const watcher of watchers) if (!watcher.ended.aborted) watcher.fail(error);
    return false;
  }
}

/**
 * A storage whose watches are observed: what each of them showed, when, and by which read. All
 * times are of the monotonic clock of the machine, in milliseconds: it is the same in each process.
 */
import {
  defineState,
  openStorage,
  type Entry,
  type Key,
  type KeyValueStorage,
  type KeyValueStore,
  type StorageProvider,
} from '@kvent/key-value-storage/core';
import { delegating } from '../../libs/key-value-storage/src/core/providers/delegating.js';

/** Each write of a key adds 1, so the states of a key have an order. */
export const Watched = defineState<{ readonly count: number }>('watched');
const keyOf = (number: number): string => `key-${number}`;
const numberOf = (key: Key): number => Number(String(key).slice('key-'.length));
export const watchedKeys: readonly string[] = Array.from({ length: 1_000 }, (_, number) => keyOf(number));

/** To a microsecond. */
export const clockMs = (): number => Number(process.hrtime.bigint() / 1_000n) / 1_000;

/** The three watches of a store; each shows all keys. */
export const watchKinds = ['watch', 'watchMany', 'watchRange'] as const;
export type WatchKind = (typeof watchKinds)[number];

/** What the watches of one view have shown. Lists are flat, for their size. */
export interface ViewLog {
  readonly kind: WatchKind;
  /** For each state that was shown: number of its key, count, begin of its read, its time. */
  readonly items: readonly number[];
  /** Begins of all reads that made an item of `watchMany`, also of keys that had not changed. */
  readonly shows: readonly number[];
  /** Begin and end of each read of the storage engine, polls too. */
  readonly reads: readonly number[];
}
export interface WatchLog {
  /** Milliseconds between two polls; 0 where the engine hints at each change. */
  readonly pollMs: number;
  /** When the process ran: times of a timer of `tickMs`. */
  readonly ticks: readonly number[];
  readonly views: readonly ViewLog[];
}
/** For each acknowledged write: number of its key, its count, and the time. */
export type WriteLog = readonly number[];

export const tickMs = 10;

export interface Ticks extends Disposable {
  readonly times: readonly number[];
}

/** Records when this process runs: while it stands still, a tick is missing. */
export function recordTicks(): Ticks {
  const times = [clockMs()];
  const timer = setInterval(() => times.push(clockMs()), tickMs);
  return {
    times,
    [Symbol.dispose]: () => {
      clearInterval(timer);
      times.push(clockMs());
    },
  };
}

/** Watches all keys in one way, until `close`. */
export class WatchView {
  readonly #kind: WatchKind;
  readonly #storage: KeyValueStorage;
  readonly #reads: ObservedReads;
  readonly #stop = new AbortController();
  readonly #items: number[] = [];
  readonly #shows: number[] = [];
  /** By the number of the key; -1: not shown yet. */
  readonly #counts = new Array<number>(watchedKeys.length).fill(-1);
  #missing = watchedKeys.length;
  #ended: Promise<unknown> = Promise.resolve();
  #begin: () => void = () => undefined;

  private constructor(kind: WatchKind, storage: KeyValueStorage, reads: ObservedReads) {
    this.#kind = kind;
    this.#storage = storage;
    this.#reads = reads;
  }

  /** Resolves when each key has been shown. */
  static async open(kind: WatchKind, provider: StorageProvider, pollMs: number): Promise<WatchView> {
    const reads = new ObservedReads();
    const poll = pollMs === 0 ? undefined : { delayMs: pollMs, delayMsMax: pollMs };
    const storage = await openStorage(reads.of(provider), { poll });
    const view = new WatchView(kind, storage, reads);
    const begun = new Promise<void>((resolve) => (view.#begin = resolve));
    view.#ended = view.#follow(storage.store(Watched));
    await Promise.race([begun, view.#ended]);
    return view;
  }

  /** Of each key, the last count that was shown. */
  get counts(): readonly number[] {
    return this.#counts;
  }

  async close(): Promise<ViewLog> {
    this.#stop.abort();
    await this.#ended;
    await this.#storage.close();
    return { kind: this.#kind, items: this.#items, shows: this.#shows, reads: this.#reads.times };
  }

  #follow(store: KeyValueStore<{ readonly count: number }>): Promise<unknown> {
    const { signal } = this.#stop;
    if (this.#kind === 'watchRange') return this.#followRange(store, signal);
    if (this.#kind === 'watchMany') return this.#followMany(store, signal);
    return Promise.all(
      watchedKeys.map(async (key, number) => {
        for await (const entry of store.watch(key, { signal })) this.#show(number, entry);
      }),
    );
  }

  async #followMany(store: KeyValueStore<{ readonly count: number }>, signal: AbortSignal): Promise<void> {
    for await (const entries of store.watchMany(watchedKeys, { signal })) {
      this.#shows.push(this.#reads.beginOf(watchedKeys[0] as string));
      for (const [number, entry] of entries.entries())
        if (this.#counts[number] !== countOf(entry)) this.#show(number, entry);
    }
  }

  async #followRange(store: KeyValueStore<{ readonly count: number }>, signal: AbortSignal): Promise<void> {
    for await (const change of store.watchRange({}, { signal }))
      if (change.type === 'put') this.#show(numberOf(change.entry.key), change.entry);
      else if (change.type === 'delete') this.#show(numberOf(change.key), undefined);
      // what is not listed is absent
      else
        for (const [number, count] of this.#counts.entries()) if (count === -1) this.#show(number, undefined);
  }

  #show(number: number, entry: Entry<{ readonly count: number }> | undefined): void {
    const [count, readAt] = [countOf(entry), this.#reads.beginOf(keyOf(number))];
    if (this.#counts[number] === -1 && (this.#missing -= 1) === 0) this.#begin();
    this.#counts[number] = count;
    this.#items.push(number, count, readAt, clockMs());
  }
}

const countOf = (entry: Entry<{ readonly count: number }> | undefined): number => entry?.value.count ?? 0;

/** The reads of one storage, and for each key the begin of the last read of its value. */
class ObservedReads {
  readonly times: number[] = [];
  readonly #begins = new Map<string, number>();

  /** 0 for a key whose value was not read. */
  beginOf(key: string): number {
    return this.#begins.get(key) ?? 0;
  }

  /** The provider, with its reads observed. */
  of(provider: StorageProvider): StorageProvider {
    const read: StorageProvider['read'] = (addresses, options) =>
      this.#observe(
        () => provider.read(addresses, options),
        () => (options?.values === 'omit' ? [] : addresses.map(({ key }) => key)),
      );
    const scan: StorageProvider['scan'] = (ranges, options) =>
      this.#observe(
        () => provider.scan(ranges, options),
        (pages) =>
          pages.flatMap(({ rows }, index) =>
            ranges[index]?.values === 'omit' ? [] : rows.map(({ key }) => key),
          ),
      );
    return { ...delegating(provider), read, scan };
  }

  async #observe<R>(read: () => Promise<R>, keysOf: (result: R) => readonly string[]): Promise<R> {
    const begin = clockMs();
    const result = await read();
    for (const key of keysOf(result)) this.#begins.set(key, begin);
    this.times.push(begin, clockMs());
    return result;
  }
}

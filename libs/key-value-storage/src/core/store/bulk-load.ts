/**
 * Loads items from a source: chunk by chunk, some of them in flight at once. The source is read no
 * faster than the chunks are stored, so memory does not grow with its length.
 */
import { throwIfAborted, untilAborted } from '../base/abort.js';
import { isStorageError, stoppedAfter, type StorageError } from '../base/errors.js';
import { inspect } from '../base/inspect.js';
import type { Key } from '../base/key.js';
import { isPromise } from '../base/kinds.js';
import { limits } from '../base/limits.js';
import { assertOptions, invalidOption } from '../base/options.js';
import { safely } from '../base/safely.js';
import { untilSignal } from '../base/until-signal.js';
import { conflictError, keyOf } from '../commit/commit.js';
import type { Address, Change, Check } from '../port/storage-provider.js';
import type { LoadFailure, LoadItem, LoadFromOptions, LoadResult } from './bulk-types.js';
import type { StateRows } from './state-rows.js';
import { ttlOf } from './write-options.js';

const loadNames = ['signal', 'ttlMs', 'onError', 'onFailure', 'onProgress', 'chunk', 'concurrency'];
const concurrencyMax = 16;
const failuresMax = 100;
/** A chunk closes at this: a larger one is no faster, and waits in memory. */
const chunkCharactersMax = 2 * 1_024 * 1_024;

/** Of one item alone: the others can be stored. */
const itemCodes = [
  'INVALID_KEY',
  'INVALID_VALUE',
  'INVALID_OPTION',
  'LIMIT_EXCEEDED',
  'UNIQUE_TAKEN',
  'STORAGE_CONFLICT',
] as const;

const isOfItem = (error: unknown): error is StorageError =>
  isStorageError(error) && error.effect === 'none' && (itemCodes as readonly string[]).includes(error.code);

type Put = Extract<Change, { kind: 'put' }> & { readonly address: Address };

/** The changes of one commit, by their keys. Of several items with one key the last counts. */
class Chunk {
  readonly puts = new Map<string, Put>();
  /** The items of each put. */
  readonly indexes = new Map<string, number[]>();
  /** Items between the others that were refused, where they are to be reported. */
  readonly failures: LoadFailure[] = [];
  characters = 0;

  get isEmpty(): boolean {
    return this.puts.size === 0 && this.failures.length === 0;
  }

  add(index: number, put: Put): void {
    const { key } = put.address;
    this.characters += key.length + textLengthOf(put);
    this.puts.set(key, put);
    const before = this.indexes.get(key);
    if (before === undefined) this.indexes.set(key, [index]);
    else before.push(index);
  }
}

const textLengthOf = ({ value }: Put): number => (value.kind === 'json' ? value.text.length : 8);

export class BulkLoad<T, K extends Key, I> {
  readonly #rows: StateRows<T, K>;
  readonly #options: LoadFromOptions;
  /** Fixed for the whole load. */
  readonly #database: string;
  readonly #chunkMax: number;
  readonly #charactersMax: number;
  readonly #concurrency: number;
  readonly #canAssumeNew: boolean;
  readonly #inFlight = new Map<Chunk, Promise<void>>();
  /** The end of the chunk that was sent last. */
  #last: Promise<void> = Promise.resolve();
  /** The first ones, in their order. */
  readonly #failures: LoadFailure[] = [];
  /** Whether chunks are first sent with checks that no key exists. */
  #assumesNew: boolean;
  /** The chunk that is being filled, and the index of the next item. */
  #chunk = new Chunk();
  #next = 0;
  #loaded = 0;
  #failed = 0;
  #ending: { readonly error: unknown } | undefined;
  /** Aborts with it: the source may yield nothing for long. */
  readonly #failure = new AbortController();

  /** `entriesMax`: of one batch. */
  constructor(rows: StateRows<T, K>, options: LoadFromOptions, entriesMax: number) {
    assertOptions('loadFrom', options, loadNames);
    const { onError, onFailure, onProgress, chunk = entriesMax, concurrency = 4, ttlMs } = options;
    ttlOf('loadFrom', ttlMs, rows.state.ttlMs, 'replace');
    if (onError !== undefined && onError !== 'stop' && onError !== 'continue')
      throw invalidOption(`loadFrom: onError must be 'stop' or 'continue'; got ${inspect(onError)}.`);
    for (const [name, given] of Object.entries({ onFailure, onProgress }))
      if (given !== undefined && typeof given !== 'function')
        throw invalidOption(`loadFrom: ${name} must be a function; got ${inspect(given)}.`);
    if (onFailure !== undefined && onError !== 'continue')
      throw invalidOption(
        "loadFrom: onFailure is for onError: 'continue'; else the load ends with the error.",
      );
    assertCount('chunk', chunk, limits.batchEntriesMax);
    assertCount('concurrency', concurrency, concurrencyMax);
    this.#rows = rows;
    this.#options = options;
    this.#database = rows.database();
    this.#canAssumeNew = rows.indexed !== undefined || rows.access.provider.features.shared;
    this.#assumesNew = this.#canAssumeNew;
    this.#chunkMax = Math.min(chunk, entriesMax);
    this.#charactersMax = chunkCharactersMax / (1 + (rows.indexed?.indexes.length ?? 0));
    // the calls of a transaction wait for each other
    this.#concurrency = rows.access.inTransaction ? 1 : concurrency;
  }

  async run(source: Iterable<LoadItem<K, I>> | AsyncIterable<LoadItem<K, I>>): Promise<LoadResult> {
    const { signal } = this.#options;
    throwIfAborted('A load', signal);
    this.#rows.access.assertOpen();
    try {
      if (Symbol.asyncIterator in source) await this.#takeAll(source);
      else
        // an item that is at hand needs no promise: they were an eighth of the time of a load
        for (const given of source) {
          const taken = isPromise(given) ? this.#takeAll([given]) : this.#take(given);
          if (taken !== undefined) await taken;
          if (this.#ending !== undefined) break;
          throwIfAborted('A load', signal);
        }
      if (!this.#chunk.isEmpty) await this.#dispatch(this.#chunk);
    } catch (error) {
      this.#end(error);
    }
    while (this.#inFlight.size > 0) await Promise.all(this.#inFlight.values());
    if (this.#ending !== undefined) throw this.#errorOf(this.#ending.error);
    return {
      loaded: this.#loaded,
      failed: this.#failed,
      failures: this.#failures,
    };
  }

  async #takeAll(source: Iterable<LoadItem<K, I>> | AsyncIterable<LoadItem<K, I>>): Promise<void> {
    const items = untilSignal('A load', source, this.#options.signal, this.#failure.signal);
    for await (const item of items) {
      const taken = this.#take(item);
      if (taken !== undefined) await taken;
      if (this.#ending !== undefined) return;
    }
  }

  /** Adds an item to the chunk; a promise where its schema, or an earlier chunk, is waited for. */
  #take(item: LoadItem<K, I>): Promise<void> | undefined {
    const index = this.#next;
    this.#next += 1;
    const put = this.#putOf(this.#chunk, index, item);
    if (isPromise(put)) return put.then((ready) => this.#add(index, ready));
    return this.#add(index, put);
  }

  /** `put`: undefined where the item was refused. */
  #add(index: number, put: Put | undefined): Promise<void> | undefined {
    const chunk = this.#chunk;
    const isFull = put === undefined ? chunk.failures.length >= this.#chunkMax : this.#isFull(chunk, put);
    if (isFull) this.#chunk = new Chunk();
    if (put !== undefined) this.#chunk.add(index, put);
    return isFull ? this.#dispatch(chunk) : undefined;
  }

  #isFull(chunk: Chunk, next: Put): boolean {
    const { size } = chunk.puts;
    return (
      size >= this.#chunkMax || (size > 0 && chunk.characters + textLengthOf(next) > this.#charactersMax)
    );
  }

  /** The change that stores an item; undefined where it is refused, behind those of the chunk. */
  #putOf(chunk: Chunk, index: number, item: LoadItem<K, I>): Put | undefined | Promise<Put | undefined> {
    const rows = this.#rows;
    try {
      if (typeof item !== 'object' || (item as unknown) === null)
        throw invalidOption(`loadFrom: an item must be { key, value }; got ${inspect(item)}.`);
      const { key, value, ttlMs = this.#options.ttlMs } = item;
      const address = rows.address(key, this.#database);
      const ttl = ttlOf('loadFrom', ttlMs, rows.state.ttlMs, 'replace');
      const encoded = rows.codec.encode(key, value);
      if (!isPromise(encoded)) return { kind: 'put', address, value: encoded.stored, ttl };
      return encoded.then(
        ({ stored }): Put => ({ kind: 'put', address, value: stored, ttl }),
        (error: unknown) => this.#refuse(chunk, index, key, error),
      );
    } catch (error) {
      return this.#refuse(chunk, index, (item as LoadItem<K, I> | null)?.key, error);
    }
  }

  #refuse(chunk: Chunk, index: number, key: unknown, error: unknown): undefined {
    if (this.#options.onError !== 'continue' || !isOfItem(error)) {
      this.#end(error);
      return;
    }
    this.#failed += 1;
    const failure = { index, key, error };
    if (this.#options.onFailure !== undefined) chunk.failures.push(failure);
    // that of an earlier commit may come later
    const at = this.#failures.findLastIndex((other) => other.index < index) + 1;
    if (at === failuresMax) return;
    this.#failures.splice(at, 0, failure);
    if (this.#failures.length > failuresMax) this.#failures.pop();
  }

  /** Of several errors the first counts, unless a later one leaves it unknown what is stored. */
  #end(error: unknown): void {
    if (this.#ending === undefined || (hasEffect(this.#ending.error, 'none') && hasEffect(error, 'unknown')))
      this.#ending = { error };
    this.#failure.abort();
  }

  /** Sends a chunk as soon as it may be sent. Chunks that share a key stay in their order. */
  async #dispatch(chunk: Chunk): Promise<void> {
    const isFree = (): boolean => this.#inFlight.size < this.#concurrency;
    while (!isFree()) await Promise.race(this.#inFlight.values());
    for (const [other, stored] of this.#inFlight)
      if (this.#inFlight.size > 0 && sharesKey(chunk, other)) await stored;
    if (this.#ending !== undefined) return;
    const stored = this.#storeAndReport(chunk, this.#last)
      .catch((error: unknown) => this.#end(error))
      .finally(() => this.#inFlight.delete(chunk));
    this.#inFlight.set(chunk, stored);
    this.#last = stored;
  }

  /** A chunk with failures is in flight until they are reported, so few of them wait in memory. */
  async #storeAndReport(chunk: Chunk, before: Promise<void>): Promise<void> {
    const { onFailure, signal } = this.#options;
    if (chunk.puts.size > 0) await this.#store(chunk.puts, chunk);
    if (onFailure === undefined) return;
    await before;
    for (const failure of chunk.failures.sort((a, b) => a.index - b.index)) {
      if (this.#ending !== undefined) return;
      await untilAborted('A load', 'none', signal, Promise.resolve(onFailure(failure)));
    }
  }

  /**
   * Commits the puts, or halves of them where one is refused, so that only that one is not stored.
   */
  async #store(puts: ReadonlyMap<string, Put>, chunk: Chunk): Promise<void> {
    if (this.#ending !== undefined) return;
    try {
      await this.#commit([...puts.values()], this.#options.signal);
    } catch (error) {
      if (!isOfItem(error)) throw error;
      if (puts.size > 1) {
        const [...all] = puts;
        const half = Math.ceil(all.length / 2);
        await this.#store(new Map(all.slice(0, half)), chunk);
        await this.#store(new Map(all.slice(half)), chunk);
        return;
      }
      for (const [key, { address }] of puts)
        for (const index of chunk.indexes.get(key) ?? []) this.#refuse(chunk, index, keyOf(address), error);
      this.#reportProgress();
      return;
    }
    for (const key of puts.keys()) this.#loaded += chunk.indexes.get(key)?.length ?? 0;
    this.#reportProgress();
  }

  #reportProgress(): void {
    safely(() => this.#options.onProgress?.({ loaded: this.#loaded, failed: this.#failed }));
  }

  /**
   * Fast path: keys are mostly new. A batch that only creates takes a server less time (Postgres: a
   * plain insert), and with indexes it is one read less. Where a key exists the puts are committed
   * again without the checks, and so are the next ones, until none of a commit existed.
   */
  async #commit(changes: readonly Put[], signal: AbortSignal | undefined): Promise<void> {
    const commit = async (checks: readonly Check[]) =>
      await this.#rows.commit(this.#database, { checks, changes }, { signal });
    if (this.#assumesNew) {
      const created = await commit(changes.map(({ address }) => ({ address, expected: 'absent' })));
      if (created.outcome === 'committed') return;
      this.#assumesNew = false;
    }
    const result = await commit([]);
    if (result.outcome === 'conflict') throw conflictError(result, 'own');
    this.#assumesNew = this.#canAssumeNew && !result.rows.some(({ existed }) => existed);
  }

  #errorOf(error: unknown): unknown {
    if (!isStorageError(error)) return error;
    return stoppedAfter(error, this.#loaded, `The load ended after ${this.#loaded} items, which are stored.`);
  }
}

const hasEffect = (error: unknown, effect: StorageError['effect']): boolean =>
  isStorageError(error) && error.effect === effect;

function sharesKey(one: Chunk, other: Chunk): boolean {
  for (const key of one.puts.keys()) if (other.puts.has(key)) return true;
  return false;
}

function assertCount(name: string, given: unknown, max: number): void {
  if (Number.isInteger(given) && (given as number) >= 1 && (given as number) <= max) return;
  throw invalidOption(`loadFrom: ${name} must be a whole number from 1 to ${max}; got ${inspect(given)}.`);
}

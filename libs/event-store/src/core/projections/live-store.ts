/**
 * Reads a state of a projection: always of its live generation. A read is used if its generation
 * was live, or is still kept, once the rows were read. So no read returns what is being removed,
 * and none mixes two generations.
 */
import type {
  CallOptions,
  Entry,
  Key,
  KeyRange,
  KeyValueStorage,
  KeyValueStore,
  ListRange,
  Page,
  PageRequest,
  ReadOptions,
  WatchOptions,
} from '@kvent/key-value-storage/core';
import { storageError } from '@kvent/key-value-storage/provider';
import { assertOptions, inspect, rowsOf, tenantIn } from '@kvent/key-value-storage/internal';
import { storeOfGeneration, type AnyStore } from './generation-states.js';
import type { Generations, GenerationsRow } from './generations.js';
import { watchLive } from './live-watch.js';

/** The states of a projection, for readers: the projection alone writes them. */
export interface ProjectedStore<T, K extends Key = Key> {
  get(key: K, options?: ReadOptions): Promise<Entry<T, K> | undefined>;
  /** `KEY_NOT_FOUND`. */
  getOrThrow(key: K, options?: ReadOptions): Promise<Entry<T, K>>;
  getMany<const Keys extends readonly K[]>(
    keys: Keys,
    options?: ReadOptions,
  ): Promise<{ readonly [Index in keyof Keys]: Entry<T, K> | undefined }>;
  has(key: K, options?: ReadOptions): Promise<boolean>;
  count(range?: KeyRange<K>, options?: ReadOptions): Promise<number>;
  /**
   * Entries of one build, also where another one takes over in between, up to the last key that was
   * there at the start. `INVALID_CURSOR` where the former build is removed before the list has
   * ended.
   */
  list(range?: ListRange<K>, options?: ReadOptions): AsyncIterable<Entry<T, K>>;
  /**
   * Pages of one build: a cursor leads on in the build that it is of. `INVALID_CURSOR` where that
   * is removed: read the first page again.
   */
  page(request: PageRequest<K>, options?: ReadOptions): Promise<Page<Entry<T, K>>>;
  /**
   * As `watch` of a store. After another build has taken over, the next item is the entry of that
   * build as it is then.
   */
  watch(key: K, options?: WatchOptions): AsyncIterable<Entry<T, K> | undefined>;
  /** As `watchMany` of a store: each item is of one build. */
  watchMany<const Keys extends readonly K[]>(
    keys: Keys,
    options?: WatchOptions,
  ): AsyncIterable<{ readonly [Index in keyof Keys]: Entry<T, K> | undefined }>;
  forTenant(tenant: string): ProjectedStore<T, K>;
}

/** Entries of a list that are read before the build is checked: those of one page of a store. */
const chunkItems = 200;

/** A cursor of the store of one build. */
interface OwnCursor {
  readonly cursor?: string;
}

export class LiveStore<T, K extends Key> implements ProjectedStore<T, K> {
  readonly #storage: KeyValueStorage;
  readonly #generations: GenerationsRow;
  readonly #projection: string;
  readonly #declared: KeyValueStore<T, K, never>;
  readonly #tenant: string | undefined;

  constructor(
    storage: KeyValueStorage,
    generations: GenerationsRow,
    projection: string,
    declared: KeyValueStore<T, K, never>,
    tenant?: string,
  ) {
    this.#storage = storage;
    this.#generations = generations;
    this.#projection = projection;
    this.#declared = declared;
    this.#tenant = tenant;
  }

  async get(key: K, options?: ReadOptions) {
    return await this.#read(async (store) => await store.get(key, options), options);
  }

  async getOrThrow(key: K, options?: ReadOptions) {
    return await this.#read(async (store) => await store.getOrThrow(key, options), options);
  }

  async getMany<const Keys extends readonly K[]>(keys: Keys, options?: ReadOptions) {
    return await this.#read(async (store) => await store.getMany(keys, options), options);
  }

  async has(key: K, options?: ReadOptions) {
    return await this.#read(async (store) => await store.has(key, options), options);
  }

  async count(range?: KeyRange<K>, options?: ReadOptions) {
    return await this.#read(async (store) => await store.count(range, options), options);
  }

  async *list(
    { cursor, ...range }: ListRange<K> = {},
    options?: ReadOptions,
  ): AsyncGenerator<Entry<T, K>, void, undefined> {
    const begin = async (store: KeyValueStore<T, K, never>, generation: number, own: OwnCursor) => {
      const entries = store.list({ ...range, ...own }, options)[Symbol.asyncIterator]();
      return { generation, entries, first: await chunkOf(entries) };
    };
    const { generation, entries, first } = await this.#readFrom(cursor, begin, options);
    yield* first;
    for (let { length } = first; length === chunkItems;) {
      const chunk = await this.#readIn(generation, () => chunkOf(entries), options);
      yield* chunk;
      ({ length } = chunk);
    }
  }

  async page({ cursor, ...range }: PageRequest<K>, options?: ReadOptions): Promise<Page<Entry<T, K>>> {
    const read = async (store: KeyValueStore<T, K, never>, generation: number, own: OwnCursor) =>
      pageOf(generation, await store.page({ ...range, ...own }, options));
    return await this.#readFrom(cursor, read, options);
  }

  watch(key: K, options?: WatchOptions) {
    return this.#watch('watch', (store, own) => store.watch(key, own), options);
  }

  watchMany<const Keys extends readonly K[]>(keys: Keys, options?: WatchOptions) {
    return this.#watch('watchMany', (store, own) => store.watchMany(keys, own), options);
  }

  forTenant(tenant: string): ProjectedStore<T, K> {
    // refuses a tenant that is not allowed, and a state that tenants share
    this.#declared.forTenant(tenant);
    return new LiveStore(this.#storage, this.#generations, this.#projection, this.#declared, tenant);
  }

  async #read<R>(
    read: (store: KeyValueStore<T, K, never>, generation: number) => Promise<R>,
    options: CallOptions | undefined,
  ): Promise<R> {
    const signal = options?.signal;
    for (let { live } = await this.#generations.recent(signal); ;) {
      const { generation } = live;
      // an error may come from rows that are being removed too
      const outcome = await read(this.#storeOf(generation), generation).then(
        (value) => ({ value }),
        (error: unknown) => ({ error }),
      );
      ({ live } = await this.#generations.recent(signal));
      if (live.generation !== generation) continue;
      if ('error' in outcome) throw outcome.error;
      return outcome.value;
    }
  }

  /** In the build of the cursor, else in the live one. */
  async #readFrom<R>(
    cursor: string | undefined,
    read: (store: KeyValueStore<T, K, never>, generation: number, own: OwnCursor) => Promise<R>,
    options: CallOptions | undefined,
  ): Promise<R> {
    if (cursor === undefined)
      return await this.#read((store, generation) => read(store, generation, {}), options);
    const [, digits, own] = /^([1-9][0-9]{0,14})_(.*)$/s.exec(cursor) ?? [];
    if (digits === undefined || own === undefined) throw invalidCursor(`${inspect(cursor)} is no cursor`);
    const generation = Number(digits);
    const store = this.#storeOf(generation);
    return await this.#readIn(generation, () => read(store, generation, { cursor: own }), options);
  }

  /** `INVALID_CURSOR` where the build is being removed once the rows are read. */
  async #readIn<R>(generation: number, read: () => Promise<R>, options: CallOptions | undefined): Promise<R> {
    const result = await read();
    const row = await this.#generations.recent(options?.signal);
    if (isReadable(row, generation)) return result;
    throw invalidCursor(
      `The projection '${this.#projection}' was rebuilt, and the entries of this cursor are removed: read from the beginning`,
    );
  }

  /** Of the tenant of the call: later generations are watched when the reader asks for an item. */
  #watch<Item>(
    verb: string,
    watch: (store: KeyValueStore<T, K, never>, options: WatchOptions) => AsyncIterable<Item>,
    options: WatchOptions = {},
  ) {
    assertOptions(verb, options, ['signal', 'recover']);
    const tenant = this.#tenant ?? tenantIn(rowsOf(this.#declared as AnyStore).database());
    return watchLive(
      this.#generations,
      (generation, own) => watch(this.#storeOf(generation, tenant), own),
      options,
    );
  }

  #storeOf(generation: number, tenant = this.#tenant): KeyValueStore<T, K, never> {
    const declared = this.#declared as AnyStore;
    const store = storeOfGeneration(this.#storage, declared, generation) as KeyValueStore<T, K, never>;
    return tenant === undefined ? store : store.forTenant(tenant);
  }
}

const isReadable = ({ live, old }: Generations, generation: number): boolean =>
  live.generation === generation ||
  old.some((each) => each.generation === generation && each.isRemoving !== true);

/** The next items; fewer than `chunkItems` are the last ones. */
async function chunkOf<Item>(items: AsyncIterator<Item>): Promise<readonly Item[]> {
  const chunk: Item[] = [];
  while (chunk.length < chunkItems) {
    const next = await items.next();
    if (next.done === true) break;
    chunk.push(next.value);
  }
  return chunk;
}

const invalidCursor = (message: string) => storageError('INVALID_CURSOR', `${message}.`, {});

function pageOf<Item>(generation: number, { items, next, previous }: Page<Item>): Page<Item> {
  const own = (cursor: string | undefined): string | undefined =>
    cursor === undefined ? undefined : `${generation}_${cursor}`;
  return { items, next: own(next), previous: own(previous) };
}

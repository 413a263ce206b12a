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
   * there at the start. Its tenant and range are those of the call, which refuses a range that is
   * not allowed. `INVALID_CURSOR` where the former build is removed before the list has ended.
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

/** A cursor of the store of one build. */
interface OwnCursor {
  readonly cursor?: string;
}

/** Where a read begins: in which build, and after which of its entries. */
interface BuildCursor {
  readonly generation: number;
  readonly own: OwnCursor;
}

type Tenant = string | undefined;

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

  list(range: ListRange<K> = {}, options?: ReadOptions): AsyncIterable<Entry<T, K>> {
    const tenant = this.#tenantOfCall();
    const { cursor, ...bounds } = range;
    // refuses what is not allowed; nothing is read yet
    this.#storeOf(1, tenant).list(bounds, options);
    const from = buildCursor(cursor);
    const ofCall = structuredClone(bounds);
    return { [Symbol.asyncIterator]: () => this.#list(tenant, from, ofCall, options) };
  }

  async page({ cursor, ...range }: PageRequest<K>, options?: ReadOptions): Promise<Page<Entry<T, K>>> {
    const read = async (store: KeyValueStore<T, K, never>, generation: number, own: OwnCursor) =>
      pageOf(generation, await store.page({ ...range, ...own }, options));
    return await this.#readFrom(buildCursor(cursor), read, options);
  }

  watch(key: K, options?: WatchOptions) {
    return this.#watch('watch', key, (store, ofCall, own) => store.watch(ofCall, own), options);
  }

  watchMany<const Keys extends readonly K[]>(keys: Keys, options?: WatchOptions) {
    return this.#watch('watchMany', keys, (store, ofCall, own) => store.watchMany(ofCall, own), options);
  }

  forTenant(tenant: string): ProjectedStore<T, K> {
    // refuses a tenant that is not allowed, and a state that tenants share
    this.#declared.forTenant(tenant);
    return new LiveStore(this.#storage, this.#generations, this.#projection, this.#declared, tenant);
  }

  /** The tenant is fixed when a method is called (law 10), before it waits for anything. */
  #tenantOfCall(): Tenant {
    return this.#tenant ?? tenantIn(rowsOf(this.#declared as AnyStore).database());
  }

  /**
   * Holds two entries at most: one is yielded when the next one, or the end, has been read in a
   * build that was not being removed.
   */
  async *#list(
    tenant: Tenant,
    from: BuildCursor | undefined,
    range: KeyRange<K>,
    options: ReadOptions | undefined,
  ): AsyncGenerator<Entry<T, K>, void, undefined> {
    const begin = async (store: KeyValueStore<T, K, never>, generation: number, own: OwnCursor) => {
      const entries = store.list({ ...range, ...own }, options)[Symbol.asyncIterator]();
      return { generation, entries, first: await entries.next() };
    };
    const { generation, entries, first } = await this.#readFrom(from, begin, options, tenant);
    for (let entry = first; entry.done !== true;) {
      const next = await this.#readIn(generation, async () => await entries.next(), options);
      yield entry.value;
      entry = next;
    }
  }

  async #read<R>(
    read: (store: KeyValueStore<T, K, never>, generation: number) => Promise<R>,
    options: CallOptions | undefined,
    tenant = this.#tenantOfCall(),
  ): Promise<R> {
    const signal = options?.signal;
    for (let { live } = await this.#generations.recent(signal); ;) {
      const { generation } = live;
      // an error may come from rows that are being removed too
      const outcome = await read(this.#storeOf(generation, tenant), generation).then(
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
    from: BuildCursor | undefined,
    read: (store: KeyValueStore<T, K, never>, generation: number, own: OwnCursor) => Promise<R>,
    options: CallOptions | undefined,
    tenant = this.#tenantOfCall(),
  ): Promise<R> {
    if (from === undefined)
      return await this.#read((store, generation) => read(store, generation, {}), options, tenant);
    const { generation, own } = from;
    // before the store of the build is made, which is kept: a client may send any number
    await this.#assertReadable(generation, options);
    const store = this.#storeOf(generation, tenant);
    return await this.#readIn(generation, () => read(store, generation, own), options);
  }

  /** `INVALID_CURSOR` where the build is being removed once the rows are read. */
  async #readIn<R>(generation: number, read: () => Promise<R>, options: CallOptions | undefined): Promise<R> {
    const result = await read();
    await this.#assertReadable(generation, options);
    return result;
  }

  async #assertReadable(generation: number, options: CallOptions | undefined): Promise<void> {
    if (isReadable(await this.#generations.recent(options?.signal), generation)) return;
    throw invalidCursor(
      `The projection '${this.#projection}' was rebuilt, and the entries of this cursor are removed: read from the beginning`,
    );
  }

  /**
   * Of the tenant and the keys of the call: later generations are watched when the reader asks for
   * an item.
   */
  #watch<Subject, Item>(
    verb: string,
    subject: Subject,
    watch: (store: KeyValueStore<T, K, never>, subject: Subject, own: WatchOptions) => AsyncIterable<Item>,
    options: WatchOptions = {},
  ) {
    assertOptions(verb, options, ['signal', 'recover']);
    const tenant = this.#tenantOfCall();
    // refuses what is not allowed; nothing is read yet
    watch(this.#storeOf(1, tenant), subject, options);
    const ofCall = structuredClone(subject);
    return watchLive(
      this.#generations,
      (generation, own) => watch(this.#storeOf(generation, tenant), ofCall, own),
      options,
    );
  }

  #storeOf(generation: number, tenant: Tenant): KeyValueStore<T, K, never> {
    const declared = this.#declared as AnyStore;
    const store = storeOfGeneration(this.#storage, declared, generation) as KeyValueStore<T, K, never>;
    return tenant === undefined ? store : store.forTenant(tenant);
  }
}

const isReadable = ({ live, old }: Generations, generation: number): boolean =>
  live.generation === generation ||
  old.some((each) => each.generation === generation && each.isRemoving !== true);

/** `INVALID_CURSOR` for a text that no page has as its cursor. */
function buildCursor(cursor: string | undefined): BuildCursor | undefined {
  if (cursor === undefined) return undefined;
  const [, digits, own] = /^([1-9][0-9]{0,14})_(.*)$/s.exec(cursor) ?? [];
  if (digits === undefined || own === undefined) throw invalidCursor(`${inspect(cursor)} is no cursor`);
  return { generation: Number(digits), own: { cursor: own } };
}

const invalidCursor = (message: string) => storageError('INVALID_CURSOR', `${message}.`, {});

function pageOf<Item>(generation: number, { items, next, previous }: Page<Item>): Page<Item> {
  const own = (cursor: string | undefined): string | undefined =>
    cursor === undefined ? undefined : `${generation}_${cursor}`;
  return { items, next: own(next), previous: own(previous) };
}

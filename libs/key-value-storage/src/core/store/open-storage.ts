/** Opens storage providers and the stores on them, for `KeyValueStorageModule` and for scripts. */
import { Atomic, atomicOn } from './atomic.js';
import { eachInTurn } from '../base/each-in-turn.js';
import { CoalescingProvider } from '../providers/coalescing-provider.js';
import { StorageAccess } from '../commit/storage-access.js';
import { isStorageError, stoppedAfter, storageError } from '../base/errors.js';
import { inspect } from '../base/inspect.js';
import type { Key } from '../base/key.js';
import type { AnyIndexes } from './index-types.js';
import { joinedStore } from './joining.js';
import { KeyValueStorage, type AnyStore, type AtomicBatch, type StoreWith } from './key-value-store.js';
import { assertOptions, invalidOption } from '../base/options.js';
import { resolvePoll, type PollOptions, type PollPolicy } from '../watch/poll-options.js';
import { resolveRetry, type RetryOptions, type RetryPolicy } from '../contention/retry-on-conflict.js';
import {
  storeDefinitionOf,
  type CounterDefinition,
  type ResolvedAny,
  type ShardedCounterDefinition,
} from './counter-definition.js';
import type { CounterStore } from './counter-store.js';
import type { ShardedCounter } from './sharded-counter.js';
import type { StateClass, StateDefinition } from './state-definition.js';
import type { StorageProvider } from '../port/storage-provider.js';
import { sweepParts } from '../port/sweep-parts.js';
import { databaseOf, sharedDatabase, tenantIn } from './tenant.js';
import { TypedCounterStore } from './typed-counter-store.js';
import { TypedShardedCounter } from './typed-sharded-counter.js';
import { TypedStore } from './typed-store.js';
import { databaseVersions } from '../port/version.js';
import { forgetIndexes } from './index-status.js';

/** What asks for the location of its rows: a state, or a stream of another package. */
interface LocationRequest {
  /** In messages: "state 'product'". */
  readonly what: string;
  readonly scope: 'tenant' | 'shared' | undefined;
  readonly provider: string | undefined;
}
/** Where rows are stored: their provider, and the database of the current tenant. */
interface StorageLocation {
  readonly access: StorageAccess;
  readonly database: () => string;
}
type Locate = (request: LocationRequest) => StorageLocation;

const locateKey = Symbol('kvent.locate');

/**
 * Where a storage keeps the rows of a definition. `INVALID_OPTION` for an unknown provider name,
 * and for a storage that is not Kvent's own.
 */
export function locate(storage: KeyValueStorage, request: LocationRequest): StorageLocation {
  const find = (storage as { readonly [locateKey]?: Locate } | undefined)?.[locateKey];
  if (find === undefined)
    throw invalidOption(
      `The ${request.what} needs a storage that openStorage or KeyValueStorageModule opened; got ${inspect(storage)}.`,
    );
  return find.call(storage, request);
}

const endWatchesKey = Symbol('kvent.end-watches');

/**
 * Ends the watches of a storage that is about to close; a further one is `STORAGE_NOT_OPEN`. The
 * responses of an HTTP server that show a watch end with it, and would else hold up its shutdown.
 */
export function endWatches(storage: KeyValueStorage): void {
  (storage as { readonly [endWatchesKey]?: () => void })[endWatchesKey]?.();
}

interface StorageSettings {
  /** For states that name no provider. */
  readonly provider: StorageProvider;
  /** Further providers by name, for `@State(name, { provider: 'cache' })`. */
  readonly providers?: Readonly<Record<string, StorageProvider>> | undefined;
  /**
   * The current tenant. With it, states that name no scope belong to tenants, and a call without a
   * tenant is `TENANT_MISSING`.
   */
  readonly tenant?: (() => string | undefined) | undefined;
  /**
   * Runs work that follows a commit, or that continues in the background, for a tenant
   * (`undefined`: for what is shared), outside the async context of the caller.
   * `KeyValueStorageModule` provides it. @default the work is called directly
   */
  readonly detached?: (<R>(tenant: string | undefined, work: () => R) => R) | undefined;
  /** For `update` and the other verbs that read before they write. */
  readonly retry?: RetryOptions | undefined;
  /** How often changes of other processes are looked for. */
  readonly poll?: PollOptions | undefined;
}

/**
 * Opens a provider and returns its stores, without Nest: for scripts, tests and migrations. Dispose
 * it (`await using`) or call `close()` to close the provider. `tenant`: states that name no scope
 * belong to it. `poll`: how often changes of other processes
 * are looked for. `INVALID_STATE` when the provider is open elsewhere.
 */
export async function openStorage(
  provider: StorageProvider,
  options: { readonly tenant?: string | undefined; readonly poll?: PollOptions | undefined } = {},
): Promise<KeyValueStorage> {
  assertOptions('openStorage', options, ['tenant', 'poll']);
  const { tenant, poll } = options;
  if (tenant === undefined) return await openKeyValueStorage({ provider, poll });
  databaseOf(tenant);
  return await openKeyValueStorage({ provider, poll, tenant: () => tenant });
}

/** Opens every provider. When one of them fails to open, those that were opened are closed. */
export async function openKeyValueStorage(settings: StorageSettings): Promise<KeyValueStorage> {
  assertOptions('The storage', settings, ['provider', 'providers', 'tenant', 'retry', 'poll', 'detached']);
  const retry = resolveRetry(settings.retry);
  const poll = resolvePoll(settings.poll);
  const named = Object.entries(settings.providers ?? {});
  const providers = [settings.provider, ...named.map(([, provider]) => provider)];
  if (new Set(providers).size < providers.length)
    throw invalidOption('One provider instance has two names; give each name a provider of its own.');
  const opened: StorageProvider[] = [];
  try {
    for (const provider of providers) {
      assertProvider(provider);
      await provider.open();
      opened.push(provider);
    }
  } catch (error) {
    await closeAll(opened);
    throw error;
  }
  return new OpenStorage(settings, new Map(named), { retry, poll });
}

const providerMethods = ['open', 'close', 'read', 'scan', 'commit', 'sweep'];

function assertProvider(provider: unknown): asserts provider is StorageProvider {
  const isProvider =
    typeof provider === 'object' &&
    provider !== null &&
    providerMethods.every((name) => typeof (provider as Record<string, unknown>)[name] === 'function');
  if (!isProvider)
    throw invalidOption(
      `A storage provider must have the methods ${providerMethods.join(', ')}; got ${inspect(provider)}.`,
    );
}

/** Closes all, the last opened first; then throws the first failure. */
async function closeAll(providers: readonly StorageProvider[]): Promise<void> {
  await eachInTurn(providers.toReversed(), async (provider) => await provider.close());
}

class OpenStorage extends KeyValueStorage {
  readonly #main: StorageAccess;
  readonly #named: ReadonlyMap<string, StorageAccess>;
  readonly #tenant: (() => string | undefined) | undefined;
  readonly #stores = new Map<ResolvedAny, OpenedStore>();
  #closed: Promise<void> | undefined;

  constructor(
    { provider, tenant, detached }: StorageSettings,
    named: ReadonlyMap<string, StorageProvider>,
    policies: { readonly retry: RetryPolicy; readonly poll: PollPolicy },
  ) {
    super();
    const accessTo = (each: StorageProvider): StorageAccess =>
      new StorageAccess({
        provider: each.features.coalesce ? new CoalescingProvider(each) : each,
        nextVersion: databaseVersions(),
        ...policies,
        assertOpen: () => this.#assertOpen(),
        detached: (database, work) =>
          detached === undefined ? work() : detached(database && tenantIn(database), work),
      });
    this.#main = accessTo(provider);
    this.#named = new Map(Array.from(named, ([name, each]) => [name, accessTo(each)]));
    this.#tenant = tenant;
  }

  store<N extends number | bigint, K extends Key>(definition: CounterDefinition<N, K>): CounterStore<N, K>;
  store<K extends Key>(definition: ShardedCounterDefinition<K>): ShardedCounter<K>;
  store<T, K extends Key, I, X extends AnyIndexes>(
    state: StateDefinition<T, K, I, X> | StateClass<T, K, I, X>,
  ): StoreWith<T, K, I, X>;
  store(given: unknown): OpenedStore {
    const definition = storeDefinitionOf(given);
    let store = this.#stores.get(definition);
    if (store === undefined) this.#stores.set(definition, (store = openStore(this, definition)));
    return store;
  }

  atomic(): AtomicBatch {
    const accesses = this.#accesses.map(({ joined }) => joined);
    return new Atomic(
      (access) => accesses.includes(access),
      () => this.#assertOpen(),
    );
  }

  within(transaction: object): KeyValueStorage {
    return new StorageWithin(this, this.#main.within(transaction), (request) => this.#databaseOf(request));
  }

  async sweep(limit = 1_000): Promise<number> {
    if (!Number.isInteger(limit) || limit < 1)
      throw invalidOption(`sweep: limit must be a whole number of rows from 1; got ${inspect(limit)}.`);
    return await sweepParts(this.#providers, async (provider) => await provider.sweep(limit));
  }

  async compact(): Promise<number> {
    const freedBytes = await eachInTurn(
      this.#providers,
      async ({ administration }) => (await administration.compact?.()) ?? 0,
    );
    return freedBytes.reduce((sum, bytes) => sum + bytes, 0);
  }

  async tenants(): Promise<readonly string[]> {
    const lists = await Promise.all(
      this.#providers.map(async ({ administration }) => await administration.databases()),
    );
    const databases = [...new Set(lists.flat())].sort();
    return databases.map(tenantIn).filter((tenant) => tenant !== undefined);
  }

  async dropTenant(name: string): Promise<boolean> {
    const database = databaseOf(name);
    const dropped: boolean[] = [];
    try {
      for (const { administration } of this.#providers) dropped.push(await administration.drop(database));
    } catch (error) {
      if (!isStorageError(error) || error.effect === 'unknown') throw error;
      const done = dropped.filter((existed) => existed).length;
      throw stoppedAfter(
        error,
        done,
        `The tenant was dropped from ${done} providers, not from all: ${error.message}`,
      );
    } finally {
      // after a failure too: its rows may be gone
      for (const access of this.#accesses) forgetIndexes(access, database);
    }
    return dropped.includes(true);
  }

  async close(): Promise<void> {
    this[endWatchesKey]();
    this.#closed ??= closeAll(this.#accesses.map(({ provider }) => provider));
    await this.#closed;
  }

  [locateKey](request: LocationRequest): StorageLocation {
    const { provider: name, what } = request;
    const access = name === undefined ? this.#main : this.#named.get(name);
    if (access === undefined) {
      const known = [...this.#named.keys()].map((other) => `'${other}'`).join(', ') || 'none';
      throw invalidOption(`The ${what} names the provider '${name}'; the known names are: ${known}.`);
    }
    return { access, database: this.#databaseOf(request) };
  }

  [endWatchesKey](): void {
    for (const { watches } of this.#accesses) watches.end();
  }

  get #accesses(): readonly StorageAccess[] {
    return [this.#main, ...this.#named.values()];
  }

  /** `STORAGE_NOT_OPEN` once the storage is closed. */
  get #providers(): readonly StorageProvider[] {
    this.#assertOpen();
    return this.#accesses.map(({ provider }) => provider);
  }

  #databaseOf({ scope, what }: LocationRequest): () => string {
    const tenant = this.#tenant;
    if (scope === 'shared' || (scope === undefined && tenant === undefined)) return () => sharedDatabase;
    return () => {
      const current = tenant?.();
      if (current !== undefined) return databaseOf(current);
      throw storageError(
        'TENANT_MISSING',
        `The ${what} belongs to tenants, and there is no current tenant: in a request, apply TenantMiddleware to its route; in a job, use TenantContext.run or forTenant.`,
        {},
      );
    };
  }

  #assertOpen(): void {
    if (this.#closed !== undefined) throw storageError('STORAGE_NOT_OPEN', 'The storage is closed.', {});
  }
}

// oxlint-disable-next-line typescript/no-explicit-any -- CounterStore is invariant
type AnyCounterStore = CounterStore<any, any>;
// oxlint-disable-next-line typescript/no-explicit-any -- ShardedCounter is invariant
type AnyShardedCounter = ShardedCounter<any>;
type OpenedStore = AnyStore | AnyCounterStore | AnyShardedCounter;

function openStore(storage: KeyValueStorage, definition: ResolvedAny): OpenedStore {
  const { kind, name, scope, provider } = definition;
  const { access, database } = locate(storage, { what: `${kind} '${name}'`, scope, provider });
  switch (definition.kind) {
    case 'counter':
      return joinedStore<AnyCounterStore>(new TypedCounterStore(access, definition, database), access);
    case 'sharded counter':
      return joinedStore<AnyShardedCounter>(new TypedShardedCounter(access, definition, database), access);
    default:
      return joinedStore<AnyStore>(new TypedStore(access, definition, database), access);
  }
}

/** The same stores inside a transaction of the caller's: nothing is coalesced or retried. */
class StorageWithin extends KeyValueStorage {
  readonly #outer: KeyValueStorage;
  readonly #access: StorageAccess;
  readonly #databaseOf: (request: LocationRequest) => () => string;

  constructor(
    outer: KeyValueStorage,
    access: StorageAccess,
    databaseOfRequest: (request: LocationRequest) => () => string,
  ) {
    super();
    this.#outer = outer;
    this.#access = access;
    this.#databaseOf = databaseOfRequest;
  }

  store<N extends number | bigint, K extends Key>(definition: CounterDefinition<N, K>): CounterStore<N, K>;
  store<K extends Key>(definition: ShardedCounterDefinition<K>): ShardedCounter<K>;
  store<T, K extends Key, I, X extends AnyIndexes>(
    state: StateDefinition<T, K, I, X> | StateClass<T, K, I, X>,
  ): StoreWith<T, K, I, X>;
  store(given: unknown): OpenedStore {
    return openStore(this, storeDefinitionOf(given));
  }

  [locateKey](request: LocationRequest): StorageLocation {
    if (request.provider !== undefined)
      throw invalidOption(
        `The ${request.what} is stored on the provider '${request.provider}', not in the transaction of the main one.`,
      );
    return { access: this.#access, database: this.#databaseOf(request) };
  }

  atomic(): AtomicBatch {
    return atomicOn(this.#access);
  }

  within(transaction: object): KeyValueStorage {
    return this.#outer.within(transaction);
  }

  async sweep(limit?: number): Promise<number> {
    return await this.#outer.sweep(limit);
  }

  async compact(): Promise<number> {
    return await this.#outer.compact();
  }

  async tenants(): Promise<readonly string[]> {
    return await this.#outer.tenants();
  }

  async dropTenant(): Promise<never> {
    throw storageError('STORAGE_UNSUPPORTED', 'A tenant cannot be dropped inside a transaction.', {});
  }

  async close(): Promise<void> {
    // the transaction is the caller's
  }
}

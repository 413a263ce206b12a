/**
 * Opening storage providers, and the stores on them: what `KeyValueStorageModule` does inside Nest,
 * and scripts and tests without it.
 */
import { Atomic, atomicOn } from './atomic.js';
import { CoalescingProvider } from '../providers/coalescing-provider.js';
import { StorageAccess } from '../commit/storage-access.js';
import { storageError } from '../base/errors.js';
import { inspect } from '../base/inspect.js';
import { KeyValueStorage, type AtomicBatch, type KeyValueStore } from './key-value-store.js';
import { assertOptions, invalidOption } from '../base/options.js';
import { resolveRetry, type RetryOptions, type RetryPolicy } from '../contention/retry-on-conflict.js';
import { definitionOf, type ClassOf, type ResolvedState, type StateDefinition } from './state-definition.js';
import type { StorageProvider } from '../port/storage-provider.js';
import { databaseOf, sharedDatabase, tenantIn } from './tenant.js';
import { TypedStore } from './typed-store.js';
import { databaseVersions } from '../port/version.js';

/** What asks for a place: a state, or a stream of another package. */
export interface LocationRequest {
  /** In messages: "state 'product'". */
  readonly what: string;
  readonly scope: 'tenant' | 'shared' | undefined;
  readonly provider: string | undefined;
}
/** Where rows live: the engine, and the database of the moment. */
export interface StorageLocation {
  readonly access: StorageAccess;
  readonly database: () => string;
}
/** On a storage: what other packages of Kvent find their rows by. */
const placeOf = Symbol('kvent.place-of');

/**
 * Where the rows of a definition live in this storage. `INVALID_OPTION` for a provider that has no
 * such name, and for a storage that is not Kvent's own.
 */
export function locate(storage: KeyValueStorage, request: LocationRequest): StorageLocation {
  const find = (
    storage as { readonly [placeOf]?: (asked: LocationRequest) => StorageLocation } | undefined
  )?.[placeOf];
  if (find === undefined)
    throw invalidOption(
      `The ${request.what} needs a storage that openStorage or KeyValueStorageModule opened; given was ${inspect(storage)}.`,
    );
  return find.call(storage, request);
}

export interface StorageSettings {
  /** Where states live that name no provider. */
  readonly provider: StorageProvider;
  /** Further engines by name, for `@State(name, { provider: 'cache' })`. */
  readonly providers?: Readonly<Record<string, StorageProvider>> | undefined;
  /**
   * The tenant of the moment. With it, states that name no scope belong to tenants, and no tenant
   * is `TENANT_MISSING`.
   */
  readonly tenant?: (() => string | undefined) | undefined;
  /**
   * Runs work that follows a commit, or that goes on in the background, for a tenant (`undefined`:
   * for what is shared), outside the async context of the caller. `KeyValueStorageModule` fills it.
   * @default the work is called as it is
   */
  readonly detached?: (<R>(tenant: string | undefined, work: () => R) => R) | undefined;
  /** Of `update` and the other verbs that read before they write. */
  readonly retry?: RetryOptions | undefined;
}

/**
 * Opens a provider and answers its stores, without Nest: for scripts, tests and migrations. Dispose
 * it (`await using`) to close the provider. `tenant`: states that name no scope belong to it.
 * `INVALID_OPTION` when the provider is open elsewhere.
 */
export async function openStorage(
  provider: StorageProvider,
  options: { readonly tenant?: string } = {},
): Promise<KeyValueStorage> {
  assertOptions('openStorage', options, ['tenant']);
  const { tenant } = options;
  if (tenant === undefined) return await openKeyValueStorage({ provider });
  databaseOf(tenant);
  return await openKeyValueStorage({ provider, tenant: () => tenant });
}

/**
 * Opens every provider, and answers the storage; when one of them fails to open, those that were
 * opened are closed.
 */
export async function openKeyValueStorage(settings: StorageSettings): Promise<KeyValueStorage> {
  assertOptions('The storage', settings, ['provider', 'providers', 'tenant', 'retry', 'detached']);
  const retry = resolveRetry(settings.retry);
  const named = Object.entries(settings.providers ?? {});
  const providers = [settings.provider, ...named.map(([, provider]) => provider)];
  if (new Set(providers).size < providers.length)
    throw invalidOption('One provider stands under two names: give each name its own.');
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
  return new OpenStorage(settings.provider, new Map(named), retry, settings);
}

function assertProvider(provider: unknown): asserts provider is StorageProvider {
  const methods = ['open', 'close', 'read', 'scan', 'commit', 'sweep'];
  const missing =
    typeof provider !== 'object' || provider === null
      ? methods
      : methods.filter((name) => typeof (provider as Record<string, unknown>)[name] !== 'function');
  if (missing.length > 0)
    throw invalidOption(
      `A storage provider has the methods ${methods.join(', ')}; given was ${inspect(provider)}.`,
    );
}

/**
 * Closes them all, those opened last first; the first failure is thrown once every one was tried.
 */
async function closeAll(providers: readonly StorageProvider[]): Promise<void> {
  const results: PromiseSettledResult<void>[] = [];
  for (const provider of providers.toReversed())
    results.push(...(await Promise.allSettled([provider.close()])));
  const failed = results.find((result) => result.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}

class OpenStorage extends KeyValueStorage {
  readonly #main: StorageAccess;
  readonly #named: ReadonlyMap<string, StorageAccess>;
  readonly #tenant: (() => string | undefined) | undefined;
  readonly #stores = new Map<ResolvedState, KeyValueStore<unknown>>();
  readonly #providers: readonly StorageProvider[];
  #closed: Promise<void> | undefined;

  constructor(
    main: StorageProvider,
    named: ReadonlyMap<string, StorageProvider>,
    retry: RetryPolicy,
    { tenant, detached }: Pick<StorageSettings, 'tenant' | 'detached'>,
  ) {
    super();
    const accessTo = (provider: StorageProvider): StorageAccess =>
      new StorageAccess({
        provider: provider.features.coalesce ? new CoalescingProvider(provider) : provider,
        nextVersion: databaseVersions(),
        retry,
        assertOpen: () => this.#assertOpen(),
        detached: (database, work) => (detached === undefined ? work() : detached(tenantIn(database), work)),
      });
    this.#main = accessTo(main);
    this.#named = new Map(Array.from(named, ([name, provider]) => [name, accessTo(provider)]));
    this.#providers = [this.#main, ...this.#named.values()].map(({ provider }) => provider);
    this.#tenant = tenant;
  }

  store<T>(state: StateDefinition<T> | ClassOf<T>): KeyValueStore<T> {
    const definition = definitionOf(state);
    let store = this.#stores.get(definition);
    if (store === undefined) this.#stores.set(definition, (store = this.#createStore(definition)));
    return store as KeyValueStore<T>;
  }

  atomic(): AtomicBatch {
    const engines = [this.#main, ...this.#named.values()];
    return new Atomic(
      (access) => engines.includes(access),
      () => this.#assertOpen(),
    );
  }

  within(transaction: object): KeyValueStorage {
    return new StorageWithin(this, this.#main, transaction, (request) => this.#databaseOf(request));
  }

  async sweep(limit = 1_000): Promise<number> {
    this.#assertOpen();
    if (!Number.isInteger(limit) || limit < 1)
      throw invalidOption(`sweep takes a whole number of rows from 1; given was ${String(limit)}.`);
    let swept = 0;
    for (const provider of this.#providers) swept += await provider.sweep(limit);
    return swept;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed ??= closeAll(this.#providers);
    await this.#closed;
  }

  [placeOf](request: LocationRequest): StorageLocation {
    const { provider: name, what } = request;
    const access = name === undefined ? this.#main : this.#named.get(name);
    if (access === undefined) {
      const known = [...this.#named.keys()].map((other) => `'${other}'`).join(', ') || 'none';
      throw invalidOption(`The ${what} asks for the provider '${name}'; there are: ${known}.`);
    }
    return { access, database: this.#databaseOf(request) };
  }

  #createStore(definition: ResolvedState): KeyValueStore<unknown> {
    const { access, database } = this[placeOf](requestOf(definition));
    return new TypedStore(access, definition, database);
  }

  #databaseOf({ scope, what }: LocationRequest): () => string {
    const tenant = this.#tenant;
    if (scope === 'shared' || (scope === undefined && tenant === undefined)) return () => sharedDatabase;
    return () => {
      const current = tenant?.();
      if (current !== undefined) return databaseOf(current);
      throw storageError(
        'TENANT_MISSING',
        `The ${what} belongs to tenants, and there is no tenant here: use forTenant, or run inside a tenant.`,
        {},
      );
    };
  }

  #assertOpen(): void {
    if (this.#closed !== undefined) throw storageError('STORAGE_NOT_OPEN', 'The storage is closed.', {});
  }
}

const requestOf = ({ name, scope, provider }: ResolvedState): LocationRequest => ({
  what: `state '${name}'`,
  scope,
  provider,
});

/**
 * The same stores inside the caller's transaction: nothing is coalesced or retried, and closing it
 * closes nothing.
 */
class StorageWithin extends KeyValueStorage {
  readonly #outer: KeyValueStorage;
  readonly #engine: StorageAccess;
  readonly #databaseOf: (request: LocationRequest) => () => string;

  constructor(
    outer: KeyValueStorage,
    main: StorageAccess,
    transaction: object,
    databaseOfRequest: (request: LocationRequest) => () => string,
  ) {
    super();
    this.#outer = outer;
    this.#engine = main.within(transaction);
    this.#databaseOf = databaseOfRequest;
  }

  store<T>(state: StateDefinition<T> | ClassOf<T>): KeyValueStore<T> {
    const definition = definitionOf(state);
    const { access, database } = this[placeOf](requestOf(definition));
    return new TypedStore(access, definition, database) as unknown as KeyValueStore<T>;
  }

  [placeOf](request: LocationRequest): StorageLocation {
    if (request.provider !== undefined)
      throw invalidOption(
        `The ${request.what} lives on the provider '${request.provider}', not in the transaction of the main one.`,
      );
    return { access: this.#engine, database: this.#databaseOf(request) };
  }

  atomic(): AtomicBatch {
    return atomicOn(this.#engine);
  }

  within(transaction: object): KeyValueStorage {
    return this.#outer.within(transaction);
  }

  async sweep(limit?: number): Promise<number> {
    return await this.#outer.sweep(limit);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // the transaction is the caller's
  }
}

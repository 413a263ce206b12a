/** Opening storage providers, and the stores on them: what `KeyValueStorageModule` does inside Nest, and scripts and tests without it. */
import { Atomic } from './atomic.js';
import { CoalescingProvider } from './coalescing-provider.js';
import type { Engine } from './commit.js';
import { storageError } from './errors.js';
import { describe } from './key.js';
import { KeyValueStorage, type AtomicBatch, type KeyValueStore } from './key-value-store.js';
import { assertOptions, invalidOption } from './options.js';
import { resolveRetry, type RetryOptions, type RetryPolicy } from './retry-on-conflict.js';
import { definitionOf, type ClassOf, type ResolvedState, type StateDefinition } from './state-definition.js';
import type { StorageProvider } from './storage-provider.js';
import { databaseOf, sharedDatabase } from './tenant.js';
import { Turns } from './turns.js';
import { TypedStore } from './typed-store.js';
import { versionSource } from './version.js';

export interface StorageSettings {
  /** Where states live that name no provider. */
  readonly provider: StorageProvider;
  /** Further engines by name, for `@State(name, { provider: 'cache' })`. */
  readonly providers?: Readonly<Record<string, StorageProvider>> | undefined;
  /** The tenant of the moment. With it, states that name no scope belong to tenants, and no tenant is `TENANT_MISSING`. */
  readonly tenant?: (() => string | undefined) | undefined;
  /** Of `update` and the other verbs that read before they write. */
  readonly retry?: RetryOptions | undefined;
}

/**
 * Opens a provider and answers its stores, without Nest: for scripts, tests and migrations. Dispose it (`await using`) to close the provider.
 * `tenant`: states that name no scope belong to it. `INVALID_OPTION` when the provider is open elsewhere.
 */
export async function openStorage(provider: StorageProvider, options: { readonly tenant?: string } = {}): Promise<KeyValueStorage> {
  assertOptions('openStorage', options, ['tenant']);
  const { tenant } = options;
  if (tenant === undefined) return await openKeyValueStorage({ provider });
  databaseOf(tenant);
  return await openKeyValueStorage({ provider, tenant: () => tenant });
}

/** Opens every provider, and answers the storage; when one of them fails to open, those that were opened are closed. */
export async function openKeyValueStorage(settings: StorageSettings): Promise<KeyValueStorage> {
  assertOptions('The storage', settings, ['provider', 'providers', 'tenant', 'retry']);
  const retry = resolveRetry(settings.retry);
  const named = Object.entries(settings.providers ?? {});
  const providers = [settings.provider, ...named.map(([, provider]) => provider)];
  if (new Set(providers).size < providers.length) throw invalidOption('One provider stands under two names: give each name its own.');
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
  return new OpenStorage(settings.provider, new Map(named), retry, settings.tenant);
}

function assertProvider(provider: unknown): asserts provider is StorageProvider {
  const methods = ['open', 'close', 'read', 'scan', 'commit', 'sweep'];
  const missing =
    typeof provider !== 'object' || provider === null
      ? methods
      : methods.filter((name) => typeof (provider as Record<string, unknown>)[name] !== 'function');
  if (missing.length > 0) throw invalidOption(`A storage provider has the methods ${methods.join(', ')}; given was ${describe(provider)}.`);
}

/** Closes them all, those opened last first; the first failure is thrown once every one was tried. */
async function closeAll(providers: readonly StorageProvider[]): Promise<void> {
  const results: PromiseSettledResult<void>[] = [];
  for (const provider of providers.toReversed()) results.push(...(await Promise.allSettled([provider.close()])));
  const failed = results.find((result) => result.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}

class OpenStorage extends KeyValueStorage {
  readonly #main: Engine;
  readonly #named: ReadonlyMap<string, Engine>;
  readonly #tenant: (() => string | undefined) | undefined;
  readonly #stores = new Map<ResolvedState, KeyValueStore<unknown>>();
  readonly #providers: readonly StorageProvider[];
  #closed: Promise<void> | undefined;

  constructor(
    main: StorageProvider,
    named: ReadonlyMap<string, StorageProvider>,
    retry: RetryPolicy,
    tenant: (() => string | undefined) | undefined,
  ) {
    super();
    const engineOf = (provider: StorageProvider): Engine => ({
      provider: provider.features.coalesce ? new CoalescingProvider(provider) : provider,
      versions: versionSource(),
      retry,
      turns: new Turns(),
      assertOpen: () => this.#assertOpen(),
    });
    this.#main = engineOf(main);
    this.#named = new Map(Array.from(named, ([name, provider]) => [name, engineOf(provider)]));
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
      (engine) => engines.includes(engine),
      () => this.#assertOpen(),
    );
  }

  within(transaction: object): KeyValueStorage {
    return new StorageWithin(this, this.#main, transaction, (definition) => this.#databaseOf(definition));
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

  #createStore(definition: ResolvedState): KeyValueStore<unknown> {
    const { provider: name } = definition;
    const engine = name === undefined ? this.#main : this.#named.get(name);
    if (engine === undefined) {
      const known = [...this.#named.keys()].map((other) => `'${other}'`).join(', ') || 'none';
      throw invalidOption(`The state '${definition.name}' asks for the provider '${name}'; there are: ${known}.`);
    }
    return new TypedStore(engine, definition, this.#databaseOf(definition));
  }

  #databaseOf({ scope, name }: ResolvedState): () => string {
    const tenant = this.#tenant;
    if (scope === 'shared' || (scope === undefined && tenant === undefined)) return () => sharedDatabase;
    return () => {
      const current = tenant?.();
      if (current !== undefined) return databaseOf(current);
      throw storageError(
        'TENANT_MISSING',
        `The state '${name}' belongs to tenants, and there is no tenant here: use forTenant, or run inside a tenant.`,
        {},
      );
    };
  }

  #assertOpen(): void {
    if (this.#closed !== undefined) throw storageError('STORAGE_NOT_OPEN', 'The storage is closed.', {});
  }
}

/** The same stores inside the caller's transaction: nothing is coalesced or retried, and closing it closes nothing. */
class StorageWithin extends KeyValueStorage {
  readonly #outer: KeyValueStorage;
  readonly #engine: Engine;
  readonly #databaseOf: (definition: ResolvedState) => () => string;

  constructor(outer: KeyValueStorage, main: Engine, transaction: object, databaseOfState: (definition: ResolvedState) => () => string) {
    super();
    const { provider } = main;
    if (provider.within === undefined)
      throw storageError('STORAGE_UNSUPPORTED', `The provider '${provider.name}' has no transactions to join.`, {});
    this.#outer = outer;
    // turns of its own: who waits outside for a row that this transaction holds must not hold it up
    this.#engine = { ...main, provider: provider.within(transaction), retry: { ...main.retry, attempts: 1 }, turns: new Turns() };
    this.#databaseOf = databaseOfState;
  }

  store<T>(state: StateDefinition<T> | ClassOf<T>): KeyValueStore<T> {
    const definition = definitionOf(state);
    if (definition.provider !== undefined) {
      throw invalidOption(
        `The state '${definition.name}' lives on the provider '${definition.provider}', not in the transaction of the main one.`,
      );
    }
    return new TypedStore(this.#engine, definition, this.#databaseOf(definition)) as unknown as KeyValueStore<T>;
  }

  atomic(): AtomicBatch {
    return new Atomic((engine) => engine === this.#engine, this.#engine.assertOpen);
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

/**
 * One for each application. It opens the storage before anything that injects it, and closes it
 * after everything that used it.
 */
import type { BeforeApplicationShutdown, OnApplicationShutdown } from '@nestjs/common';
import type { KeyValueStorage } from '../../core/store/key-value-store.js';
import { delegating } from '../../core/providers/delegating.js';
import { ObservedProvider } from '../../core/providers/observed-provider.js';
import { endWatches, openKeyValueStorage } from '../../core/store/open-storage.js';
import { withPlace } from '../../core/base/call-site.js';
import { invalidOption, invalidState } from '../../core/base/options.js';
import type { StorageProvider } from '../../core/port/storage-provider.js';
import {
  assertMadeProvider,
  sweepEveryMsDefault,
  type KeyValueStorageOptions,
} from '../options/key-value-storage-options.js';
import { outsideRequests } from './outside-requests.js';
import type { StorageOverride } from '../options/storage-override.js';
import { Sweeper } from './sweeper.js';
import { openTelemetryObserver } from '../telemetry/open-telemetry.js';
import type { TenantContext } from '../tenancy/tenant-context.js';

/** The configuration with which a storage opens. */
export interface StorageSetup {
  readonly options: KeyValueStorageOptions;
  readonly override: StorageOverride | null;
  readonly context: TenantContext;
  /** The call site of `forRoot`, for messages. */
  readonly declaredAt: string;
}

interface Engines {
  readonly main: StorageProvider;
  readonly named: Readonly<Record<string, StorageProvider>>;
}

// The call site of the application that has opened an instance, for the error of a second one.
const openedBy = new WeakMap<StorageProvider, string>();

export class StorageHost implements BeforeApplicationShutdown, OnApplicationShutdown {
  readonly storage: KeyValueStorage;
  readonly engines: Engines;
  readonly #sweepers: readonly Sweeper[];

  private constructor(storage: KeyValueStorage, engines: Engines, sweepers: readonly Sweeper[]) {
    this.storage = storage;
    this.engines = engines;
    this.#sweepers = sweepers;
    for (const sweeper of sweepers) sweeper.start();
  }

  static async open({ options, override, context, declaredAt }: StorageSetup): Promise<StorageHost> {
    const { tenancy, retry, poll, sweepEveryMs = sweepEveryMsDefault } = options;
    const engines =
      override === null
        ? await makeEngines(options, declaredAt)
        : overridden(override, Object.keys(options.providers ?? {}));
    const release = claim([engines.main, ...Object.values(engines.named)], declaredAt);
    try {
      const observer = await openTelemetryObserver();
      const observed = (provider: StorageProvider) =>
        observer === undefined ? provider : new ObservedProvider(provider, observer);
      const provider = observed(engines.main);
      const providers = Object.fromEntries(
        Object.entries(engines.named).map(([name, each]) => [name, observed(each)]),
      );
      const storage = await openKeyValueStorage({
        provider,
        providers,
        ...(tenancy !== undefined && { tenant: () => context.current() }),
        ...(retry !== undefined && { retry }),
        ...(poll !== undefined && { poll }),
        detached: (tenant, work) =>
          outsideRequests(() => (tenant === undefined ? work() : context.run(tenant, work))),
      });
      const sweepers =
        sweepEveryMs === 'never'
          ? []
          : [provider, ...Object.values(providers)].map((each) => new Sweeper(each, sweepEveryMs));
      return new StorageHost(storage, engines, sweepers);
    } catch (error) {
      release();
      throw withPlace(error, `KeyValueStorageModule.forRoot (${declaredAt})`);
    }
  }

  /**
   * No further sweep begins. The watches end before the server waits for its responses: one that
   * shows a watch would never end.
   */
  async beforeApplicationShutdown(): Promise<void> {
    endWatches(this.storage);
    await this.#stopSweepers();
    // the readers of the watches run, and complete their responses
    await new Promise(setImmediate);
  }

  /** Nest calls the hook of the root last. Closing waits for calls in progress. */
  async onApplicationShutdown(): Promise<void> {
    await this.#stopSweepers();
    try {
      await this.storage[Symbol.asyncDispose]();
    } finally {
      for (const provider of [this.engines.main, ...Object.values(this.engines.named)])
        openedBy.delete(provider);
    }
  }

  async #stopSweepers(): Promise<void> {
    await Promise.all(this.#sweepers.map(async (sweeper) => await sweeper.stop()));
  }
}

async function makeEngines(
  { provider, providers = {} }: KeyValueStorageOptions,
  declaredAt: string,
): Promise<Engines> {
  const main = await create(provider, 'provider', declaredAt);
  const named: Record<string, StorageProvider> = {};
  for (const [name, provider] of Object.entries(providers))
    named[name] = await create(provider, `providers.${name}`, declaredAt);
  return { main, named };
}

/**
 * An option that the constructor of the provider refuses is refused with the call site of
 * `forRoot`.
 */
async function create(
  provider: KeyValueStorageOptions['provider'],
  name: string,
  declaredAt: string,
): Promise<StorageProvider> {
  if (typeof provider !== 'function') return provider;
  const place = `KeyValueStorageModule.forRoot (${declaredAt})`;
  let made: unknown;
  try {
    made = await provider();
  } catch (error) {
    throw withPlace(error, place);
  }
  assertMadeProvider(`${place}: the function ${name}`, made);
  return made;
}

/**
 * The providers of the application are neither created nor opened. Names without another provider
 * use the main one.
 */
function overridden({ provider, providers }: StorageOverride, names: readonly string[]): Engines {
  return {
    main: provider,
    named: Object.fromEntries(names.map((name) => [name, providers[name] ?? joined(provider)])),
  };
}

/** The same provider under a second name. It opens, closes and is swept under its main name. */
const joined = (provider: StorageProvider): StorageProvider => ({
  ...delegating(provider),
  open: async () => undefined,
  close: async () => undefined,
  sweep: async () => 0,
});

/** An instance belongs to one application. Returns a function that releases the instances. */
function claim(providers: readonly StorageProvider[], declaredAt: string): () => void {
  for (const provider of providers) {
    const other = openedBy.get(provider);
    if (other !== undefined) {
      throw invalidState(
        `The provider '${provider.name}' of KeyValueStorageModule.forRoot (${declaredAt}) is already open, by forRoot (${other}) of another application of this process. An instance in a decorator is shared by all of them: give a function instead, provider: () => new …().`,
      );
    }
  }
  if (new Set(providers).size < providers.length) {
    throw invalidOption(
      `KeyValueStorageModule.forRoot (${declaredAt}) names one provider instance twice: give each name another instance.`,
    );
  }
  for (const provider of providers) openedBy.set(provider, declaredAt);
  return () => {
    for (const provider of providers) openedBy.delete(provider);
  };
}

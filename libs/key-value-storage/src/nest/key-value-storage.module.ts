import {
  ConfigurableModuleBuilder,
  Inject,
  Module,
  type ConfigurableModuleAsyncOptions,
  type DynamicModule,
  type OnModuleInit,
  type Provider,
  type Type,
} from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import { KeyValueStorage } from '../core/store/key-value-store.js';
import { invalidOption } from '../core/base/options.js';
import { definitionOf, type ResolvedState } from '../core/store/state-definition.js';
import { callSite } from './call-site.js';
import { StorageHealthIndicator } from './health/storage-health.indicator.js';
import { getStoreToken, type AnyState } from './inject-store.decorator.js';
import {
  assertRootOptions,
  retryToken,
  rootPlaceToken,
  tenancyToken,
  warnOfOpenTenancy,
  type KeyValueStorageOptions,
} from './key-value-storage-options.js';
import { onceForApplication } from './once-for-application.js';
import {
  admit,
  admitAll,
  assertOneRoot,
  featureSymbol,
  markStarted,
  noRoot,
  startUpChecksOf,
  type Feature,
  type StartUpContext,
} from './start-up-checks.js';
import { StorageHost } from './storage-host.js';
import { storageOverrideToken, type StorageOverride } from './storage-override.js';
import { AsyncTenantContext, TenantContext } from './tenancy/tenant-context.js';

const { ConfigurableModuleClass, MODULE_OPTIONS_TOKEN } =
  new ConfigurableModuleBuilder<KeyValueStorageOptions>()
    .setClassMethodName('forRoot')
    .setExtras({}, (definition) => ({ ...definition, global: true }))
    .build();

/**
 * The storage of an application. `forRoot` or `forRootAsync` once; it is global, so `forFeature`
 * works in every module. The storage opens before anything that injects it, and closes after
 * everything that used it, on `app.close()`; for signals, call `app.enableShutdownHooks()`. It
 * stays the one storage of the application where lazily loaded modules import it again.
 *
 * `INVALID_OPTION` stops the start-up, before anything is opened, for: a second root, no root, two
 * states of one name, a state that names an unknown provider, and a provider instance that is open
 * elsewhere.
 */
@Module({
  providers: [
    { provide: TenantContext, inject: [ModulesContainer], useFactory: contextOf },
    { provide: storageOverrideToken, useValue: null },
    {
      provide: tenancyToken,
      inject: [MODULE_OPTIONS_TOKEN],
      useFactory: (options: KeyValueStorageOptions) => options.tenancy ?? null,
    },
    {
      provide: retryToken,
      inject: [MODULE_OPTIONS_TOKEN],
      useFactory: (options: KeyValueStorageOptions) => options.retry ?? null,
    },
    {
      provide: StorageHost,
      inject: [MODULE_OPTIONS_TOKEN, storageOverrideToken, TenantContext, rootPlaceToken, ModulesContainer],
      useFactory: hostOf,
    },
    StorageHealthIndicator,
    { provide: KeyValueStorage, inject: [StorageHost], useFactory: (host: StorageHost) => host.storage },
  ],
  // What middleware injects must be exported: it is built in the user's module.
  exports: [KeyValueStorage, StorageHealthIndicator, StorageHost, TenantContext, tenancyToken, retryToken],
})
export class KeyValueStorageModule extends ConfigurableModuleClass implements OnModuleInit {
  readonly #modules: ModulesContainer;

  constructor(@Inject(ModulesContainer) modules: ModulesContainer) {
    super();
    this.#modules = modules;
  }

  /**
   * `INVALID_OPTION` for options that are made anew for each request: each would open a storage
   * that nothing closes.
   */
  onModuleInit(): void {
    markStarted(this.#modules);
    for (const root of rootsOf(this.#modules)) {
      if (root.providers.get(StorageHost)?.isDependencyTreeStatic() !== false) continue;
      throw invalidOption(
        'KeyValueStorageModule.forRootAsync depends on a request: what it injects, or its factory, is request-scoped. There is one storage for each application: inject singletons; the tenant of a request is for tenancy.',
      );
    }
  }

  static override forRoot(options: KeyValueStorageOptions): DynamicModule {
    return at(callSite(KeyValueStorageModule.forRoot), super.forRoot(options));
  }

  /**
   * The same with options made from what is injected: `{ inject: [ConfigService], useFactory:
   * (config: ConfigService) => ({ provider: … }) }`.
   */
  static override forRootAsync(
    options: ConfigurableModuleAsyncOptions<KeyValueStorageOptions>,
  ): DynamicModule {
    return at(callSite(KeyValueStorageModule.forRootAsync), super.forRootAsync(options));
  }

  /**
   * Makes the stores of these states injectable in the module that imports it. The same state may
   * be in several modules: its store is one.
   */
  static forFeature(states: readonly AnyState[]): DynamicModule {
    const definitions = states.map(definitionOf);
    const feature: Feature = { states: definitions, place: callSite(KeyValueStorageModule.forFeature) };
    const tokens = definitions.map((definition) => getStoreToken(definition));
    return {
      module: featureModule(feature),
      providers: definitions.map((definition) => storeProvider(definition, feature)),
      exports: tokens,
    };
  }
}

const at = (place: string, module: DynamicModule): DynamicModule => ({
  ...module,
  providers: [...(module.providers ?? []), { provide: rootPlaceToken, useValue: place }],
});

/**
 * One for each application: the storage asks it for the tenant that guards and middleware of all
 * modules name.
 */
function contextOf(modules: ModulesContainer): TenantContext {
  return onceForApplication(modules, TenantContext, () => new AsyncTenantContext());
}

/** A second root is refused also where the first one is open already. */
async function hostOf(
  options: KeyValueStorageOptions,
  override: StorageOverride | null,
  context: TenantContext,
  place: string,
  modules: ModulesContainer,
): Promise<StorageHost> {
  assertOneRoot(rootsOf(modules).map((root) => root.providers.get(rootPlaceToken)?.instance as string));
  return await onceForApplication(modules, StorageHost, () =>
    openHost(options, override, context, place, modules),
  );
}

async function openHost(
  options: KeyValueStorageOptions,
  override: StorageOverride | null,
  context: TenantContext,
  place: string,
  modules: ModulesContainer,
): Promise<StorageHost> {
  assertRootOptions(place, options);
  const providers = Object.keys(options.providers ?? {});
  const surroundings: StartUpContext = {
    providers,
    oneEngine: override === null ? [] : providers.filter((name) => !(name in override.providers)),
    scope: options.tenancy === undefined ? 'shared' : 'tenant',
  };
  admitAll(modules, surroundings);
  for (const check of startUpChecksOf(modules)) check(modules, surroundings);
  warnOfOpenTenancy(place, options.tenancy);
  return await StorageHost.open(options, override, context, place);
}

const rootsOf = (modules: ModulesContainer) =>
  [...modules.values()].filter(({ metatype }) => metatype === KeyValueStorageModule);

/**
 * A class of its own, so that Nest never takes two features for one, nor a feature for the root.
 */
function featureModule(feature: Feature): Type<unknown> {
  const name = `KeyValueStores(${feature.states.map((state) => state.name).join(', ')})`;
  // eslint-disable-next-line @typescript-eslint/no-extraneous-class -- Nest knows modules by their classes; this one has nothing to do
  const module = { [name]: class {} }[name] as Type<unknown>;
  Object.defineProperty(module, featureSymbol, { value: feature });
  return module;
}

function storeProvider(definition: ResolvedState, feature: Feature): Provider {
  return {
    provide: getStoreToken(definition),
    // optional: without a root, Nest would name a class that no user has heard of
    inject: [{ token: StorageHost, optional: true }, ModulesContainer],
    useFactory: async (host: StorageHost | undefined, modules: ModulesContainer) => {
      if (host !== undefined) {
        admit(modules, feature);
        return host.storage.store(definition);
      }
      if (rootsOf(modules).length === 0) throw noRoot(feature);
      // Nest 11 answers undefined for an optional dependency that failed; its own error ends the
      // start-up, and must not be hidden by another
      return await new Promise(() => undefined);
    },
  };
}

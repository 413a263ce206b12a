import {
  ConfigurableModuleBuilder,
  Inject,
  Module,
  type ConfigurableModuleAsyncOptions,
  type DynamicModule,
  type OnModuleInit,
  type Provider,
} from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import { KeyValueStorage } from '../core/store/key-value-store.js';
import { invalidOption } from '../core/base/options.js';
import { storeDefinitionOf, type AnyDefinition, type ResolvedAny } from '../core/store/counter-definition.js';
import { callSite } from '../core/base/call-site.js';
import { StorageHealthIndicator } from './health/storage-health.indicator.js';
import { getStoreToken } from './inject-store.decorator.js';
import {
  assertRootObject,
  assertRootOptions,
  retryToken,
  tenancyToken,
  warnOfOpenTenancy,
  type KeyValueStorageOptions,
} from './options/key-value-storage-options.js';
import { onceForApplication } from './start-up/once-for-application.js';
import {
  assertOneRoot,
  definitionsIn,
  missingRoot,
  rejectUnopened,
  rootCallSiteToken,
  type Feature,
} from './start-up/feature-kind.js';
import { forFeatureCall, stateFeatures } from './start-up/start-up-checks.js';
import { markStarted, setStartUpContext, startUpChecksOf } from './start-up/start-up-context.js';
import { StorageHost, type StorageSetup } from './host/storage-host.js';
import { storageOverrideToken, type StorageOverride } from './options/storage-override.js';
import { AsyncTenantContext, TenantContext } from './tenancy/tenant-context.js';

const { ConfigurableModuleClass, MODULE_OPTIONS_TOKEN } =
  new ConfigurableModuleBuilder<KeyValueStorageOptions>()
    .setClassMethodName('forRoot')
    .setExtras({}, (definition) => ({ ...definition, global: true }))
    .build();

/**
 * The storage of an application. `forRoot` or `forRootAsync` once; it is global, so `forFeature`
 * works in every module. The storage opens before anything that injects it, and closes after
 * everything that used it, on `app.close()`; for signals, call `app.enableShutdownHooks()`. A
 * lazily loaded module that imports the root again gets the same storage.
 *
 * The start-up is refused before anything opens, for a second root, no root, two states with one
 * name, or a state with an unknown provider (`INVALID_OPTION`), and for a provider instance that
 * is open already (`INVALID_STATE`).
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
      inject: [
        ModulesContainer,
        MODULE_OPTIONS_TOKEN,
        storageOverrideToken,
        TenantContext,
        rootCallSiteToken,
      ],
      useFactory: async (
        modules: ModulesContainer,
        options: KeyValueStorageOptions,
        override: StorageOverride | null,
        context: TenantContext,
        declaredAt: string,
      ) => await hostOf(modules, { options, override, context, declaredAt }),
    },
    StorageHealthIndicator,
    { provide: KeyValueStorage, inject: [StorageHost], useFactory: (host: StorageHost) => host.storage },
  ],
  // exported for middleware, which Nest creates in the module of the application
  exports: [KeyValueStorage, StorageHealthIndicator, StorageHost, TenantContext, tenancyToken, retryToken],
})
export class KeyValueStorageModule extends ConfigurableModuleClass implements OnModuleInit {
  readonly #modules: ModulesContainer;

  constructor(@Inject(ModulesContainer) modules: ModulesContainer) {
    super();
    this.#modules = modules;
  }

  /**
   * `INVALID_OPTION` for options that depend on a request: each request would open a storage that
   * is never closed.
   */
  onModuleInit(): void {
    markStarted(this.#modules);
    for (const root of rootsOf(this.#modules)) {
      if (root.providers.get(StorageHost)?.isDependencyTreeStatic() !== false) continue;
      throw invalidOption(
        `KeyValueStorageModule.forRootAsync (${callSiteOfRoot(root)}) is request-scoped, by what it injects or by its factory. An application has one storage: inject singletons, and use tenancy for the tenant of a request.`,
      );
    }
  }

  static override forRoot(options: KeyValueStorageOptions): DynamicModule {
    const place = callSite(KeyValueStorageModule.forRoot);
    assertRootObject('forRoot', place, options);
    return declared(place, super.forRoot(options));
  }

  /**
   * The same with injected options: `{ inject: [ConfigService], useFactory: (config: ConfigService)
   * => ({ provider: … }) }`.
   */
  static override forRootAsync(
    options: ConfigurableModuleAsyncOptions<KeyValueStorageOptions>,
  ): DynamicModule {
    const place = callSite(KeyValueStorageModule.forRootAsync);
    return declared(place, super.forRootAsync(checkedFactory(place, options)));
  }

  /**
   * Makes the stores of these states and counters injectable in the module that imports it. All
   * modules with the same state get the same store.
   */
  static forFeature(states: readonly AnyDefinition[]): DynamicModule {
    const declaredAt = callSite(KeyValueStorageModule.forFeature);
    const definitions = definitionsIn('KeyValueStorageModule', states, declaredAt, storeDefinitionOf);
    const feature = { definitions, declaredAt };
    const names = definitions.map(({ name }) => name).join(', ');
    return {
      module: stateFeatures.moduleOf(`KeyValueStores(${names})`, feature),
      providers: definitions.map((definition) => storeProvider(definition, feature)),
      exports: definitions.map((definition) => getStoreToken(definition)),
    };
  }
}

const declared = (declaredAt: string, module: DynamicModule): DynamicModule => ({
  ...module,
  providers: [...(module.providers ?? []), { provide: rootCallSiteToken, useValue: declaredAt }],
});

/** One for each application, because guards and middleware of all modules set the tenant in it. */
function contextOf(modules: ModulesContainer): TenantContext {
  return onceForApplication(modules, TenantContext, () => new AsyncTenantContext());
}

/** Refuses a second root, also if the first one is open already. */
async function hostOf(modules: ModulesContainer, setup: StorageSetup): Promise<StorageHost> {
  assertOneRoot(
    'KeyValueStorageModule',
    rootsOf(modules).map(callSiteOfRoot),
    ' Add further providers with forRoot({ providers }).',
  );
  return await onceForApplication(modules, StorageHost, async () => {
    assertStartUp(modules, setup);
    return await StorageHost.open(setup);
  });
}

function assertStartUp(modules: ModulesContainer, { options, override, declaredAt }: StorageSetup): void {
  assertRootOptions(declaredAt, options);
  const providers = Object.keys(options.providers ?? {});
  const context = {
    providers,
    sharedProviders: override === null ? [] : providers.filter((name) => !(name in override.providers)),
    scope: options.tenancy === undefined ? 'shared' : 'tenant',
  } as const;
  stateFeatures.admitAll(modules, context);
  setStartUpContext(modules, context);
  for (const check of startUpChecksOf(modules)) check(modules, context);
  warnOfOpenTenancy(declaredAt, options.tenancy);
}

type NestModule = ReturnType<typeof rootsOf>[number];

const callSiteOfRoot = ({ providers }: NestModule): string =>
  providers.get(rootCallSiteToken)?.instance as string;

type AsyncResult = KeyValueStorageOptions | Promise<KeyValueStorageOptions>;
type AsyncOptions = ConfigurableModuleAsyncOptions<KeyValueStorageOptions>;

/** The options of `forRootAsync`, whose factory is refused if it returns no options. */
function checkedFactory(place: string, options: AsyncOptions): AsyncOptions {
  const { useFactory, useClass, useExisting } = options ?? {};
  if (useFactory === undefined && useClass === undefined && useExisting === undefined)
    throw invalidOption(
      `KeyValueStorageModule.forRootAsync (${place}) needs a factory: { inject: […], useFactory: (…) => ({ provider: … }) }.`,
    );
  if (useFactory === undefined) return options;
  return {
    ...options,
    useFactory: async (...injected: unknown[]) => {
      const made = await (useFactory as (...given: unknown[]) => AsyncResult)(...injected);
      assertRootObject('forRootAsync', place, made);
      return made;
    },
  };
}

const rootsOf = (modules: ModulesContainer) =>
  [...modules.values()].filter(({ metatype }) => metatype === KeyValueStorageModule);

function storeProvider(definition: ResolvedAny, feature: Feature<ResolvedAny>): Provider {
  return {
    provide: getStoreToken(definition),
    // optional, because without a root the error of Nest would name a private class
    inject: [{ token: StorageHost, optional: true }, ModulesContainer],
    useFactory: async (host: StorageHost | undefined, modules: ModulesContainer) => {
      if (host !== undefined) {
        stateFeatures.admit(modules, feature);
        return host.storage.store(definition as never) as unknown;
      }
      const call = forFeatureCall(feature);
      if (rootsOf(modules).length === 0) throw missingRoot(call, modules);
      return await rejectUnopened(call, modules);
    },
  };
}

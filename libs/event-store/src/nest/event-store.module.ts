import {
  Inject,
  Module,
  type DynamicModule,
  type InjectionToken,
  type ModuleMetadata,
  type OnModuleInit,
} from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import { invalidOption } from '@kvent/key-value-storage/provider';
import { callSite } from '@kvent/key-value-storage/internal';
import { definitionsIn, startUpCheckSymbol } from '@kvent/key-value-storage/internal/nest';
import { streamDefinitionOf, type AnyStream } from '../core/definition/stream-definition.js';
import { assertEventStoreOptions, EventStore, type EventStoreOptions } from '../core/event-store.js';
import { EventStoreHost, eventStoreOptionsToken } from './event-store-host.js';
import { getStreamToken } from './inject-stream.decorator.js';
import {
  assertOneStreamRoot,
  assertStaticOptions,
  assertStreams,
  streamFeatures,
  streamRootCallSiteToken,
} from './start-up-checks.js';

type Awaitable<T> = T | Promise<T>;

/** Options made from injected values. */
export interface EventStoreAsyncOptions extends Pick<ModuleMetadata, 'imports'> {
  readonly inject?: InjectionToken[];
  // oxlint-disable-next-line typescript/no-explicit-any -- Nest's own signature
  readonly useFactory: (...injected: any[]) => Awaitable<EventStoreOptions>;
}

/**
 * Streams in Nest, on the storage of `KeyValueStorageModule.forRoot`. `forFeature` makes streams
 * injectable in the module that imports it; `forRoot` is optional, and sets options for all of
 * them. Entries are logged under `EventStore`, and calls are traced if `@opentelemetry/api` is
 * installed. When the application shuts down, no session can be opened; sessions that are open
 * after the last request are terminated before the storage closes.
 *
 * The start-up fails with `INVALID_OPTION`, before anything is opened, for a second root, a missing
 * storage, two definitions of one stream type, an unknown provider, and options that are not
 * allowed.
 */
@Module({})
export class EventStoreModule implements OnModuleInit {
  readonly #modules: ModulesContainer;

  /** `INVALID_OPTION` for a second root, also in a module that is loaded lazily. */
  constructor(@Inject(ModulesContainer) modules: ModulesContainer) {
    assertOneStreamRoot(modules);
    this.#modules = modules;
  }

  /** `INVALID_OPTION` for request-scoped options: an application has one event store. */
  onModuleInit(): void {
    assertStaticOptions(this.#modules, eventStoreOptionsToken);
  }

  static forRoot(options: EventStoreOptions = {}): DynamicModule {
    const place = callSite(EventStoreModule.forRoot);
    assertEventStoreOptions(`EventStoreModule.forRoot (${place})`, options);
    return rootOf(place, { provide: eventStoreOptionsToken, useValue: options }, []);
  }

  /**
   * The same with options made from injected values: `{ inject: [ConfigService], useFactory:
   * (config: ConfigService) => ({ … }) }`.
   */
  static forRootAsync(options: EventStoreAsyncOptions): DynamicModule {
    const place = callSite(EventStoreModule.forRootAsync);
    const {
      imports = [],
      inject = [],
      useFactory,
    } = (options as Partial<EventStoreAsyncOptions> | undefined) ?? {};
    if (typeof useFactory !== 'function')
      throw invalidOption(`EventStoreModule.forRootAsync (${place}) needs useFactory: (…) => ({ … }).`);
    const make = async (...injected: unknown[]): Promise<EventStoreOptions> => {
      const options = await useFactory(...injected);
      assertEventStoreOptions(`EventStoreModule.forRootAsync (${place})`, options);
      return options;
    };
    return rootOf(place, { provide: eventStoreOptionsToken, inject, useFactory: make }, imports);
  }

  /**
   * Makes these streams injectable in the module that imports it. The same definition may be in
   * several modules: its streams are the same.
   */
  static forFeature(streams: readonly AnyStream[]): DynamicModule {
    const declaredAt = callSite(EventStoreModule.forFeature);
    const definitions = definitionsIn('EventStoreModule', streams, declaredAt, streamDefinitionOf);
    const feature = { definitions, declaredAt };
    const name = `EventStreams(${definitions.map(({ type }) => type).join(', ')})`;
    return {
      module: streamFeatures.moduleOf(name, feature, { [startUpCheckSymbol]: assertStreams }),
      imports: [EventStoreHost],
      providers: definitions.map((definition) => ({
        provide: getStreamToken(definition),
        inject: [EventStore, ModulesContainer],
        useFactory: (store: EventStore, modules: ModulesContainer) => {
          streamFeatures.admit(modules, feature);
          return store.stream(definition);
        },
      })),
      exports: [...definitions.map(getStreamToken), EventStoreHost],
    };
  }
}
Object.defineProperty(EventStoreModule, startUpCheckSymbol, { value: assertStreams });

const rootOf = (
  place: string,
  options: NonNullable<DynamicModule['providers']>[number],
  imports: NonNullable<DynamicModule['imports']>,
): DynamicModule => ({
  module: EventStoreModule,
  global: true,
  imports: [...imports, EventStoreHost],
  providers: [options, { provide: streamRootCallSiteToken, useValue: place }],
  exports: [eventStoreOptionsToken, EventStoreHost],
});

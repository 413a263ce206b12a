import {
  Inject,
  Module,
  type DynamicModule,
  type InjectionToken,
  type ModuleMetadata,
  type OnModuleInit,
} from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import { callSite, startUpCheckSymbol } from '@kvent/key-value-storage/internal/nest';
import { streamOf, type AnyStream } from '../core/definition/stream-definition.js';
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

/** Options made from what is injected. */
export interface EventStoreAsyncOptions extends Pick<ModuleMetadata, 'imports'> {
  readonly inject?: InjectionToken[];
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- Nest's own signature
  readonly useFactory: (...injected: any[]) => Awaitable<EventStoreOptions>;
}

/**
 * Streams in Nest, on the storage of `KeyValueStorageModule.forRoot`. `forFeature` makes streams
 * injectable in the module that imports it; `forRoot` is optional, and says what holds for all of
 * them. What happens is logged under `EventStore`, and traced where `@opentelemetry/api` is there.
 * When the application shuts down, no session is opened any more; one that is still held after the
 * last request is ended, before the storage closes.
 *
 * `INVALID_OPTION` stops the start-up, before anything is opened, for: a second root, no storage,
 * two definitions of one stream type, a stream that names an unknown provider, and options that are
 * not allowed.
 */
@Module({})
export class EventStoreModule implements OnModuleInit {
  readonly #modules: ModulesContainer;

  /** `INVALID_OPTION` for a second root also where the storage is open already. */
  constructor(@Inject(ModulesContainer) modules: ModulesContainer) {
    assertOneStreamRoot(modules);
    this.#modules = modules;
  }

  /**
   * `INVALID_OPTION` for options that are made anew for each request: the event store of an
   * application is one.
   */
  onModuleInit(): void {
    assertStaticOptions(this.#modules, eventStoreOptionsToken);
  }

  static forRoot(options: EventStoreOptions): DynamicModule {
    const place = callSite(EventStoreModule.forRoot);
    assertEventStoreOptions(`EventStoreModule.forRoot (${place})`, options);
    return rootOf(place, { provide: eventStoreOptionsToken, useValue: options }, []);
  }

  /**
   * The same with options made from what is injected: `{ inject: [ConfigService], useFactory:
   * (config: ConfigService) => ({ … }) }`.
   */
  static forRootAsync({ imports = [], inject = [], useFactory }: EventStoreAsyncOptions): DynamicModule {
    const place = callSite(EventStoreModule.forRootAsync);
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
    const definitions = streams.map(streamOf);
    const feature = { definitions, declaredAt: callSite(EventStoreModule.forFeature) };
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

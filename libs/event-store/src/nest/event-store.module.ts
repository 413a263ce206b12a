import {
  Module,
  type BeforeApplicationShutdown,
  type DynamicModule,
  type InjectionToken,
  type ModuleMetadata,
  type Type,
} from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import { KeyValueStorage } from '@kvent/key-value-storage';
import { invalidOption } from '@kvent/key-value-storage/core';
import { EventStore, streamOf, type AnyStream, type EventStoreOptions, type ResolvedStream } from '../core/index.js';
import { getStreamToken } from './inject-stream.decorator.js';
import { StreamLogger } from './stream-logger.js';
import { both, streamTelemetry } from './stream-telemetry.js';

type Awaitable<T> = T | Promise<T>;

/** Options made from what is injected. */
export interface EventStoreAsyncOptions extends Pick<ModuleMetadata, 'imports'> {
  readonly inject?: InjectionToken[];
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- Nest's own signature
  readonly useFactory: (...injected: any[]) => Awaitable<EventStoreOptions>;
}

const optionsToken = Symbol('kvent.event-store-options');
/** On the module class of a feature: its definitions. */
const featureSymbol = Symbol.for('kvent.stream-feature');

/** The one event store of an application: on its storage, with what `forRoot` says, if there is one. */
@Module({
  providers: [
    {
      provide: EventStore,
      // optional: without them, Nest would name classes that no user has heard of
      inject: [{ token: KeyValueStorage, optional: true }, { token: optionsToken, optional: true }, ModulesContainer],
      useFactory: createStore,
    },
  ],
  exports: [EventStore],
})
class EventStoreHost implements BeforeApplicationShutdown {
  readonly #store: EventStore;

  constructor(store: EventStore) {
    this.#store = store;
  }

  /** Snapshots that are being written off the request path are waited for, before the storage closes. */
  async beforeApplicationShutdown(): Promise<void> {
    await this.#store.idle();
  }
}

async function createStore(
  storage: KeyValueStorage | undefined,
  options: EventStoreOptions | undefined,
  modules: ModulesContainer,
): Promise<EventStore> {
  if (storage === undefined)
    throw invalidOption('EventStoreModule has no KeyValueStorageModule.forRoot: import it once, in the module of the application.');
  assertTypes(modules);
  const observer = both(options?.observer ?? new StreamLogger(), await streamTelemetry());
  return new EventStore(storage, { ...options, observer });
}

/** Two definitions of one type would share their rows. */
function assertTypes(modules: ModulesContainer): void {
  const seen = new Map<string, ResolvedStream>();
  for (const { metatype } of modules.values()) {
    for (const definition of (metatype as { readonly [featureSymbol]?: readonly ResolvedStream[] })[featureSymbol] ?? []) {
      const rows = JSON.stringify([definition.provider ?? '', definition.scope ?? '', definition.type]);
      const other = seen.get(rows);
      if (other !== undefined && other !== definition)
        throw invalidOption(
          `Two definitions of the stream type '${definition.type}' would share their rows: give one of them another type.`,
        );
      seen.set(rows, definition);
    }
  }
}

/**
 * Streams in Nest, on the storage of `KeyValueStorageModule.forRoot`. `forFeature` makes streams injectable in the module that imports it; `forRoot` is
 * optional, and says what holds for all of them. What happens is logged under `EventStore`, and traced where `@opentelemetry/api` is there.
 */
@Module({})
export class EventStoreModule {
  static forRoot(options: EventStoreOptions): DynamicModule {
    return rootOf({ provide: optionsToken, useValue: options }, []);
  }

  /** The same with options made from what is injected: `{ inject: [ConfigService], useFactory: (config: ConfigService) => ({ … }) }`. */
  static forRootAsync({ imports = [], inject = [], useFactory }: EventStoreAsyncOptions): DynamicModule {
    return rootOf({ provide: optionsToken, inject, useFactory }, imports);
  }

  static forFeature(streams: readonly AnyStream[]): DynamicModule {
    const definitions = streams.map(streamOf);
    return {
      module: featureModule(definitions),
      imports: [EventStoreHost],
      providers: definitions.map((definition) => ({
        provide: getStreamToken(definition),
        inject: [EventStore],
        useFactory: (store: EventStore) => store.stream(definition),
      })),
      exports: [...definitions.map(getStreamToken), EventStoreHost],
    };
  }
}

const rootOf = (
  options: NonNullable<DynamicModule['providers']>[number],
  imports: NonNullable<DynamicModule['imports']>,
): DynamicModule => ({
  module: EventStoreModule,
  global: true,
  imports: [...imports, EventStoreHost],
  providers: [options],
  exports: [optionsToken, EventStoreHost],
});

/** A class of its own, so that Nest never takes two features for one. */
function featureModule(definitions: readonly ResolvedStream[]): Type<unknown> {
  const name = `EventStreams(${definitions.map(({ type }) => type).join(', ')})`;
  // eslint-disable-next-line @typescript-eslint/no-extraneous-class -- Nest knows modules by their classes; this one has nothing to do
  const module = { [name]: class {} }[name] as Type<unknown>;
  Object.defineProperty(module, featureSymbol, { value: definitions });
  return module;
}

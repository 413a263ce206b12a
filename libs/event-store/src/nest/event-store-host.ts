/**
 * The one event store of an application: on its storage, with what `forRoot` says, if there is one.
 * It ends before the storage does.
 */
import { Inject, Module, type BeforeApplicationShutdown, type OnApplicationShutdown } from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import { KeyValueStorage, KeyValueStorageModule } from '@kvent/key-value-storage';
import { onceForApplication } from '@kvent/key-value-storage/internal/nest';
import { EventStore, type EventStoreOptions } from '../core/event-store.js';
import { CommittedHub } from './committed-hub.js';
import { noStorageError } from './start-up-checks.js';
import { StreamLogger } from './stream-logger.js';
import { combineObservers, streamTelemetry } from './stream-telemetry.js';

export const eventStoreOptionsToken = Symbol('kvent.event-store-options');
// Symbol.for: `overrideEventStore` is behind another door, which may be loaded from another copy of
// the package.
const eventStoreOverrideToken = Symbol.for('kvent.event-store-override');

@Module({
  providers: [
    { provide: eventStoreOverrideToken, useValue: null },
    { provide: CommittedHub, inject: [ModulesContainer], useFactory: hubOf },
    {
      provide: EventStore,
      // optional: without them, Nest would name classes that no user has heard of
      inject: [
        { token: KeyValueStorage, optional: true },
        { token: eventStoreOptionsToken, optional: true },
        eventStoreOverrideToken,
        CommittedHub,
        ModulesContainer,
      ],
      useFactory: storeOf,
    },
  ],
  exports: [EventStore, CommittedHub],
})
export class EventStoreHost implements BeforeApplicationShutdown, OnApplicationShutdown {
  readonly #store: EventStore;

  constructor(@Inject(EventStore) store: EventStore) {
    this.#store = store;
  }

  /** Requests are still under way: sessions that they have opened go on. */
  beforeApplicationShutdown(): void {
    this.#store.refuseSessions();
  }

  /**
   * Requests have been answered: who still holds a stream is not waited for. The storage closes
   * after this.
   */
  async onApplicationShutdown(): Promise<void> {
    await this.#store.close();
  }
}

/**
 * One for each application: who listens to the first hears what is committed through every module.
 */
function hubOf(modules: ModulesContainer): CommittedHub {
  return onceForApplication(modules, CommittedHub, () => new CommittedHub(modules));
}

async function storeOf(
  storage: KeyValueStorage | undefined,
  options: EventStoreOptions | undefined,
  override: EventStoreOptions | null,
  hub: CommittedHub,
  modules: ModulesContainer,
): Promise<EventStore> {
  if (storage === undefined) {
    if (![...modules.values()].some(({ metatype }) => metatype === KeyValueStorageModule))
      throw noStorageError(modules);
    // Nest 11 answers undefined for an optional dependency that failed; its own error ends the
    // start-up, and must not be hidden by another
    return await new Promise(() => undefined);
  }
  return await onceForApplication(modules, EventStore, () =>
    createStore(storage, { ...options, ...override }, hub),
  );
}

async function createStore(
  storage: KeyValueStorage,
  given: EventStoreOptions,
  hub: CommittedHub,
): Promise<EventStore> {
  const observer = combineObservers(given.observer ?? new StreamLogger(), await streamTelemetry());
  return new EventStore(storage, { ...given, observer, committed: hub.combineWith(given.committed) });
}

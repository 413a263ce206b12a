/**
 * The event store of an application, on its storage, with the options of `forRoot` if there is one.
 * It closes before the storage.
 */
import {
  Inject,
  Module,
  type BeforeApplicationShutdown,
  type OnApplicationBootstrap,
  type OnApplicationShutdown,
} from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import { KeyValueStorage, KeyValueStorageModule } from '@kvent/key-value-storage';
import { onceForApplication, rejectUnopened } from '@kvent/key-value-storage/internal/nest';
import { EventStore, type EventStoreOptions } from '../core/event-store.js';
import {
  applicationRunners,
  applicationRunnersToken,
  type ApplicationRunners,
} from './application-runners.js';
import { combineObservers } from './combine-observers.js';
import { CommittedHub } from './committed-hub.js';
import { lagTelemetry } from './lag-telemetry.js';
import { PositionSeal } from './position-seal.js';
import { requestPositionsObserver } from './request-positions.js';
import { noStorageError } from './start-up-checks.js';
import { StreamLogger } from './stream-logger.js';
import { streamTelemetry } from './stream-telemetry.js';

export const eventStoreOptionsToken = Symbol('kvent.event-store-options');
// Symbol.for, because the door of `overrideEventStore` may be loaded from another copy of the
// package
const eventStoreOverrideToken = Symbol.for('kvent.event-store-override');

@Module({
  providers: [
    { provide: eventStoreOverrideToken, useValue: null },
    { provide: applicationRunnersToken, inject: [ModulesContainer], useFactory: applicationRunners },
    { provide: CommittedHub, inject: [ModulesContainer], useFactory: hubOf },
    {
      provide: PositionSeal,
      inject: [{ token: KeyValueStorage, optional: true }, ModulesContainer],
      useFactory: async (storage: KeyValueStorage | undefined, modules: ModulesContainer) =>
        sealOf(await presentStorage(storage, modules), modules),
    },
    {
      provide: EventStore,
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
  exports: [EventStore, CommittedHub, PositionSeal],
})
export class EventStoreHost
  implements OnApplicationBootstrap, BeforeApplicationShutdown, OnApplicationShutdown
{
  readonly #store: EventStore;
  readonly #runners: ApplicationRunners;
  #endTelemetry: (() => void) | undefined;

  constructor(
    @Inject(EventStore) store: EventStore,
    @Inject(applicationRunnersToken) runners: ApplicationRunners,
  ) {
    this.#store = store;
    this.#runners = runners;
  }

  async onApplicationBootstrap(): Promise<void> {
    this.#endTelemetry = await lagTelemetry(this.#runners);
  }

  /** Requests are still running: their open sessions continue. */
  beforeApplicationShutdown(): void {
    this.#endTelemetry?.();

    this.#store.refuseSessions();
  }

  /**
   * Requests have ended: sessions that are still open are terminated. The storage closes after
   * this.
   */
  async onApplicationShutdown(): Promise<void> {
    await this.#store.close();
  }
}

/** One for each application, so that listeners get the commits of all modules. */
function hubOf(modules: ModulesContainer): CommittedHub {
  return onceForApplication(modules, CommittedHub, () => new CommittedHub(modules));
}

function sealOf(storage: KeyValueStorage, modules: ModulesContainer): PositionSeal {
  return onceForApplication(modules, PositionSeal, () => new PositionSeal(storage));
}

async function storeOf(
  storage: KeyValueStorage | undefined,
  options: EventStoreOptions | undefined,
  override: EventStoreOptions | null,
  hub: CommittedHub,
  modules: ModulesContainer,
): Promise<EventStore> {
  const present = await presentStorage(storage, modules);
  return await onceForApplication(modules, EventStore, () =>
    createStore(present, { ...options, ...override }, hub, sealOf(present, modules)),
  );
}

/**
 * The storage, which is optional where it is injected: the errors of Nest would name internal
 * classes. `INVALID_OPTION` without `KeyValueStorageModule.forRoot`, and for one whose options
 * inject what needs `who`.
 */
export async function presentStorage(
  storage: KeyValueStorage | undefined,
  modules: ModulesContainer,
  who = 'the event store',
): Promise<KeyValueStorage> {
  if (storage !== undefined) return storage;
  if (![...modules.values()].some(({ metatype }) => metatype === KeyValueStorageModule))
    throw noStorageError(modules);
  return await rejectUnopened(who, modules);
}

async function createStore(
  storage: KeyValueStorage,
  options: EventStoreOptions,
  hub: CommittedHub,
  seal: PositionSeal,
): Promise<EventStore> {
  const telemetry = await streamTelemetry();
  const observer = combineObservers(
    options.observer ?? new StreamLogger(),
    ...(telemetry === undefined ? [] : [telemetry]),
    requestPositionsObserver(seal),
  );
  return new EventStore(storage, { ...options, observer, committed: hub.combineWith(options.committed) });
}

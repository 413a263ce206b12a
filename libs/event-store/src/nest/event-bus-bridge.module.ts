import { Logger, Module, type DynamicModule, type OnModuleInit } from '@nestjs/common';
import { ModuleRef, ModulesContainer } from '@nestjs/core';
import type * as Cqrs from '@nestjs/cqrs';
import {
  hasStarted,
  namedModule,
  onceForApplication,
  optionalPackage,
} from '@kvent/key-value-storage/internal/nest';
import { invalidOption } from '@kvent/key-value-storage/provider';
import { assertOptions, callSite, inspect, isError, printable } from '@kvent/key-value-storage/internal';
import type { Recorded } from '../core/definition/event-stream.js';
import {
  streamDefinitionOf,
  type AnyEvent,
  type AnyStream,
  type EventOf,
  type ResolvedStream,
} from '../core/definition/stream-definition.js';
import { CommittedHub, listenerSymbol } from './committed-hub.js';
import { EventStoreHost } from './event-store-host.js';

/** Makes what is published from an event, for each event type; other types are not published. */
export type EventBusMapping<D extends AnyStream> = {
  readonly [Type in EventOf<D>['type']]?: (
    event: Recorded<Extract<EventOf<D>, { readonly type: Type }>>,
  ) => object;
};
type AnyMapping = Readonly<Record<string, ((event: Recorded<AnyEvent>) => object) | undefined>>;

/**
 * Publishes events on the `EventBus` of `@nestjs/cqrs`, for handlers and sagas in this process:
 * `EventBusBridgeModule.forFeature(Orders, { placed: ({ tenant, stream, data }) => new
 * OrderPlaced(tenant, stream, data.customer) })`. Each event is published once, after its commit,
 * in the order of versions within a stream.
 *
 * Handlers and sagas run for the tenant of the commit (`TenantContext`; outside any tenant for
 * shared streams), and outside the async context of the request: what they need of it belongs into
 * the `metadata` of the event.
 *
 * Not crash-safe: events are not published when the process ends after the commit, or when its
 * outcome is unknown; nor are commits of other processes. What must not be missed belongs into the
 * commit (`sameCommit`), or is read from the stream.
 */
@Module({})
export class EventBusBridgeModule {
  /**
   * `INVALID_OPTION` at once for an unknown event type; at the start-up when `CqrsModule` is
   * missing; and when the module is loaded lazily, after the start-up.
   */
  static forFeature<D extends AnyStream>(definition: D, mapping: EventBusMapping<D>): DynamicModule {
    const owner = `EventBusBridgeModule.forFeature (${callSite(EventBusBridgeModule.forFeature)})`;
    const stream = streamDefinitionOf(definition);
    assertOptions(owner, mapping, [...stream.events.keys()]);
    for (const [type, map] of Object.entries<unknown>(mapping))
      if (map !== undefined && typeof map !== 'function')
        throw invalidOption(
          `${owner}: ${type} must be a function that makes what is published; got ${inspect(map)}.`,
        );
    const token = Symbol(owner);
    return {
      module: namedModule(`EventBusBridge(${stream.type})`, { [listenerSymbol]: true }),
      imports: [EventStoreHost],
      providers: [
        {
          provide: token,
          inject: [ModuleRef, CommittedHub, ModulesContainer],
          useFactory: (module: ModuleRef, hub: CommittedHub, modules: ModulesContainer) =>
            onceForApplication(modules, token, () => {
              if (hasStarted(modules)) throw lateImportError(owner);
              // the compiler has checked the events of each type
              return new EventBusBridge(module, hub, stream, mapping as AnyMapping, owner);
            }),
        },
      ],
    };
  }
}

const lateImportError = (owner: string) =>
  invalidOption(
    `${owner} is in a module that was loaded after the start-up: Nest does not initialize it, so no event would be published. Import it in a module that is loaded at the start-up.`,
  );

class EventBusBridge implements OnModuleInit {
  readonly #logger = new Logger('EventStore');
  readonly #modules: ModuleRef;
  readonly #hub: CommittedHub;
  readonly #stream: ResolvedStream;
  readonly #mapping: AnyMapping;
  readonly #owner: string;

  constructor(
    modules: ModuleRef,
    hub: CommittedHub,
    stream: ResolvedStream,
    mapping: AnyMapping,
    owner: string,
  ) {
    this.#modules = modules;
    this.#hub = hub;
    this.#stream = stream;
    this.#mapping = mapping;
    this.#owner = owner;
  }

  async onModuleInit(): Promise<void> {
    const bus = await this.#findBus();
    this.#hub.listen(this.#stream, (_stream, events) => {
      for (const event of events) this.#publish(bus, event);
    });
  }

  /** Errors are logged: the commit is done. */
  #publish(bus: Cqrs.EventBus, event: Recorded<AnyEvent>): void {
    const failed = (error: unknown): void => {
      const message = printable(`event not published: ${this.#stream.type}/${event.stream}`);
      const fields = {
        type: this.#stream.type,
        id: printable(event.stream),
        version: event.version,
        eventType: event.type,
      };
      this.#logger.error(
        { message, event: 'event not published', ...fields },
        isError(error) ? error.stack : String(error),
      );
    };
    try {
      const map = this.#mapping[event.type];
      if (map === undefined) return;
      // other publishers than the default may return a promise
      void Promise.resolve(bus.publish(map(event)) as unknown).catch(failed);
    } catch (error) {
      failed(error);
    }
  }

  async #findBus(): Promise<Cqrs.EventBus> {
    const cqrs = await optionalPackage(() => import('@nestjs/cqrs'));
    if (cqrs === undefined) throw invalidOption(`${this.#owner} needs the package @nestjs/cqrs.`);
    try {
      const bus = this.#modules.get<Cqrs.EventBus>(cqrs.EventBus, { strict: false });
      return bus;
    } catch {
      throw invalidOption(
        `${this.#owner} needs an EventBus: import CqrsModule.forRoot() once, in the module of the application.`,
      );
    }
  }
}

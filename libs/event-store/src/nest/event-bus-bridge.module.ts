import { Logger, Module, type DynamicModule, type OnModuleInit } from '@nestjs/common';
import { ModuleRef, ModulesContainer } from '@nestjs/core';
import type * as Cqrs from '@nestjs/cqrs';
import {
  callSite,
  hasStarted,
  namedModule,
  onceForApplication,
  optionalPackage,
} from '@kvent/key-value-storage/internal/nest';
import { invalidOption } from '@kvent/key-value-storage/provider';
import { assertOptions, inspect, isError, printable } from '@kvent/key-value-storage/internal';
import type { Recorded } from '../core/definition/event-stream.js';
import {
  streamOf,
  type AnyEvent,
  type AnyStream,
  type EventOf,
  type ResolvedStream,
} from '../core/definition/stream-definition.js';
import { CommittedHub, listenerSymbol } from './committed-hub.js';
import { EventStoreHost } from './event-store-host.js';

/**
 * For each event type that is published: what the bus is given. Types that are left out are not
 * published.
 */
export type EventBusMapping<D extends AnyStream> = {
  readonly [Type in EventOf<D>['type']]?: (
    event: Recorded<Extract<EventOf<D>, { readonly type: Type }>>,
  ) => object;
};
type AnyMapping = Readonly<Record<string, ((event: Recorded<AnyEvent>) => object) | undefined>>;

/**
 * Hands events to the `EventBus` of `@nestjs/cqrs`, for handlers and sagas in this process:
 * `EventBusBridgeModule.forFeature(Orders, { placed: ({ tenant, stream, data }) => new
 * OrderPlaced(tenant, stream, data.customer) })`. Each event is published once, after its commit,
 * in the order of versions within a stream.
 *
 * Handlers and sagas run for the tenant of the commit (`TenantContext`; outside any for shared
 * streams), whoever made it, and outside the async context of the request: what they need of it
 * stands in the event, as its `metadata`.
 *
 * Not crash-safe: what was committed just before the process ended, or with an answer that was
 * lost, is never published, and nobody else's commits are. What must not be missed belongs into the
 * commit itself (`sameCommit`), or is read from the stream.
 */
@Module({})
export class EventBusBridgeModule {
  /**
   * `INVALID_OPTION` at once for an event type that the stream does not have; at the start where
   * `CqrsModule` is missing; when it is loaded after the start (lazily).
   */
  static forFeature<D extends AnyStream>(definition: D, mapping: EventBusMapping<D>): DynamicModule {
    const owner = `EventBusBridgeModule.forFeature (${callSite(EventBusBridgeModule.forFeature)})`;
    const stream = streamOf(definition);
    assertOptions(owner, mapping, [...stream.events.keys()]);
    for (const [type, map] of Object.entries<unknown>(mapping))
      if (map !== undefined && typeof map !== 'function')
        throw invalidOption(
          `${owner}: ${type} is a function that makes what is published; given was ${inspect(map)}.`,
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
    `${owner} is in a module that was loaded after the start, where Nest begins nothing: no event would be published. Import it in a module that is there at the start.`,
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

  /** The commit is done: what fails here is logged, and changes nothing about it. */
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
      // publishers of other kinds than the default may answer a promise
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
        `${this.#owner} finds no EventBus: import CqrsModule.forRoot() once, in the module of the application.`,
      );
    }
  }
}

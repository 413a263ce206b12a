import {
  Inject,
  Logger,
  Module,
  type DynamicModule,
  type InjectionToken,
  type OnModuleInit,
} from '@nestjs/common';
import { ModuleRef, ModulesContainer } from '@nestjs/core';
import type * as Cqrs from '@nestjs/cqrs';
import {
  hasStarted,
  namedModule,
  onceForApplication,
  optionalPackage,
} from '@kvent/key-value-storage/internal/nest';
import { invalidOption } from '@kvent/key-value-storage/provider';
import {
  assertOptions,
  callSite,
  inspect,
  isError,
  isPromise,
  printable,
  refusedPromise,
  thrownName,
} from '@kvent/key-value-storage/internal';
import { On, type ReactionContext } from '../core/projections/class-handlers.js';
import { Reaction } from '../core/reactions/reaction-class.js';
import { reactionNames, type ReactionOptions } from '../core/reactions/reaction-definition.js';
import type { ReactionRunnerOptions } from '../core/reactions/reaction-runner.js';
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
import { getReactionToken, reactionsModule } from './reactions.module.js';
import { TrackedEventBus } from './tracked-event-bus.js';

/**
 * Makes what is published from an event, at once, for each event type; other types are not
 * published.
 */
export type EventBusMapping<D extends AnyStream> = {
  readonly [Type in EventOf<D>['type']]?: (
    event: Recorded<Extract<EventOf<D>, { readonly type: Type }>>,
  ) => object;
};
/** Makes the bridge a reaction. */
export interface DurableBridgeOptions
  extends Omit<ReactionOptions<AnyStream>, 'streams'>, ReactionRunnerOptions {
  /** The name of the reaction: it names its checkpoints, so changing it begins again. */
  readonly durable: string;
}
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
 * commit (`sameCommit`), or into a durable bridge.
 *
 * With `{ durable: 'order-bus' }` it is a reaction: each event is published at least once, by one
 * of the processes, after a crash too, and again until all its handlers have resolved. What sagas
 * and the commands of sagas do is not waited for.
 */
@Module({})
export class EventBusBridgeModule {
  /**
   * `INVALID_OPTION` at once for an unknown event type; at the start-up when `CqrsModule` is
   * missing; and when the module is loaded lazily, after the start-up.
   */
  static forFeature<D extends AnyStream>(
    definition: D,
    mapping: EventBusMapping<D>,
    options?: DurableBridgeOptions,
  ): DynamicModule {
    const declaredAt = callSite(EventBusBridgeModule.forFeature);
    const owner = `EventBusBridgeModule.forFeature (${declaredAt})`;
    const stream = streamDefinitionOf(definition);
    assertOptions(owner, mapping, [...stream.events.keys()]);
    for (const [type, map] of Object.entries<unknown>(mapping))
      if (map !== undefined && typeof map !== 'function')
        throw invalidOption(
          `${owner}: ${type} must be a function that makes what is published; got ${inspect(map)}.`,
        );
    if (options !== undefined) return durableModule(declaredAt, stream, mapping as AnyMapping, options);
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

/**
 * The injection token of the runner of a durable bridge: a `ReactionRunner`, for `whenCaughtUp` and
 * parked streams.
 */
export const getEventBusBridgeToken = (durable: string): InjectionToken =>
  `ReactionRunner<${durable}> of EventBusBridgeModule.forFeature(…)`;

const durableToken = Symbol('kvent.durable-event-bus');

function durableModule(
  declaredAt: string,
  stream: ResolvedStream,
  mapping: AnyMapping,
  options: DurableBridgeOptions,
): DynamicModule {
  const owner = `EventBusBridgeModule.forFeature (${declaredAt})`;
  const runnerNames = ['retry', 'leaseTtlMs', 'onError', 'stopTimeoutMs'];
  const reactionOnly = reactionNames.filter((name) => name !== 'streams');
  assertOptions(owner, options, ['durable', ...reactionOnly, ...runnerNames]);
  const { durable, partitions, concurrency, from, timeoutMs, ...runner } = options;
  const types = [...stream.events.keys()].filter((type) => mapping[type] !== undefined);

  class DurableEventBusBridge {
    readonly #bus: DurableEventBus;

    constructor(@Inject(durableToken) bus: DurableEventBus) {
      this.#bus = bus;
    }

    async publish(event: Recorded<AnyEvent>, { signal }: ReactionContext): Promise<void> {
      const published = publishedFor(mapping, event);
      if (published !== undefined) await this.#bus.publish(published, signal);
    }
  }
  const { prototype } = DurableEventBusBridge;
  const method = Object.getOwnPropertyDescriptor(prototype, 'publish') as TypedPropertyDescriptor<
    typeof prototype.publish
  >;
  On(stream as AnyStream, ...(types as [string, ...string[]]))(prototype, 'publish', method);
  const common = { partitions, concurrency, from, timeoutMs };
  Reaction(durable, { streams: [stream as AnyStream], ...common })(DurableEventBusBridge);
  const token = getEventBusBridgeToken(durable);
  return {
    module: namedModule(`EventBusBridge(${stream.type}, ${durable})`, {}),
    imports: [EventStoreHost, reactionsModule([DurableEventBusBridge], runner, declaredAt)],
    providers: [
      {
        provide: durableToken,
        inject: [ModuleRef, ModulesContainer],
        useFactory: (module: ModuleRef, modules: ModulesContainer) => {
          if (hasStarted(modules)) throw lateImportError(owner);
          return new DurableEventBus(module, owner);
        },
      },
      { provide: token, useExisting: getReactionToken(DurableEventBusBridge) },
    ],
    exports: [token],
  };
}

class DurableEventBus implements OnModuleInit {
  readonly #modules: ModuleRef;
  readonly #owner: string;
  #bus: TrackedEventBus | undefined;

  constructor(modules: ModuleRef, owner: string) {
    this.#modules = modules;
    this.#owner = owner;
  }

  async onModuleInit(): Promise<void> {
    const { bus, cqrs } = await findBus(this.#modules, this.#owner);
    this.#bus = TrackedEventBus.of(bus, cqrs, this.#modules);
  }

  async publish(event: object, signal: AbortSignal): Promise<void> {
    if (this.#bus === undefined) throw new Error('The event bus is published to before the start-up.');
    await this.#bus.publish(event, signal);
  }
}

/** `INVALID_OPTION` for an asynchronous mapping: no handler is bound to the class `Promise`. */
function publishedFor(mapping: AnyMapping, event: Recorded<AnyEvent>): object | undefined {
  const published = mapping[event.type]?.(event);
  if (isPromise(published))
    throw refusedPromise(`EventBusBridgeModule: the mapping of ${event.type}`, published);
  return published;
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
    const { bus } = await findBus(this.#modules, this.#owner);
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
        isError(error) ? error.stack : thrownName(error),
      );
    };
    try {
      const published = publishedFor(this.#mapping, event);
      if (published === undefined) return;
      // other publishers than the default may return a promise
      void Promise.resolve(bus.publish(published) as unknown).catch(failed);
    } catch (error) {
      failed(error);
    }
  }
}

/** `INVALID_OPTION` */
async function findBus(
  modules: ModuleRef,
  owner: string,
): Promise<{ readonly bus: Cqrs.EventBus; readonly cqrs: typeof Cqrs }> {
  const cqrs = await optionalPackage(() => import('@nestjs/cqrs'));
  if (cqrs === undefined) throw invalidOption(`${owner} needs the package @nestjs/cqrs.`);
  try {
    return { bus: modules.get<Cqrs.EventBus>(cqrs.EventBus, { strict: false }), cqrs };
  } catch {
    throw invalidOption(
      `${owner} needs an EventBus: import CqrsModule.forRoot() once, in the module of the application.`,
    );
  }
}

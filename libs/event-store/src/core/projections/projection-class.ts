/** Projections as classes: `@Projection` declares one, and `@On` its handlers. */
import { invalidOption } from '@kvent/key-value-storage/provider';
import { assertOptions, callSiteOf, inspect, located } from '@kvent/key-value-storage/internal';
import {
  streamDefinitionOf,
  type AnyStream,
  type EventOf,
  type ResolvedStream,
} from '../definition/stream-definition.js';
import type { FeedEvent } from '../feed/event-feed.js';
import {
  commonNames,
  resolveProjection,
  type ProjectionContext,
  type ProjectionDefinition,
  type ProjectionHandler,
  type ProjectionOptions,
  type ResolvedProjection,
} from './projection-definition.js';

/** A class with `@Projection`. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- constructor inference demands it
export type ProjectionClass = abstract new (...given: any[]) => object;

export interface ProjectionClassOptions extends ProjectionOptions<AnyStream> {
  /**
   * The name of the provider of the states: one of `forRoot({ providers })`. @default that of the
   * streams
   */
  readonly provider?: string | undefined;
}

/** One `@On`: a method, and the events that it applies. */
interface DeclaredHandler {
  readonly stream: ResolvedStream;
  readonly types: readonly string[];
  readonly method: string;
}
type MethodsOfStream = ReadonlyMap<string, string>;

/** What `@Projection` has found on its class. */
interface DeclaredProjection {
  readonly options: Omit<ResolvedProjection, 'handlerOn'>;
  /** The names of methods, by the types of streams and of events. */
  readonly methods: ReadonlyMap<string, MethodsOfStream>;
}

// Symbol.for, because a class may be declared with another copy of the package
const handlersSymbol = Symbol.for('kvent.projection-handlers');
const projectionSymbol = Symbol.for('kvent.projection');

/**
 * The method applies events of these types: `@On(Orders, 'placed') placed(event: FeedEvent<typeof
 * Orders, 'placed'>, { change }: ProjectionContext) {…}`. The type of its first parameter is
 * checked. The method may only call the context, because it may run several times for an event.
 * `INVALID_OPTION` for an event type that the stream does not have.
 */
export function On<D extends AnyStream, Type extends EventOf<D>['type'] & string>(
  stream: D,
  ...types: readonly [Type, ...Type[]]
): <M extends (event: FeedEvent<D, Type>, context: ProjectionContext) => void | Promise<void>>(
  target: object,
  method: string,
  descriptor: TypedPropertyDescriptor<M>,
) => void {
  const place = callSiteOf(On);
  return (target, method): void => {
    const owner = `@On of ${target.constructor.name}.${method}`;
    const handler = located(place, () => ({ stream: streamWith(owner, stream, types), types, method }));
    const handlers = [...handlersOf(target), handler];
    Object.defineProperty(target, handlersSymbol, { value: handlers, configurable: true });
  };
}

/**
 * Declares a class of handlers as a projection: `@Projection('sales-by-day', { streams: [Orders]
 * })`. Each event counts exactly once. `name` names its checkpoints, so changing it begins again.
 * `INVALID_OPTION` for a blank name, an option that is not allowed, a class without `@On`, or an
 * `@On` of a stream that is not in `streams`.
 */
export function Projection(name: string, options: ProjectionClassOptions) {
  const place = callSiteOf(Projection);
  if (typeof name === 'function')
    throw invalidOption(
      `@Projection needs a name and its streams: @Projection('sales-by-day', { streams: [Orders] }). At ${place()}.`,
    );
  return (target: ProjectionClass): void => {
    const owner = `@Projection on ${target.name} (${inspect(name)})`;
    const declared = located(place, () => declare(owner, name, options, target.prototype as object));
    Object.defineProperty(target, projectionSymbol, { value: declared });
  };
}

/**
 * The projection of an instance, for a `ProjectionRunner` or a test without Nest: `new
 * ProjectionRunner(storage, projectionFrom(new SalesByDay(storage.store(DaySales))))`.
 * `INVALID_OPTION` where its class has no `@Projection`.
 */
export function projectionFrom(instance: object): ProjectionDefinition {
  const given: unknown = instance;
  const isInstance = typeof given === 'object' && given !== null;
  return boundProjection(isInstance ? given.constructor : given, () => instance);
}

export const isProjectionClass = (given: unknown): given is ProjectionClass => typeof given === 'function';

/**
 * `instance` is called when a partition begins. `INVALID_OPTION` for a class without `@Projection`.
 */
export function boundProjection(target: unknown, instance: () => object): ResolvedProjection {
  const { options, methods } = declarationOf(target);
  return Object.freeze({ ...options, handlerOn: () => handlerOf(methods, instance()) });
}

function declarationOf(target: unknown): DeclaredProjection {
  if (typeof target === 'function' && Object.hasOwn(target, projectionSymbol))
    return (target as unknown as Record<symbol, DeclaredProjection>)[projectionSymbol] as DeclaredProjection;
  const name = typeof target === 'function' ? `The class ${target.name}` : inspect(target);
  throw invalidOption(
    `${name} has no @Projection; declare it: @Projection('sales-by-day', { streams: [Orders] }).`,
  );
}

function handlerOf(methods: DeclaredProjection['methods'], instance: object): ProjectionHandler {
  const handlers = instance as Readonly<Record<string, ProjectionHandler>>;
  return (event, context) => {
    const method = methods.get(event.streamType)?.get(event.type);
    return method === undefined ? undefined : handlers[method]?.(event, context);
  };
}

/** Those of a base class too. */
const handlersOf = (prototype: object): readonly DeclaredHandler[] =>
  (prototype as { readonly [handlersSymbol]?: readonly DeclaredHandler[] })[handlersSymbol] ?? [];

function streamWith(owner: string, definition: AnyStream, types: readonly string[]): ResolvedStream {
  const stream = streamDefinitionOf(definition);
  const known = [...stream.events.keys()].join(', ');
  if (types.length === 0)
    throw invalidOption(
      `${owner} needs an event type of the stream '${stream.type}': @On(…, '…') with one of ${known}.`,
    );
  for (const type of types)
    if (!stream.events.has(type))
      throw invalidOption(
        `${owner}: the stream '${stream.type}' has no event ${inspect(type)}; it has ${known}.`,
      );
  return stream;
}

function declare(
  owner: string,
  name: string,
  given: ProjectionClassOptions,
  prototype: object,
): DeclaredProjection {
  assertOptions(owner, given, [...commonNames, 'provider']);
  const options = resolveProjection(owner, name, given, given.provider);
  const provider = given.provider ?? options.streams[0]?.provider;
  return { options: { ...options, provider }, methods: methodsOf(owner, options.streams, prototype) };
}

function methodsOf(
  owner: string,
  streams: readonly ResolvedStream[],
  prototype: object,
): DeclaredProjection['methods'] {
  const methods = new Map<string, Map<string, string>>();
  for (const { stream, types, method } of handlersOf(prototype)) {
    if (!streams.includes(stream))
      throw invalidOption(
        `${owner}: ${method} has @On for the stream '${stream.type}', which is not in streams (${streams.map((each) => each.type).join(', ')}). Add it to streams.`,
      );
    const ofStream = methods.get(stream.type) ?? new Map<string, string>();
    methods.set(stream.type, ofStream);
    for (const type of types) {
      const other = ofStream.get(type) ?? method;
      if (other !== method)
        throw invalidOption(
          `${owner}: ${other} and ${method} both have @On for '${type}' of the stream '${stream.type}'. Let one method apply it.`,
        );
      ofStream.set(type, method);
    }
  }
  if (methods.size === 0)
    throw invalidOption(`${owner} has no handler: write @On(stream, 'event type') on a method.`);
  return methods;
}

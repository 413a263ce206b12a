/** Methods that handle events: `@On` declares them, in classes of projections and of reactions. */
import { invalidOption } from '@kvent/key-value-storage/provider';
import { callSiteOf, inspect, located } from '@kvent/key-value-storage/internal';
import {
  streamDefinitionOf,
  type AnyStream,
  type EventOf,
  type ResolvedStream,
} from '../definition/stream-definition.js';
import type { FeedEvent } from '../feed/event-feed.js';
import type { ProjectionContext } from './projection-definition.js';

/** One `@On`: a method, and the events that it handles. */
interface DeclaredHandler {
  readonly stream: ResolvedStream;
  readonly types: readonly string[];
  readonly method: string;
}
/** The names of methods, by the types of streams and of events. */
export type MethodNames = ReadonlyMap<string, ReadonlyMap<string, string>>;

/** What a handler of a reaction may use. */
export interface ReactionContext {
  /**
   * Aborts when the process ends, when it has lost the partition, and after `timeoutMs`. Pass it on
   * to `fetch` and to drivers: until the handler has ended, its stream waits.
   */
  readonly signal: AbortSignal;
}

/** A method of a projection, or of a reaction. */
type MethodOf<D extends AnyStream, Type extends string> =
  | ((event: FeedEvent<D, Type>, context: ProjectionContext) => void | Promise<void>)
  | ((event: FeedEvent<D, Type>, context: ReactionContext) => unknown);

// Symbol.for, because a class may be declared with another copy of the package
const handlersSymbol = Symbol.for('kvent.projection-handlers');

/**
 * The method handles events of these types: `@On(Orders, 'placed') placed(event: FeedEvent<typeof
 * Orders, 'placed'>, { change }: ProjectionContext) {…}`. The type of its first parameter is
 * checked. A method of a projection may only call the context, because it may run several times for
 * an event; that of a reaction gets a `ReactionContext`. `INVALID_OPTION` for an event type that
 * the stream does not have.
 */
export function On<D extends AnyStream, Type extends EventOf<D>['type'] & string>(
  stream: D,
  ...types: readonly [Type, ...Type[]]
): <M extends MethodOf<D, Type>>(
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

/** `INVALID_OPTION` for a class without `@On`, or with one that is declared wrongly. */
export function methodsOf(owner: string, streams: readonly ResolvedStream[], prototype: object): MethodNames {
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

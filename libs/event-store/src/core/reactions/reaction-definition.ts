/**
 * `defineReaction` declares a reaction: what is done outside, in a mail server or a broker, when
 * events have been committed. A class of handlers is the same thing to the code that runs it.
 */
import { invalidOption } from '@kvent/key-value-storage/provider';
import { assertOptions, callSiteOf, inspect, located, timerMsMax } from '@kvent/key-value-storage/internal';
import type { AnyStream, EventOf } from '../definition/stream-definition.js';
import type { FeedEvent } from '../feed/event-feed.js';
import type { UntypedStream } from '../feed/read-feed.js';
import type { ReactionContext } from '../projections/class-handlers.js';
import { resolveProjection, type ProjectionOptions } from '../projections/projection-definition.js';
import type { Subscription } from '../projections/subscription.js';

/** Handles one event. It may be called again for the same event: `event.id` is the same then. */
export type ReactionHandler<E = FeedEvent<UntypedStream>> = (event: E, context: ReactionContext) => unknown;

/** A handler for each event type; other types are passed over. */
export type ReactionHandlers<D extends AnyStream> = {
  readonly [Type in EventOf<D>['type'] & string]?: ReactionHandler<FeedEvent<D, Type>> | undefined;
};

/** Returned by `defineReaction` and `reactionFrom`. */
export interface ReactionDefinition {
  readonly kind: 'reaction';
  readonly name: string;
}

/** What all ways to declare a reaction have in common. */
export interface ReactionOptions<D extends AnyStream> {
  /** Types of streams on one provider. Another type may be added later. */
  readonly streams: readonly D[];
  /**
   * How many parts of the streams are read side by side, also by several processes: a stream
   * belongs to one of them. It is fixed for a name. @default 1
   */
  readonly partitions?: number | undefined;
  /**
   * How many handlers run at the same time in each partition; events of one stream are handled one
   * after another. 1: in the order of the feed. After a crash, so many events at most are handled
   * again. @default 4
   */
  readonly concurrency?: number | undefined;
  /**
   * 'now': it begins with what is appended after its first start. 'beginning': with the first event
   * of the feed. @default 'now'
   */
  readonly from?: 'now' | 'beginning' | undefined;
  /** Milliseconds after which the signal of a handler aborts. @default 30_000 */
  readonly timeoutMs?: number | undefined;
}

/** A reaction with its defaults, as a runner uses it. */
export interface ResolvedReaction extends ReactionDefinition, Subscription {
  readonly kind: 'reaction';
  readonly concurrency: number;
  readonly timeoutMs: number;
  /** `undefined`: nothing is done for events of this type. */
  readonly handlerOf: (streamType: string, type: string) => ReactionHandler | undefined;
}

const concurrencyMax = 1_000;
export const reactionNames = ['streams', 'partitions', 'concurrency', 'from', 'timeoutMs'];

/**
 * Declares a reaction. Each event is handled at least once, with `event.id` as the key by which a
 * receiver recognises a repetition. `name` names its checkpoints, so changing it begins again.
 * `INVALID_OPTION` for a blank name, an option that is not allowed, or an event type that no stream
 * has.
 */
export function defineReaction<D extends AnyStream>(
  name: string,
  options: ReactionOptions<D> & { readonly on: ReactionHandlers<D> },
): ReactionDefinition {
  return located(callSiteOf(defineReaction), () => {
    const owner = `defineReaction (${inspect(name)})`;
    assertOptions(owner, options, [...reactionNames, 'on']);
    const reaction = resolveReaction(owner, name, options);
    const handlers = handlersIn(owner, reaction, options.on);
    return Object.freeze({ ...reaction, handlerOf: (_: string, type: string) => handlers.get(type) });
  });
}

/** `INVALID_OPTION`; `owner` is the first word of their messages. */
export function resolveReaction(
  owner: string,
  name: string,
  options: ReactionOptions<AnyStream>,
): Omit<ResolvedReaction, 'handlerOf'> {
  const { concurrency = 4, from = 'now', timeoutMs = 30_000, streams, partitions } = options;
  const common: ProjectionOptions<AnyStream> = { streams, partitions };
  const { kind: _, version, ...resolved } = resolveProjection(owner, name, common, undefined);
  assertWhole(owner, 'concurrency', concurrency, concurrencyMax);
  assertWhole(owner, 'timeoutMs', timeoutMs, timerMsMax);
  if (from !== 'now' && from !== 'beginning')
    throw invalidOption(`${owner}: from must be 'now' or 'beginning'; got ${inspect(from)}.`);
  const provider = resolved.streams[0]?.provider;
  return { ...resolved, kind: 'reaction', version, from, concurrency, timeoutMs, provider };
}

function handlersIn(
  owner: string,
  { streams }: Pick<Subscription, 'streams'>,
  on: unknown,
): ReadonlyMap<string, ReactionHandler> {
  const known = new Set(streams.flatMap(({ events }) => [...events.keys()]));
  if (typeof on !== 'object' || on === null)
    throw invalidOption(`${owner}: on must be an object of handlers; got ${inspect(on)}.`);
  assertOptions(`${owner}: on`, on, [...known]);
  const handlers = Object.entries<unknown>({ ...on }).filter(([, handler]) => handler !== undefined);
  for (const [type, handler] of handlers)
    if (typeof handler !== 'function')
      throw invalidOption(`${owner}: ${type} must be a function; got ${inspect(handler)}.`);
  if (handlers.length === 0)
    throw invalidOption(`${owner}: on must have a handler for one of ${[...known].join(', ')}.`);
  return new Map(handlers as readonly (readonly [string, ReactionHandler])[]);
}

function assertWhole(owner: string, name: string, value: unknown, max: number): void {
  if (Number.isInteger(value) && (value as number) >= 1 && (value as number) <= max) return;
  throw invalidOption(`${owner}: ${name} must be a whole number from 1 to ${max}; got ${inspect(value)}.`);
}

/** `INVALID_OPTION` for anything that neither `defineReaction` nor `reactionFrom` returned. */
export function reactionDefinitionOf(definition: unknown): ResolvedReaction {
  if (
    typeof definition === 'object' &&
    definition !== null &&
    (definition as { kind?: unknown }).kind === 'reaction' &&
    'handlerOf' in definition
  )
    return definition as ResolvedReaction;
  throw invalidOption(
    `A reaction must come from defineReaction or reactionFrom(instance); got ${inspect(definition)}.`,
  );
}

/** Reactions as classes: `@Reaction` declares one, and `@On` its handlers. */
import { invalidOption } from '@kvent/key-value-storage/provider';
import { assertOptions, callSiteOf, inspect, located } from '@kvent/key-value-storage/internal';
import type { AnyStream } from '../definition/stream-definition.js';
import { methodsOf, type MethodNames } from '../projections/class-handlers.js';
import {
  reactionNames,
  resolveReaction,
  type ReactionDefinition,
  type ReactionHandler,
  type ReactionOptions,
  type ResolvedReaction,
} from './reaction-definition.js';

/** A class with `@Reaction`. */
// oxlint-disable-next-line typescript/no-explicit-any -- constructor inference demands it
export type ReactionClass = abstract new (...given: any[]) => object;

/** What `@Reaction` has found on its class. */
interface DeclaredReaction {
  readonly options: Omit<ResolvedReaction, 'handlerOf'>;
  readonly methods: MethodNames;
}

// Symbol.for, because a class may be declared with another copy of the package
const reactionSymbol = Symbol.for('kvent.reaction');

/**
 * Declares a class of handlers as a reaction: `@Reaction('mail-on-placed', { streams: [Orders] })`.
 * Each event is handled at least once, with `event.id` as the key by which a receiver recognises a
 * repetition. `name` names its checkpoints, so changing it begins again. `INVALID_OPTION` for a
 * blank name, an option that is not allowed, a class without `@On`, or an `@On` of a stream that is
 * not in `streams`.
 */
export function Reaction(name: string, options: ReactionOptions<AnyStream>) {
  const place = callSiteOf(Reaction);
  if (typeof name === 'function')
    throw invalidOption(
      `@Reaction needs a name and its streams: @Reaction('mail-on-placed', { streams: [Orders] }). At ${place()}.`,
    );
  return (target: ReactionClass): void => {
    const owner = `@Reaction on ${target.name} (${inspect(name)})`;
    const declared = located(place, () => declare(owner, name, options, target.prototype as object));
    Object.defineProperty(target, reactionSymbol, { value: declared });
  };
}

/**
 * The reaction of an instance, for a `ReactionRunner` or a test without Nest. `INVALID_OPTION`
 * where its class has no `@Reaction`.
 */
export function reactionFrom(instance: object): ReactionDefinition {
  const given: unknown = instance;
  const isInstance = typeof given === 'object' && given !== null;
  return boundReaction(isInstance ? given.constructor : given, () => instance);
}

/** `instance` is called for each event. `INVALID_OPTION` for a class without `@Reaction`. */
export function boundReaction(target: unknown, instance: () => object): ResolvedReaction {
  const { options, methods } = declarationOf(target);
  const handlerOf = (streamType: string, type: string): ReactionHandler | undefined => {
    const method = methods.get(streamType)?.get(type);
    if (method === undefined) return undefined;
    return (event, context) => {
      const handlers = instance() as Readonly<Record<string, ReactionHandler>>;
      return handlers[method]?.(event, context);
    };
  };
  return Object.freeze({ ...options, handlerOf });
}

function declarationOf(target: unknown): DeclaredReaction {
  if (typeof target === 'function' && Object.hasOwn(target, reactionSymbol))
    return (target as unknown as Record<symbol, DeclaredReaction>)[reactionSymbol] as DeclaredReaction;
  const name = typeof target === 'function' ? `The class ${target.name}` : inspect(target);
  throw invalidOption(
    `${name} has no @Reaction; declare it: @Reaction('mail-on-placed', { streams: [Orders] }).`,
  );
}

function declare(
  owner: string,
  name: string,
  given: ReactionOptions<AnyStream>,
  prototype: object,
): DeclaredReaction {
  assertOptions(owner, given, reactionNames);
  const options = resolveReaction(owner, name, given);
  return { options, methods: methodsOf(owner, options.streams, prototype) };
}

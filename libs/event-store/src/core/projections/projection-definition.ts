/**
 * `defineProjection` declares a projection: how the events of some stream types change states. A
 * class of handlers is the same thing to the code that runs it.
 */
import type {
  Input,
  Key,
  KeyValueStorage,
  KeyValueStore,
  StateClass,
  StateDefinition,
} from '@kvent/key-value-storage/core';
import { invalidOption } from '@kvent/key-value-storage/provider';
import {
  assertOptions,
  callSiteOf,
  inspect,
  isPromise,
  located,
  refusedPromise,
  storeDefinitionOf,
} from '@kvent/key-value-storage/internal';
import { assertVersion, streamDefinitionOf, type AnyStream } from '../definition/stream-definition.js';
import type { FeedEvent } from '../feed/event-feed.js';
import type { UntypedStream } from '../feed/read-feed.js';
import type { Subscription } from './subscription.js';

/**
 * What a handler changes. Calls are collected, and take effect in their order, in one commit with
 * the checkpoint. A store is that of the tenant of the event, whatever tenant it was made for.
 */
export interface ProjectionContext {
  /**
   * Changes an entry: `fold` gets its value, or `initial` where there is none, and returns the
   * value to write. Where it returns the same object, nothing is written. Without `initial`, an
   * absent entry stops the projection with `KEY_NOT_FOUND`.
   */
  readonly change: <T, K extends Key, I>(
    store: KeyValueStore<T, K, I>,
    key: NoInfer<K>,
    fold: (value: T) => NoInfer<I>,
    options?: { readonly initial?: NoInfer<T | (() => T)> },
  ) => void;
  /** Deletes an entry, if there is one. */
  // oxlint-disable-next-line typescript/no-explicit-any -- KeyValueStore is invariant
  readonly remove: <K extends Key>(store: KeyValueStore<any, K, never>, key: NoInfer<K>) => void;
}

/** Applies one event: it may only call the context, because it may run several times. */
export type ProjectionHandler = (
  event: FeedEvent<UntypedStream>,
  context: ProjectionContext,
) => void | Promise<void>;

/** Returned by `defineProjection` and `projectionFrom`. */
export interface ProjectionDefinition {
  readonly kind: 'projection';
  readonly name: string;
  readonly version: number;
}

/** A projection with its defaults, as a runner uses it. */
export interface ResolvedProjection extends ProjectionDefinition, Subscription {
  readonly kind: 'projection';
  readonly handlerOn: (storage: KeyValueStorage) => ProjectionHandler;
}

/** What all ways to declare a projection have in common. */
export interface ProjectionOptions<D extends AnyStream> {
  /** Types of streams on one provider. */
  readonly streams: readonly D[];
  /**
   * Raise it when the states must be computed again: a new version has checkpoints of its own, and
   * begins with the first event. @default 1
   */
  readonly version?: number | undefined;
  /**
   * How many parts of the streams are read side by side: a stream belongs to one of them. It is
   * fixed for a version. @default 1
   */
  readonly partitions?: number | undefined;
}

const partitionsMax = 256;
export const commonNames = ['streams', 'version', 'partitions'];

/**
 * Declares a projection that folds events into the entries of one state. Each event counts exactly
 * once. `name` names its checkpoints, so changing it begins again. `INVALID_OPTION` for a blank
 * name or an option that is not allowed.
 */
export function defineProjection<D extends AnyStream, T, K extends Key = Key, I = Input<T>>(
  name: string,
  options: ProjectionOptions<D> & {
    /** The state whose entries are changed. It has the same scope as the streams. */
    // oxlint-disable-next-line typescript/no-explicit-any -- with any indexes
    readonly into: StateDefinition<T, K, I, any> | StateClass<T, K, I, any>;
    /** The key of the entry that an event changes; `undefined` where it changes none. */
    readonly key: (event: FeedEvent<D>) => NoInfer<K> | undefined;
    /** The value before the first event of an entry. */
    readonly initial: () => NoInfer<T>;
    /** A pure function. Where it returns the same object, nothing is written. */
    readonly evolve: (value: NoInfer<T>, event: FeedEvent<D>) => NoInfer<I>;
  },
): ProjectionDefinition {
  return located(callSiteOf(defineProjection), () => {
    const owner = `defineProjection (${inspect(name)})`;
    assertOptions(owner, options, [...commonNames, 'into', 'key', 'initial', 'evolve']);
    const { into, key, initial, evolve } = options;
    for (const [option, value] of Object.entries({ key, initial, evolve }))
      if (typeof value !== 'function')
        throw invalidOption(`${owner}: ${option} must be a function; got ${inspect(value)}.`);
    const { provider } = storeDefinitionOf(into);
    const handlerOn = (storage: KeyValueStorage): ProjectionHandler => {
      const store = storage.store(into as StateDefinition<T, K, I>) as unknown as KeyValueStore<T, K, I>;
      return (given, context) => {
        // the codec has checked that it is one of the definitions
        const event = given as unknown as FeedEvent<D>;
        const own = key(event);
        if (isPromise<unknown>(own)) throw refusedPromise(`${owner}: key`, own);
        if (own !== undefined) context.change(store, own, (value) => evolve(value, event), { initial });
      };
    };
    return Object.freeze({ ...resolveProjection(owner, name, options, provider), handlerOn });
  });
}

/** `INVALID_OPTION`; `owner` is the first word of its message. */
export function resolveProjection(
  owner: string,
  name: string,
  { streams, version = 1, partitions = 1 }: ProjectionOptions<AnyStream>,
  provider: string | undefined,
): Omit<ResolvedProjection, 'handlerOn'> {
  if (typeof name !== 'string' || name.trim() === '')
    throw invalidOption(`${owner}: name must be a string that is not blank; got ${inspect(name)}.`);
  if (!Array.isArray(streams) || streams.length === 0)
    throw invalidOption(
      `${owner}: streams must be an array with at least one stream definition; got ${inspect(streams)}.`,
    );
  const definitions = streams.map(streamDefinitionOf);
  assertVersion(owner, 'version', version);
  if (!Number.isInteger(partitions) || partitions < 1 || partitions > partitionsMax)
    throw invalidOption(
      `${owner}: partitions must be a whole number from 1 to ${partitionsMax}; got ${inspect(partitions)}.`,
    );
  return { kind: 'projection', name, version, partitions, streams: definitions, from: 'beginning', provider };
}

/** `INVALID_OPTION` for anything that neither `defineProjection` nor `projectionFrom` returned. */
export function projectionDefinitionOf(definition: unknown): ResolvedProjection {
  if (
    typeof definition === 'object' &&
    definition !== null &&
    (definition as { kind?: unknown }).kind === 'projection' &&
    'handlerOn' in definition
  )
    return definition as ResolvedProjection;
  throw invalidOption(
    `A projection must come from defineProjection or projectionFrom(instance); got ${inspect(definition)}.`,
  );
}

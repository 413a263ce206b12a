/** Projections as classes: `@Projection` declares one. */
import { invalidOption } from '@kvent/key-value-storage/provider';
import { assertOptions, callSiteOf, inspect, located } from '@kvent/key-value-storage/internal';
import type { AnyStream } from '../definition/stream-definition.js';
import { methodsOf, type MethodNames } from './class-handlers.js';
import {
  commonNames,
  resolveProjection,
  type ProjectionDefinition,
  type ProjectionHandler,
  type ProjectionOptions,
  type ResolvedProjection,
} from './projection-definition.js';

/** A class with `@Projection`. */
// oxlint-disable-next-line typescript/no-explicit-any -- constructor inference demands it
export type ProjectionClass = abstract new (...given: any[]) => object;

export interface ProjectionClassOptions extends ProjectionOptions<AnyStream> {
  /**
   * The name of the provider of the states: one of `forRoot({ providers })`. @default that of the
   * streams
   */
  readonly provider?: string | undefined;
}

/** What `@Projection` has found on its class. */
interface DeclaredProjection {
  readonly options: Omit<ResolvedProjection, 'handlerOn'>;
  readonly methods: MethodNames;
}

// Symbol.for, because a class may be declared with another copy of the package
const projectionSymbol = Symbol.for('kvent.projection');

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

/** A class with `@Projection`, of any copy of the package. */
export const isDeclaredProjection = (given: unknown): given is ProjectionClass =>
  typeof given === 'function' && Object.hasOwn(given, projectionSymbol);

/**
 * `instance` is called when a partition begins. `INVALID_OPTION` for a class without `@Projection`.
 */
export function boundProjection(target: unknown, instance: () => object): ResolvedProjection {
  const { options, methods } = declarationOf(target);
  return Object.freeze({ ...options, handlerOn: () => handlerOf(methods, instance()) });
}

function declarationOf(target: unknown): DeclaredProjection {
  if (isDeclaredProjection(target))
    return (target as unknown as Record<symbol, DeclaredProjection>)[projectionSymbol] as DeclaredProjection;
  const name = typeof target === 'function' ? `The class ${target.name}` : inspect(target);
  throw invalidOption(
    `${name} has no @Projection; declare it: @Projection('sales-by-day', { streams: [Orders] }).`,
  );
}

function handlerOf(methods: MethodNames, instance: object): ProjectionHandler {
  const handlers = instance as Readonly<Record<string, ProjectionHandler>>;
  return (event, context) => {
    const method = methods.get(event.streamType)?.get(event.type);
    return method === undefined ? undefined : handlers[method]?.(event, context);
  };
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

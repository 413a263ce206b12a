/** Definitions of states: declared by `@State` on a class, or by `defineState`. */
import type { StandardSchemaV1 } from '@standard-schema/spec';
import { assertWithin } from '../base/assert-limits.js';
import { inspect } from '../base/inspect.js';
import { assertOptions, assertTtl, invalidOption } from '../base/options.js';
import { assertUpcast, type Upcast } from '../encoding/upcast.js';
import { stateContainer, stateSpace } from './state-space.js';

type AnyMethod = (...given: never[]) => unknown;
export type ClassOf<T> = abstract new (...given: never[]) => T;

/**
 * The stored part of `T`: its properties, not its methods. Plain types stay as they are, and so
 * does a class with private members: its data alone are not assignable to it.
 */
export type Data<T> = T extends
  | string
  | number
  | bigint
  | boolean
  | null
  | undefined
  | Date
  | Uint8Array
  | readonly unknown[]
  | ReadonlyMap<unknown, unknown>
  | ReadonlySet<unknown>
  ? T
  : [Pick<T, keyof T>] extends [T]
    ? Extract<{ [K in keyof T]: T[K] extends AnyMethod ? K : never }[keyof T], PropertyKey> extends never
      ? T
      : { [K in keyof T as T[K] extends AnyMethod ? never : K]: T[K] }
    : T;

/**
 * What a store takes: a value that was read, or its data. The union makes generic helpers compile.
 */
export type Input<T> = T | Data<T>;

export interface StateOptions {
  /** Raise it together with `upcast`. @default 1 */
  readonly schemaVersion?: number;
  /**
   * `{ 1: v1 => v2, 2: v2 => v3 }`: converts, on read, what an older version stored. A missing step
   * is `INVALID_OPTION` when the state is defined.
   */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- the older shape has no type any more
  readonly upcast?: Readonly<Record<number, (older: any) => unknown>>;
  /** Milliseconds, for every `add`, `set` and `replace` without a `ttlMs` of its own. */
  readonly ttlMs?: number;
  /**
   * 'sliding': `get` and `getOrThrow` renew it, at most once per tenth of it. @default 'absolute'
   */
  readonly expiry?: 'absolute' | 'sliding';
  /** Whether each tenant has its own. @default 'tenant' where a tenancy is set, else 'shared' */
  readonly scope?: 'tenant' | 'shared';
  /** Groups entities. @default 'state' */
  readonly container?: string;
  /** The name of one of `forRoot({ providers })`. @default the main provider */
  readonly provider?: string;
}

interface SchemaMustAcceptItsOwnOutput<Output> {
  readonly 'a state is read, changed and stored again, so its schema must accept its own output': Output;
}
interface FieldsMissingInSchema<Names> {
  readonly 'the schema would drop these fields of the class': Names;
}
type Stable<S extends StandardSchemaV1> = [StandardSchemaV1.InferOutput<S>] extends [
  StandardSchemaV1.InferInput<S>,
]
  ? unknown
  : SchemaMustAcceptItsOwnOutput<StandardSchemaV1.InferOutput<S>>;
type DroppedBy<S extends StandardSchemaV1, T> = Exclude<keyof Data<T>, keyof StandardSchemaV1.InferOutput<S>>;

/** Returned by `defineState`. `~type` exists for the compiler only. */
export interface StateDefinition<T> {
  readonly kind: 'state';
  readonly name: string;
  readonly '~type'?: T;
}
/** The value type of a state. */
export type StateOf<D> = D extends { readonly '~type'?: infer T } ? T : never;

/** A definition with its defaults. `entity` and `container` are encoded. */
export interface ResolvedState<T = unknown> extends StateDefinition<T> {
  readonly entity: string;
  readonly container: string;
  readonly schema: StandardSchemaV1 | undefined;
  readonly schemaVersion: number;
  readonly upcast: Upcast;
  readonly ttlMs: number | undefined;
  readonly sliding: boolean;
  readonly scope: 'tenant' | 'shared' | undefined;
  readonly provider: string | undefined;
  /** Values are its instances; `undefined` for plain values. */
  readonly prototype: object | undefined;
}

/** On a class: its definition. Read as an own property, so that a subclass does not inherit it. */
const definitionSymbol = Symbol.for('kvent.state');

/**
 * Declares a class as a state. Reads return frozen instances of it; its constructor is not called.
 * `name` is part of the stored address, so it is explicit: a minifier cannot change it.
 * `INVALID_OPTION` for a blank name or an invalid option.
 */
export function State(name: string, options?: StateOptions): <C extends ClassOf<object>>(target: C) => void;
export function State<S extends StandardSchemaV1>(
  name: string,
  options: StateOptions & { readonly schema: S & Stable<S> },
): <C extends ClassOf<StandardSchemaV1.InferOutput<S>>>(
  target: [DroppedBy<S, InstanceType<C>>] extends [never]
    ? C
    : C & FieldsMissingInSchema<DroppedBy<S, InstanceType<C>>>,
) => void;
export function State(name: string, options: StateOptions & { readonly schema?: StandardSchemaV1 } = {}) {
  return (target: ClassOf<object>): void => {
    const definition = resolveState(`@State on ${target.name}`, name, options, target.prototype as object);
    Object.defineProperty(target, definitionSymbol, { value: definition });
  };
}

/** Declares a state from a schema: `export type Tag = StateOf<typeof Tags>`. */
export function defineState<S extends StandardSchemaV1>(
  name: string,
  options: StateOptions & { readonly schema: S & Stable<S> },
): StateDefinition<StandardSchemaV1.InferOutput<S>>;
export function defineState<T>(name: string, options?: StateOptions): StateDefinition<T>;
export function defineState(
  name: string,
  options: StateOptions & { readonly schema?: StandardSchemaV1 } = {},
): StateDefinition<unknown> {
  return resolveState('defineState', name, options, undefined);
}

const stateOptions = [
  'schema',
  'schemaVersion',
  'upcast',
  'ttlMs',
  'expiry',
  'scope',
  'container',
  'provider',
] as const;

function resolveState(
  owner: string,
  name: string,
  options: StateOptions & { readonly schema?: StandardSchemaV1 },
  prototype: object | undefined,
): ResolvedState {
  const where = `${owner} (${inspect(name)})`;
  if (typeof name !== 'string' || name.trim() === '')
    throw invalidOption(`${where}: the name of a state must be a text that is not blank.`);
  assertOptions(where, options, stateOptions);
  const {
    schemaVersion = 1,
    upcast = {},
    ttlMs,
    expiry = 'absolute',
    scope,
    container = stateContainer,
    provider,
  } = options;
  if (!Number.isInteger(schemaVersion) || schemaVersion < 1) {
    throw invalidOption(
      `${where}: schemaVersion must be a whole number from 1; got ${inspect(schemaVersion)}.`,
    );
  }
  assertUpcast(where, schemaVersion, upcast);
  if (ttlMs !== undefined) assertTtl(where, ttlMs);
  assertOneOf(where, 'expiry', expiry, ['absolute', 'sliding']);
  assertOneOf(where, 'scope', scope, ['tenant', 'shared', undefined]);
  if (typeof container !== 'string' || container === '')
    throw invalidOption(`${where}: container must be a text that is not empty.`);
  const resolved: ResolvedState = {
    kind: 'state',
    name,
    ...stateSpace(name, container),
    schema: options.schema,
    schemaVersion,
    upcast,
    ttlMs,
    sliding: expiry === 'sliding',
    scope,
    provider,
    prototype,
  };
  assertWithin('entityBytesMax', resolved.entity, 'state name');
  assertWithin('containerBytesMax', resolved.container, 'container');
  return Object.freeze(resolved);
}

function assertOneOf(
  where: string,
  option: string,
  given: unknown,
  allowed: readonly (string | undefined)[],
): void {
  if (!allowed.some((word) => word === given)) {
    const words = allowed.filter((word) => word !== undefined).map((word) => `'${word}'`);
    throw invalidOption(`${where}: ${option} must be ${words.join(' or ')}; got ${inspect(given)}.`);
  }
}

/** The definition behind a class or a definition; `INVALID_OPTION` for a class without `@State`. */
export function definitionOf(state: unknown): ResolvedState {
  if (typeof state === 'function') {
    const own = Object.getOwnPropertyDescriptor(state, definitionSymbol);
    if (own !== undefined) return own.value as ResolvedState;
    throw invalidOption(
      `The class ${state.name || '(without a name)'} has no @State; declare it, or use defineState.`,
    );
  }
  if (
    typeof state === 'object' &&
    state !== null &&
    (state as { kind?: unknown }).kind === 'state' &&
    'entity' in state
  )
    return state as ResolvedState;
  throw invalidOption(
    `A state must be a class with @State, or a definition of defineState; got ${inspect(state)}.`,
  );
}

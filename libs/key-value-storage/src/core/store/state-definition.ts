/** Definitions of states: declared by `@State` on a class, or by `defineState`. */
import type { StandardSchemaV1 } from '@standard-schema/spec';
import { callSiteOf, located } from '../base/call-site.js';
import { assertWithin } from '../base/assert-limits.js';
import { inspect } from '../base/inspect.js';
import { assertOptions, invalidOption } from '../base/options.js';
import { assertUpcast, type Upcast } from '../encoding/upcast.js';
import type { Key } from '../base/key.js';
import { copyProperties } from '../encoding/codec.js';
import { indexIn, resolveIndexes, type ResolvedIndex } from './index-definition.js';
import type { AnyIndexes, IndexDefinitions, NoIndexes } from './index-types.js';
import { assertOneOf, resolveDefinition, type ResolvedDefinition } from './definition-options.js';
import type { FrozenKey, KeyFrom, KeyOptions, KeySchema } from './key-schema.js';
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
  // oxlint-disable-next-line typescript/no-explicit-any -- the older shape has no type any more
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
interface IndexesOfAnotherClass<X> {
  readonly 'the functions of these indexes take the value of another class': X;
}
type Stable<S extends StandardSchemaV1> = [StandardSchemaV1.InferOutput<S>] extends [
  StandardSchemaV1.InferInput<S>,
]
  ? unknown
  : SchemaMustAcceptItsOwnOutput<StandardSchemaV1.InferOutput<S>>;
type DroppedBy<S extends StandardSchemaV1, T> = Exclude<keyof Data<T>, keyof StandardSchemaV1.InferOutput<S>>;

/** For the compiler only: the keys, what writes take, and the indexes. */
interface StateTypes<K extends Key, I, X extends AnyIndexes> {
  readonly '~key'?: (key: K) => K;
  readonly '~input'?: (input: I) => void;
  readonly '~indexes'?: X;
}
/** Returned by `defineState`. `~type` exists for the compiler only. */
export interface StateDefinition<
  T,
  K extends Key = Key,
  I = Input<T>,
  X extends AnyIndexes = NoIndexes,
> extends StateTypes<K, I, X> {
  readonly kind: 'state';
  readonly name: string;
  readonly '~type'?: T;
}
/**
 * A class that is a state: with `@State`, or one that extends what `stateOf` returned. `~output`:
 * what the schema gives; a subclass that declares other properties is refused.
 */
export type StateClass<T, K extends Key = Key, I = Input<T>, X extends AnyIndexes = AnyIndexes> = ClassOf<T> &
  StateTypes<K, I, X> & { readonly '~output'?: NoInfer<Data<T>> };
/** The class that `stateOf` returns, to be extended. */
export type StateBase<T, K extends Key, I, X extends AnyIndexes = NoIndexes> = (new (data: T) => T) &
  StateTypes<K, I, X> & { readonly '~output'?: T };

/** A state: a class, or what `defineState` returned. */
// oxlint-disable-next-line typescript/no-explicit-any -- a bound
export type AnyState = ClassOf<object> | StateDefinition<any, any, any, any>;
/** The value type of a state or of a stream. */
export type StateOf<D> =
  D extends ClassOf<infer T> ? T : D extends { readonly '~type'?: infer T } ? T : never;
/** The keys of a state. */
export type KeyOf<D> = '~key' extends keyof D
  ? D extends { readonly '~key'?: (key: infer K) => unknown }
    ? Extract<K, Key>
    : never
  : Key;
/** The indexes of a state; of any name for a class whose decorator holds them. */
export type IndexesOf<D> = '~indexes' extends keyof D
  ? D extends { readonly '~indexes'?: infer X }
    ? Extract<X, AnyIndexes>
    : never
  : NoIndexes;
/** What the writes of a state take: for a state with a schema, the input of the schema. */
export type InputOf<D> = '~input' extends keyof D
  ? D extends { readonly '~input'?: (input: infer I) => void }
    ? I
    : never
  : Input<StateOf<D>>;

/** A definition with its defaults. */
export interface ResolvedState<T = unknown> extends ResolvedDefinition {
  readonly kind: 'state';
  readonly '~type'?: T;
  readonly schema: StandardSchemaV1 | undefined;
  readonly schemaVersion: number;
  readonly upcast: Upcast;
  readonly sliding: boolean;
  /** `undefined` where there are none: then a write costs nothing more. */
  readonly indexes: readonly ResolvedIndex[] | undefined;
  /** Values are its instances; `undefined` for plain values. */
  readonly prototype: object | undefined;
}

/** On a class: its definition. Read as an own property, so that a subclass does not inherit it. */
const definitionSymbol = Symbol.for('kvent.state');
/** On the class that `stateOf` returned: the definition of the class that extends it. */
/** The intersection gives the parameter of an index function its type; `X` alone would not. */
interface IndexesOption<X, T> {
  readonly indexes?: X & IndexDefinitions<T>;
}

const baseSymbol = Symbol.for('kvent.state-base');

/** The options of a state as the code reads them. */
type GivenOptions = StateOptions &
  KeyOptions<KeySchema> & { readonly schema?: StandardSchemaV1; readonly indexes?: AnyIndexes };

/**
 * Declares a class as a state. Reads return frozen instances of it; its constructor is not called.
 * `name` is part of the stored address, so it is explicit: a minifier cannot change it.
 * `INVALID_OPTION` for a blank name or an invalid option.
 */
export function State<X extends AnyIndexes = NoIndexes>(
  name: string,
  // oxlint-disable-next-line typescript/no-explicit-any -- a decorator does not know its class
  options?: StateOptions & KeyOptions<KeySchema> & IndexesOption<X, any>,
): <C extends ClassOf<object>>(
  target: X extends IndexDefinitions<InstanceType<C>> ? C : C & IndexesOfAnotherClass<X>,
) => void;
export function State<S extends StandardSchemaV1>(
  name: string,
  options: StateOptions &
    KeyOptions<KeySchema> & {
      readonly schema: S & Stable<S>;
      readonly indexes?: IndexDefinitions<StandardSchemaV1.InferOutput<S>>;
    },
): <C extends ClassOf<StandardSchemaV1.InferOutput<S>>>(
  target: [DroppedBy<S, InstanceType<C>>] extends [never]
    ? C
    : C & FieldsMissingInSchema<DroppedBy<S, InstanceType<C>>>,
) => void;
export function State(name: string, options: GivenOptions = {}) {
  const place = callSiteOf(State);
  if (typeof name === 'function')
    throw invalidOption(`@State needs the name of the state: @State('product'). At ${place()}.`);
  return (target: ClassOf<object>): void => {
    const owner = `@State on ${target.name}`;
    const definition = located(place, () => resolveState(owner, name, options, target.prototype as object));
    Object.defineProperty(target, definitionSymbol, { value: definition });
  };
}

/**
 * A class to extend: `class Product extends stateOf('product', schema) {}` is the state, its type
 * and its schema in one. The class may add methods. Reads return frozen instances of it; its
 * constructor, which reads do not call, takes the data. `INVALID_OPTION` as of `@State`.
 */
export function stateOf<
  S extends StandardSchemaV1<unknown, object>,
  KS extends KeySchema = KeySchema,
  X extends IndexDefinitions<StandardSchemaV1.InferOutput<S>> = NoIndexes,
>(
  name: string,
  schema: S & Stable<S>,
  options: StateOptions & KeyOptions<KS> & IndexesOption<X, StandardSchemaV1.InferOutput<S>> = {},
): StateBase<StandardSchemaV1.InferOutput<S>, KeyFrom<KS>, StandardSchemaV1.InferInput<S>, X> {
  // oxlint-disable-next-line typescript/no-extraneous-class -- a class to extend
  const base = class {
    constructor(data?: object) {
      if (data !== undefined) copyProperties(this, data);
    }
  };
  const definition = located(callSiteOf(stateOf), () =>
    resolveState('stateOf', name, { ...options, schema }, undefined),
  );
  Object.defineProperty(base, baseSymbol, { value: definition });
  return base;
}

/**
 * Declares a state from a schema (`export type Tag = StateOf<typeof Tags>`), or from type
 * arguments: of its values, of its keys, and of its indexes.
 */
export function defineState<
  S extends StandardSchemaV1,
  KS extends KeySchema = KeySchema,
  X extends IndexDefinitions<StandardSchemaV1.InferOutput<S>> = NoIndexes,
>(
  name: string,
  options: StateOptions &
    KeyOptions<KS> &
    IndexesOption<X, StandardSchemaV1.InferOutput<S>> & { readonly schema: S & Stable<S> },
): StateDefinition<StandardSchemaV1.InferOutput<S>, KeyFrom<KS>, StandardSchemaV1.InferInput<S>, X>;
export function defineState<T>(
  name: string,
  options?: StateOptions & { readonly key?: never; readonly indexes?: never },
): StateDefinition<T>;
export function defineState<T>(
  name: string,
  options: StateOptions & { readonly key?: never; readonly indexes: IndexDefinitions<T> },
): StateDefinition<T, Key, Input<T>, IndexDefinitions<T>>;
export function defineState<T, K extends Key>(
  name: string,
  options?: StateOptions & KeyOptions<StandardSchemaV1<unknown, K>> & { readonly indexes?: never },
): StateDefinition<T, FrozenKey<K>>;
export function defineState<T, K extends Key, X extends IndexDefinitions<T> = IndexDefinitions<T>>(
  name: string,
  options: StateOptions & KeyOptions<StandardSchemaV1<unknown, K>> & { readonly indexes: X },
): StateDefinition<T, FrozenKey<K>, Input<T>, X>;
export function defineState(name: string, options: GivenOptions = {}): Pick<ResolvedState, 'kind' | 'name'> {
  return located(callSiteOf(defineState), () => resolveState('defineState', name, options, undefined));
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
  'key',
  'indexes',
] as const;

function resolveState(
  owner: string,
  name: string,
  options: GivenOptions,
  prototype: object | undefined,
): ResolvedState {
  const where = `${owner} (${inspect(name)})`;
  assertOptions(where, options, stateOptions);
  const { schemaVersion = 1, upcast = {}, expiry = 'absolute', container = stateContainer } = options;
  const space = (encodable: string) => stateSpace(encodable, container);
  const resolved = resolveDefinition(where, 'state', name, { ...options, container }, space);
  if (!Number.isInteger(schemaVersion) || schemaVersion < 1) {
    throw invalidOption(
      `${where}: schemaVersion must be a whole number from 1; got ${inspect(schemaVersion)}.`,
    );
  }
  assertUpcast(where, schemaVersion, upcast);
  assertOneOf(where, 'expiry', expiry, ['absolute', 'sliding']);
  const { entity, container: group } = resolved;
  const indexes = resolveIndexes(where, options.indexes ?? {}, { entity, container: group, schemaVersion });
  return Object.freeze({
    kind: 'state',
    ...resolved,
    schema: options.schema,
    schemaVersion,
    upcast,
    sliding: expiry === 'sliding',
    indexes: indexes.length === 0 ? undefined : indexes,
    prototype,
  });
}

/** The definition behind a class or a definition; `INVALID_OPTION` for a class without `@State`. */
export function definitionOf(state: unknown): ResolvedState {
  if (typeof state === 'function') {
    const own = Object.getOwnPropertyDescriptor(state, definitionSymbol);
    if (own !== undefined) return own.value as ResolvedState;
    const extended = extendedDefinition(state as ClassOf<object>);
    if (extended !== undefined) return extended;
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
    `A state must be a class with @State, or a definition of defineState; got ${describeWrong(state)}.`,
  );
}

function describeWrong(state: unknown): string {
  if (state === undefined)
    return 'undefined: its file exports no such name, or two files import each other (move the state into a file of its own)';
  const isStream = typeof state === 'object' && state !== null && 'kind' in state && state.kind === 'stream';
  return isStream
    ? 'a stream: use EventStoreModule.forFeature and @InjectStream, or eventStore.stream(…)'
    : inspect(state);
}

/** Of a class that extends what `stateOf` returned: made once, with the prototype of the class. */
function extendedDefinition(state: ClassOf<object>): ResolvedState | undefined {
  if (Object.hasOwn(state, baseSymbol))
    throw invalidOption('stateOf returns a class to extend: class Product extends stateOf(…) {}.');
  const parent: unknown = Object.getPrototypeOf(state);
  const base = Object.getOwnPropertyDescriptor(parent, baseSymbol)?.value as ResolvedState | undefined;
  if (base === undefined) return undefined;
  const definition = Object.freeze({ ...base, prototype: state.prototype as object });
  Object.defineProperty(state, definitionSymbol, { value: definition });
  return definition;
}

const copies = new WeakMap<ResolvedState, Map<number, ResolvedState>>();

/**
 * The same state with rows of its own, in the container `<container>~<copy>`: for a projection that
 * is built beside the rows that are read. `LIMIT_EXCEEDED` for a container that is too long.
 */
export function copyOfState(state: ResolvedState, copy: number): ResolvedState {
  const known = copies.get(state) ?? new Map<number, ResolvedState>();
  copies.set(state, known);
  let copied = known.get(copy);
  if (copied === undefined) {
    const container = `${state.container}~${copy}`;
    assertWithin('containerBytesMax', container, 'container');
    const indexes = state.indexes?.map((index) => indexIn(index, container));
    known.set(copy, (copied = Object.freeze({ ...state, container, indexes })));
  }
  return copied;
}

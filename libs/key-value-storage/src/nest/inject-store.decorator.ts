import { Inject, type InjectionToken } from '@nestjs/common';
import type { AnyIndexes } from '../core/store/index-types.js';
import { IndexedStore, KeyValueStore, type StoreWith } from '../core/store/key-value-store.js';
import { callSiteOf, located } from '../core/base/call-site.js';
import { invalidOption } from '../core/base/options.js';
import {
  storeDefinitionOf,
  type AnyDefinition,
  type CounterDefinition,
  type ResolvedAny,
  type ShardedCounterDefinition,
} from '../core/store/counter-definition.js';
import { CounterStore } from '../core/store/counter-store.js';
import { ShardedCounter } from '../core/store/sharded-counter.js';
import type { Key } from '../core/base/key.js';
import type { Input, StateClass, StateDefinition } from '../core/store/state-definition.js';

// oxlint-disable-next-line typescript/no-explicit-any -- constructor inference demands it
type AnyClass = abstract new (...given: any[]) => unknown;

interface WrongType<Expected> {
  readonly 'what this decorator injects is': Expected;
}
type ParameterOf<C, I extends number> = C extends abstract new (...given: infer P) => unknown ? P[I] : never;

/**
 * Works on a constructor parameter and on a property. A parameter, or a public property, of another
 * type is a compile error.
 */
export interface InjectDecorator<What, Indexed = What> {
  <C extends AnyClass, I extends number>(
    target: C,
    property: undefined,
    index: Wanted<What, Indexed, ParameterOf<C, I>> extends ParameterOf<C, I> ? I : I & WrongType<What>,
  ): void;
  <O extends object, P extends string | symbol>(
    target: O,
    property: P extends keyof O ? (Wanted<What, Indexed, O[P]> extends O[P] ? P : P & WrongType<What>) : P,
  ): void;
}
// compared with the type of the same name: the compiler compares other types by their methods alone
// oxlint-disable-next-line typescript/no-explicit-any -- a bound
type Wanted<What, Indexed, Given> = Given extends IndexedStore<any, any, any, any> ? Indexed : What;

// A symbol on the definition, not a registry: two copies of this package would have two registries.
const tokens = new WeakMap<ResolvedAny, symbol>();

const storeNames = {
  state: 'KeyValueStore',
  counter: 'CounterStore',
  'sharded counter': 'ShardedCounter',
} as const;

/**
 * The injection token of the store of a state or a counter: `{ provide: getStoreToken(Product),
 * useValue: stub }`. `INVALID_OPTION` for a class without `@State`.
 */
export function getStoreToken(state: AnyDefinition): InjectionToken {
  const definition = storeDefinitionOf(state);
  let token = tokens.get(definition);
  if (token === undefined) {
    const store = storeNames[definition.kind];
    // Nest prints it where a module does not import it
    token = Symbol(`${store}<${definition.name}> of KeyValueStorageModule.forFeature([…])`);
    tokens.set(definition, token);
  }
  return token;
}

/**
 * Injects the store of a state: `constructor(@InjectStore(Product) private readonly products:
 * KeyValueStore<Product>) {}`; of a counter a `CounterStore` or a `ShardedCounter`. The definition
 * must be in some `KeyValueStorageModule.forFeature([…])` that the module imports. `INVALID_OPTION`
 * for a class without `@State`, and for a parameter that is declared as a store of the other kind.
 */
export function InjectStore<N extends number | bigint, K extends Key>(
  definition: CounterDefinition<N, K>,
): InjectDecorator<CounterStore<N, K>>;
export function InjectStore<K extends Key>(
  definition: ShardedCounterDefinition<K>,
): InjectDecorator<ShardedCounter<K>>;
export function InjectStore<T, K extends Key, I, X extends AnyIndexes>(
  definition: StateDefinition<T, K, I, X>,
): InjectDecorator<KeyValueStore<T, K, I>, StoreWith<T, K, I, X>>;
// a class with @State does not hold the types of its keys and indexes: the parameter says them
// oxlint-disable-next-line typescript/no-explicit-any -- keys of any type
export function InjectStore<T, K extends Key = any, I = Input<T>, X extends AnyIndexes = any>(
  state: StateClass<T, K, I, X>,
): InjectDecorator<KeyValueStore<T, K, I>, StoreWith<T, K, I, X>>;
export function InjectStore(state: AnyDefinition): InjectDecorator<never> {
  const place = callSiteOf(InjectStore);
  const inject = Inject(located(place, () => getStoreToken(state)));
  const { kind, name } = storeDefinitionOf(state);
  return (target: object, property: string | symbol | undefined, index?: number) => {
    located(place, () => assertType(kind, name, declaredType(target, property, index)));
    inject(target, property, index as number);
  };
}

function assertType(kind: ResolvedAny['kind'], name: string, type: unknown): void {
  const declared = kindsOfClasses.get(type);
  if (declared !== undefined && declared !== kind)
    throw invalidOption(`'${name}' is a ${kind}: declare it as ${storeNames[kind]}.`);
}

const kindsOfClasses: ReadonlyMap<unknown, ResolvedAny['kind']> = new Map<unknown, ResolvedAny['kind']>([
  [KeyValueStore, 'state'],
  [IndexedStore, 'state'],
  [CounterStore, 'counter'],
  [ShardedCounter, 'sharded counter'],
]);

/**
 * What the compiler writes for decorated classes, if it does. Compilers that check no types (swc,
 * the tests of Nest) accept the wrong store.
 */
function declaredType(target: object, property: string | symbol | undefined, index?: number): unknown {
  const metadata = (Reflect as { getMetadata?: (name: string, ...of: unknown[]) => unknown }).getMetadata;
  if (index === undefined) return metadata?.('design:type', target, property);
  return (metadata?.('design:paramtypes', target, property) as readonly unknown[] | undefined)?.[index];
}

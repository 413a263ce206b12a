/**
 * Which kind of store a verb was given. The compiler refuses a store of another kind; these are the
 * errors of callers without one, and of a second copy of the package.
 */
import { anotherCopy, isOfAnotherCopy } from '../base/another-copy.js';
import { withCaller } from '../base/call-site.js';
import { inspect } from '../base/inspect.js';
import { invalidOption } from '../base/options.js';
import { storeDefinitionOf, type ResolvedAny } from './counter-definition.js';
import type { CounterRows } from './counter-rows.js';
import type { CounterStore } from './counter-store.js';
import type { AnyStore } from './key-value-store.js';
import type { StateRows } from './state-rows.js';
import { counterRows, TypedCounterStore } from './typed-counter-store.js';
import { TypedShardedCounter } from './typed-sharded-counter.js';
import { storeRows, TypedStore } from './typed-store.js';

// oxlint-disable-next-line typescript/no-explicit-any -- CounterStore is invariant
export type AnyCounterStore = CounterStore<any, any>;

/** The rows of a store of states; `INVALID_OPTION` for anything else, with the line of the call. */
export function rowsOf(store: AnyStore): StateRows<unknown> {
  if (store instanceof TypedStore) return (store as TypedStore<unknown>)[storeRows];
  throw notOfBatch('stores', store, TypedStore);
}

/**
 * The rows of a store of counters; `INVALID_OPTION` for anything else, with the line of the call.
 */
export function counterRowsOf(store: AnyCounterStore): CounterRows<number | bigint> {
  if (store instanceof TypedCounterStore) return (store as TypedCounterStore<number | bigint>)[counterRows];
  throw notOfBatch('counters', store, TypedCounterStore);
}

function notOfBatch(what: string, given: unknown, known: { readonly name: string }): unknown {
  if (isOfAnotherCopy(given, known)) return withCaller(anotherCopy('This store'));
  return withCaller(invalidOption(`A batch takes ${what} of its own storage; got ${inBatch(given)}.`));
}

const stateVerbs = 'use set, add or replace, or declare it with defineCounter';
const counterVerbs = 'use increment, decrement, raiseTo or lowerTo';

/** With the verbs that a batch has for it. */
function inBatch(given: unknown): string {
  if (given instanceof TypedShardedCounter)
    return `the ${called(given)}: change it outside of a batch, or use defineCounter`;
  if (given instanceof TypedCounterStore) return `the ${called(given)}: ${counterVerbs}`;
  if (given instanceof TypedStore) return `the store of the ${called(given)}: ${stateVerbs}`;
  const definition = definitionIn(given);
  return definition === undefined
    ? inspect(given)
    : `the definition of the ${definition.kind} '${definition.name}': pass its store, storage.store(…)`;
}

function definitionIn(given: unknown): ResolvedAny | undefined {
  try {
    return storeDefinitionOf(given);
  } catch {
    return undefined;
  }
}

type OwnStore = TypedStore<unknown> | TypedCounterStore<number | bigint> | TypedShardedCounter;

function called(store: OwnStore): string {
  if (store instanceof TypedShardedCounter) return `sharded counter '${store.name}'`;
  return store instanceof TypedCounterStore
    ? `counter '${store[counterRows].definition.name}'`
    : `state '${store[storeRows].state.name}'`;
}

const kinds: readonly { readonly prototype: OwnStore; readonly remedy: string }[] = [
  { prototype: TypedStore.prototype as TypedStore<unknown>, remedy: stateVerbs },
  {
    prototype: TypedCounterStore.prototype as TypedCounterStore<number | bigint>,
    remedy: `${counterVerbs}, or declare it with defineState`,
  },
  {
    prototype: TypedShardedCounter.prototype,
    remedy: 'use increment or decrement, or declare it with defineState or defineCounter',
  },
];

const verbsOf = ({ prototype }: (typeof kinds)[number]): readonly string[] =>
  Object.entries(Object.getOwnPropertyDescriptors(prototype)).flatMap(([name, { value }]) =>
    typeof value === 'function' && name !== 'constructor' ? [name] : [],
  );

/**
 * A verb that only other kinds have throws `INVALID_OPTION` with the line of the call, in place of
 * the TypeError of a missing method. An accessor: lists of the methods of a store do not have it.
 */
function refuseVerbsOfOtherKinds(): void {
  const verbs = new Set(kinds.flatMap(verbsOf));
  for (const { prototype, remedy } of kinds)
    for (const verb of verbs)
      if (!(verb in prototype))
        Object.defineProperty(prototype, verb, { configurable: true, get: () => refusalOf(verb, remedy) });
}
refuseVerbsOfOtherKinds();

const refusalOf = (verb: string, remedy: string) =>
  function (this: OwnStore): never {
    throw withCaller(invalidOption(`The ${called(this)} has no verb ${verb}: ${remedy}.`));
  };

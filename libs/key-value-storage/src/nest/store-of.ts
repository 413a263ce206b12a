import type { INestApplicationContext } from '@nestjs/common';
import { callSiteOf, located } from '../core/base/call-site.js';
import type { Key } from '../core/base/key.js';
import type { AnyIndexes } from '../core/store/index-types.js';
import type { StoreWith } from '../core/store/key-value-store.js';
import {
  storeDefinitionOf,
  type AnyDefinition,
  type CounterDefinition,
  type ShardedCounterDefinition,
} from '../core/store/counter-definition.js';
import type { CounterStore } from '../core/store/counter-store.js';
import type { ShardedCounter } from '../core/store/sharded-counter.js';
import type { Input, StateClass, StateDefinition } from '../core/store/state-definition.js';
import { getStoreToken } from './inject-store.decorator.js';
import { partOf } from './part-of.js';

/**
 * The store of a state or a counter in an application, whichever module has declared it: for tests,
 * seeds and scripts. `INVALID_OPTION` where no module has.
 */
export function storeOf<N extends number | bigint, K extends Key>(
  app: Pick<INestApplicationContext, 'get'>,
  definition: CounterDefinition<N, K>,
): CounterStore<N, K>;
export function storeOf<K extends Key>(
  app: Pick<INestApplicationContext, 'get'>,
  definition: ShardedCounterDefinition<K>,
): ShardedCounter<K>;
export function storeOf<T, K extends Key, I, X extends AnyIndexes>(
  app: Pick<INestApplicationContext, 'get'>,
  definition: StateDefinition<T, K, I, X>,
): StoreWith<T, K, I, X>;
export function storeOf<T, K extends Key = Key, I = Input<T>, X extends AnyIndexes = AnyIndexes>(
  app: Pick<INestApplicationContext, 'get'>,
  state: StateClass<T, K, I, X>,
): StoreWith<T, K, I, X>;
export function storeOf(app: Pick<INestApplicationContext, 'get'>, state: AnyDefinition): unknown {
  return located(callSiteOf(storeOf), () => {
    const { kind, name } = storeDefinitionOf(state);
    return partOf(app, getStoreToken(state), `${kind} '${name}'`, 'KeyValueStorageModule');
  });
}

import type { INestApplicationContext } from '@nestjs/common';
import type { Key } from '../core/base/key.js';
import type { AnyIndexes } from '../core/store/index-types.js';
import type { StoreWith } from '../core/store/key-value-store.js';
import {
  definitionOf,
  type AnyState,
  type Input,
  type StateClass,
  type StateDefinition,
} from '../core/store/state-definition.js';
import { getStoreToken } from './inject-store.decorator.js';
import { partOf } from './part-of.js';

/**
 * The store of a state in an application, whichever module has declared it: for tests, seeds and
 * scripts. `INVALID_OPTION` where no module has.
 */
export function storeOf<T, K extends Key, I, X extends AnyIndexes>(
  app: Pick<INestApplicationContext, 'get'>,
  definition: StateDefinition<T, K, I, X>,
): StoreWith<T, K, I, X>;
export function storeOf<T, K extends Key = Key, I = Input<T>, X extends AnyIndexes = AnyIndexes>(
  app: Pick<INestApplicationContext, 'get'>,
  state: StateClass<T, K, I, X>,
): StoreWith<T, K, I, X>;
export function storeOf(app: Pick<INestApplicationContext, 'get'>, state: AnyState): unknown {
  const what = `state '${definitionOf(state).name}'`;
  return partOf(app, getStoreToken(state), what, 'KeyValueStorageModule');
}

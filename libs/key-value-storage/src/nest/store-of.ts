import type { INestApplicationContext } from '@nestjs/common';
import type { Key } from '../core/base/key.js';
import type { KeyValueStore } from '../core/store/key-value-store.js';
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
export function storeOf<T, K extends Key, I>(
  app: Pick<INestApplicationContext, 'get'>,
  definition: StateDefinition<T, K, I>,
): KeyValueStore<T, K, I>;
export function storeOf<T, K extends Key = Key, I = Input<T>>(
  app: Pick<INestApplicationContext, 'get'>,
  state: StateClass<T, K, I>,
): KeyValueStore<T, K, I>;
export function storeOf(app: Pick<INestApplicationContext, 'get'>, state: AnyState): unknown {
  const what = `state '${definitionOf(state).name}'`;
  return partOf(app, getStoreToken(state), what, 'KeyValueStorageModule');
}

import { KeyValueStore, type StoreWith } from './key-value-store.js';
import type { AnyState, IndexesOf, InputOf, KeyOf, StateOf } from './state-definition.js';

/**
 * The store of a state: `Store<typeof Products>`, as `EventStream<typeof Orders>` of a stream. For
 * a class whose indexes are in its decorator, write `IndexedStore<Slot>`.
 */
export type Store<D extends AnyState> = StoreWith<StateOf<D>, KeyOf<D>, InputOf<D>, IndexesOf<D>>;
/** A value too, because Nest needs one for a decorated parameter. */
export const Store = KeyValueStore;

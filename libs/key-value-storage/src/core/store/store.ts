import { KeyValueStore } from './key-value-store.js';
import type { AnyState, InputOf, KeyOf, StateOf } from './state-definition.js';

/** The store of a state: `Store<typeof Products>`, as `EventStream<typeof Orders>` of a stream. */
export type Store<D extends AnyState> = KeyValueStore<StateOf<D>, KeyOf<D>, InputOf<D>>;
/** A value too, because Nest needs one for a decorated parameter. */
export const Store = KeyValueStore;

/** The states of one generation of a projection, and where their rows are. */
import { defineState, type KeyValueStorage, type KeyValueStore } from '@kvent/key-value-storage/core';
import { copyOfState, rowNameOf, rowsOf, spacesOf } from '@kvent/key-value-storage/internal';
import { ownState } from './checkpoints.js';
import { generationOf, type Subscription } from './subscription.js';

// oxlint-disable-next-line typescript/no-explicit-any -- KeyValueStore is invariant
export type AnyStore = KeyValueStore<any, any, any>;

/** Rows of a state, or of one of its indexes. */
export interface StateSpace {
  readonly container: string;
  readonly entity: string;
  readonly provider?: string;
}

/**
 * The store of a generation for a store of the state: `generation` 1 has the state as it is
 * declared.
 */
export function storeOfGeneration(storage: KeyValueStorage, store: AnyStore, generation: number): AnyStore {
  return generation === 1 ? store : (storage.store(copyOfState(rowsOf(store).state, generation)) as AnyStore);
}

export class GenerationStates {
  readonly #storage: KeyValueStorage;
  readonly #generation: number;
  readonly #spaces: KeyValueStore<StateSpace>;
  readonly #recorded = new Set<string>();

  constructor(storage: KeyValueStorage, subscription: Subscription) {
    this.#storage = storage;
    this.#generation = generationOf(subscription);
    this.#spaces = storage.store(
      defineState<StateSpace>(`${subscription.name} states`, ownState(subscription)),
    );
  }

  storeOf(store: AnyStore): AnyStore {
    return storeOfGeneration(this.#storage, store, this.#generation);
  }

  /**
   * Stores where the rows of a state are, before the first of them, so that they can be removed.
   */
  async record(stores: Iterable<AnyStore>): Promise<void> {
    for (const store of stores) {
      const { state } = rowsOf(store);
      for (const { container: group, entity } of spacesOf(state)) {
        const name = rowNameOf({ container: group, entity, key: '' });
        if (this.#recorded.has(name)) continue;
        const { provider } = state;
        const space = { container: group, entity, ...(provider !== undefined && { provider }) };
        await this.#spaces.set([this.#generation, group, entity], space);
        this.#recorded.add(name);
      }
    }
  }

  async *recorded(signal: AbortSignal): AsyncGenerator<StateSpace, void, undefined> {
    for await (const { value } of this.#spaces.list({ prefix: [this.#generation] }, { signal })) yield value;
  }

  async forget(signal: AbortSignal): Promise<void> {
    await this.#spaces.deleteMany({ prefix: [this.#generation] }, { signal });
  }
}

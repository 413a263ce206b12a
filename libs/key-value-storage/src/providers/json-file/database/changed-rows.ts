/**
 * The rows that a group changes, by container, entity and key. Nested maps: a name of three texts
 * joined was built and hashed for each row.
 */
import type { Row, RowAddress } from '../../../core/port/storage-provider.js';

/** A row that the group deletes. */
export const deleted = Symbol('deleted');

type Changed = Row | typeof deleted;

export class ChangedRows {
  readonly #containers = new Map<string, Map<string, Map<string, Changed>>>();

  /** `undefined` if the group did not change it. */
  get({ container, entity, key }: RowAddress): Changed | undefined {
    return this.#containers.get(container)?.get(entity)?.get(key);
  }

  set({ container, entity, key }: RowAddress, row: Row | undefined): void {
    let entities = this.#containers.get(container);
    if (entities === undefined) this.#containers.set(container, (entities = new Map()));
    let rows = entities.get(entity);
    if (rows === undefined) entities.set(entity, (rows = new Map()));
    rows.set(key, row ?? deleted);
  }
}

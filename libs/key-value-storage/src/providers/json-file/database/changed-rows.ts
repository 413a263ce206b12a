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
  /** The space of the last row: the rows of an append are in one. */
  #container: string | undefined;
  #entity: string | undefined;
  #rows: Map<string, Changed> | undefined;

  /** `undefined` if the group did not change it. */
  get(address: RowAddress): Changed | undefined {
    return this.#find(address)?.get(address.key);
  }

  set(address: RowAddress, row: Row | undefined): void {
    const rows = this.#find(address) ?? this.#add(address);
    rows.set(address.key, row ?? deleted);
  }

  #find({ container, entity }: RowAddress): Map<string, Changed> | undefined {
    if (container !== this.#container || entity !== this.#entity) {
      this.#container = container;
      this.#entity = entity;
      this.#rows = this.#containers.get(container)?.get(entity);
    }
    return this.#rows;
  }

  /** Call it after `#find` found nothing. */
  #add({ container, entity }: RowAddress): Map<string, Changed> {
    const rows = new Map<string, Changed>();
    const entities = this.#containers.get(container);
    if (entities === undefined) this.#containers.set(container, new Map([[entity, rows]]));
    else entities.set(entity, rows);
    return (this.#rows = rows);
  }
}

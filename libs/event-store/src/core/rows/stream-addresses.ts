/**
 * The addresses of one stream's rows, known without its definition. The kind of a row stands before
 * the container, so that all rows that one append touches are in one database.
 */
import {
  assertWithin,
  decodeKey,
  encodeKey,
  encodeText,
  inspect,
  storageError,
  type Address,
} from '@kvent/key-value-storage/internal/rows';
import type { RowKind, StreamContainers } from '../definition/stream-containers.js';

export class StreamAddresses {
  readonly database: string;
  readonly id: string;
  readonly head: Address;
  readonly #containers: StreamContainers;
  readonly #entity: string;
  #lease: Address | undefined;

  /** `INVALID_KEY`, `LIMIT_EXCEEDED` for an id that is not allowed. */
  constructor(database: string, containers: StreamContainers, id: string) {
    if (typeof id !== 'string' || id === '')
      throw storageError(
        'INVALID_KEY',
        `The id of a stream must be a string that is not empty; got ${inspect(id)}.`,
        {},
      );
    this.database = database;
    this.id = id;
    this.#containers = containers;
    this.#entity = encodeText(id);
    assertWithin('entityBytesMax', this.#entity, 'stream id');
    this.head = { database, container: containers.head, entity: '', key: this.#entity };
  }

  get lease(): Address {
    return (this.#lease ??= this.at('lease', 'lease'));
  }
  get fence(): Address {
    return this.at('fence', 'token');
  }
  event(version: number): Address {
    return this.at('event', versionKey(version));
  }
  /** All events, or all snapshots, for scans. */
  rangeOf(kind: 'event' | 'snapshot'): Omit<Address, 'key'> {
    return { database: this.database, container: this.#containers[kind], entity: this.#entity };
  }

  protected at(kind: RowKind, key: string): Address {
    return { database: this.database, container: this.#containers[kind], entity: this.#entity, key };
  }
}

/** Most streams have no more events. */
const keptKeys: string[] = [];
const keptKeysMax = 2_048;

/** The key of an event. The first ones are kept: to make them anew took a tenth of a read. */
export const versionKey = (version: number): string =>
  version >= 0 && version < keptKeysMax && Number.isInteger(version)
    ? (keptKeys[version] ??= encodeKey([version]))
    : encodeKey([version]);

/** The numbers of a row's key; `undefined` for a key that Kvent did not write. */
export function numbersIn(key: string): readonly number[] | undefined {
  const parts = decodeKey(key);
  return Array.isArray(parts) && parts.every((part) => typeof part === 'number') ? parts : undefined;
}

/** `STORAGE_CORRUPT`: a row is missing, unexpected or unreadable. */
export function corrupt(address: Address, reason: string) {
  const place = `${address.database}/${address.container}/${address.entity}/${address.key}`;
  return storageError('STORAGE_CORRUPT', `The row at ${place} is damaged: ${reason}.`, { place });
}

/**
 * The addresses of one stream's rows. The kind of a row stands before the container, so that all
 * rows that one append touches are in one database.
 */
import { decodeKey, encodeKey, storageError, type Address } from '@kvent/key-value-storage/provider';
import {
  assertWithin,
  encodeText,
  inspect,
  lockNameOf,
  tenantIn,
  type StorageAccess,
} from '@kvent/key-value-storage/internal';
import type { EventMetadata, Recorded } from '../definition/event-stream.js';
import type { AnyEvent, ResolvedStream, RowKind } from '../definition/stream-definition.js';

export class StreamRows {
  readonly access: StorageAccess;
  readonly definition: ResolvedStream;
  readonly database: string;
  readonly id: string;
  readonly head: Address;
  readonly #entity: string;
  #lease: Address | undefined;
  #tenant: { readonly name: string | undefined } | undefined;
  #plainMetadata: Recorded<AnyEvent>['metadata'] | undefined;

  constructor(access: StorageAccess, definition: ResolvedStream, database: string, id: string) {
    if (typeof id !== 'string' || id === '')
      throw storageError(
        'INVALID_KEY',
        `The id of a stream must be a string that is not empty; got ${inspect(id)}.`,
        {},
      );
    this.access = access;
    this.definition = definition;
    this.database = database;
    this.id = id;
    this.#entity = encodeText(id);
    assertWithin('entityBytesMax', this.#entity, 'stream id');
    this.head = { database, container: headContainerOf(definition), entity: '', key: this.#entity };
  }

  get lease(): Address {
    return (this.#lease ??= this.#at('lease', 'lease'));
  }
  get fence(): Address {
    return this.#at('fence', 'token');
  }
  event(version: number): Address {
    return this.#at('event', versionKey(version));
  }
  snapshot(version: number): Address {
    return this.#at('snapshot', snapshotKey(this.definition.snapshot.schemaVersion, version));
  }
  idempotencyRecord(key: string): Address {
    return this.#at('mark', key);
  }
  /** All events, or all snapshots, for scans. */
  rangeOf(kind: 'event' | 'snapshot'): Omit<Address, 'key'> {
    return { database: this.database, container: this.definition.containers[kind], entity: this.#entity };
  }

  /** The metadata of a recorded event. Events without their own share one object. */
  recordedMetadata(
    metadata: EventMetadata | undefined,
    schemaVersion: number,
  ): Recorded<AnyEvent>['metadata'] {
    if (metadata === undefined && this.#plainMetadata?.schemaVersion === schemaVersion)
      return this.#plainMetadata;
    const { tenant } = this;
    const recorded = Object.freeze({ ...metadata, ...(tenant !== undefined && { tenant }), schemaVersion });
    if (metadata === undefined) this.#plainMetadata = recorded;
    return recorded;
  }

  /** The tenant of the stream; `undefined` for a shared stream. */
  get tenant(): string | undefined {
    return (this.#tenant ??= { name: tenantIn(this.database) }).name;
  }
  /** For messages. */
  get name(): string {
    return `stream ${this.definition.type} ${inspect(this.id)}`;
  }
  /** For errors and logs: type and id. */
  get path(): string {
    return `${this.definition.type}/${this.id}`;
  }
  get lockName(): string {
    return lockNameOf(this.database, this.head);
  }

  #at(kind: RowKind, key: string): Address {
    return {
      database: this.database,
      container: this.definition.containers[kind],
      entity: this.#entity,
      key,
    };
  }
}

/** What an ETag identifies the stream by: versions count from 1 in each stream. */
export const ownerOf = ({ database, definition, id }: StreamRows): readonly string[] => [
  database,
  definition.name,
  id,
];

export const headContainerOf = ({ containers }: ResolvedStream): string => containers.head;

export const versionKey = (version: number): string => encodeKey([version]);
/** The schemaVersion stands first, so that two releases do not overwrite each other's snapshots. */
export const snapshotKey = (schemaVersion: number, version: number): string =>
  encodeKey([schemaVersion, version]);

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

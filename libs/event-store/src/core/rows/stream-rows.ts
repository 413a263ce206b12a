/**
 * Where the rows of one stream are. The kind stands before the container, so that everything that
 * one append touches is in one database.
 */
import { decodeKey, encodeKey, storageError, type Address } from '@kvent/key-value-storage/provider';
import {
  assertWithin,
  inspect,
  encodeText,
  tenantIn,
  lockNameOf,
  type StorageAccess,
} from '@kvent/key-value-storage/internal';
import type { EventMetadata, Recorded } from '../definition/event-stream.js';
import type { AnyEvent, ResolvedStream } from '../definition/stream-definition.js';

/** A stream of one database: its rows, and the words for it. */
export class StreamRows {
  readonly access: StorageAccess;
  readonly definition: ResolvedStream;
  readonly database: string;
  readonly id: string;
  /** The id, encoded: the entity of its rows. */
  readonly entity: string;
  #tenant: { readonly name: string | undefined } | undefined;
  #metadata: Recorded<AnyEvent>['metadata'] | undefined;

  constructor(access: StorageAccess, definition: ResolvedStream, database: string, id: string) {
    if (typeof id !== 'string' || id === '')
      throw storageError(
        'INVALID_KEY',
        `A stream's id is a text that is not empty; given was ${inspect(id)}.`,
        {},
      );
    this.access = access;
    this.definition = definition;
    this.database = database;
    this.id = id;
    this.entity = encodeText(id);
    assertWithin('entityBytesMax', this.entity, 'stream id');
  }

  get head(): Address {
    return {
      database: this.database,
      container: headContainerOf(this.definition),
      entity: '',
      key: this.entity,
    };
  }
  get lease(): Address {
    return this.#at('lease', 'lease');
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
    return { database: this.database, container: `${kind}:${this.definition.name}`, entity: this.entity };
  }

  /** What an event's metadata are, beside its data: those of most events are one object. */
  recordedMetadata(
    metadata: EventMetadata | undefined,
    schemaVersion: number,
  ): Recorded<AnyEvent>['metadata'] {
    if (metadata !== undefined) return this.#metadataWith(metadata, schemaVersion);
    if (this.#metadata?.schemaVersion !== schemaVersion)
      this.#metadata = this.#metadataWith({}, schemaVersion);
    return this.#metadata;
  }

  #metadataWith(metadata: EventMetadata, schemaVersion: number): Recorded<AnyEvent>['metadata'] {
    const { tenant } = this;
    return Object.freeze({ ...metadata, ...(tenant !== undefined && { tenant }), schemaVersion });
  }

  /** Whose stream it is; `undefined` for a shared one. */
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
  /** One text for the head's row, for turns. */
  get lockName(): string {
    return lockNameOf(this.database, this.head);
  }

  #at(kind: string, key: string): Address {
    return {
      database: this.database,
      container: `${kind}:${this.definition.name}`,
      entity: this.entity,
      key,
    };
  }
}

/** What tells a stream from every other one: versions count from 1 in each. */
export const ownerOf = ({ database, definition, id }: StreamRows): readonly string[] => [
  database,
  definition.name,
  id,
];

export const headContainerOf = ({ name }: ResolvedStream): string => `head:${name}`;

export const versionKey = (version: number): string => encodeKey([version]);
/** Under the schemaVersion first: two releases do not overwrite each other's. */
export const snapshotKey = (schemaVersion: number, version: number): string =>
  encodeKey([schemaVersion, version]);

/** The numbers of a row's key; `undefined` where Kvent did not write it. */
export function numbersIn(key: string): readonly number[] | undefined {
  const parts = decodeKey(key);
  return Array.isArray(parts) && parts.every((part) => typeof part === 'number') ? parts : undefined;
}

/** `STORAGE_CORRUPT`: what should be there is not, or is there twice. */
export function corrupt(address: Address, why: string) {
  const place = `${address.database}/${address.container}/${address.entity}/${address.key}`;
  return storageError('STORAGE_CORRUPT', `The row at ${place} is damaged: ${why}.`, { place });
}

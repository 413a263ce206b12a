/** The rows of one stream, for the code that has its definition. */
import { encodeKey, type Address } from '@kvent/key-value-storage/provider';
import {
  inspect,
  lockNameOf,
  nameDigest,
  tenantIn,
  type StorageAccess,
} from '@kvent/key-value-storage/internal';
import type { EventMetadata, Recorded } from '../definition/event-stream.js';
import type { AnyEvent, ResolvedStream } from '../definition/stream-definition.js';
import { StreamAddresses } from './stream-addresses.js';

export class StreamRows extends StreamAddresses {
  readonly access: StorageAccess;
  readonly definition: ResolvedStream;
  #tenant: { readonly name: string | undefined } | undefined;
  #plainMetadata: Recorded<AnyEvent>['metadata'] | undefined;
  #digest: string | undefined;

  constructor(access: StorageAccess, definition: ResolvedStream, database: string, id: string) {
    super(database, definition.containers, id);
    this.access = access;
    this.definition = definition;
  }

  /** The same in the transaction that is current, where calls join one. */
  get joined(): StreamRows {
    const { access, definition, database, id } = this;
    return access.joined === access ? this : new StreamRows(access.joined, definition, database, id);
  }
  get inFeed(): boolean {
    return this.definition.feed;
  }
  snapshot(version: number): Address {
    return this.at('snapshot', snapshotKey(this.definition.snapshot.schemaVersion, version));
  }
  idempotencyRecord(key: string): Address {
    return this.at('mark', key);
  }

  /**
   * The `id` of an event. One batch may append to several streams, so its version and the event's
   * are not enough. The digest is made once.
   */
  eventId(rowVersion: string, version: number): string {
    this.#digest ??= nameDigest(JSON.stringify(ownerOf(this)));
    return `${rowVersion}-${version}-${this.#digest}`;
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
}

/** What ETags and ids of events identify the stream by: versions count from 1 in each stream. */
export const ownerOf = ({ database, definition, id }: StreamRows): readonly string[] => [
  database,
  definition.name,
  id,
];

/** The schemaVersion stands first, so that two releases do not overwrite each other's snapshots. */
export const snapshotKey = (schemaVersion: number, version: number): string =>
  encodeKey([schemaVersion, version]);

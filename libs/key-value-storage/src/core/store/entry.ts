/** A state as it was read: what `save`, `ifMatch` and batches take. */
import { copyProperties } from '../encoding/codec.js';
import { etagOf } from './etag.js';
import type { Key } from '../base/key.js';
import { builtInKind, isBytes } from '../base/kinds.js';
import { invalidOption } from '../base/options.js';
import type { Address } from '../port/storage-provider.js';

/**
 * The representation of a value over HTTP: `EtagInterceptor` sends `body` with `ETag: "<etag>"`.
 * Any result of a handler may have one under `Symbol.for('kvent.representation')`.
 */
export interface Representation {
  readonly body: unknown;
  readonly etag: string;
}
export const representation = Symbol.for('kvent.representation');

/**
 * The key of an entry, the version that was read, and its times; frozen. `expiresAt` is undefined
 * for an entry that does not expire.
 */
export abstract class EntryInfo<out K extends Key = Key> {
  readonly key: K;
  /** Opaque, for comparison only: changes with every successful write, never returns. */
  readonly etag: string;
  readonly #updatedAt: number;
  readonly #expiresAt: number | undefined;

  constructor(key: K, etag: string, updatedAt: number, expiresAt: number | undefined) {
    this.key = key;
    this.etag = etag;
    this.#updatedAt = updatedAt;
    this.#expiresAt = expiresAt;
  }

  // a new date for each access: a date can be changed, an entry cannot
  get updatedAt(): Date {
    return new Date(this.#updatedAt);
  }

  get expiresAt(): Date | undefined {
    return this.#expiresAt === undefined ? undefined : new Date(this.#expiresAt);
  }

  toJSON(): object {
    return { ...this, updatedAt: this.updatedAt, expiresAt: this.expiresAt };
  }
}

/**
 * An entry with its value. The value is frozen: objects and arrays throughout; dates, maps, sets
 * and bytes are fresh at each read.
 */
export abstract class Entry<out T, out K extends Key = Key> extends EntryInfo<K> {
  readonly value: T;
  readonly #address: Address | undefined;
  readonly #schemaVersion: number;

  /**
   * `address` and `schemaVersion`: where it was read, and the schema that it was read by; they are
   * part of its ETag over HTTP.
   */
  constructor(
    key: K,
    value: T,
    etag: string,
    updatedAt: number,
    expiresAt: number | undefined,
    address?: Address,
    schemaVersion = 1,
  ) {
    super(key, etag, updatedAt, expiresAt);
    this.value = value;
    this.#address = address;
    this.#schemaVersion = schemaVersion;
  }

  /**
   * The same entry with some properties changed: hand it to `save`. The value stays an instance of
   * its class. `INVALID_OPTION` where the value is no object.
   */
  with(patch: Partial<T>): Entry<T, K> {
    const { value } = this;
    if (
      typeof value !== 'object' ||
      value === null ||
      Array.isArray(value) ||
      builtInKind(value) !== undefined
    )
      throw invalidOption('with() changes properties of an object; this value has none.');
    const copy = copyProperties(
      Object.create(Object.getPrototypeOf(value) as object | null) as object,
      value,
    );
    const changed = Object.freeze(copyProperties(copy, patch)) as T;
    return new ReadEntry(
      this.key,
      changed,
      this.etag,
      this.updatedAt.getTime(),
      this.expiresAt?.getTime(),
      this.#address,
      this.#schemaVersion,
    );
  }

  get [representation](): Representation {
    if (this.#address === undefined) return { body: this.value, etag: this.etag };
    const { database, container, entity, key } = this.#address;
    return {
      body: this.value,
      etag: etagOf(this.etag, [database, container, entity, key], this.#schemaVersion),
    };
  }
}

export class ReadEntry<T, K extends Key = Key> extends Entry<T, K> {
  constructor(
    key: K,
    value: T,
    etag: string,
    updatedAt: number,
    expiresAt: number | undefined,
    address?: Address,
    schemaVersion?: number,
  ) {
    super(key, value, etag, updatedAt, expiresAt, address, schemaVersion);
    Object.freeze(this);
  }
}

export class ReadEntryInfo<K extends Key = Key> extends EntryInfo<K> {
  constructor(key: K, etag: string, updatedAt: number, expiresAt: number | undefined) {
    super(key, etag, updatedAt, expiresAt);
    Object.freeze(this);
  }
}

/**
 * A key as an entry carries it: parts are copied, so that the caller's array cannot change under
 * it.
 */
export const frozenKey = <K extends Key>(key: K): K =>
  typeof key === 'string'
    ? key
    : (Object.freeze(key.map((part) => (isBytes(part) ? new Uint8Array(part) : part))) as Key as K);

/**
 * Values of a state: validated by its schema, encoded to be stored, decoded to frozen instances.
 */
import type { StandardSchemaV1 } from '@standard-schema/spec';
import {
  copyProperties,
  encodeValue,
  invalidValue,
  mayHoldTags,
  parseStored,
  returnedUndefined,
  reviveFrozen,
} from '../encoding/codec.js';
import { EncodedJson } from '../encoding/encoded-json.js';
import { upcastFrom } from '../encoding/upcast.js';
import { validate } from '../encoding/validate.js';
import { storageError } from '../base/errors.js';
import { assertWithin } from '../base/assert-limits.js';
import { inspect } from '../base/inspect.js';
import type { Key } from '../base/key.js';
import { isPromise } from '../base/kinds.js';
import type { ResolvedState } from './state-definition.js';
import type { Address, StoredValue, Value } from '../port/storage-provider.js';
import { keyOf } from '../commit/commit.js';
import type { JsonContent } from '../commit/idempotency-record.js';

/** The value to store, and the frozen value to return. */
export interface Encoded<T> {
  readonly stored: StoredValue;
  readonly value: T;
}

export class ValueCodec<T> {
  readonly #state: ResolvedState<T>;
  /** Only where the provider keeps rows in this process's memory. */
  readonly #keepDecoded: boolean;

  constructor(state: ResolvedState<T>, keepDecoded: boolean) {
    this.#state = state;
    this.#keepDecoded = keepDecoded;
  }

  /**
   * Checks a value by the state's schema and encodes it. `INVALID_VALUE` lists the issues;
   * `INVALID_OPTION` where the schema throws; `LIMIT_EXCEEDED` above 900 KB.
   */
  encode(key: Key, given: unknown): Encoded<T> | Promise<Encoded<T>> {
    const { schema } = this.#state;
    if (schema === undefined) return this.#encodeChecked(key, given);
    const name = (): string => this.#name(key);
    const result = validate(schema, given, name);
    if (!isPromise(result)) return this.#encodeChecked(key, this.#valueOf(key, result));
    // the caller may change the value while it is validated: validate and store a copy
    result.then(undefined, () => undefined);
    const copy = this.#instance(encodeValue(given, name, this.#state).value);
    return Promise.resolve(validate(schema, copy, name)).then((checked) =>
      this.#encodeChecked(key, this.#valueOf(key, checked)),
    );
  }

  /** The same for what a function of the program returned: `undefined` is its mistake. */
  encodeReturned(key: Key, value: unknown): Encoded<T> | Promise<Encoded<T>> {
    if (value === undefined) throw returnedUndefined(this.#name(key));
    return this.encode(key, value);
  }

  /**
   * A value as JSON text, for the comparison of repeats: as it was given, before the schema adds to
   * it, because a new default must not refuse a repeat. `encoded`: where it is at hand, and says
   * the same, the value is not encoded twice.
   */
  given(key: Key, value: unknown, encoded?: Encoded<T>): string {
    const { prototype, schema, schemaVersion } = this.#state;
    if (encoded?.stored.kind === 'json' && schema === undefined && schemaVersion === 1)
      return encoded.stored.text;
    return encodeValue(value, () => this.#name(key), { prototype, schemaVersion: 1 }).text;
  }

  /**
   * As `given`; the value itself where it is plain JSON and the digest is made at once: parsing the
   * text was a twentieth of a write with a record. In memory the digest is made only for a repeat,
   * and until then a text takes less room.
   */
  givenContent(key: Key, value: unknown, encoded?: Encoded<T>): JsonContent {
    const text = this.given(key, value, encoded);
    const isOfText = encoded?.stored.kind === 'json' && encoded.stored.text === text;
    return isOfText && !this.#keepDecoded && !mayHoldTags(text) ? { value: encoded.value } : text;
  }

  #valueOf(key: Key, result: StandardSchemaV1.Result<unknown>): unknown {
    if (result.issues !== undefined) throw invalidValue(this.#name(key), result.issues);
    return result.value;
  }

  #encodeChecked(key: Key, given: unknown): Encoded<T> {
    const { text, value, shareable } = encodeValue(given, () => this.#name(key), this.#state);
    assertWithin('valueBytesMax', text, () => `value (${this.#name(key)})`);
    const instance = this.#instance(value) as T;
    const decoded = this.#keepDecoded && shareable ? { state: this.#state, value: instance } : undefined;
    return { stored: new EncodedJson(text, decoded), value: instance };
  }

  /**
   * The frozen value of a row. `STORAGE_CORRUPT` where it cannot be read back,
   * `STORAGE_UNSUPPORTED` where a newer schemaVersion wrote it.
   */
  decode(address: Address, stored: Value): T | Promise<T> {
    if (stored instanceof EncodedJson && stored.decoded?.state === this.#state)
      return stored.decoded.value as T;
    if (stored.kind !== 'json') throw corrupt(address, `it is ${stored.kind}, not JSON`);
    try {
      const { schemaVersion, json } = parseStored(stored.text);
      if (schemaVersion === this.#state.schemaVersion)
        return this.#instance(reviveFrozen(json, mayHoldTags(stored.text)).value) as T;
      return this.#upcast(address, schemaVersion, reviveFrozen(json, true).value);
    } catch (error) {
      throw error instanceof SyntaxError ? corrupt(address, 'it is not JSON that Kvent wrote', error) : error;
    }
  }

  /** An instance of the state's class, without calling its constructor. */
  #instance(value: unknown): unknown {
    const { prototype } = this.#state;
    if (prototype === undefined || typeof value !== 'object' || value === null || Array.isArray(value))
      return value;
    return Object.freeze(copyProperties(Object.create(prototype) as object, value));
  }

  async #upcast(address: Address, from: number, older: unknown): Promise<T> {
    const { schemaVersion, upcast, schema, name } = this.#state;
    if (!(from < schemaVersion)) {
      throw storageError(
        'STORAGE_UNSUPPORTED',
        `${name} ${inspect(keyOf(address))} has schemaVersion ${from}; this program supports up to ${schemaVersion}.`,
        {},
      );
    }
    try {
      const value = upcastFrom(from, schemaVersion, upcast, older);
      const checked =
        schema === undefined
          ? value
          : this.#valueOf(keyOf(address), await schema['~standard'].validate(value));
      return this.#instance(encodeValue(checked, () => this.#name(keyOf(address)), this.#state).value) as T;
    } catch (error) {
      throw corrupt(address, `its upcast from schemaVersion ${from} to ${schemaVersion} failed`, error);
    }
  }

  #name(key: Key): string {
    return `${this.#state.name} ${inspect(key)}`;
  }
}

function corrupt(address: Address, why: string, cause?: unknown) {
  const place = `${address.database}/${address.container}/${address.entity}/${address.key}`;
  return storageError(
    'STORAGE_CORRUPT',
    `The value at ${place} cannot be read back: ${why}.`,
    { place },
    { cause },
  );
}

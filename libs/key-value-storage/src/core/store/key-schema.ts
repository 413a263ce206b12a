/** Keys of a state or a counter that has a schema of keys. */
import type { StandardSchemaV1 } from '@standard-schema/spec';
import { describeIssues } from '../encoding/codec.js';
import { encodeKey } from '../encoding/key-encoding.js';
import { validate } from '../encoding/validate.js';
import { storageError } from '../base/errors.js';
import { inspect } from '../base/inspect.js';
import type { Key } from '../base/key.js';
import { isPromise } from '../base/kinds.js';
import { invalidOption } from '../base/options.js';

/** A schema of keys. It returns a key as it is: another spelling of the key is refused. */
export type KeySchema = StandardSchemaV1<unknown, Key>;
export interface KeyOptions<KS extends KeySchema> {
  /** Any Standard Schema, without promises: a key that it refuses is `INVALID_KEY`. */
  readonly key?: KS;
}
/** An entry's key is frozen, so a tuple is a readonly one. */
export type FrozenKey<K> = Readonly<K> extends infer F extends Key ? F : never;
export type KeyFrom<KS extends KeySchema> = FrozenKey<StandardSchemaV1.InferOutput<KS>>;

/**
 * `INVALID_KEY` unless the schema returns the key as it is: a row has one key, so a schema that
 * trims or converts keys must get them trimmed or converted. `encoded`: the key, encoded.
 */
export function assertKey(state: string, schema: KeySchema, key: Key, encoded: string): void {
  const result = validate(schema, key, () => `the key ${inspect(key)} of '${state}'`);
  if (isPromise(result)) {
    result.then(undefined, () => undefined);
    throw invalidOption(`The schema of the keys of '${state}' must not be asynchronous.`);
  }
  const name = `The key ${inspect(key)} of '${state}'`;
  if (result.issues !== undefined)
    throw storageError('INVALID_KEY', `${name} is invalid: ${describeIssues(result.issues, 'the key')}.`, {});
  if (encodeKey(result.value) !== encoded)
    throw storageError(
      'INVALID_KEY',
      `${name} must be ${inspect(result.value)}, as its schema gives it.`,
      {},
    );
}

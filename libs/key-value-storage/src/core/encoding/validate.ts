/** Validation by a Standard Schema. */
import type { StandardSchemaV1 } from '@standard-schema/spec';
import { isStorageError, storageError } from '../base/errors.js';
import { isPromise, thrownName } from '../base/kinds.js';

/**
 * What a schema says of a value; a promise where it validates asynchronously. `INVALID_OPTION`
 * where it throws or rejects, since a schema returns issues. `what`: names the value.
 */
export function validate<Output>(
  schema: StandardSchemaV1<unknown, Output>,
  value: unknown,
  what: () => string,
): StandardSchemaV1.Result<Output> | Promise<StandardSchemaV1.Result<Output>> {
  const failed = (cause: unknown): Error =>
    isStorageError(cause)
      ? cause
      : storageError(
          'INVALID_OPTION',
          `The schema must return issues, and has thrown ${thrownName(cause)} for ${what()}.`,
          {},
          { cause },
        );
  try {
    const result = schema['~standard'].validate(value);
    if (!isPromise(result)) return result;
    return Promise.resolve(result).catch((cause: unknown) => {
      throw failed(cause);
    });
  } catch (cause) {
    throw failed(cause);
  }
}

import type { StandardSchemaV1 } from '@standard-schema/spec';
import { invalidValue as refused } from '../../core/encoding/codec.js';
import type { StorageError } from '../../core/base/errors.js';

/**
 * 422 with the issues, for Nest's own pipe: `new StandardSchemaValidationPipe({ exceptionFactory:
 * invalidValue })`.
 */
export const invalidValue = (issues: readonly StandardSchemaV1.Issue[]): StorageError<'INVALID_VALUE'> =>
  refused('The value', issues);

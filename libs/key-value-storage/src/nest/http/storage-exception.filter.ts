import { Catch, Inject, Optional, type ArgumentsHost, type ExceptionFilter } from '@nestjs/common';
import { throwError } from 'rxjs';
import { isStorageError, type StorageError } from '../../core/base/errors.js';
import { sendProblem, emitException, logFault, type ProblemOptions } from './send-problem.js';
import { messageOf, problemOf, storageProblem } from './problem-details.js';

export const problemOptionsToken = Symbol('kvent.problem-options');

/**
 * Nest uses `instanceof`. Here it checks the brand, so that errors of another copy of this package
 * are caught too.
 */
// oxlint-disable-next-line typescript/no-extraneous-class -- for `instanceof` only
abstract class AnyStorageError {
  static [Symbol.hasInstance](error: unknown): boolean {
    return isStorageError(error);
  }
}

/**
 * Sends storage errors. Over HTTP: problem details (RFC 9457) with the status of the error table,
 * 412 when a check of the caller failed, and `Retry-After` when the same request may succeed later.
 * They contain keys, never values, and from 500 on no message, which is logged instead, over every
 * transport. Microservices get `{ code, message }`, gateways the `exception` event, GraphQL an
 * error with `extensions.code`. The application registers it: `app.useGlobalFilters(new
 * StorageExceptionFilter())`.
 */
@Catch(AnyStorageError)
export class StorageExceptionFilter implements ExceptionFilter<StorageError> {
  readonly #options: ProblemOptions;

  constructor(@Optional() @Inject(problemOptionsToken) options?: ProblemOptions) {
    this.#options = options ?? {};
  }

  catch(error: StorageError, host: ArgumentsHost): unknown {
    return sendStorageError(error, host, this.#options);
  }
}

export function sendStorageError(error: StorageError, host: ArgumentsHost, options: ProblemOptions): unknown {
  const type = host.getType<string>();
  // sendProblem logs by the status that it sends
  if (error.status >= 500 && type !== 'http') logFault(error);
  switch (type) {
    case 'http':
      return sendProblem(error, problemOf(error), host, options);
    case 'rpc':
      return throwError(() => ({ code: error.code, message: messageOf(error) }));
    case 'ws':
      return emitException(host, { code: error.code, message: messageOf(error) });
    case 'graphql':
      throw graphqlErrorOf(error);
    default:
      throw error;
  }
}

/** GraphQL copies `extensions` of a thrown error into the response. */
class StorageGraphQLError extends Error {
  readonly extensions: Readonly<Record<string, unknown>>;

  constructor(message: string, extensions: Readonly<Record<string, unknown>>, cause: unknown) {
    super(message, { cause });
    this.extensions = extensions;
  }
}

/** The fields of the problem; from 500 on the code alone. */
function graphqlErrorOf(error: StorageError): Error {
  const { code, retryable } = error;
  if (error.status >= 500) return new StorageGraphQLError(messageOf(error), { code, retryable }, undefined);
  const { type: _, title: _title, status: _status, detail: _detail, ...fields } = storageProblem(error).body;
  return new StorageGraphQLError(messageOf(error), fields, error);
}

import { Catch, Inject, Optional, type ArgumentsHost, type ExceptionFilter } from '@nestjs/common';
import { throwError } from 'rxjs';
import { isStorageError, type StorageError } from '../../core/base/errors.js';
import { answerProblem, tellSocket, type ProblemOptions } from './answer-problem.js';
import { abortedProblem, messageOf, storageProblem } from './problem-details.js';

export const problemOptionsToken = Symbol('kvent.problem-options');

/**
 * Nest asks `instanceof`; the brand decides, so that errors of another copy of this package are
 * caught too.
 */
// eslint-disable-next-line @typescript-eslint/no-extraneous-class -- it stands for a test, not for things
abstract class AnyStorageError {
  static [Symbol.hasInstance](error: unknown): boolean {
    return isStorageError(error);
  }
}

/**
 * Answers storage errors. Over HTTP: problem details (RFC 9457) with the status of the one error
 * table, 412 where the check that failed was the caller's, `Retry-After` where waiting helps; keys
 * are sent, values never, and from 500 on no message. Microservices hear `{ code, message }`,
 * gateways the `exception` event, GraphQL gets the error itself. Register it yourself:
 * `app.useGlobalFilters(new StorageExceptionFilter())`.
 */
@Catch(AnyStorageError)
export class StorageExceptionFilter implements ExceptionFilter<StorageError> {
  readonly #options: ProblemOptions;

  constructor(@Optional() @Inject(problemOptionsToken) options?: ProblemOptions) {
    this.#options = options ?? {};
  }

  catch(error: StorageError, host: ArgumentsHost): unknown {
    return answerStorageError(error, host, this.#options);
  }
}

export function answerStorageError(
  error: StorageError,
  host: ArgumentsHost,
  options: ProblemOptions,
): unknown {
  switch (host.getType<string>()) {
    case 'http':
      return answerProblem(
        error,
        error.code === 'ABORTED' ? abortedProblem(error) : storageProblem(error),
        host,
        options,
      );
    case 'rpc':
      return throwError(() => ({ code: error.code, message: messageOf(error) }));
    case 'ws':
      return tellSocket(host, { code: error.code, message: messageOf(error) });
    default:
      throw error;
  }
}

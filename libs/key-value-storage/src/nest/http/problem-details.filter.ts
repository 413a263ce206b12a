import { Catch, Inject, Optional, type ArgumentsHost, type ExceptionFilter } from '@nestjs/common';
import { throwError } from 'rxjs';
import { isStorageError } from '../../core/base/errors.js';
import { answerProblem, logFault, tellSocket, type ProblemOptions } from './answer-problem.js';
import { httpProblem } from './problem-details.js';
import { answerStorageError, problemOptionsToken } from './storage-exception.filter.js';

/**
 * Answers everything else as problem details too: Nest's own errors (404, 403 …), bodies that
 * cannot be parsed or are too large; what nobody foresaw is a 500 that tells nothing, and is
 * logged. It catches all, so it goes before all other filters: `app.useGlobalFilters(new
 * ProblemDetailsFilter(), new StorageExceptionFilter())`.
 */
@Catch()
export class ProblemDetailsFilter implements ExceptionFilter {
  readonly #options: ProblemOptions;

  constructor(@Optional() @Inject(problemOptionsToken) options?: ProblemOptions) {
    this.#options = options ?? {};
  }

  catch(error: unknown, host: ArgumentsHost): unknown {
    if (isStorageError(error)) return answerStorageError(error, host, this.#options);
    switch (host.getType<string>()) {
      case 'http':
        return answerProblem(error, httpProblem(error), host, this.#options);
      case 'rpc':
        return throwError(() => toldOf(error));
      case 'ws':
        return tellSocket(host, { message: 'Internal server error' });
      default:
        throw error;
    }
  }
}

/** RpcException says itself what may be told. */
function toldOf(error: unknown): string | object {
  const { getError } = (typeof error === 'object' && error !== null ? error : {}) as {
    readonly getError?: () => string | object;
  };
  if (typeof getError === 'function') return getError.call(error);
  logFault(error);
  return { status: 'error', message: 'Internal server error' };
}

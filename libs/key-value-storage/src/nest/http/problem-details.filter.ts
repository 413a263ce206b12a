import { Catch, Inject, Optional, type ArgumentsHost, type ExceptionFilter } from '@nestjs/common';
import { throwError } from 'rxjs';
import { isStorageError } from '../../core/base/errors.js';
import { sendProblem, logFault, emitException, type ProblemOptions } from './send-problem.js';
import { httpProblem } from './problem-details.js';
import { sendStorageError, problemOptionsToken } from './storage-exception.filter.js';

/**
 * Sends all other errors as problem details too: errors of Nest (404, 403 …), and bodies that
 * cannot be parsed or are too large. An unexpected error is a 500 without details, and is logged.
 * Register it before all other filters, because it catches everything: `app.useGlobalFilters(new
 * ProblemDetailsFilter(), new StorageExceptionFilter())`.
 */
@Catch()
export class ProblemDetailsFilter implements ExceptionFilter {
  readonly #options: ProblemOptions;

  constructor(@Optional() @Inject(problemOptionsToken) options?: ProblemOptions) {
    this.#options = options ?? {};
  }

  catch(error: unknown, host: ArgumentsHost): unknown {
    if (isStorageError(error)) return sendStorageError(error, host, this.#options);
    switch (host.getType<string>()) {
      case 'http':
        return sendProblem(error, httpProblem(error), host, this.#options);
      case 'rpc':
        return throwError(() => rpcErrorOf(error));
      case 'ws':
        return emitException(host, socketErrorOf(error));
      case 'graphql':
        throw graphqlErrorOf(error);
      default:
        throw error;
    }
  }
}

/** Errors of Nest and of GraphQL are sent; no details of any other error. */
function graphqlErrorOf(error: unknown): unknown {
  const { getStatus, extensions } = (typeof error === 'object' && error !== null ? error : {}) as {
    readonly getStatus?: unknown;
    readonly extensions?: unknown;
  };
  if (typeof getStatus === 'function' || extensions !== undefined) return error;
  logFault(error);
  return new Error('Internal server error');
}

/** That of an `RpcException`, in the form of the filter of Nest. */
function socketErrorOf(error: unknown): { readonly message: string } {
  const sent = rpcErrorOf(error);
  return typeof sent === 'string' ? { message: sent } : (sent as { readonly message: string });
}

/**
 * The content of an `RpcException` or a `WsException`; no details of any other error, which is
 * logged.
 */
function rpcErrorOf(error: unknown): string | object {
  const { getError } = (typeof error === 'object' && error !== null ? error : {}) as {
    readonly getError?: () => string | object;
  };
  if (typeof getError === 'function') return getError.call(error);
  logFault(error);
  return { status: 'error', message: 'Internal server error' };
}

import { Logger, type ArgumentsHost } from '@nestjs/common';
import { isStorageError } from '../../core/base/errors.js';
import { isError, isPromise } from '../../core/base/kinds.js';
import { refusedPromise } from '../../core/base/refused-promise.js';
import {
  end,
  hasSentHeaders,
  isDestroyed,
  pathOf,
  send,
  setHeader,
  setStatus,
  type AnyRequest,
  type AnyResponse,
} from './http-exchange.js';
import { httpProblem, problemJson, type Problem, type ProblemDetails } from './problem-details.js';

export interface ProblemOptions {
  /**
   * Adds to every problem, or changes it: `(problem, request) => ({ ...problem, correlationId:
   * request.id })`.
   */
  // oxlint-disable-next-line typescript/no-explicit-any -- requests of Express and Fastify differ
  readonly extend?: (problem: ProblemDetails, request: any) => object;
}

const logger = new Logger('ExceptionsHandler');

/** Sends the problem. An error from 500 on is logged, because the response omits its details. */
export function sendProblem(
  error: unknown,
  problem: Problem,
  host: ArgumentsHost,
  options: ProblemOptions,
): void {
  const request = host.switchToHttp().getRequest<AnyRequest>();
  const response = host.switchToHttp().getResponse<AnyResponse>();
  if (problem.body.status >= 500 && !isStorageError(error, 'ABORTED')) logFault(error);
  respond(problem, request, response, options);
}

/**
 * The option `frameworkErrors` of `FastifyAdapter`: Fastify refuses a malformed address, or one
 * with a parameter that is too long, before filters run. `new FastifyAdapter({ frameworkErrors:
 * sendFrameworkProblem })`.
 */
export const sendFrameworkProblem = (error: unknown, request: object, reply: object): void =>
  respond(httpProblem(error), request, reply as AnyResponse, {});

function respond(
  problem: Problem,
  request: AnyRequest,
  response: AnyResponse,
  { extend }: ProblemOptions,
): void {
  if (isDestroyed(response)) return;
  if (hasSentHeaders(response)) return end(response);
  const instance = pathOf(request);
  const body: ProblemDetails = { ...problem.body, ...(instance !== undefined && { instance }) };
  const more = extend?.(body, request);
  if (isPromise(more)) throw refusedPromise('extend', more);
  setStatus(response, body.status);
  setHeader(response, 'Content-Type', 'application/problem+json');
  for (const [name, value] of Object.entries(problem.headers)) setHeader(response, name, value);
  send(response, problemJson({ ...body, ...more }));
}

export function logFault(error: unknown): void {
  if (isStorageError(error)) logger.error(`${error.message} [${error.code}, ${error.help}]`, error.stack);
  else if (isError(error)) logger.error(error.message, error.stack);
  else logger.error(error);
}

/** Emits the event that the filter of Nest sends to clients of a gateway. */
export function emitException(
  host: ArgumentsHost,
  body: { readonly code?: string; readonly message: string },
): void {
  const client = host
    .switchToWs()
    .getClient<{ readonly emit?: (event: string, body: object) => unknown } | undefined>();
  client?.emit?.('exception', { status: 'error', ...body });
}

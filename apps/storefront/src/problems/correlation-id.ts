import { AsyncLocalStorage } from 'node:async_hooks';
import { randomUUID } from 'node:crypto';
import {
  headerOf,
  type NextFunction,
  type NodeRequest,
  type NodeResponse,
  type ShopRequest,
} from '../http/exchange.js';

const header = 'X-Correlation-Id';
const wellFormed = /^[\w.:-]{1,100}$/;
const ofTheMoment = new AsyncLocalStorage<string>();

/**
 * Responses, problems and events contain the id that the client sent, or a new one. It finds the
 * log entries of a request.
 */
export function correlationId(request: NodeRequest, response: NodeResponse, next: NextFunction): void {
  const given = headerOf(request, header);
  const id = given !== undefined && wellFormed.test(given) ? given : randomUUID();
  request.headers[header.toLowerCase()] = id;
  response.setHeader(header, id);
  ofTheMoment.run(id, next);
}

/** Behind the middleware, which sets it. */
export const correlationIdOf = (request: ShopRequest): string | undefined => headerOf(request, header);

/** For the events of a request. */
export function eventMetadata(): { readonly correlationId?: string } {
  const id = ofTheMoment.getStore();
  return id === undefined ? {} : { correlationId: id };
}

/**
 * Access to requests and responses of Express, of Fastify, and of Node (which middleware on Fastify
 * gets).
 */
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerResponse } from 'node:http2';

export interface AnyRequest {
  readonly method?: string;
  readonly headers?: IncomingHttpHeaders;
  readonly originalUrl?: string;
  readonly url?: string;
  readonly raw?: IncomingMessage;
}

/** Common to Express and Fastify. A response of Node has neither `status` nor `send`. */
interface FrameworkResponse {
  readonly statusCode: number;
  status(code: number): unknown;
  header(name: string, value: string): unknown;
  getHeader(name: string): number | string | string[] | undefined;
  send(body: string): unknown;
  readonly raw?: ServerResponse;
}
export type AnyResponse = FrameworkResponse | ServerResponse;

const hasFramework = (response: AnyResponse): response is FrameworkResponse =>
  'send' in response && typeof response.send === 'function';

/** The response of Node. The reply of Fastify contains it; the response of Express extends it. */
export const rawOf = (response: AnyResponse): ServerResponse =>
  ('raw' in response && response.raw !== undefined ? response.raw : response) as ServerResponse;

export const hasSentHeaders = (response: AnyResponse): boolean => rawOf(response).headersSent;
/** Whether the client has closed the connection, or on HTTP/2 the stream of the request. */
export function isDestroyed(response: AnyResponse): boolean {
  // a response of HTTP/2 has no `destroyed`, and its stream no response of HTTP/1
  const { destroyed, stream }: ServerResponse & Partial<Pick<Http2ServerResponse, 'stream'>> =
    rawOf(response);
  return destroyed || stream?.destroyed === true;
}

export function setHeader(response: AnyResponse, name: string, value: string): void {
  if (hasFramework(response)) response.header(name, value);
  else response.setHeader(name, value);
}

/** Adds a value to a header that is a list. */
export function addHeader(response: AnyResponse, name: string, value: string): void {
  const before = response.getHeader(name);
  setHeader(response, name, before === undefined ? value : `${[before].flat().join(', ')}, ${value}`);
}

export function setStatus(response: AnyResponse, status: number): void {
  if (hasFramework(response)) response.status(status);
  else response.statusCode = status;
}

export function send(response: AnyResponse, body: string): void {
  if (hasFramework(response)) response.send(body);
  else response.end(body);
}

/** Ends a response whose headers are sent, so that no problem can be sent any more. */
export const end = (response: AnyResponse): void => {
  rawOf(response).end();
};

/** A header as one string, also when it was sent several times; `undefined` if it is missing. */
export function headerOf(request: AnyRequest, name: string): string | undefined {
  const value = request.headers?.[name.toLowerCase()];
  return Array.isArray(value) ? value.join(', ') : value;
}

/** The query as it was sent, without the question mark; empty if there is none. */
export function queryOf(request: AnyRequest): string {
  const url = request.originalUrl ?? request.url ?? '';
  const begin = url.indexOf('?');
  return begin === -1 ? '' : url.slice(begin + 1);
}

/** The path without the query, which may contain tokens. */
export const pathOf = (request: AnyRequest): string | undefined =>
  (request.originalUrl ?? request.url)?.split('?', 1)[0];

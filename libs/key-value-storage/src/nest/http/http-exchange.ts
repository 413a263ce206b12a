/**
 * Requests and responses of Express, of Fastify, and of Node itself (what middleware and its errors
 * see on Fastify), through one small window.
 */
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';

export interface AnyRequest {
  readonly method?: string;
  readonly headers?: IncomingHttpHeaders;
  readonly originalUrl?: string;
  readonly url?: string;
  readonly raw?: IncomingMessage;
}

/** Express and Fastify share these; a response of Node has neither `status` nor `send`. */
interface FrameworkResponse {
  status(code: number): unknown;
  header(name: string, value: string): unknown;
  send(body: string): unknown;
  readonly raw?: ServerResponse;
}
export type AnyResponse = FrameworkResponse | ServerResponse;

const hasFramework = (response: AnyResponse): response is FrameworkResponse =>
  'send' in response && typeof response.send === 'function';

/** Fastify's reply holds Node's response; Express's is one. */
export const rawOf = (response: AnyResponse): ServerResponse =>
  ('raw' in response && response.raw !== undefined ? response.raw : response) as ServerResponse;

export const isAnswered = (response: AnyResponse): boolean => rawOf(response).headersSent;
/** Nobody is there to hear an answer. */
export const isGone = (response: AnyResponse): boolean => rawOf(response).destroyed;

export function setHeader(response: AnyResponse, name: string, value: string): void {
  if (hasFramework(response)) response.header(name, value);
  else response.setHeader(name, value);
}

export function setStatus(response: AnyResponse, status: number): void {
  if (hasFramework(response)) response.status(status);
  else response.statusCode = status;
}

export function send(response: AnyResponse, body: string): void {
  if (hasFramework(response)) response.send(body);
  else response.end(body);
}

/** For what went wrong once the head was sent: no second answer can follow. */
export const end = (response: AnyResponse): void => {
  rawOf(response).end();
};

/** A header, one text however it was sent; `undefined` where there is none. */
export function headerOf(request: AnyRequest, name: string): string | undefined {
  const value = request.headers?.[name.toLowerCase()];
  return Array.isArray(value) ? value.join(', ') : value;
}

/** The query as it was sent, without the question mark; empty where there is none. */
export function queryOf(request: AnyRequest): string {
  const url = request.originalUrl ?? request.url ?? '';
  const begin = url.indexOf('?');
  return begin === -1 ? '' : url.slice(begin + 1);
}

/** The path alone: queries may carry tokens. */
export const pathOf = (request: AnyRequest): string | undefined =>
  (request.originalUrl ?? request.url)?.split('?', 1)[0];

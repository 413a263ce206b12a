/** Requests and responses of Express and Fastify, as far as the shop uses them. */
import type { IncomingMessage, ServerResponse } from 'node:http';

/** Middleware gets those of Node: Fastify passes them, and those of Express extend them. */
export type NodeRequest = IncomingMessage;
export type NodeResponse = ServerResponse;

/** That of Node, of a handler's request: a stream of the body. */
export const nodeRequestOf = (request: NodeRequest | { readonly raw: NodeRequest }): NodeRequest =>
  'raw' in request ? request.raw : request;

/** For handlers and filters. */
export type ShopRequest = Pick<IncomingMessage, 'headers' | 'socket'> & {
  readonly originalUrl?: string;
  readonly url?: string;
};

/** For handlers. */
export interface ShopResponse {
  status(code: number): unknown;
  header(name: string, value: string): unknown;
}

/** A header that is sent once. */
export function headerOf({ headers }: Pick<ShopRequest, 'headers'>, name: string): string | undefined {
  const value = headers[name.toLowerCase()];
  return Array.isArray(value) ? value[0] : value;
}

/** The path without the query. */
export const pathOf = ({ originalUrl, url = '' }: Addressed): string =>
  (originalUrl ?? url).split('?', 1)[0] as string;
interface Addressed {
  readonly originalUrl?: string | undefined;
  readonly url?: string | undefined;
}

export type NextFunction = (error?: unknown) => void;

/**
 * Reads and replaces what is sent as a response, below Express and Fastify: what filters, other
 * interceptors and the serialization have made of the result of a handler.
 */
import type { OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { isError } from '../../core/base/kinds.js';
import { isDestroyed } from '../http/http-exchange.js';

/** A response as it was sent. */
export interface CapturedResponse {
  readonly status: number;
  /** By lower-case names. */
  readonly headers: Readonly<OutgoingHttpHeaders>;
  /** `undefined` where it has more bytes than the limit, or was not sent to its end. */
  readonly body: Uint8Array | undefined;
}

/** A response to be sent in place of the one that the framework makes. */
interface ReplacingResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

/** The status of an abandoned request to whose client nothing was sent. */
const requestTimeout = 408;

/**
 * What describes the bytes of a body (RFC 9110, 8 and 14.4; RFC 6266; RFC 9530). The bytes are kept
 * as they were sent, so without these they cannot be read: compressed ones, or those of a range.
 */
export const headersOfBytes = [
  'Content-Type',
  'Content-Encoding',
  'Content-Language',
  'Content-Location',
  'Content-Range',
  'Content-Disposition',
  'Content-Digest',
  'Repr-Digest',
] as const;

/** They describe the body, so those of the replaced one do not apply. */
const replacedHeaders = [...headersOfBytes, 'Content-Length', 'Transfer-Encoding', 'Trailer', 'ETag'];

interface CaptureOptions {
  /** A body with more bytes is left out. */
  readonly bodyBytesMax: number;
  /**
   * Resolves when no end of a response is awaited any longer whose client is gone. Interceptors
   * outside may still work on the result of the handler.
   */
  readonly endOverdue: () => Promise<void>;
  readonly onEnd: (captured: CapturedResponse) => Promise<void>;
}

interface Capture {
  /** The handler has a result, or has failed with a status. */
  handled(failedWith?: number): void;
  /** Nothing waits for the handler any more; 408 is its status where it was not handled before. */
  ended(): void;
}

/**
 * Calls `onEnd` once: with the response before its end is sent, which is sent when `onEnd` has
 * ended; or without a body, when nothing waits for the handler any more, the client is gone, and
 * the end is overdue or the head is sent. A body that is written in parts is sent as it is written.
 */
export function captureResponse(
  response: ServerResponse,
  { bodyBytesMax, endOverdue, onEnd }: CaptureOptions,
): Capture {
  const { write, end } = response;
  const written = new WrittenHead(response);
  let parts: Uint8Array[] | undefined = [];
  let bytes = 0;
  let ending = false;
  let closed = isDestroyed(response);
  let ended = false;
  let handled: { readonly status: number; readonly failed: boolean } | undefined;
  const withoutBody = (status: number): CapturedResponse => ({
    status,
    headers: written.headers,
    body: undefined,
  });
  const add = (chunk: unknown, encoding: unknown): void => {
    const part = bytesOf(chunk, encoding);
    if (part === undefined || parts === undefined) return;
    bytes += part.length;
    if (bytes > bodyBytesMax) parts = undefined;
    else parts.push(part);
  };
  response.write = ((...given: readonly unknown[]): boolean => {
    add(given[0], given[1]);
    return Reflect.apply(write, response, given) as boolean;
  }) as typeof write;
  response.end = ((...given: readonly unknown[]): ServerResponse => {
    if (ending) return response;
    // Node throws
    if (!isChunk(given[0])) return Reflect.apply(end, response, given) as ServerResponse;
    ending = true;
    add(given[0], given[1]);
    const { statusCode } = response;
    const body = parts && new Uint8Array(Buffer.concat(parts));
    // Fastify makes an error of a result that it cannot send any more
    const captured =
      closed && handled?.failed === false && handled.status !== statusCode
        ? withoutBody(handled.status)
        : { status: statusCode, headers: written.headers, body };
    void onEnd(captured).finally(() => {
      Object.assign(response, { write, end });
      try {
        Reflect.apply(end, response, given);
      } catch (error) {
        // nothing waits for it any more: the client must not either
        response.destroy(isError(error) ? error : undefined);
      }
    });
    return response;
  }) as typeof end;
  const giveUp = (): void => {
    if (ending) return;
    ending = true;
    Object.assign(response, { write, end });
    void onEnd(withoutBody(response.headersSent ? response.statusCode : (handled?.status ?? requestTimeout)));
  };
  const giveUpWhenOverdue = (): void => {
    if (ending || !closed || !ended) return;
    // no end comes of a body in parts; that of a body in one part comes also without a client
    if (response.headersSent) giveUp();
    else void endOverdue().then(giveUp);
  };
  response.once('close', () => {
    closed = true;
    giveUpWhenOverdue();
  });
  return {
    handled: (failedWith) => {
      handled = { status: failedWith ?? response.statusCode, failed: failedWith !== undefined };
    },
    ended: () => {
      ended = true;
      giveUpWhenOverdue();
    },
  };
}

/** Sends a response in place of the one that the framework is about to send. */
export function replaceResponse(
  response: ServerResponse,
  { status, headers, body }: ReplacingResponse,
): void {
  const { write, end, writeHead } = response;
  const written = new WrittenHead(response, 'held');
  response.write = (() => true) as typeof write;
  response.end = ((): ServerResponse => {
    const others = Object.entries(written.headers);
    Object.assign(response, { write, end, writeHead });
    for (const [name, value] of others) if (value !== undefined) response.setHeader(name, value);
    for (const name of replacedHeaders) response.removeHeader(name);
    for (const [name, value] of Object.entries(headers))
      response.setHeader(name, name === 'Vary' ? listOf(response.getHeader(name), value) : value);
    response.statusCode = status;
    // Node does not add it to a response from which it was removed
    if (status !== 204 && status !== 304) response.setHeader('Content-Length', body.length);
    return response.end(body.length === 0 ? undefined : body);
  }) as typeof end;
}

/** The members of both lists, each once: what this request depends on, and the kept response. */
function listOf(present: number | string | string[] | undefined, kept: string): string {
  const members = [present ?? [], kept].flat().flatMap((each) => String(each).split(','));
  const byName = new Map(members.map((each) => [each.trim().toLowerCase(), each.trim()]));
  return [...byName.values()].filter((each) => each !== '').join(', ');
}

/** Fastify gives its headers to `writeHead`, Express sets them before. */
class WrittenHead {
  readonly #response: ServerResponse;
  readonly #given: OutgoingHttpHeaders = {};

  constructor(response: ServerResponse, head: 'sent' | 'held' = 'sent') {
    this.#response = response;
    const { writeHead } = response;
    response.writeHead = (...given: readonly unknown[]): ServerResponse => {
      this.#note(given.find((each) => typeof each === 'object' && each !== null) ?? {});
      return head === 'held' ? response : (Reflect.apply(writeHead, response, given) as ServerResponse);
    };
  }

  get headers(): OutgoingHttpHeaders {
    return { ...this.#response.getHeaders(), ...this.#given };
  }

  #note(given: object): void {
    const pairs = Array.isArray(given) ? pairsIn(given) : Object.entries(given);
    for (const [name, value] of pairs) this.#given[name.toLowerCase()] = value as string;
  }
}

/** Names and values in turn, or pairs of them. */
function pairsIn(list: readonly unknown[]): readonly (readonly [string, unknown])[] {
  if (Array.isArray(list[0])) return list as readonly (readonly [string, unknown])[];
  return list.flatMap((name, index) => (index % 2 === 0 ? [[name as string, list[index + 1]] as const] : []));
}

/** Whether the end of a response takes it; a function is its callback. */
const isChunk = (given: unknown): boolean =>
  given === undefined ||
  given === null ||
  typeof given === 'string' ||
  typeof given === 'function' ||
  given instanceof Uint8Array;

function bytesOf(chunk: unknown, encoding: unknown): Uint8Array | undefined {
  if (typeof chunk === 'string')
    return Buffer.from(chunk, typeof encoding === 'string' ? (encoding as BufferEncoding) : 'utf8');
  return chunk instanceof Uint8Array ? chunk : undefined;
}

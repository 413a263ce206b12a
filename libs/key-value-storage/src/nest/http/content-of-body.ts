/**
 * What a request sent beside its address and its headers, as a repeat is compared by it. Bytes are
 * compared by their digest: of fields, of files in memory and of files on disk.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import type { IncomingMessage } from 'node:http';
import type { Http2ServerRequest } from 'node:http2';
import { inspect } from '../../core/base/inspect.js';
import { isBytes, isObjectPrototype } from '../../core/base/kinds.js';
import { invalidOption } from '../../core/base/options.js';
import { headerOf, type AnyRequest } from './http-exchange.js';

export type RequestWithBody = AnyRequest & {
  readonly body?: unknown;
  /** Uploaded files. Before an interceptor has set them, they are methods on Fastify. */
  readonly file?: unknown;
  readonly files?: unknown;
};

interface ContentOfBody {
  readonly body: unknown;
  /** Left out where there are none. */
  readonly files?: readonly object[];
}

/**
 * `INVALID_OPTION` where a body was sent that nothing has parsed, or a file that cannot be read.
 */
export async function contentOfBody(request: RequestWithBody): Promise<ContentOfBody> {
  const files = [...filesIn(request.file), ...filesIn(request.files)];
  if (files.length === 0 && hasBody(request) && !isParsed(request)) throw notParsed(request);
  const body = contentOf(request.body ?? null);
  return files.length === 0 ? { body } : { body, files: await Promise.all(files.map(contentOfFile)) };
}

/** By its headers; HTTP/2 needs none of them. */
function hasBody(request: AnyRequest): boolean {
  const { stream } = (request.raw ?? request) as Partial<Http2ServerRequest>;
  return (
    Number(headerOf(request, 'content-length') ?? 0) > 0 ||
    headerOf(request, 'transfer-encoding') !== undefined ||
    stream?.endAfterHeaders === false
  );
}

/** Some middleware gives each request an empty body, whether it was read or not. */
function isParsed(request: RequestWithBody): boolean {
  const { body } = request;
  if (typeof body !== 'object' || body === null || Object.keys(body).length > 0) return body !== undefined;
  const { readableDidRead, readableEnded } = request.raw ?? (request as Partial<IncomingMessage>);
  return readableDidRead !== false || readableEnded === true;
}

function notParsed(request: AnyRequest): Error {
  const type = headerOf(request, 'content-type')?.split(';', 1)[0];
  return invalidOption(
    `An idempotency key needs the parsed body of its request; got a body of type ${inspect(type)} that nothing has parsed. Register a parser for this type, or put the interceptor that parses it first: @UseInterceptors(FileInterceptor('file'), IdempotencyInterceptor).`,
  );
}

/** With digests in place of bytes: of a whole body, and of its fields, which may be files. */
function contentOf(body: unknown): unknown {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return withoutBytes(body);
  const parent = Object.getPrototypeOf(body) as object | null;
  // any other class keeps its content elsewhere, and is refused when the digest is made
  if (parent !== null && !isObjectPrototype(parent)) return withoutBytes(body);
  return Object.fromEntries(Object.entries(body).map(([name, field]) => [name, withoutBytes(field)]));
}

function withoutBytes(value: unknown): unknown {
  if (Array.isArray(value)) return value.some(isBytes) ? value.map(withoutBytes) : value;
  return isBytes(value) ? digestOf(value) : value;
}

const digestOf = (bytes: Uint8Array): Uint8Array =>
  new Uint8Array(createHash('sha256').update(bytes).digest());

/** A file of an interceptor of Nest, on both adapters: a buffer in memory, or a path on disk. */
interface UploadedFile {
  readonly fieldname?: unknown;
  readonly originalname?: unknown;
  readonly mimetype?: unknown;
  readonly buffer?: unknown;
  readonly path?: unknown;
}

/** One file, a list, or lists by the names of fields. */
function filesIn(given: unknown): readonly UploadedFile[] {
  if (typeof given !== 'object' || given === null) return [];
  if (Array.isArray(given)) return given as readonly UploadedFile[];
  if ('fieldname' in given && typeof given.fieldname === 'string') return [given];
  return Object.values(given).flat() as readonly UploadedFile[];
}

async function contentOfFile(file: UploadedFile): Promise<object> {
  const { fieldname = null, originalname = null, mimetype = null, buffer, path } = file;
  if (isBytes(buffer)) return { fieldname, originalname, mimetype, content: digestOf(buffer) };
  if (typeof path !== 'string')
    throw invalidOption(
      `An idempotency key needs the content of each uploaded file; got ${inspect(originalname)} with neither a buffer nor a path. Store uploaded files in memory or on disk.`,
    );
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return { fieldname, originalname, mimetype, content: new Uint8Array(hash.digest()) };
}

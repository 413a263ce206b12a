import {
  createParamDecorator,
  Injectable,
  UseInterceptors,
  type CallHandler,
  type ExecutionContext,
  type NestInterceptor,
} from '@nestjs/common';
import { map, type Observable } from 'rxjs';
import { storageError } from '../../core/base/errors.js';
import { assertAtMost } from '../../core/base/assert-limits.js';
import { inspect } from '../../core/base/inspect.js';
import { limits } from '../../core/base/limits.js';
import { assertOptions, invalidOption, outOfRange } from '../../core/base/options.js';
import { representation, type Representation } from '../../core/store/entry.js';
import type { Page, PageRequest } from '../../core/store/key-value-store.js';
import { addHeader, hasSentHeaders, queryOf, type AnyRequest, type AnyResponse } from './http-exchange.js';

export interface PagedOptions {
  /** The largest `limit` of this route, from 1 to 1,000. @default 1000 */
  readonly limitMax?: number;
}

/** The page that a client asks for: an argument of `page` of a store or a stream type. */
export type PagedRequest = Pick<PageRequest, 'limit' | 'cursor' | 'reverse'>;

export const pagedFactory = (options: PagedOptions | undefined, context: ExecutionContext): PagedRequest =>
  pagedRequestOf(context.switchToHttp().getRequest<AnyRequest>(), options);

const paged = createParamDecorator(pagedFactory);

/**
 * The page that a client asks for by the query parameters `limit`, `cursor` and `order` (`asc` or
 * `desc`): `@Paged() page: PagedRequest`, for `store.page(page)`. Other parameters are left to the
 * route. A malformed or repeated parameter, or a `limit` above `limitMax`, is 400 `OUT_OF_RANGE`; a
 * `limit` above 1,000 is 413 `LIMIT_EXCEEDED`; a cursor of another list is 400 `INVALID_CURSOR`.
 *
 * A `Page` that the handler returns is sent as `{ items, next, previous }`, entries as their
 * values, with the other fields of the result (`{ ...page, total }`). While there is a next or a
 * previous page, `Link` (RFC 8288) holds a relative reference to it with the other parameters of
 * the query, so it is right behind every proxy.
 */
export const Paged = (options: PagedOptions = {}): ParameterDecorator => {
  assertOptions('Paged', options, ['limitMax']);
  const { limitMax = limits.pageItemsMax } = options;
  if (!Number.isInteger(limitMax) || limitMax < 1 || limitMax > limits.pageItemsMax)
    throw invalidOption(
      `Paged: limitMax must be a whole number from 1 to ${limits.pageItemsMax}; got ${inspect(limitMax)}.`,
    );
  return (target, name, index) => {
    paged(options)(target, name, index);
    const method = name === undefined ? undefined : Object.getOwnPropertyDescriptor(target, name);
    if (name !== undefined && method !== undefined) UseInterceptors(PagedInterceptor)(target, name, method);
  };
};

/** Sends pages with their `Link`. `@Paged()` adds it to its method. */
@Injectable()
class PagedInterceptor implements NestInterceptor {
  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const request = context.switchToHttp().getRequest<AnyRequest>();
    const response = context.switchToHttp().getResponse<AnyResponse>();
    return next.handle().pipe(map((result: unknown) => send(result, request, response)));
  }
}

function send(result: unknown, request: AnyRequest, response: AnyResponse): unknown {
  if (!isPage(result) || hasSentHeaders(response)) return result;
  const { next, previous } = result;
  for (const [relation, cursor] of [
    ['next', next],
    ['prev', previous],
  ] as const)
    if (cursor !== undefined)
      addHeader(response, 'Link', `<${referenceTo(request, 'cursor', cursor)}>; rel="${relation}"`);
  // with its other fields, and its class, by which a serializer may choose fields
  const sent = Object.create(Object.getPrototypeOf(result) as object | null) as object;
  const { items, ...others } = result;
  Object.defineProperty(sent, 'items', { value: items.map(bodyOf), enumerable: true });
  return Object.assign(sent, others);
}

/** A page, of streams too: those have no previous one. */
type AnyPage = Pick<Page<unknown>, 'items' | 'next'> & Partial<Page<unknown>>;

const isPage = (result: unknown): result is AnyPage =>
  typeof result === 'object' && result !== null && 'items' in result && Array.isArray(result.items);

const bodyOf = (item: unknown): unknown =>
  typeof item === 'object' && item !== null && representation in item
    ? (item[representation] as Representation).body
    : item;

/**
 * The address of a request with one parameter of its query changed, as a relative reference (RFC
 * 3986, 4.2), for a `Link` of your own. It has no path, because a proxy may have changed the path.
 */
export function referenceTo(request: AnyRequest, parameter: string, value: string): string {
  const query = new URLSearchParams(queryOf(request));
  query.set(parameter, value);
  return `?${query.toString()}`;
}

/** From the query as it was sent, because Express and Fastify parse it differently. */
function pagedRequestOf(
  request: AnyRequest,
  { limitMax = limits.pageItemsMax }: PagedOptions = {},
): PagedRequest {
  const query = new URLSearchParams(queryOf(request));
  const limit = limitIn(query.getAll('limit'), limitMax);
  const cursor = cursorIn(query.getAll('cursor'));
  const reverse = isReverse(query.getAll('order'));
  return {
    ...(limit !== undefined && { limit }),
    ...(cursor !== undefined && { cursor }),
    ...(reverse !== undefined && { reverse }),
  };
}

function limitIn(sent: readonly string[], limitMax: number): number | undefined {
  if (sent.length === 0) return undefined;
  const limit = sent.length === 1 && /^\d{1,9}$/.test(sent[0] as string) ? Number(sent[0]) : 0;
  assertAtMost('pageItemsMax', limit, 'items of a page');
  if (limit >= 1 && limit <= limitMax) return limit;
  throw outOfRange(`limit must be one whole number from 1 to ${limitMax}; got ${inspect(sent.join(', '))}.`);
}

function cursorIn(sent: readonly string[]): string | undefined {
  if (sent.length < 2 && sent[0] !== '') return sent[0];
  throw storageError(
    'INVALID_CURSOR',
    'cursor must be sent once, with the `next` or `previous` of another page.',
    {},
  );
}

function isReverse(sent: readonly string[]): boolean | undefined {
  if (sent.length === 0) return undefined;
  if (sent.length === 1 && (sent[0] === 'asc' || sent[0] === 'desc')) return sent[0] === 'desc';
  throw outOfRange(`order must be asc or desc; got ${inspect(sent.join(', '))}.`);
}

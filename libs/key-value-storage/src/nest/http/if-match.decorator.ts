import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import { storageError } from '../../core/base/errors.js';
import { Precondition } from '../../core/store/etag.js';
import { inspect } from '../../core/base/inspect.js';
import { entityTagsIn } from './entity-tags.js';
import { headerOf, type AnyRequest } from './http-exchange.js';

export interface IfMatchOptions {
  /**
   * false: without the header there is no check, except for `If-None-Match: *`, by which the row
   * must not exist. @default true
   */
  readonly required?: boolean;
  /** true: `If-None-Match: *` is accepted too; then the write only creates. @default false */
  readonly create?: boolean;
}

export const ifMatchFactory = (
  options: IfMatchOptions | undefined,
  context: ExecutionContext,
): Precondition => preconditionOf(context.switchToHttp().getRequest<AnyRequest>(), options);

const ifMatch = createParamDecorator(ifMatchFactory);

/**
 * The `If-Match` header as a `Precondition`, for `{ ifMatch }` of `set`, `delete`, `append` and
 * `transact`. By RFC 9110, one ETag of a list must match, and a weak or foreign ETag matches
 * nothing: the write is a 412. A missing header is 428 `PRECONDITION_REQUIRED`; with `{ required:
 * false }` it is a precondition that checks nothing. A header that is not a list of ETags is 400
 * `INVALID_ETAG`.
 *
 * With `{ create: true }`, a request with `If-None-Match: *` creates: it is a 412 if the row or the
 * stream exists, and `EtagInterceptor` sends 201. With `{ required: false }` it is a 412 too, and
 * otherwise a 428, as without a header. Other values of `If-None-Match` are 400 `INVALID_ETAG`. A
 * request with both headers matches nothing.
 */
export const IfMatch = (options?: IfMatchOptions): ParameterDecorator => ifMatch(options);

/** The requests with `If-None-Match: *` whose handler has got the precondition. */
const creatingRequests = new WeakSet<object>();

/** Whether a successful write of this request has created. */
export const isCreating = (request: object): boolean => creatingRequests.has(request);

function preconditionOf(
  request: AnyRequest,
  { required = true, create = false }: IfMatchOptions = {},
): Precondition {
  const header = headerOf(request, 'if-match');
  // RFC 9110, 13.1.2: where it is false, a write must not be performed; a read is a 304
  const isRead = request.method === 'GET' || request.method === 'HEAD';
  const noneMatch = isRead ? undefined : headerOf(request, 'if-none-match');
  if (noneMatch !== undefined) {
    assertWildcard(noneMatch);
    // RFC 9110, 13.2.2: both must hold, and no row both exists and is absent
    if (header !== undefined) {
      parseIfMatch(header);
      return new Precondition([]);
    }
    if (create) creatingRequests.add(request);
    if (create || !required) return new Precondition('absent');
  }
  // a blank header is an error of the client, not an omitted check
  if (header === undefined && !required) return new Precondition('none');
  return new Precondition(parseIfMatch(header, create));
}

function assertWildcard(noneMatch: string): void {
  if (noneMatch.trim() === '*') return;
  throw storageError(
    'INVALID_ETAG',
    `If-None-Match of a write must be *, which creates; got ${inspect(noneMatch)}.`,
    {},
  );
}

function parseIfMatch(header: string | undefined, create = false): Precondition['etags'] {
  const value = header?.trim() ?? '';
  if (value === '') {
    const orCreate = create ? ', or If-None-Match: * to create' : '';
    throw storageError(
      'PRECONDITION_REQUIRED',
      `This request must have the header If-Match with the ETag that was read${orCreate}, because others may have changed the data since.`,
      {},
    );
  }
  if (value === '*') return 'any';
  const tags = entityTagsIn(value);
  if (tags === undefined)
    throw storageError(
      'INVALID_ETAG',
      `If-Match must be ETags in quotes, as they were sent, or *; got ${inspect(value)}.`,
      {},
    );
  // a weak ETag never matches in a strong comparison
  return tags.filter(({ weak }) => !weak).map(({ etag }) => etag);
}

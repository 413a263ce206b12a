import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import { storageError } from '../../core/base/errors.js';
import { Precondition } from '../../core/store/etag.js';
import { inspect } from '../../core/base/inspect.js';
import { entityTagsIn } from './entity-tags.js';
import { headerOf, type AnyRequest } from './http-exchange.js';

interface Options {
  /** false: without the header there is no check. @default true */
  readonly required?: boolean;
}

const ifMatch = createParamDecorator((options: Options | undefined, context: ExecutionContext) =>
  ifMatchOf(headerOf(context.switchToHttp().getRequest<AnyRequest>(), 'if-match'), options?.required ?? true),
);

/**
 * The `If-Match` header as a `Precondition`, for `{ ifMatch }` of `set`, `delete`, `append` and
 * `transact`. By RFC 9110, one ETag of a list must match, and a weak or foreign ETag matches
 * nothing: the write is a 412. A missing header is 428 `PRECONDITION_REQUIRED`; with `{ required:
 * false }` it is a precondition that checks nothing. A header that is not a list of ETags is 400
 * `INVALID_ETAG`.
 */
export const IfMatch = (options?: Options): ParameterDecorator => ifMatch(options);

/** A blank header is an error of the client, not an omitted check. */
const ifMatchOf = (header: string | undefined, required: boolean): Precondition =>
  header === undefined && !required ? new Precondition('none') : parseIfMatch(header);

function parseIfMatch(header: string | undefined): Precondition {
  const value = header?.trim() ?? '';
  if (value === '') {
    throw storageError(
      'PRECONDITION_REQUIRED',
      'This request must have the header If-Match with the ETag that was read, because others may have changed the data since.',
      {},
    );
  }
  if (value === '*') return new Precondition('any');
  const tags = entityTagsIn(value);
  if (tags === undefined)
    throw storageError(
      'INVALID_ETAG',
      `If-Match must be ETags in quotes, as they were sent, or *; got ${inspect(value)}.`,
      {},
    );
  // a weak ETag never matches in a strong comparison
  return new Precondition(tags.filter(({ weak }) => !weak).map(({ etag }) => etag));
}

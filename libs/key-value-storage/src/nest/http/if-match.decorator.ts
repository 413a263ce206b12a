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
 * `transact`. By RFC 9110 a list is looked through, and a weak or foreign ETag matches nothing: the
 * write is a 412. Missing is 428 `PRECONDITION_REQUIRED`; with `{ required: false }` it is a
 * precondition that checks nothing, and may be handed on. What is no list of ETags is 400
 * `INVALID_ETAG`.
 */
export const IfMatch = (options?: Options): ParameterDecorator => ifMatch(options);

/** A header that is there but blank is a mistake of the client's, and never "no check". */
const ifMatchOf = (header: string | undefined, required: boolean): Precondition =>
  header === undefined && !required ? new Precondition('none') : parseIfMatch(header);

function parseIfMatch(header: string | undefined): Precondition {
  const given = header?.trim() ?? '';
  if (given === '') {
    throw storageError(
      'PRECONDITION_REQUIRED',
      'This request changes what others may have changed meanwhile: send If-Match with the ETag of what was read.',
      {},
    );
  }
  if (given === '*') return new Precondition('any');
  const tags = entityTagsIn(given);
  if (tags === undefined)
    throw storageError(
      'INVALID_ETAG',
      `If-Match is ${inspect(given)}; expected were ETags in quotes as they were sent, or *.`,
      {},
    );
  // a weak one never matches strongly
  return new Precondition(tags.filter(({ weak }) => !weak).map(({ etag }) => etag));
}

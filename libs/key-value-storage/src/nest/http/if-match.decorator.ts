import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import { storageError } from '../../core/errors.js';
import { headerOf, type AnyRequest } from './http-exchange.js';

interface Options {
  /** false: `undefined` where the header is missing. @default true */
  readonly required?: boolean;
}

const ifMatch = createParamDecorator((options: Options | undefined, context: ExecutionContext) =>
  ifMatchOf(headerOf(context.switchToHttp().getRequest<AnyRequest>(), 'if-match'), options?.required ?? true),
);

/**
 * The etag of the `If-Match` header without its quotes, or `'*'`: for `set` and `delete` with `{ ifMatch }`. Missing is 428
 * `PRECONDITION_REQUIRED`, unless `{ required: false }`; a list, a weak or a malformed one is 400 `INVALID_ETAG`; a stale one makes the write a 412.
 */
export const IfMatch = (options?: Options): ParameterDecorator => ifMatch(options);

/** A header that is there but blank is a mistake of the client's, and never "no check". */
export const ifMatchOf = (header: string | undefined, required: boolean): string | undefined =>
  header === undefined && !required ? undefined : parseIfMatch(header);

export function parseIfMatch(header: string | undefined): string {
  const given = header?.trim() ?? '';
  if (given === '') {
    throw storageError(
      'PRECONDITION_REQUIRED',
      'This request changes what others may have changed meanwhile: send If-Match with the ETag of what was read.',
      {},
    );
  }
  if (given === '*') return '*';
  const [, etag] = /^"([\x21\x23-\x7e\x80-\xff]+)"$/.exec(given) ?? [];
  // In quotes it is an etag like any other, which no row has; without them, to the store, it would be every row's.
  if (etag !== undefined && etag !== '*') return etag;
  const reason = given.startsWith('W/')
    ? 'a weak etag'
    : given.includes(',')
      ? 'a list'
      : etag === '*'
        ? 'a * in quotes'
        : 'no etag in quotes';
  throw storageError('INVALID_ETAG', `If-Match is ${reason}; expected was one ETag as it was sent, or *.`, {});
}

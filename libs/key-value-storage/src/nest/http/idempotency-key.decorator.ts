import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import { storageError } from '../../core/base/errors.js';
import { inspect } from '../../core/base/inspect.js';
import { isPromise } from '../../core/base/kinds.js';
import { invalidOption } from '../../core/base/options.js';
import { refusedPromise } from '../../core/base/refused-promise.js';
import { IdempotentCall } from '../../core/commit/idempotency-record.js';
import { contentOfBody, type RequestWithBody } from './content-of-body.js';
import { headerOf, pathOf, queryOf } from './http-exchange.js';

export interface IdempotencyKeyOptions {
  /** false: `undefined` if the header is missing. @default true */
  readonly required?: boolean;
  /**
   * Returns the principal of the request: a text, a number or nothing. Another principal with the
   * same key is `IDEMPOTENCY_CONFLICT`.
   * @default the `sub`, `id`, `userId`, `username` or `email` of `request.user`, else of
   *   `request.auth`; `INVALID_OPTION` if there is one of both, without any of these
   */
  // oxlint-disable-next-line typescript/no-explicit-any -- requests of Express and Fastify differ
  readonly principal?: (request: any) => Principal | undefined | null;
}
type Principal = string | number | bigint;

export type IdempotentRequest = RequestWithBody & {
  readonly user?: unknown;
  readonly auth?: unknown;
};

export const idempotencyKeyFactory = (
  options: IdempotencyKeyOptions | undefined,
  context: ExecutionContext,
): Promise<IdempotentCall | undefined> =>
  idempotentCallOf(context.switchToHttp().getRequest<IdempotentRequest>(), options);

const idempotencyKey = createParamDecorator(idempotencyKeyFactory);

/**
 * The `Idempotency-Key` header, for the option `idempotencyKey`: `@IdempotencyKey() call:
 * IdempotentCall`. A repeat must have the same content: method, path, query, body, uploaded files
 * and the principal, if known. A missing header is 400 `IDEMPOTENCY_KEY_REQUIRED`, unless `{
 * required: false }`. A body that nothing has parsed is `INVALID_OPTION`.
 */
export const IdempotencyKey = (options?: IdempotencyKeyOptions): ParameterDecorator =>
  idempotencyKey(options);

/** The idempotent call of a request. */
class RequestedCall extends IdempotentCall {}

export async function idempotentCallOf(
  request: IdempotentRequest,
  { required = true, principal = principalOf }: IdempotencyKeyOptions = {},
): Promise<IdempotentCall | undefined> {
  const key = headerOf(request, 'idempotency-key')?.trim() ?? '';
  if (key !== '') {
    const by: unknown = principal(request);
    // as JSON all promises are equal, and one principal would get the response of another
    if (isPromise(by)) throw refusedPromise('IdempotencyKey: principal', by);
    // what is nothing as JSON (a Map, NaN) would be one principal for all
    if (by !== undefined && by !== null && by !== '' && !isPrincipal(by))
      throw invalidOption(
        `IdempotencyKey: principal must return a text, a number or nothing; it returned ${typeof by === 'object' ? 'an object' : inspect(by)}.`,
      );
    return new RequestedCall(key, {
      method: request.method ?? null,
      path: pathOf(request) ?? null,
      query: queryOf(request),
      ...(await contentOfBody(request)),
      principal: by ?? null,
    });
  }
  if (!required) return undefined;
  const message =
    'This request must have the header Idempotency-Key, with the same value in every repeat, so that it is done once.';
  throw storageError('IDEMPOTENCY_KEY_REQUIRED', message, {});
}

/**
 * The identity in the user object that authentication adds to a request. Its other fields (roles,
 * times of a token) may differ in a repeat.
 */
const names = ['sub', 'id', 'userId', 'username', 'email'] as const;

function principalOf({ user, auth }: IdempotentRequest): Principal | undefined {
  const name = nameIn(user) ?? nameIn(auth);
  if (name !== undefined || (!isPresent(user) && !isPresent(auth))) return name;
  // without a principal, one user would get the response of another
  throw invalidOption(
    `IdempotencyKey: ${isPresent(user) ? 'request.user' : 'request.auth'} has none of ${names.join(', ')} as a text or a number, so the user of this request is not known; name it by the option \`principal\`: { principal: (request) => … }, which returns undefined for requests without one.`,
  );
}

/** `false`, an empty text and the like are no user. */
const isPresent = (identity: unknown): boolean => Boolean(identity);

function nameIn(identity: unknown): Principal | undefined {
  if (isPrincipal(identity)) return identity;
  if (typeof identity !== 'object' || identity === null) return undefined;
  return names.map((name) => (identity as Readonly<Record<string, unknown>>)[name]).find(isPrincipal);
}

const isPrincipal = (value: unknown): value is Principal =>
  (['string', 'bigint'].includes(typeof value) && value !== '') || Number.isFinite(value);

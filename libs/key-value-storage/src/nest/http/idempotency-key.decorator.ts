import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import { storageError } from '../../core/base/errors.js';
import { IdempotentCall } from '../../core/commit/idempotency-record.js';
import { headerOf, pathOf, queryOf, type AnyRequest } from './http-exchange.js';

interface Options {
  /** false: `undefined` where the header is missing. @default true */
  readonly required?: boolean;
  /**
   * Who makes the request: another principal with the same key is `IDEMPOTENCY_CONFLICT`. A text, a
   * number or nothing.
   * @default the `sub`, `id`, `userId`, `username` or `email` of `request.user`, else of
   *   `request.auth`
   */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- requests of Express and Fastify differ
  readonly principal?: (request: any) => Principal | undefined | null;
}
type Principal = string | number | bigint;

type Request = AnyRequest & { readonly body?: unknown; readonly user?: unknown; readonly auth?: unknown };

const idempotencyKey = createParamDecorator((options: Options | undefined, context: ExecutionContext) =>
  idempotentCallOf(context.switchToHttp().getRequest<Request>(), options),
);

/**
 * The `Idempotency-Key` header, with method, path, query, body and the principal (where one is
 * known) as the content that a repeat is compared by: `@IdempotencyKey() call: IdempotentCall`, for
 * the option `idempotencyKey`. Missing is 400 `IDEMPOTENCY_KEY_REQUIRED`, unless `{ required: false
 * }`.
 */
export const IdempotencyKey = (options?: Options): ParameterDecorator => idempotencyKey(options);

/** A request of one caller, made once. */
class RequestedCall extends IdempotentCall {}

export function idempotentCallOf(
  request: Request,
  { required = true, principal = principalOf }: Options = {},
): IdempotentCall | undefined {
  const key = headerOf(request, 'idempotency-key')?.trim() ?? '';
  if (key !== '')
    return new RequestedCall(key, {
      method: request.method ?? null,
      path: pathOf(request) ?? null,
      query: queryOf(request),
      body: request.body ?? null,
      principal: principal(request) ?? null,
    });
  if (!required) return undefined;
  const message =
    'This request must be done once, however often it is sent: send an Idempotency-Key, the same with every repeat.';
  throw storageError('IDEMPOTENCY_KEY_REQUIRED', message, {});
}

/**
 * What names a user in what authentication leaves on a request. The rest of it (roles, times of a
 * token) may change between two repeats.
 */
const names = ['sub', 'id', 'userId', 'username', 'email'] as const;

function principalOf({ user, auth }: Request): Principal | undefined {
  return nameIn(user) ?? nameIn(auth);
}

function nameIn(identity: unknown): Principal | undefined {
  if (isPrincipal(identity)) return identity;
  if (typeof identity !== 'object' || identity === null) return undefined;
  return names.map((name) => (identity as Readonly<Record<string, unknown>>)[name]).find(isPrincipal);
}

const isPrincipal = (value: unknown): value is Principal =>
  ['string', 'number', 'bigint'].includes(typeof value) && value !== '';

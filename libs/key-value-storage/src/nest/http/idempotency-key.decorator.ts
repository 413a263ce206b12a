import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import { storageError } from '../../core/errors.js';
import { IdempotentCall } from '../../core/mark.js';
import { headerOf, pathOf, type AnyRequest } from './http-exchange.js';

interface Options {
  /** false: `undefined` where the header is missing. @default true */
  readonly required?: boolean;
}

const idempotencyKey = createParamDecorator((options: Options | undefined, context: ExecutionContext) =>
  idempotentCallOf(context.switchToHttp().getRequest<AnyRequest & { readonly body?: unknown }>(), options?.required ?? true),
);

/**
 * The `Idempotency-Key` header, with method, path and body as the content that a repeat is compared by: `@IdempotencyKey() call: IdempotentCall`, for the
 * option `idempotencyKey`. Missing is 400 `IDEMPOTENCY_KEY_REQUIRED`, unless `{ required: false }`.
 */
export const IdempotencyKey = (options?: Options): ParameterDecorator => idempotencyKey(options);

/** A request of one caller, made once. */
class RequestedCall extends IdempotentCall {}

export function idempotentCallOf(request: AnyRequest & { readonly body?: unknown }, required: boolean): IdempotentCall | undefined {
  const key = headerOf(request, 'idempotency-key')?.trim() ?? '';
  if (key !== '')
    return new RequestedCall(key, { method: request.method ?? null, path: pathOf(request) ?? null, body: request.body ?? null });
  if (!required) return undefined;
  const message = 'This request must be done once, however often it is sent: send an Idempotency-Key, the same with every repeat.';
  throw storageError('IDEMPOTENCY_KEY_REQUIRED', message, {});
}

import {
  Inject,
  Injectable,
  Optional,
  type CallHandler,
  type ExecutionContext,
  type NestInterceptor,
} from '@nestjs/common';
import { defer, retry, tap, throwError, timer, type Observable } from 'rxjs';
import { systemClock } from '../../core/base/clock.js';
import { assertOptions } from '../../core/base/options.js';
import {
  recordAttempts,
  nextDelay,
  resolveRetry,
  retryDefaults,
  type RetryOptions,
  type RetryPolicy,
} from '../../core/contention/retry-on-conflict.js';
import { hasSentHeaders, setHeader, type AnyResponse } from '../http/http-exchange.js';
import { retryToken } from '../options/key-value-storage-options.js';

export interface RetryInterceptorOptions extends RetryOptions {
  /** The name of a response header with the number of attempts. @default none */
  readonly attemptsHeader?: string;
}

/**
 * Runs the handler again after a conflict. It repeats everything inside it (later interceptors,
 * pipes and the handler), so it should be the innermost: on the method. Nothing is repeated after
 * the first value was emitted (server-sent events). StorageExceptionFilter sends the last conflict
 * with `Retry-After`. The default options are those of `forRoot({ retry })`.
 */
@Injectable()
export class RetryOnConflictInterceptor implements NestInterceptor {
  protected readonly options: RetryInterceptorOptions = {};
  readonly #defaults: RetryOptions;
  #policy: RetryPolicy | undefined;

  constructor(@Optional() @Inject(retryToken) defaults?: RetryOptions | null) {
    this.#defaults = defaults ?? {};
  }

  /**
   * `@UseInterceptors(RetryOnConflictInterceptor.with({ attempts: 5 }))`. Throws `INVALID_OPTION`
   * for options that are not allowed.
   */
  static with(options: RetryInterceptorOptions): typeof RetryOnConflictInterceptor {
    assertOptions('RetryOnConflictInterceptor.with', options, [
      ...Object.keys(retryDefaults),
      'signal',
      'attemptsHeader',
    ]);
    policyOf(options, {});
    @Injectable()
    class RetryOnConflictInterceptorWith extends RetryOnConflictInterceptor {
      protected override readonly options = options;
    }
    return RetryOnConflictInterceptorWith;
  }

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const policy = (this.#policy ??= policyOf(this.options, this.#defaults));
    const handled = next.handle();
    const startedAt = systemClock.monotonic();
    let attempt = 0;
    let emitted = false;
    return defer(() => {
      attempt += 1;
      setAttemptsHeader(this.options.attemptsHeader, attempt, context);
      return handled.pipe(tap(() => (emitted = true)));
    }).pipe(
      retry({
        delay: (error: unknown) => {
          const delayMs = emitted
            ? undefined
            : nextDelay(error, attempt, systemClock.monotonic() - startedAt, policy);
          if (delayMs !== undefined && policy.signal?.aborted !== true) return timer(delayMs);
          recordAttempts(error, attempt);
          return throwError(() => error);
        },
      }),
    );
  }
}

function policyOf(
  { attemptsHeader: _, ...options }: RetryInterceptorOptions,
  defaults: RetryOptions,
): RetryPolicy {
  return resolveRetry(options, resolveRetry(defaults));
}

function setAttemptsHeader(header: string | undefined, attempt: number, context: ExecutionContext): void {
  if (header === undefined || context.getType() !== 'http') return;
  const response = context.switchToHttp().getResponse<AnyResponse>();
  if (!hasSentHeaders(response)) setHeader(response, header, String(attempt));
}

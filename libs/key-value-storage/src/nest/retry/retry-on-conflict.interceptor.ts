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
import { isAnswered, setHeader, type AnyResponse } from '../http/http-exchange.js';
import { retryToken } from '../options/key-value-storage-options.js';

export interface RetryInterceptorOptions extends RetryOptions {
  /** A response header that tells how many attempts it took. @default none */
  readonly attemptsHeader?: string;
}

/**
 * Runs the handler again when it lost against someone else. What stands inside it (later
 * interceptors, pipes, the handler) is repeated whole, so it belongs innermost: on the method.
 * Nothing is repeated once a first value is out (server-sent events). The conflict that remains is
 * sent with `Retry-After` by StorageExceptionFilter. By default it retries as `forRoot({ retry })`
 * says.
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
   * `@UseInterceptors(RetryOnConflictInterceptor.with({ attempts: 5 }))`. `INVALID_OPTION` at once
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
    const begun = systemClock.monotonic();
    let attempt = 0;
    let sent = false;
    return defer(() => {
      attempt += 1;
      tellAttempts(this.options.attemptsHeader, attempt, context);
      return handled.pipe(tap(() => (sent = true)));
    }).pipe(
      retry({
        delay: (error: unknown) => {
          const delayMs = sent
            ? undefined
            : nextDelay(error, attempt, systemClock.monotonic() - begun, policy);
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

function tellAttempts(header: string | undefined, attempt: number, context: ExecutionContext): void {
  if (header === undefined || context.getType() !== 'http') return;
  const response = context.switchToHttp().getResponse<AnyResponse>();
  if (!isAnswered(response)) setHeader(response, header, String(attempt));
}

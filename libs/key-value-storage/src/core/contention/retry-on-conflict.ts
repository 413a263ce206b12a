/**
 * The retry loop. It repeats work only after a conflict with a concurrent write, with effect
 * 'none', and not after a failed check of the caller's. Delays grow exponentially with full jitter
 * (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
 */
import { throwIfAborted } from '../base/abort.js';
import { systemClock, timerMsMax, type Clock } from '../base/clock.js';
import { isConflict } from '../base/errors.js';
import { invalidOption, resolveOptions } from '../base/options.js';

export interface RetryOptions {
  /** How often the work may run in total. @default 50 */
  readonly attempts?: number | undefined;
  /** Milliseconds of the first delay at most; the limit doubles with each attempt. @default 5 */
  readonly delayMs?: number | undefined;
  /** Milliseconds of each delay at most. @default 100 */
  readonly delayMsMax?: number | undefined;
  /**
   * Milliseconds after the start of the first attempt in which attempts may start. @default 5_000
   */
  readonly budgetMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}
export interface RetryPolicy {
  readonly attempts: number;
  readonly delayMs: number;
  readonly delayMsMax: number;
  readonly budgetMs: number;
  readonly signal?: AbortSignal | undefined;
}

export const retryDefaults: RetryPolicy = { attempts: 50, delayMs: 5, delayMsMax: 100, budgetMs: 5_000 };

/** The options over `defaults`; `INVALID_OPTION` for a value that is not allowed. */
export function resolveRetry(options?: RetryOptions, defaults: RetryPolicy = retryDefaults): RetryPolicy {
  if (options === undefined) return defaults;
  const policy = resolveOptions<RetryOptions, RetryPolicy>('retry', options, defaults, ['signal']);
  if (!Number.isInteger(policy.attempts) || policy.attempts < 1)
    throw invalidOption(`retry: attempts must be a whole number from 1; got ${policy.attempts}.`);
  for (const name of ['delayMs', 'delayMsMax', 'budgetMs'] as const) {
    if (typeof policy[name] !== 'number' || !(policy[name] >= 0))
      throw invalidOption(`retry: ${name} must be a number of milliseconds from 0; got ${policy[name]}.`);
  }
  for (const name of ['delayMs', 'delayMsMax'] as const) {
    if (policy[name] > timerMsMax)
      throw invalidOption(
        `retry: ${name} must be below 2^31, the longest wait of a timer; got ${policy[name]}.`,
      );
  }
  return policy;
}

/** Whether a retry loop repeats the work: a conflict that no inner loop has retried. */
const isRetryable = (error: unknown): boolean =>
  isConflict(error) && error.retryable && error.effect === 'none' && error.attempts === undefined;

/** Milliseconds to wait after an attempt: full jitter below an exponentially growing limit. */
export const backoffMs = (
  attempt: number,
  { delayMs, delayMsMax }: Pick<RetryPolicy, 'delayMs' | 'delayMsMax'>,
  random: () => number = Math.random,
): number => random() * Math.min(delayMsMax, delayMs * 2 ** (attempt - 1));

/**
 * Milliseconds to wait before attempt `attempt + 1`; `undefined` when the error is to be thrown: it
 * is not retryable, or the attempts or the budget are spent.
 */
export function nextDelay(
  error: unknown,
  attempt: number,
  elapsedMs: number,
  policy: RetryPolicy,
  { random = Math.random, retries = isRetryable }: NextDelayOptions = {},
): number | undefined {
  if (!retries(error)) return undefined;
  const delay = backoffMs(attempt, policy, random);
  return attempt >= policy.attempts || elapsedMs + delay > policy.budgetMs ? undefined : delay;
}

interface NextDelayOptions {
  readonly random?: () => number;
  readonly retries?: ((error: unknown) => boolean) | undefined;
}

/** Records on a conflict that it was retried, so that outer loops do not repeat it. */
export function recordAttempts(error: unknown, attempts: number): void {
  if (isConflict(error) && error.retryable) error.attempts ??= attempts;
}

interface RetryContext {
  readonly clock: Clock;
  /** Waits before the next attempt, about `ms` at most. @default the clock's wait */
  readonly wait?: (ms: number) => Promise<void>;
  /** @default `isRetryable` */
  readonly isRetryable?: (error: unknown) => boolean;
  /** The error of a first attempt that was made already. */
  readonly failed?: Error | undefined;
}

/**
 * Runs `work` until it does not conflict. Each attempt runs the whole of it, so it must read inside
 * what it decides by. Rejects with the last conflict, its `attempts` set, once the attempts or the
 * budget are spent; with any other error at once; with `ABORTED` when the signal aborts.
 */
export async function retryOnConflict<R>(
  work: (attempt: number) => Promise<R>,
  options?: RetryOptions,
): Promise<R> {
  return await retrying(work, resolveRetry(options), { clock: systemClock });
}

export async function retrying<R>(
  work: (attempt: number) => Promise<R>,
  policy: RetryPolicy,
  context: RetryContext,
): Promise<R> {
  const begun = context.clock.monotonic();
  let attempt = 1;
  if (context.failed !== undefined) {
    await waitAfter(context.failed, attempt, begun, policy, context);
    attempt += 1;
  }
  for (; ; attempt += 1) {
    throwIfAborted('A retried call', policy.signal);
    try {
      return await work(attempt);
    } catch (error) {
      await waitAfter(error, attempt, begun, policy, context);
    }
  }
}

/** Waits before the next attempt; throws the error where there is none. */
async function waitAfter(
  error: unknown,
  attempt: number,
  begun: number,
  policy: RetryPolicy,
  { clock, wait, isRetryable: retries }: RetryContext,
): Promise<void> {
  const delay = nextDelay(error, attempt, clock.monotonic() - begun, policy, { retries });
  if (delay === undefined) {
    // a single attempt is no loop: an outer loop may repeat it
    if (policy.attempts > 1) recordAttempts(error, attempt);
    throw error;
  }
  try {
    await (wait?.(delay) ?? clock.wait(delay, policy.signal));
  } catch (cause) {
    throwIfAborted('A retried call', policy.signal);
    throw cause;
  }
}

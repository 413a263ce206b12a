/**
 * The one retry loop. It repeats work that lost against someone else, and nothing else: a conflict
 * with effect 'none' that was not judged by a check the caller gave. Delays grow exponentially with
 * full jitter (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
 */
import { throwIfAborted } from '../base/abort.js';
import { systemClock, type Clock } from '../base/clock.js';
import { isConflict } from '../base/errors.js';
import { invalidOption, resolveOptions } from '../base/options.js';

export interface RetryOptions {
  /** How often the work may run in all. @default 50 */
  readonly attempts?: number | undefined;
  /** Milliseconds of the first delay at most; it doubles from attempt to attempt. @default 5 */
  readonly delayMs?: number | undefined;
  /** Milliseconds of any delay at most. @default 100 */
  readonly delayMsMax?: number | undefined;
  /** Milliseconds from the first attempt after which none begins. @default 5_000 */
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

/** Longer timers would fire at once. */
const timerMsMax = 2 ** 31;

export const retryDefaults: RetryPolicy = { attempts: 50, delayMs: 5, delayMsMax: 100, budgetMs: 5_000 };

/** The options over `defaults`, checked; `INVALID_OPTION` names what is wrong. */
export function resolveRetry(options: RetryOptions = {}, defaults: RetryPolicy = retryDefaults): RetryPolicy {
  const policy = resolveOptions<RetryOptions, RetryPolicy>('retry', options, defaults, ['signal']);
  if (!Number.isInteger(policy.attempts) || policy.attempts < 1)
    throw invalidOption(`retry: attempts is a whole number from 1; given was ${policy.attempts}.`);
  for (const name of ['delayMs', 'delayMsMax', 'budgetMs'] as const) {
    if (typeof policy[name] !== 'number' || !(policy[name] >= 0))
      throw invalidOption(`retry: ${name} is a number of milliseconds from 0; given was ${policy[name]}.`);
  }
  for (const name of ['delayMs', 'delayMsMax'] as const) {
    if (policy[name] >= timerMsMax)
      throw invalidOption(
        `retry: ${name} is below 2^31, the longest a timer waits; given was ${policy[name]}.`,
      );
  }
  return policy;
}

/**
 * How many milliseconds to wait before attempt `attempt + 1`, or `undefined` when the error is to
 * be thrown: it is no conflict, the caller's own check failed, an inner loop gave up already, or
 * the attempts or the budget are spent.
 */
export function nextDelay(
  error: unknown,
  attempt: number,
  elapsedMs: number,
  policy: RetryPolicy,
  random: () => number = Math.random,
): number | undefined {
  if (!isConflict(error) || !error.retryable || error.effect !== 'none' || error.attempts !== undefined)
    return undefined;
  const delay = random() * Math.min(policy.delayMsMax, policy.delayMs * 2 ** (attempt - 1));
  return attempt >= policy.attempts || elapsedMs + delay > policy.budgetMs ? undefined : delay;
}

/** Tells outer loops that this conflict was retried already. */
export function recordAttempts(error: unknown, attempts: number): void {
  if (isConflict(error) && error.retryable) error.attempts ??= attempts;
}

/** What a loop takes from outside: time, and how it waits for its next turn. */
export interface RetryContext {
  readonly clock: Clock;
  /** Waits before an attempt; at most about `ms`. @default the clock's wait */
  readonly waitForTurn?: (ms: number) => Promise<void>;
}

/**
 * Runs `work` until it does not conflict. It is run whole each time, so it must read what it
 * decides by, inside. Rejects with the last conflict, its `attempts` set, once the attempts or the
 * budget are spent; with any other error at once; with `ABORTED` when the signal says so.
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
  for (let attempt = 1; ; attempt += 1) {
    throwIfAborted('A retried call', policy.signal);
    try {
      return await work(attempt);
    } catch (error) {
      const delay = nextDelay(error, attempt, context.clock.monotonic() - begun, policy);
      if (delay === undefined) {
        // one attempt is no loop: an outer one may still repeat it
        if (policy.attempts > 1) recordAttempts(error, attempt);
        throw error;
      }
      await waitFor(delay, policy.signal, context);
    }
  }
}

async function waitFor(ms: number, signal: AbortSignal | undefined, context: RetryContext): Promise<void> {
  try {
    await (context.waitForTurn?.(ms) ?? context.clock.wait(ms, signal));
  } catch (error) {
    throwIfAborted('A retried call', signal);
    throw error;
  }
}

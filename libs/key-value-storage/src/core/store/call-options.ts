import type { IdempotentCall } from '../commit/idempotency-record.js';

// `?: T | undefined` where undefined means the default; `?: T` where it would drop a check.
export interface CallOptions {
  /**
   * Aborts the call with `ABORTED`: with `effect: 'none'` while it is queued, with `'unknown'` once
   * it was sent.
   */
  readonly signal?: AbortSignal | undefined;
}
export interface ReadOptions extends CallOptions {
  /** 'stale': a replica or a cache may be read. @default 'current' */
  readonly consistency?: 'current' | 'stale';
}
export interface IdempotentOptions {
  /**
   * For a day, a repeat for the same row returns the result of the first call, and changes nothing;
   * another verb or other arguments are `IDEMPOTENCY_CONFLICT`. Calls that take a function,
   * `save`, and `set` with an entry as `ifMatch` compare only a `content` given with the key.
   */
  readonly idempotencyKey?: string | IdempotentCall | undefined;
}

/** The class that users of counters inject; `typed-counter-store.ts` implements it. */
import type { Key, KeyRange } from '../base/key.js';
import type { IdempotentCall } from '../commit/idempotency-record.js';
import type { CallOptions, IdempotentOptions, ReadOptions } from './call-options.js';

/** `ttlMs` counts only when the change creates the counter. @default that of the definition */
export interface CounterWriteOptions extends CallOptions {
  readonly ttlMs?: number | undefined;
  /**
   * For a day, a repeat for the same counter returns the number of the first call and changes
   * nothing; another verb or amount is `IDEMPOTENCY_CONFLICT`. The call reads the counter first,
   * and again after a concurrent change.
   */
  readonly idempotencyKey?: string | IdempotentCall | undefined;
}

/** A counter as it was read; frozen. `expiresAt` is undefined for one that does not expire. */
export interface CounterEntry<N extends number | bigint = number, K extends Key = Key> {
  readonly key: K;
  readonly value: N;
  readonly updatedAt: Date;
  readonly expiresAt: Date | undefined;
}

/**
 * Keys to whole numbers, of one tenant. The storage engine calculates, so concurrent changes of one
 * key are all counted, and none of them reads, conflicts or is retried. An absent counter counts as
 * 0.
 *
 * Every method rejects with `INVALID_KEY`, `LIMIT_EXCEEDED`, `INVALID_OPTION` or `OUT_OF_RANGE`
 * before any I/O for an argument that is not allowed; with `TENANT_MISSING` outside a tenant; and
 * with `STORAGE_UNAVAILABLE`, `STORAGE_OUTCOME_UNKNOWN`, `STORAGE_CORRUPT` or `STORAGE_NOT_OPEN` as
 * the storage is. A change beyond `floor` or `ceiling`, or beyond the numbers of the counter, is
 * `COUNTER_OUT_OF_RANGE` and changes nothing. A number that is outside the bounds already may only
 * move towards them. If it is still larger than a `number` holds then, because a big counter wrote
 * it, the change is made, and the error has the effect 'unknown'; with an idempotency key nothing
 * is changed.
 *
 * `N`: `number`, exact to ±(2^53 − 1), or `bigint` of 64 bits; `K`: the keys.
 */
export abstract class CounterStore<in out N extends number | bigint = number, in out K extends Key = Key> {
  /** The number; 0 where there is none or it has expired. */
  abstract get(key: K, options?: ReadOptions): Promise<N>;
  /** One consistent read of at most 1,000 keys, in their order. */
  abstract getMany<const Keys extends readonly K[]>(
    keys: Keys,
    options?: ReadOptions,
  ): Promise<{ readonly [Index in keyof Keys]: N }>;
  /** Adds `by` (1 by default; it may be negative) and returns the number after it. */
  abstract increment(key: K, by?: N, options?: CounterWriteOptions): Promise<N>;
  /** Subtracts `by` (1 by default) and returns the number after it. */
  abstract decrement(key: K, by?: N, options?: CounterWriteOptions): Promise<N>;
  /** Sets the number to `atLeast` where it is lower, and returns the number after it. */
  abstract raiseTo(key: K, atLeast: N, options?: CounterWriteOptions): Promise<N>;
  /** Sets the number to `atMost` where it is higher, and returns the number after it. */
  abstract lowerTo(key: K, atMost: N, options?: CounterWriteOptions): Promise<N>;
  /** Removes the counter, so that it counts as 0 and has no expiry. */
  abstract reset(key: K, options?: CallOptions & IdempotentOptions): Promise<void>;
  /** Counters in key order, read page by page, as `list` of a store. */
  abstract list(range?: KeyRange<K>, options?: ReadOptions): AsyncIterable<CounterEntry<N, K>>;
  /**
   * The same counters of one tenant, whatever the current one. `TENANT_MISSING` for a malformed
   * name, `INVALID_OPTION` for shared counters.
   */
  abstract forTenant(tenant: string): CounterStore<N, K>;
  /**
   * The same counters inside the caller's own database transaction, as `within` of a store. A
   * counter that was changed stays locked until the end of the transaction.
   */
  abstract within(transaction: object): CounterStore<N, K>;
}

/** The class that users of sharded counters inject; `typed-sharded-counter.ts` implements it. */
import type { Key } from '../base/key.js';
import type { CallOptions, IdempotentOptions, ReadOptions } from './call-options.js';
import type { CounterWriteOptions } from './counter-store.js';

/**
 * Keys to whole numbers that many callers change at the same time. The number of a key is the sum
 * of several rows, its shards: a change writes one of them, so that concurrent changes of one key
 * do not wait for each other, and a read reads all of them. A change returns no number, because it
 * does not know the sum; there are no bounds, and no `raiseTo` and `lowerTo`, for the same reason.
 * An absent counter counts as 0.
 *
 * Every method rejects as those of `CounterStore`, and is exact to ±(2^53 − 1): a sum beyond that
 * is `COUNTER_OUT_OF_RANGE`. `K`: the keys.
 */
export abstract class ShardedCounter<in out K extends Key = Key> {
  /** The sum of the shards, as one consistent read; 0 where there is none. */
  abstract get(key: K, options?: ReadOptions): Promise<number>;
  /**
   * One consistent read of all shards of the keys, in the order of the keys: at most 1,000 shards
   * of all keys together, `LIMIT_EXCEEDED` above.
   */
  abstract getMany<const Keys extends readonly K[]>(
    keys: Keys,
    options?: ReadOptions,
  ): Promise<{ readonly [Index in keyof Keys]: number }>;
  /**
   * Adds `by` (1 by default; it may be negative) to one shard. A repeat with the same
   * `idempotencyKey` changes nothing, whatever the number of shards is by then. `ttlMs` counts when
   * the change creates the shard.
   */
  abstract increment(key: K, by?: number, options?: CounterWriteOptions): Promise<void>;
  /** Subtracts `by` (1 by default), as `increment`. */
  abstract decrement(key: K, by?: number, options?: CounterWriteOptions): Promise<void>;
  /**
   * Removes all shards of the counter in one commit, so that it counts as 0. A repeat with the same
   * `idempotencyKey` removes nothing.
   */
  abstract reset(key: K, options?: CallOptions & IdempotentOptions): Promise<void>;
  /**
   * The same counters of one tenant, whatever the current one. `TENANT_MISSING` for a malformed
   * name, `INVALID_OPTION` for shared counters.
   */
  abstract forTenant(tenant: string): ShardedCounter<K>;
  /**
   * The same counters inside the caller's own database transaction, as `within` of a store. A shard
   * that was changed stays locked until the end of the transaction.
   */
  abstract within(transaction: object): ShardedCounter<K>;
}

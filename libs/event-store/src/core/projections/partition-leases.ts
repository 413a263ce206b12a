/**
 * Which partitions this process reads. Each is held by a lease, a row that expires by the clock of
 * the provider; a holder renews it. Each process has a row too: their number says how many
 * partitions each holds. Leases only spare double work: the effects of a process that has lost one
 * without noticing are refused by the check of the checkpoint.
 */
import {
  defineState,
  isStorageError,
  type Entry,
  type Key,
  type KeyValueStorage,
  type KeyValueStore,
} from '@kvent/key-value-storage/core';
import type { Clock } from '@kvent/key-value-storage/provider';
import { ownState } from './checkpoints.js';
import { generationOf, type Subscription } from './subscription.js';

interface Lease {
  readonly holder: string;
}

export class PartitionLeases {
  readonly #subscription: Subscription;
  readonly #holder: string;
  readonly #store: KeyValueStore<Lease>;
  readonly #clock: Clock;
  readonly #ttlMs: number;
  readonly #held = new Map<number, Entry<Lease>>();
  /** By the monotonic clock of this process: before, no other process can take the partition. */
  readonly #heldUntil = new Map<number, number>();
  #hasBegun = false;

  constructor(storage: KeyValueStorage, subscription: Subscription, ttlMs: number, clock: Clock) {
    const { name } = subscription;
    const options = { ...ownState(subscription), ttlMs };
    this.#subscription = subscription;
    this.#clock = clock;
    this.#ttlMs = ttlMs;
    this.#holder = globalThis.crypto.randomUUID();
    this.#store = storage.store(defineState<Lease>(`${name} leases`, options));
  }

  get held(): ReadonlySet<number> {
    return new Set(this.#held.keys());
  }

  /**
   * Renews what is held, and takes partitions, so that each process has its share. Returns those
   * above the share, to be released once they are not read any more. A lease that another process
   * has taken is no longer held.
   */
  async balance(): Promise<readonly number[]> {
    this.#hasBegun = true;
    for (const [partition, lease] of this.#held) await this.#renew(partition, lease);
    const share = await this.#share();
    const { partitions } = this.#subscription;
    for (let partition = 0; partition < partitions && this.#held.size < share; partition += 1)
      if (!this.#held.has(partition)) await this.#take(partition);
    return [...this.#held.keys()].slice(share);
  }

  async release(partition: number): Promise<void> {
    const lease = this.#held.get(partition);
    if (lease === undefined) return;
    this.#held.delete(partition);
    try {
      await this.#store.delete(lease.key, { ifMatch: lease });
    } catch (error) {
      if (!isStorageError(error, 'STORAGE_CONFLICT')) throw error;
    }
  }

  /**
   * Whether no other process can have taken the partition, where the clocks of both run at the same
   * speed.
   */
  isHeld(partition: number): boolean {
    return this.#held.has(partition) && this.#clock.monotonic() < (this.#heldUntil.get(partition) ?? 0);
  }

  /** The same, by the storage: for a process that may have been asleep together with its clock. */
  async isStored(partition: number, signal: AbortSignal): Promise<boolean> {
    const lease = await this.#store.get(this.#key('lease', partition), { signal });
    return lease?.value.holder === this.#holder;
  }

  /** This process takes no share from now on. What is `kept` expires. */
  async leave(kept: ReadonlySet<number>): Promise<void> {
    if (!this.#hasBegun) return;
    for (const partition of this.held) if (!kept.has(partition)) await this.release(partition);
    await this.#store.delete(this.#key('worker', this.#holder));
  }

  async #share(): Promise<number> {
    const { partitions } = this.#subscription;
    await this.#store.set(this.#key('worker', this.#holder), { holder: this.#holder });
    const workers = await this.#store.count({ prefix: ['worker', generationOf(this.#subscription)] });
    return Math.ceil(partitions / Math.max(1, workers));
  }

  async #take(partition: number): Promise<void> {
    const until = this.#clock.monotonic() + this.#ttlMs;
    try {
      const lease = await this.#store.add(this.#key('lease', partition), { holder: this.#holder });
      this.#held.set(partition, lease);
      this.#heldUntil.set(partition, until);
    } catch (error) {
      if (!isStorageError(error, 'KEY_EXISTS')) throw error;
    }
  }

  async #renew(partition: number, lease: Entry<Lease>): Promise<void> {
    const until = this.#clock.monotonic() + this.#ttlMs;
    try {
      this.#held.set(partition, await this.#store.set(lease.key, lease.value, { ifMatch: lease }));
      this.#heldUntil.set(partition, until);
    } catch (error) {
      this.#held.delete(partition);
      if (!isStorageError(error, 'STORAGE_CONFLICT')) throw error;
    }
  }

  #key(kind: 'lease' | 'worker', of: number | string): Key {
    return [kind, generationOf(this.#subscription), of];
  }
}

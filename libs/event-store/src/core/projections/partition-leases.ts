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

/** The part of the time of a lease that is left for handlers to end, where it is not renewed. */
const marginOfTtl = 0.1;

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

  /** What this process may work on, without what could not be renewed in time. */
  get held(): ReadonlySet<number> {
    return new Set([...this.#held.keys()].filter((partition) => this.leftMs(partition) > 0));
  }

  /**
   * Milliseconds until the work on a partition must end, unless its lease is renewed: some before
   * another process can take it.
   */
  leftMs(partition: number): number {
    return (this.#heldUntil.get(partition) ?? 0) - this.#ttlMs * marginOfTtl - this.#clock.monotonic();
  }

  /**
   * Renews what is held, and takes partitions, so that each process has its share. Returns those
   * above the share, to be released once they are not read any more. A lease that another process
   * has taken is no longer held; one that cannot be renewed is held until its time is over.
   */
  async balance(): Promise<readonly number[]> {
    this.#hasBegun = true;
    const failures: unknown[] = [];
    for (const [partition, lease] of this.#held)
      await this.#renew(partition, lease).catch((error: unknown) => failures.push(error));
    if (failures.length > 0) throw failures[0];
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
      const own = await this.#stored(partition);
      if (own !== undefined) await this.#store.delete(own.key, { ifMatch: own });
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
    return (await this.#stored(partition, signal)) !== undefined;
  }

  /** This process takes no share from now on. What is `kept` expires. */
  async leave(kept: ReadonlySet<number>): Promise<void> {
    if (!this.#hasBegun) return;
    for (const partition of [...this.#held.keys()]) if (!kept.has(partition)) await this.release(partition);
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
      await this.#adopt(partition);
    }
  }

  async #renew(partition: number, lease: Entry<Lease>): Promise<void> {
    try {
      await this.#extend(partition, lease);
    } catch (error) {
      if (!isStorageError(error, 'STORAGE_CONFLICT')) throw error;
      await this.#adopt(partition);
    }
  }

  /** A write whose answer was lost may have stored another version of the own lease. */
  async #adopt(partition: number): Promise<void> {
    const own = await this.#stored(partition);
    if (own === undefined) this.#held.delete(partition);
    else await this.#extend(partition, own);
  }

  /** Stores the lease again, with the whole time from now on. */
  async #extend(partition: number, lease: Entry<Lease>): Promise<void> {
    const until = this.#clock.monotonic() + this.#ttlMs;
    const before = this.#held.get(partition);
    const extended = await this.#store.set(lease.key, lease.value, { ifMatch: lease });
    // it may have been released in between
    if (this.#held.get(partition) !== before) return;
    this.#held.set(partition, extended);
    this.#heldUntil.set(partition, until);
  }

  /** The lease as it is stored; `undefined` where this process has none. */
  async #stored(partition: number, signal?: AbortSignal): Promise<Entry<Lease> | undefined> {
    const lease = await this.#store.get(this.#key('lease', partition), { signal });
    return lease?.value.holder === this.#holder ? lease : undefined;
  }

  #key(kind: 'lease' | 'worker', of: number | string): Key {
    return [kind, generationOf(this.#subscription), of];
  }
}

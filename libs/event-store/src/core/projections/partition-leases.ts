/**
 * Which partitions this process reads. Each is held by a lease, a row that expires by the clock of
 * the provider; a holder renews it. Each process has a row too: their number says how many
 * partitions each holds. Leases only spare double work: a process that has lost one without
 * noticing is refused by the check of the checkpoint.
 */
import {
  defineState,
  isStorageError,
  type Entry,
  type Key,
  type KeyValueStorage,
  type KeyValueStore,
} from '@kvent/key-value-storage/core';
import { container } from './checkpoints.js';
import type { Subscription } from './subscription.js';

interface Lease {
  readonly holder: string;
}

export class PartitionLeases {
  readonly #subscription: Subscription;
  readonly #holder: string;
  readonly #store: KeyValueStore<Lease>;
  readonly #held = new Map<number, Entry<Lease>>();

  constructor(storage: KeyValueStorage, subscription: Subscription, ttlMs: number) {
    const { name, provider } = subscription;
    const options = {
      container,
      scope: 'shared',
      ttlMs,
      ...(provider !== undefined && { provider }),
    } as const;
    this.#subscription = subscription;
    this.#holder = globalThis.crypto.randomUUID();
    this.#store = storage.store(defineState<Lease>(`${name} leases`, options));
  }

  get held(): ReadonlySet<number> {
    return new Set(this.#held.keys());
  }

  /**
   * Renews what is held, and takes or gives back partitions, so that each process has its share. A
   * lease that another process has taken is no longer held.
   */
  async balance(): Promise<void> {
    for (const [partition, lease] of this.#held) await this.#renew(partition, lease);
    const share = await this.#share();
    const excess = [...this.#held.keys()].slice(share);
    for (const partition of excess) await this.release(partition);
    const { partitions } = this.#subscription;
    for (let partition = 0; partition < partitions && this.#held.size < share; partition += 1)
      if (!this.#held.has(partition)) await this.#take(partition);
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

  /** This process takes no share from now on. */
  async leave(): Promise<void> {
    for (const partition of this.held) await this.release(partition);
    await this.#store.delete(this.#key('worker', this.#holder));
  }

  async #share(): Promise<number> {
    const { partitions, version } = this.#subscription;
    await this.#store.set(this.#key('worker', this.#holder), { holder: this.#holder });
    const workers = await this.#store.count({ prefix: ['worker', version] });
    return Math.ceil(partitions / Math.max(1, workers));
  }

  async #take(partition: number): Promise<void> {
    try {
      this.#held.set(
        partition,
        await this.#store.add(this.#key('lease', partition), { holder: this.#holder }),
      );
    } catch (error) {
      if (!isStorageError(error, 'KEY_EXISTS')) throw error;
    }
  }

  async #renew(partition: number, lease: Entry<Lease>): Promise<void> {
    try {
      this.#held.set(partition, await this.#store.set(lease.key, lease.value, { ifMatch: lease }));
    } catch (error) {
      this.#held.delete(partition);
      if (!isStorageError(error, 'STORAGE_CONFLICT')) throw error;
    }
  }

  #key(kind: 'lease' | 'worker', of: number | string): Key {
    return [kind, this.#subscription.version, of];
  }
}

/**
 * The rows of a projection. A checkpoint is in the database of its tenant, so that it is moved in
 * the same batch as the effects. The position of a reader is shared: it says from where on the feed
 * is read after a restart, for all tenants. It may lag behind the checkpoints, and is never ahead
 * of them, except for the tenants that it names.
 */
import {
  defineState,
  type Key,
  type KeyValueStorage,
  type KeyValueStore,
} from '@kvent/key-value-storage/core';
import { invalidState, type FeedPosition } from '@kvent/key-value-storage/provider';
import { tenantIn } from '@kvent/key-value-storage/internal';
import { streamDefinitionOf } from '../definition/stream-definition.js';
import { generationOf, type Subscription } from './subscription.js';

/** All events of the tenant and the partition up to the position have had their effects. */
export interface Checkpoint {
  readonly position: FeedPosition;
  /** How many streams are parked; absent for 0. */
  readonly parked?: number;
  /** Events behind the position that have had their effects too; absent for none. */
  readonly done?: readonly FeedPosition[];
}

/**
 * A stream that is put aside. Its events behind `after`, from `position` on and up to the
 * checkpoint, have had no effect; they are still in the stream. Each change of such a row moves the
 * checkpoint too, so that a writer that has read older rows conflicts.
 */
export interface ParkedRow {
  readonly container: string;
  readonly entity: string;
  readonly after?: FeedPosition;
  readonly position: FeedPosition;
  /** Of the event that could not be applied. */
  readonly version: number;
  readonly reason: string;
  readonly parkedAt: Date;
}

/**
 * The same for every tenant except those `behind`, which have stopped before. It is a statement
 * about rows that only move forward: once true, it stays true, so it may be written without a
 * check, by any process, in any order.
 */
interface ReaderPosition {
  readonly position: FeedPosition;
  /** Databases. */
  readonly behind: readonly string[];
  /**
   * Of each of `behind`: up to where its events are done, those without an effect too, which no
   * checkpoint says. Absent for none, and in rows of former releases: then, its checkpoint counts.
   */
  readonly doneTo?: readonly FeedPosition[];
  /** Databases with parked streams, for their number; it may have more. Absent for none. */
  readonly parkedIn?: readonly string[];
}

/** What the checkpoints of a version depend on. */
interface Layout {
  readonly partitions: number;
  readonly streams: readonly string[];
  /** Where it began, with `from: 'now'`. */
  readonly begin?: FeedPosition;
}

/** The options of a state that a subscription has for itself, shared by all tenants. */
export const ownState = ({ kind, provider }: Subscription) =>
  ({
    container: `kvent.${kind}s`,
    scope: 'shared',
    ...(provider !== undefined && { provider }),
  }) as const;

export class Checkpoints {
  readonly readers: KeyValueStore<ReaderPosition>;
  readonly #subscription: Subscription;
  readonly #layouts: KeyValueStore<Layout>;
  readonly #ofTenants: KeyValueStore<Checkpoint>;
  readonly #shared: KeyValueStore<Checkpoint>;
  readonly #parkedOfTenants: KeyValueStore<ParkedRow>;
  readonly #sharedParked: KeyValueStore<ParkedRow>;
  #begin: FeedPosition | undefined;

  constructor(storage: KeyValueStorage, subscription: Subscription) {
    const { name } = subscription;
    const shared = ownState(subscription);
    this.#subscription = subscription;
    this.#ofTenants = storage.store(defineState<Checkpoint>(name, { ...shared, scope: 'tenant' }));
    this.#shared = storage.store(defineState<Checkpoint>(name, shared));
    const parked = `${name} parked`;
    this.#parkedOfTenants = storage.store(defineState<ParkedRow>(parked, { ...shared, scope: 'tenant' }));
    this.#sharedParked = storage.store(defineState<ParkedRow>(parked, shared));
    this.readers = storage.store(defineState<ReaderPosition>(name, shared));
    this.#layouts = storage.store(defineState<Layout>(name, shared));
  }

  storeOf(database: string): KeyValueStore<Checkpoint> {
    const tenant = tenantIn(database);
    return tenant === undefined ? this.#shared : this.#ofTenants.forTenant(tenant);
  }

  parkedOf(database: string): KeyValueStore<ParkedRow> {
    const tenant = tenantIn(database);
    return tenant === undefined ? this.#sharedParked : this.#parkedOfTenants.forTenant(tenant);
  }

  parkedPrefix(partition: number): readonly [number, number] {
    return [generationOf(this.#subscription), partition];
  }

  /** What a generation has in the database of a tenant. */
  async removeFrom(database: string, signal: AbortSignal): Promise<void> {
    const generation = generationOf(this.#subscription);
    await this.storeOf(database).deleteMany({ prefix: ['checkpoint', generation] }, { signal });
    await this.parkedOf(database).deleteMany({ prefix: [generation] }, { signal });
  }

  /** What it has beside its tenants. */
  async removeShared(signal: AbortSignal): Promise<void> {
    const generation = generationOf(this.#subscription);
    await this.readers.deleteMany({ prefix: ['reader', generation] }, { signal });
    await this.#layouts.delete(this.#layoutKey, { signal });
  }

  /** Of a generation that may belong to another release; `undefined` before its first effect. */
  async storedPartitions(signal: AbortSignal | undefined): Promise<number | undefined> {
    return (await this.#layouts.get(['layout', generationOf(this.#subscription)], { signal }))?.value
      .partitions;
  }

  key(kind: 'checkpoint' | 'reader', partition: number): Key {
    return [kind, generationOf(this.#subscription), partition];
  }

  /** Where all tenants begin; `undefined`: at the beginning, or not started yet. */
  async begin(): Promise<FeedPosition | undefined> {
    if (this.#begin !== undefined || this.#subscription.from === 'beginning') return this.#begin;
    this.#begin = (await this.#layouts.get(this.#layoutKey))?.value.begin;
    return this.#begin;
  }

  /**
   * Written before the first effect of a version; `end`: the end of the feed, where it may begin.
   * `INVALID_STATE` when the same version was run with other streams or partitions: its checkpoints
   * would be wrong. A reaction may have other streams: it has the events that come from then on.
   */
  async assertLayout(end: () => Promise<FeedPosition>): Promise<void> {
    const { kind, name, version, partitions, streams, from } = this.#subscription;
    const given = { partitions, streams: streams.map((each) => streamDefinitionOf(each).type).sort() };
    const stored =
      (await this.#layouts.get(this.#layoutKey))?.value ??
      (await this.#addLayout(from === 'now' ? { ...given, begin: await end() } : given));
    this.#begin = stored.begin;
    const isSame = kind === 'reaction' || stored.streams.join('\0') === given.streams.join('\0');
    if (stored.partitions === partitions && isSame) return;
    const describe = (each: Layout): string =>
      `streams ${each.streams.join(', ')} in ${each.partitions} partitions`;
    const was =
      kind === 'reaction'
        ? `The reaction '${name}' was`
        : `The version ${version} of the projection '${name}' was`;
    const advice =
      kind === 'reaction'
        ? 'Give it another name: it begins as a new one.'
        : 'Raise its version: the new one begins with the first event.';
    throw invalidState(`${was} run with ${describe(stored)}; got ${describe(given)}. ${advice}`);
  }

  async #addLayout(layout: Layout): Promise<Layout> {
    return (await this.#layouts.getOrAdd(this.#layoutKey, () => layout)).entry.value;
  }

  get #layoutKey(): Key {
    return ['layout', generationOf(this.#subscription)];
  }
}

/**
 * The builds of a projection. A version that is new, and each rebuild, has a generation of its own:
 * checkpoints, leases and states that are apart from those of the others. One row says which of
 * them is live, so a switch is one commit, and every reader sees it or does not.
 *
 * The first generation writes into the states as they are declared; a later one into copies of
 * them. Generations that were live are removed by any process.
 */
import {
  defineState,
  isStorageError,
  type Entry,
  type KeyValueStorage,
  type KeyValueStore,
  type WatchOptions,
} from '@kvent/key-value-storage/core';
import { invalidState, type Clock } from '@kvent/key-value-storage/provider';
import { ownState } from './checkpoints.js';
import type { Subscription } from './subscription.js';

/** One computation of a projection from the first event. */
export interface Build {
  readonly generation: number;
  readonly version: number;
}

export interface Generations {
  /** The highest number that was given: numbers never return. */
  readonly last: number;
  /** The one that readers see. */
  readonly live: Build;
  /** The one that takes over when it has caught up. */
  readonly building?: Build;
  /** From now on a wait for the projection waits for `building` too. */
  readonly isSwitching?: boolean;
  /** Those that are not read any more, except by lists that began before. */
  readonly old: readonly (Build & { readonly isRemoving?: boolean })[];
}

/**
 * Milliseconds that a process relies on what it has read of the row. It checks the time after a
 * read too, so a process that was asleep does not return what is being removed.
 */
const leaseMs = 500;
/** Longer than a lease: the clocks of two machines run at slightly different rates. */
export const leaveMs = 2 * leaseMs;

export class GenerationsRow {
  readonly #subscription: Subscription;
  readonly #store: KeyValueStore<Generations>;
  readonly #clock: Clock;
  #known: { readonly row: Generations; readonly until: number } | undefined;
  /** What was observed last, by any read, watch or change of this process. */
  #observed: Generations | undefined;
  /** Reads are numbered from 1. */
  #reads = 0;
  /** Reads up to this one may have seen the row before its last change that is known here. */
  #readsBefore = 0;

  constructor(storage: KeyValueStorage, subscription: Subscription, clock: Clock) {
    this.#subscription = subscription;
    this.#store = storage.store(defineState<Generations>(subscription.name, ownState(subscription)));
    this.#clock = clock;
  }

  /** Where the projection has not run yet: the first generation. */
  async read(signal?: AbortSignal): Promise<Generations> {
    const { row } = await this.#entry(signal);
    return row;
  }

  /** As it was read within the last half second. */
  async recent(signal?: AbortSignal): Promise<Generations> {
    const known = this.#known;
    return known !== undefined && this.#clock.monotonic() < known.until ? known.row : await this.read(signal);
  }

  /** The version gets a generation where it is newer than all others. */
  async join(): Promise<Generations> {
    const { version } = this.#subscription;
    return await this.#change((row) => {
      const { live, building } = row;
      const newest = Math.max(live.version, building?.version ?? 0);
      return version > newest ? built(row, version) : row;
    }, true);
  }

  /**
   * Begins a further generation of the live version; a second call does nothing until the switch.
   */
  async rebuild(): Promise<Generations> {
    const { name, version } = this.#subscription;
    return await this.#change((row) => {
      const { live, building } = row;
      const newest = building?.version ?? live.version;
      if (newest !== version)
        throw invalidState(
          `The version ${newest} of the projection '${name}' is built; the version ${version} cannot be.`,
        );
      return building === undefined ? built(row, version) : row;
    });
  }

  /** Says whether waits for the projection wait for the generation that is built too. */
  async setSwitching({ generation }: Build, isSwitching: boolean): Promise<Generations> {
    return await this.#change((row) =>
      row.building?.generation === generation && (row.isSwitching ?? false) !== isSwitching
        ? { ...row, isSwitching }
        : row,
    );
  }

  /** The switch. */
  async takeOver({ generation }: Build): Promise<Generations> {
    return await this.#change((row) => {
      const { last, live, building, old, isSwitching } = row;
      if (building?.generation !== generation || isSwitching !== true) return row;
      return { last, live: building, old: [...old, live] };
    });
  }

  async setRemoving({ generation }: Build): Promise<Generations> {
    return await this.#change((row) => {
      const isNew = row.old.some((each) => each.generation === generation && each.isRemoving !== true);
      if (!isNew) return row;
      const old = row.old.map((each) =>
        each.generation === generation ? { ...each, isRemoving: true } : each,
      );
      return { ...row, old };
    });
  }

  async removed({ generation }: Build): Promise<Generations> {
    return await this.#change((row) => {
      const old = row.old.filter((each) => each.generation !== generation);
      return old.length === row.old.length ? row : { ...row, old };
    });
  }

  /** The row now, and after each change. */
  async *watch(options: WatchOptions): AsyncGenerator<Generations, undefined, undefined> {
    for await (const entry of this.#store.watch('generations', options)) {
      const row = this.#rowOf(entry);
      this.#observe(row);
      yield row;
    }
  }

  async #entry(signal?: AbortSignal) {
    const read = (this.#reads += 1);
    const begun = this.#clock.monotonic();
    const entry: Entry<Generations> | undefined = await this.#store.get('generations', { signal });
    const row = this.#rowOf(entry);
    const isNewest = read > this.#readsBefore;
    this.#observe(row);
    if (isNewest) this.#known = { row, until: begun + leaseMs };
    return { entry, row };
  }

  /**
   * Answers may come in another order than that of their reads, so where the row has changed, only
   * a read that begins from now on is relied on.
   */
  #observe(row: Generations): void {
    if (this.#observed !== undefined && isEqual(row, this.#observed)) return;
    this.#observed = row;
    this.#known = undefined;
    this.#readsBefore = this.#reads;
  }

  #rowOf(entry: Entry<Generations> | undefined): Generations {
    const { version } = this.#subscription;
    return entry?.value ?? { last: 1, live: { generation: 1, version }, old: [] };
  }

  /**
   * `change` returns the same object where there is nothing to change; `create`: writes it then
   * too.
   */
  async #change(change: (row: Generations) => Generations, create = false): Promise<Generations> {
    for (;;) {
      const { entry, row } = await this.#entry();
      const next = change(row);
      if (isEqual(next, row) && !(create && entry === undefined)) return row;
      try {
        if (entry === undefined) await this.#store.add('generations', next);
        else await this.#store.set('generations', next, { ifMatch: entry });
        this.#observe(next);
        return next;
      } catch (error) {
        if (!isStorageError(error, 'STORAGE_CONFLICT') && !isStorageError(error, 'KEY_EXISTS')) throw error;
      }
    }
  }
}

const isEqual = (one: Generations, other: Generations): boolean =>
  one === other || JSON.stringify(one) === JSON.stringify(other);

function built({ last, live, building, old }: Generations, version: number): Generations {
  const generation = last + 1;
  const replaced = building === undefined ? old : [...old, building];
  return { last: generation, live, building: { generation, version }, old: replaced };
}

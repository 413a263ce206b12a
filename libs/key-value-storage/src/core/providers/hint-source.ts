/** Hints of providers whose rows change in this process: commits report what they changed. */
import { onAbort } from '../base/on-abort.js';
import { KeyFilter } from './key-filter.js';
import type { Hint, HintTarget, RowAddress, Space } from '../port/storage-provider.js';

const nameOf = (space: Space | undefined): string =>
  space === undefined ? '' : `${space.database}\0${space.container}\0${space.entity}`;

/** The listeners of one space. */
interface SpaceListeners {
  /** Of single rows. A writer of other rows pays one lookup, however many listeners there are. */
  readonly rows: Map<string, Set<Listener>>;
  /** Of the whole space, or of parts of it. */
  readonly ranges: Map<Listener, HintTarget[]>;
}

interface LookedUp extends Space {
  readonly listeners: SpaceListeners | undefined;
}

const noListeners = (): SpaceListeners => ({ rows: new Map(), ranges: new Map() });

export class HintSource {
  readonly #listeners = new Set<Listener>();
  /** Those without targets: readers of the feed. */
  readonly #followers = new Set<Listener>();
  /**
   * By database, container and entity. Nested, because a joined name would be a new text for each
   * change, and hashing it costs a commit in memory several per cent.
   */
  readonly #spaces = new Map<string, Map<string, Map<string, SpaceListeners>>>();
  /**
   * The space that was looked up last, until a listener comes or leaves: commits mostly follow one
   * of the same space, and three lookups cost a commit in memory two per cent.
   */
  #latest: LookedUp | undefined;
  /** Of the listeners of single rows, in all spaces. */
  #rowKeys = new KeyFilter();

  get hasListeners(): boolean {
    return this.#listeners.size > 0;
  }

  /** Notifies the listeners of the rows. */
  changed(database: string, addresses: Iterable<RowAddress>): void {
    if (this.#listeners.size === 0) return;
    for (const address of addresses) this.#notify(database, address);
  }

  /** As `changed`, for the effects of a commit: no list of addresses is made of them. */
  committed(database: string, effects: readonly { readonly address: RowAddress }[]): void {
    if (this.#listeners.size === 0) return;
    for (const { address } of effects) this.#notify(database, address);
  }

  /** Notifies the listeners without targets: rows of the feed can be read that could not before. */
  feedMoved(): void {
    for (const listener of this.#followers) listener.notify({});
  }

  /** Notifies every listener that any of its rows may have changed. */
  changedAll(): void {
    for (const listener of this.#listeners)
      for (const { database, container, entity } of listener.targets)
        listener.notify({ space: { database, container, entity } });
  }

  /** Hints of these targets from this call on, until the signal or `end`. */
  listen(targets: readonly HintTarget[], signal: AbortSignal): AsyncIterable<Hint> {
    const listener = new Listener(targets);
    const leave = (): void => {
      this.#remove(listener);
      listener.end();
    };
    if (!signal.aborted) this.#add(listener);
    const unfollow = onAbort(signal, leave);
    return listener.read(() => {
      unfollow();
      leave();
    });
  }

  /** Ends every listener when the provider closes. */
  end(): void {
    for (const listener of this.#listeners) listener.end();
    this.#listeners.clear();
    this.#followers.clear();
    this.#spaces.clear();
    this.#latest = undefined;
    this.#rowKeys = new KeyFilter();
  }

  #notify(database: string, { container, entity, key }: RowAddress): void {
    const listeners = this.#listenersOf(database, container, entity);
    if (listeners === undefined) return;
    const interested = this.#rowKeys.mayHave(key) ? listeners.rows.get(key) : undefined;
    if (interested === undefined && listeners.ranges.size === 0) return;
    const hint = { space: { database, container, entity }, key };
    if (interested !== undefined) for (const listener of interested) listener.notify(hint);
    for (const [listener, ranges] of listeners.ranges)
      if (ranges.some((range) => isWithin(range, key))) listener.notify(hint);
  }

  #listenersOf(database: string, container: string, entity: string): SpaceListeners | undefined {
    const latest = this.#latest;
    if (latest?.entity === entity && latest.database === database && latest.container === container)
      return latest.listeners;
    const listeners = this.#spaces.get(database)?.get(container)?.get(entity);
    this.#latest = { database, container, entity, listeners };
    return listeners;
  }

  #add(listener: Listener): void {
    this.#latest = undefined;
    this.#listeners.add(listener);
    if (listener.targets.length === 0) this.#followers.add(listener);
    for (const target of listener.targets) {
      const { database, container, entity, key } = target;
      const containers = valueOf(
        this.#spaces,
        database,
        () => new Map<string, Map<string, SpaceListeners>>(),
      );
      const entities = valueOf(containers, container, () => new Map<string, SpaceListeners>());
      const listeners = valueOf(entities, entity, noListeners);
      if (key === undefined) valueOf(listeners.ranges, listener, () => []).push(target);
      else {
        valueOf(listeners.rows, key, () => new Set<Listener>()).add(listener);
        this.#rowKeys.add(key);
      }
    }
  }

  #remove(listener: Listener): void {
    if (!this.#listeners.delete(listener)) return;
    this.#latest = undefined;
    this.#followers.delete(listener);
    for (const { database, container, entity, key } of listener.targets) {
      if (key !== undefined) this.#rowKeys.remove(key);
      const containers = this.#spaces.get(database);
      const entities = containers?.get(container);
      const listeners = entities?.get(entity);
      if (containers === undefined || entities === undefined || listeners === undefined) continue;
      listeners.ranges.delete(listener);
      if (key !== undefined) {
        const interested = listeners.rows.get(key);
        interested?.delete(listener);
        if (interested?.size === 0) listeners.rows.delete(key);
      }
      // names come from clients: those without listeners must not fill the memory
      if (listeners.rows.size + listeners.ranges.size === 0) entities.delete(entity);
      if (entities.size === 0) containers.delete(container);
      if (containers.size === 0) this.#spaces.delete(database);
    }
  }
}

const isWithin = ({ start, end }: HintTarget, key: string): boolean =>
  (start === undefined || key >= start) && (end === undefined || key < end);

function valueOf<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) map.set(key, (value = make()));
  return value;
}

/** Keys that are kept for each space; of more keys, the hint is about the whole space. */
const pendingKeysMax = 100;

/** What changed in one space, or the feed, since it was read; without `keys`, anything. */
interface Pending {
  readonly space: Space | undefined;
  keys: Set<string> | undefined;
}

class Listener {
  readonly targets: readonly HintTarget[];
  /** By space: a slow reader stays small. */
  readonly #pending = new Map<string, Pending>();
  #wake: (() => void) | undefined;
  #ended = false;

  constructor(targets: readonly HintTarget[]) {
    this.targets = targets;
  }

  notify({ space, key }: Hint): void {
    const name = nameOf(space);
    const before = this.#pending.get(name);
    if (before === undefined)
      this.#pending.set(name, { space, keys: key === undefined ? undefined : new Set([key]) });
    else if (key === undefined || before.keys?.size === pendingKeysMax) before.keys = undefined;
    else before.keys?.add(key);
    this.#wake?.();
  }

  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  async *read(leave: () => void): AsyncGenerator<Hint> {
    try {
      while (true) {
        for (const [name, { space, keys }] of this.#pending) {
          this.#pending.delete(name);
          if (keys === undefined) yield { space };
          else for (const key of keys) yield { space, key };
        }
        if (this.#ended) return;
        if (this.#pending.size === 0) await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    } finally {
      leave();
    }
  }
}

/**
 * Clauses of stores, which are above the port: what they promise on any provider. Each has a broken
 * storage that it must catch.
 */
import type { AtomicBatch, KeyValueStorage, KeyValueStore } from '../../core.js';
import type { BrokenProvider } from './broken-providers.js';
import type { Capability } from './abilities.js';
import type { StoreSubject } from './store-subject.js';

export interface StoreClause {
  readonly name: string;
  readonly law: number;
  readonly capability?: Capability;
  readonly broken: BrokenStorage;
  run(subject: StoreSubject): Promise<void>;
}

/** A storage with a deliberate defect, in itself or in its provider. */
export interface BrokenStorage {
  readonly fault: string;
  readonly storage?: (storage: KeyValueStorage) => KeyValueStorage;
  readonly provider?: BrokenProvider;
}

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- a store of any state: KeyValueStore is invariant
type AnyStore = KeyValueStore<any>;

export const throughProvider = (provider: BrokenProvider): BrokenStorage => ({
  fault: provider.fault,
  provider,
});

/** Replaces some methods of every store. */
export const breaksStores = (
  fault: string,
  change: (store: AnyStore, storage: KeyValueStorage) => Partial<AnyStore>,
): BrokenStorage => ({
  fault,
  storage: (storage) => {
    const wrap = (store: AnyStore): AnyStore =>
      replacing(store, {
        forTenant: (tenant: string) => wrap(store.forTenant(tenant)),
        ...change(store, storage),
      });
    return replacing(storage, {
      store: (state: Parameters<KeyValueStorage['store']>[0]) => wrap(storage.store(state)),
    } as Partial<KeyValueStorage>);
  },
});

/** Replaces some methods of every atomic batch. */
export const breaksAtomic = (
  fault: string,
  change: (batch: AtomicBatch, storage: KeyValueStorage) => Partial<AtomicBatch>,
): BrokenStorage => ({
  fault,
  storage: (storage) =>
    replacing(storage, {
      atomic: () => {
        const batch = storage.atomic();
        return replacing(batch, change(batch, storage));
      },
    }),
});

/**
 * The same object with some members replaced. A method that returns the object returns the
 * replacement instead.
 */
export function replacing<O extends object>(original: O, members: Partial<O>): O {
  const proxy: O = new Proxy(original, {
    get(target, name): unknown {
      const member: unknown =
        name in members ? Reflect.get(members, name) : Reflect.get(target, name, target);
      if (typeof member !== 'function') return member;
      return (...args: readonly unknown[]): unknown => {
        const result: unknown = Reflect.apply(member, name in members ? members : target, args);
        return result === target ? proxy : result;
      };
    },
  });
  return proxy;
}

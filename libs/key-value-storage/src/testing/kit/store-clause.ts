/**
 * Clauses of stores, which are above the port: what they promise on any provider. Each has a broken
 * storage that it must catch.
 */
import type { AtomicBatch, CounterStore, KeyValueStorage, KeyValueStore } from '../../core.js';
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

// oxlint-disable-next-line typescript/no-explicit-any -- a store of any state: KeyValueStore is invariant
type AnyStore = KeyValueStore<any>;
// oxlint-disable-next-line typescript/no-explicit-any -- CounterStore is invariant too
type AnyCounters = CounterStore<any>;

export const throughProvider = (provider: BrokenProvider): BrokenStorage => ({
  fault: provider.fault,
  provider,
});

/** A store that other tenants have too. */
interface OfTenant<S> {
  forTenant(tenant: string): S;
}

const breaksOpened =
  <S extends object & OfTenant<S>>() =>
  (fault: string, change: (store: S, storage: KeyValueStorage) => Partial<S>): BrokenStorage => ({
    fault,
    storage: (storage) => {
      const wrap = (store: S): S =>
        replacing(store, {
          forTenant: (tenant: string) => wrap(store.forTenant(tenant)),
          ...change(store, storage),
        });
      return replacing(storage, {
        store: (definition: never) => wrap(storage.store(definition) as unknown as S) as never,
      });
    },
  });

/** Replaces some methods of every store. */
export const breaksStores = breaksOpened<AnyStore>();

/** Replaces some methods of the stores of counters, in clauses that use no other store. */
export const breaksCounters = breaksOpened<AnyCounters>();

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

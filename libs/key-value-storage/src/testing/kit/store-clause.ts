/**
 * Clauses of what stands above the port: what a store promises on any provider. They too are data,
 * and each names what it must catch.
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

/** A storage that is broken on purpose: in itself, or through its provider. */
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

/** Every store of the storage, some of its methods replaced. */
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

/** Every atomic batch of the storage, some of its methods replaced. */
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

/** The same object, but for some members. Methods that answer the object itself answer this one. */
export function replacing<O extends object>(original: O, members: Partial<O>): O {
  const proxy: O = new Proxy(original, {
    get(target, name): unknown {
      const member: unknown =
        name in members ? Reflect.get(members, name) : Reflect.get(target, name, target);
      if (typeof member !== 'function') return member;
      return (...given: readonly unknown[]): unknown => {
        const answer: unknown = Reflect.apply(member, name in members ? members : target, given);
        return answer === target ? proxy : answer;
      };
    },
  });
  return proxy;
}

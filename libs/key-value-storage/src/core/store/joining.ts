/** Stores and streams that join the transaction of their caller without `within`. */
import type { StorageAccess } from '../commit/storage-access.js';

interface Joinable<T> {
  forTenant(tenant: string): T;
  within(transaction: object): T;
}

/** They show what is committed, and last longer than a transaction. */
const watches: readonly PropertyKey[] = ['watch', 'watchMany', 'watchRange'];

/**
 * Where calls of the access join the transaction of their caller: a store or stream whose calls are
 * those of `outside.within(transaction)` while the caller has a transaction. Else `outside` itself.
 */
export function joinedStore<T extends object & Joinable<T>>(outside: T, access: StorageAccess): T {
  const current = access.currentTransaction;
  return current === undefined ? outside : joining(outside, current);
}

/**
 * A proxy, so that no verb can be forgotten. The transaction is looked up when a method is called,
 * so that its retries and pages keep it.
 */
function joining<T extends object & Joinable<T>>(outside: T, current: () => object | undefined): T {
  const inside = new WeakMap<object, T>();
  const here = (): T => {
    const transaction = current();
    if (transaction === undefined) return outside;
    let store = inside.get(transaction);
    if (store === undefined) inside.set(transaction, (store = outside.within(transaction)));
    return store;
  };
  const forTenant = (tenant: string): T => joining(outside.forTenant(tenant), current);
  return new Proxy(outside, {
    get: (target, name) => {
      if (name === 'forTenant') return forTenant;
      const member: unknown = Reflect.get(target, name, target);
      if (typeof member !== 'function') return Reflect.get(here(), name);
      return (...given: readonly unknown[]): unknown => {
        const store = watches.includes(name) ? outside : here();
        return Reflect.apply(Reflect.get(store, name) as () => unknown, store, given);
      };
    },
  });
}

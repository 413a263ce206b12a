/** Stores and streams that join the transaction of their caller without `within`. */
import type { StorageAccess } from '../commit/storage-access.js';

interface Joinable<T> {
  forTenant(tenant: string): T;
  within(transaction: object): T;
  /** Of a state with indexes. */
  index?(name: string): object;
}

type Current = () => object | undefined;

/** They show what is committed, and last longer than a transaction. */
const watches: readonly PropertyKey[] = ['watch', 'watchMany', 'watchRange'];

/**
 * Where calls of the access join the transaction of their caller: a store or stream whose calls are
 * those of `outside.within(transaction)` while the caller has a transaction. Else `outside` itself.
 */
export function joinedStore<T extends object & Joinable<T>>(outside: T, access: StorageAccess): T {
  const current = access.currentTransaction;
  return current === undefined ? outside : joinedBy(current, outside);
}

/** What a store gives out and callers keep joins the transaction of each of its calls too. */
function joinedBy<T extends object & Joinable<T>>(current: Current, outside: T): T {
  const within = (transaction: object): T => outside.within(transaction);
  const kept = {
    forTenant: (tenant: string): T => joinedBy(current, outside.forTenant(tenant)),
    index: (name: string): object | undefined => {
      const index = outside.index?.(name);
      return index && joining(current, index, (transaction) => within(transaction).index?.(name) ?? index);
    },
  };
  return joining(current, outside, within, kept);
}

/**
 * A proxy, so that no verb can be forgotten. The transaction is looked up when a method is called,
 * so that retries keep it. What is read later (lists, events, exports) is that of `outside`: it
 * keeps the tenant and the range of the call, and looks up the transaction when its reading begins.
 */
function joining<T extends object>(
  current: Current,
  outside: T,
  within: (transaction: object) => T,
  kept: Readonly<Record<PropertyKey, unknown>> = {},
): T {
  const inside = new WeakMap<object, T>();
  const here = (): T => {
    const transaction = current();
    if (transaction === undefined) return outside;
    let joined = inside.get(transaction);
    if (joined === undefined) inside.set(transaction, (joined = within(transaction)));
    return joined;
  };
  return new Proxy(outside, {
    get: (target, name) => {
      const member: unknown = Reflect.get(target, name, target);
      if (typeof member !== 'function') return Reflect.get(here(), name);
      if (Object.hasOwn(kept, name)) return kept[name];
      return (...given: readonly unknown[]): unknown => {
        const call = (joined: T): unknown =>
          Reflect.apply(Reflect.get(joined, name) as () => unknown, joined, given);
        if (watches.includes(name)) return call(outside);
        const joined = here();
        const result = call(joined);
        return joined !== outside && isAsyncIterable(result) ? call(outside) : result;
      };
    },
  });
}

const isAsyncIterable = (result: unknown): boolean =>
  typeof result === 'object' && result !== null && Symbol.asyncIterator in result;

/**
 * A cache, not a store: it returns the same object that it received, synchronously. It is the lower
 * bound for the cost of a store.
 */
import { LRUCache } from 'lru-cache';
import type { Opening } from '../contender.js';
import { keyAt, product, type Product } from '../product.js';

export const openLruCache: Opening = async ({ keys }) => {
  const cache = new LRUCache<string, Product>({ max: keys.length });
  for (const key of keys) cache.set(key, product);
  const [hot] = keys as readonly [string];
  return {
    name: 'lru-cache',
    traits: {
      survives: 'nothing',
      comparesAndSets: false,
      returns: 'stored object',
      note: 'a cache: synchronous, without copies',
    },
    verbs: {
      get: (call) => cache.get(keyAt(keys, call)),
      set: (call) => cache.set(keyAt(keys, call), product),
      'set + get': (call) => cache.set(keyAt(keys, call), product).get(keyAt(keys, call)),
      update: () => {
        const value = cache.get(hot) as Product;
        cache.set(hot, { ...value, stock: value.stock + 1 });
      },
      getMany: () => keys.slice(0, 100).map((key) => cache.get(key)),
    },
  };
};

/**
 * Values that exist once in an application. Nest 11.0 and 11.1 create the providers of a module
 * again each time that a lazily loaded module (`LazyModuleLoader`) imports it, directly or through
 * others.
 */
import type { ModulesContainer } from '@nestjs/core';

// weak: the values of an application are released with it
const made = new WeakMap<ModulesContainer, Map<unknown, unknown>>();

/**
 * The first result of `make` for this key in this application. After an error or a rejection,
 * `make` is called again.
 */
export function onceForApplication<T>(modules: ModulesContainer, key: unknown, make: () => T): T {
  const ofApplication = made.get(modules) ?? new Map<unknown, unknown>();
  made.set(modules, ofApplication);
  // the value of a key always comes from the same `make`
  if (ofApplication.has(key)) return ofApplication.get(key) as T;
  const value = make();
  ofApplication.set(key, value);
  if (value instanceof Promise) value.catch(() => ofApplication.delete(key));
  return value;
}

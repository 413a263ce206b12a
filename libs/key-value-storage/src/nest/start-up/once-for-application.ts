/**
 * What an application has one of, however often Nest makes its providers. Nest 11.0 and 11.1 make
 * the providers of a module again each time that a lazily loaded module (`LazyModuleLoader`)
 * imports it, directly or through others.
 */
import type { ModulesContainer } from '@nestjs/core';

// by the application, and gone with it
const made = new WeakMap<ModulesContainer, Map<unknown, unknown>>();

/**
 * What `make` answered for this key the first time in this application. What failed, or rejected,
 * is made again.
 */
export function onceForApplication<T>(modules: ModulesContainer, key: unknown, make: () => T): T {
  const ofApplication = made.get(modules) ?? new Map<unknown, unknown>();
  made.set(modules, ofApplication);
  // whatever lies under the key came from the same `make`
  if (ofApplication.has(key)) return ofApplication.get(key) as T;
  const value = make();
  ofApplication.set(key, value);
  if (value instanceof Promise) value.catch(() => ofApplication.delete(key));
  return value;
}

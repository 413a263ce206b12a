/**
 * Disables the instances of `AsyncLocalStorage` that a file of tests has left. Node enables an
 * instance at its first use and keeps it in a list, which it walks for each promise. Each file
 * leaves several (Jest itself, Nest, the shop), so that promises would become slower with each file
 * of a worker: thirty files that load the sample shop took 30 s of CPU time instead of 22 s.
 */
import hooks from 'node:async_hooks';

const { AsyncLocalStorage } = hooks;
const created = new Set();

/** Makes modules that are loaded from now on create instances that can be disabled. */
export function trackAsyncStorages() {
  hooks.AsyncLocalStorage = class extends AsyncLocalStorage {
    constructor(...args) {
      super(...args);
      created.add(this);
    }
  };
}

/** Disables each instance that was created since the last call. */
export function disableAsyncStorages() {
  for (const storage of created) storage.disable();
  created.clear();
}

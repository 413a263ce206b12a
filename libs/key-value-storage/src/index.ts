/** The front door: typed stores, the Nest module, and the two storage providers that need nothing installed. Providers and other packages build on `./core`. */

// ─── states and stores
export { Entry, EntryInfo, type Representation } from './core/entry.js';
export type { Key, KeyPart, KeyRange } from './core/key.js';
export {
  AtomicBatch,
  AtomicChanges,
  KeyValueStorage,
  KeyValueStore,
  type CallOptions,
  type Committed,
  type Condition,
  type GuardedWriteOptions,
  type Page,
  type PageRequest,
  type ReadOptions,
  type WriteOptions,
} from './core/key-value-store.js';
export { openStorage } from './core/open-storage.js';
export { retryOnConflict, type RetryOptions } from './core/retry-on-conflict.js';
export {
  defineState,
  State,
  type ClassOf,
  type Data,
  type Given,
  type StateDefinition,
  type StateOf,
  type StateOptions,
} from './core/state-definition.js';

// ─── errors and limits
export { isConflict, isStorageError, StorageError, type StorageErrorCode, type StorageErrorDetails } from './core/errors.js';
export { limits, type LimitName } from './core/limits.js';

// ─── storage providers
export type { Clock } from './core/clock.js';
export type { ProviderFeatures, StorageProvider } from './core/storage-provider.js';
export { MemoryProvider, type MemoryProviderOptions } from './providers/memory/memory-provider.js';

// ─── Nest
export { getStoreToken, InjectStore, type AnyState, type Injects } from './nest/inject-store.decorator.js';
export type { KeyValueStorageOptions, TenancyOptions } from './nest/key-value-storage-options.js';
export { KeyValueStorageModule } from './nest/key-value-storage.module.js';
export { TenantContext } from './nest/tenancy/tenant-context.js';

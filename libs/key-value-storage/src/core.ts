/**
 * The door for scripts and for applications without Nest: typed stores, the two storage providers
 * that need nothing installed, and the moving of data. `.` exports the same and the Nest module.
 *
 * @module @kvent/key-value-storage/core
 */

// ─── states and stores
export { Precondition } from './core/store/etag.js';
export { Entry, EntryInfo, type Representation } from './core/store/entry.js';
export type { Key, KeyPart, KeyPrefix, KeyRange } from './core/base/key.js';
export type { CallOptions, IdempotentOptions, ReadOptions } from './core/store/call-options.js';
export {
  AtomicBatch,
  AtomicChanges,
  IndexedStore,
  KeyValueStorage,
  KeyValueStore,
  type AtomicResult,
  type EtagLike,
  type DeleteOptions,
  type GotOrAdded,
  type GuardedWriteOptions,
  type KeyedWriteOptions,
  type TouchOptions,
  type UpdateOptions,
  type KeyWithEtag,
  type Page,
  type ListRange,
  type PageRequest,
  type RangeChange,
  type ReadInfoOptions,
  StoreIndex,
  type WatchOptions,
  type WriteOptions,
} from './core/store/key-value-store.js';
export type {
  ExportRange,
  LoadFailure,
  LoadItem,
  LoadFromOptions,
  LoadProgress,
  LoadResult,
} from './core/store/bulk-types.js';
export type {
  IndexDefinitions,
  IndexOptions,
  IndexListRange,
  IndexPageRequest,
  IndexRange,
} from './core/store/index-types.js';
export type { CommitParticipant } from './core/commit/participant.js';
export { IdempotentCall } from './core/commit/idempotency-record.js';
export type { KeySchema } from './core/store/key-schema.js';
export { CounterStore, type CounterEntry, type CounterWriteOptions } from './core/store/counter-store.js';
export { ShardedCounter } from './core/store/sharded-counter.js';
export {
  defineBigCounter,
  defineCounter,
  defineShardedCounter,
  type AnyCounter,
  type AnyDefinition,
  type CounterDefinition,
  type CounterOptions,
  type ShardedCounterDefinition,
  type ShardedCounterOptions,
} from './core/store/counter-definition.js';
export {
  StateMigration,
  type MigrationCounts,
  type MigrationResult,
  type MigrationFailure,
  type StateMigrationOptions,
  type StoredVersion,
} from './core/store/state-migration.js';
export { Store } from './core/store/store.js';
export { openStorage } from './core/store/open-storage.js';
export type { PollOptions } from './core/watch/poll-options.js';
export { retryOnConflict, type RetryOptions } from './core/contention/retry-on-conflict.js';
export {
  defineState,
  State,
  stateOf,
  type AnyState,
  type ClassOf,
  type Data,
  type Input,
  type InputOf,
  type KeyOf,
  type StateBase,
  type StateClass,
  type StateDefinition,
  type StateOf,
  type StateOptions,
} from './core/store/state-definition.js';

// ─── errors and limits
export {
  isConflict,
  isStorageError,
  StorageError,
  type StorageErrorCode,
  type StorageErrorDetails,
} from './core/base/errors.js';
export { hidePasswords } from './core/base/hide-passwords.js';
export { limits, type LimitName } from './core/base/limits.js';

// ─── storage providers
export type { Clock } from './core/base/clock.js';
export {
  ObservedProvider,
  type StorageCall,
  type StorageCallEnd,
  type StorageObserver,
} from './core/providers/observed-provider.js';
export type { ProviderFeatures, StorageProvider } from './core/port/storage-provider.js';
export { JsonFileProvider, type JsonFileProviderOptions } from './providers/json-file/json-file-provider.js';
export {
  salvageJsonFile,
  type SalvagedDatabase,
  type SalvageOptions,
  type SalvageReport,
} from './providers/json-file/salvage.js';
export { MemoryProvider, type MemoryProviderOptions } from './providers/memory/memory-provider.js';

// ─── moving data
export { copyDatabase, copyStorage, type CopiedStorage } from './transfer/copy-database.js';
export type { CopyDatabaseOptions, CopyProgress, CopyStorageOptions } from './transfer/copy-options.js';
export type { CopiedDatabase } from './transfer/copy-run.js';
export type { CopySource } from './transfer/copy-source.js';
export type { ContainerDigest } from './transfer/row-digest.js';

/**
 * The door for applications: typed stores, the Nest module, and the two storage providers that need
 * nothing installed.
 *
 * @module @kvent/key-value-storage
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

// ─── Nest
export {
  StorageHealthIndicator,
  type EngineHealth,
  type StorageHealth,
} from './nest/health/storage-health.indicator.js';
export { sendFrameworkProblem, type ProblemOptions } from './nest/http/send-problem.js';
export { describeHttp, type DescribeHttpOptions } from './nest/swagger/describe-http.js';
export { EtagInterceptor } from './nest/http/etag.interceptor.js';
export { httpEtagOf } from './nest/http/http-etag-of.js';
export { IfMatch } from './nest/http/if-match.decorator.js';
export { Paged, referenceTo, type PagedOptions, type PagedRequest } from './nest/http/paged.decorator.js';
export { IdempotencyKey } from './nest/http/idempotency-key.decorator.js';
export {
  IdempotencyInterceptor,
  type IdempotencyInterceptorOptions,
} from './nest/idempotency/idempotency.interceptor.js';
export { invalidValue } from './nest/http/invalid-value.js';
export type { ProblemDetails } from './nest/http/problem-details.js';
export { ProblemDetailsFilter } from './nest/http/problem-details.filter.js';
export { StorageExceptionFilter } from './nest/http/storage-exception.filter.js';
export { getStoreToken, InjectStore, type InjectDecorator } from './nest/inject-store.decorator.js';
export { storeOf } from './nest/store-of.js';
export type { KeyValueStorageOptions, TenancyOptions } from './nest/options/key-value-storage-options.js';
export { KeyValueStorageModule } from './nest/key-value-storage.module.js';
export { RetryOnConflict } from './nest/retry/retry-on-conflict.decorator.js';
export {
  RetryOnConflictInterceptor,
  type RetryInterceptorOptions,
} from './nest/retry/retry-on-conflict.interceptor.js';
export { TenantContext } from './nest/tenancy/tenant-context.js';
export { TenantGuard } from './nest/tenancy/tenant.guard.js';
export { TenantInterceptor } from './nest/tenancy/tenant.interceptor.js';
export { TenantMiddleware } from './nest/tenancy/tenant.middleware.js';
export { toObservable } from './nest/watch/to-observable.js';

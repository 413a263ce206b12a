/** The door for providers, and for packages that build on the port: no Nest is loaded behind it. */
export type {
  Address,
  Batch,
  Change,
  ChangedRow,
  Check,
  CommitOptions,
  CommitResult,
  Expected,
  Freeze,
  Hint,
  ProviderFeatures,
  RawRow,
  ReadOptions as ProviderReadOptions,
  ReadResult,
  Row,
  RowAddress,
  ScanPage,
  ScanRange,
  ScannedRow,
  Space,
  StorageAdministration,
  StorageProvider,
  StoredValue,
  TimeToLive,
  Value,
  Version,
} from './storage-provider.js';
export { aborted, throwIfAborted, untilAborted } from './abort.js';
export { SteadyTime, systemClock, type Clock } from './clock.js';
export {
  errorTable,
  isConflict,
  isStorageError,
  StorageError,
  storageError,
  titleOf,
  type StorageErrorCode,
  type StorageErrorDetails,
  type StorageErrorInit,
} from './errors.js';
export { describeExpected, evaluateBatch, isAlive, type Evaluation, type RowEffect } from './evaluate-batch.js';
export { HintSource } from './hint-source.js';
export { decodeKey, encodeKey, encodeRange, type Key, type KeyPart, type KeyRange } from './key.js';
export { limits, type LimitName } from './limits.js';
export { assertOptions, invalidOption, resolveOptions } from './options.js';
export { hashOfDatabases, RowDigest, type ContainerDigest, type RowsDigest } from './row-digest.js';
export { readRowLine, rowLine } from './row-line.js';
export { RowTable, withoutValue } from './row-table.js';
export { isVersion, versionSource } from './version.js';
export { CoalescingProvider } from './coalescing-provider.js';
export { copyDatabase, copyStorage, type CopiedStorage } from './copy-database.js';
export { unfinishedCopy } from './copy-mark.js';
export type { CopyDatabaseOptions, CopyProgress, CopyStorageOptions } from './copy-options.js';
export type { CopiedDatabase } from './copy-run.js';
export { CopiedRows, countRows, type CopySource } from './copy-source.js';
export { Entry, EntryInfo, representation, type Representation } from './entry.js';
export {
  AtomicBatch,
  AtomicChanges,
  KeyValueStorage,
  KeyValueStore,
  type AnyStore,
  type CallOptions,
  type Committed,
  type Condition,
  type GuardedWriteOptions,
  type Page,
  type PageRequest,
  type ReadOptions,
  type WriteOptions,
} from './key-value-store.js';
export { invalidValue } from './codec.js';
export { openKeyValueStorage, openStorage, type StorageSettings } from './open-storage.js';
export {
  markAttempts,
  nextDelay,
  resolveRetry,
  retryDefaults,
  retrying,
  retryOnConflict,
  type RetryOptions,
  type RetryPolicy,
} from './retry-on-conflict.js';
export {
  defineState,
  definitionOf,
  State,
  type ClassOf,
  type Data,
  type Given,
  type ResolvedState,
  type StateDefinition,
  type StateOf,
  type StateOptions,
} from './state-definition.js';
export { assertTenant, databaseOf, sharedDatabase } from './tenant.js';

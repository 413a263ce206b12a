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
  ProviderReadOptions as ProviderReadOptions,
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
} from './core/port/storage-provider.js';
export { aborted, throwIfAborted, untilAborted } from './core/base/abort.js';
export { SteadyTime, systemClock, timerMsMax, type Clock } from './core/base/clock.js';
export {
  errorTable,
  isConflict,
  partlyDone,
  isStorageError,
  StorageError,
  storageError,
  titleOf,
  type ErrorKind,
  type OwnErrorCode,
  type StorageErrorCode,
  type StorageErrorDetails,
  type StorageErrorInit,
} from './core/base/errors.js';
export {
  describeExpected,
  evaluateBatch,
  isLive,
  type Evaluation,
  type RowEffect,
} from './core/port/evaluate-batch.js';
export { HintSource } from './core/providers/hint-source.js';
export { decodeKey, encodeKey, encodeRange } from './core/encoding/key-encoding.js';
export { assertWithin } from './core/base/assert-limits.js';
export { inspect } from './core/base/inspect.js';
export type { Key, KeyPart, KeyRange } from './core/base/key.js';
export { limits, type LimitName } from './core/base/limits.js';
export { assertOptions, assertTtl, invalidOption, outOfRange, resolveOptions } from './core/base/options.js';
export { hashOfDatabases, RowDigest, type ContainerDigest, type RowsDigest } from './transfer/row-digest.js';
export { assertRawRow, faultOfDatabase, faultOfRow, placeOf, soundRows } from './core/port/raw-row.js';
export { hidePasswords, looksLikeAddress } from './core/base/hide-passwords.js';
export { printable } from './core/base/printable.js';
export { readRowLine, rowLine } from './core/port/row-line.js';
export { assertReadBytes, withinPageBytes } from './core/port/page-bytes.js';
export { RowTable, withoutValue } from './core/providers/row-table.js';
export { isVersion, versionSource } from './core/port/version.js';
export { CoalescingProvider } from './core/providers/coalescing-provider.js';
export { copyDatabase, copyStorage, type CopiedStorage } from './transfer/copy-database.js';
export { unfinishedCopy } from './transfer/copy-mark.js';
export type { CopyDatabaseOptions, CopyProgress, CopyStorageOptions } from './transfer/copy-options.js';
export type { CopiedDatabase } from './transfer/copy-run.js';
export { CopiedRows, countRows, type CopySource } from './transfer/copy-source.js';
export { etagOf, isPrecondition, Precondition, versionIn } from './core/store/etag.js';
export { Entry, EntryInfo, representation, type Representation } from './core/store/entry.js';
export {
  AtomicBatch,
  AtomicChanges,
  KeyValueStorage,
  KeyValueStore,
  type AnyStore,
  type CallOptions,
  type AtomicResult,
  type EtagLike,
  type GuardedWriteOptions,
  type Page,
  type PageRequest,
  type ReadOptions,
  type WriteOptions,
} from './core/store/key-value-store.js';
export { openKeyValueStorage, openStorage, type StorageSettings } from './core/store/open-storage.js';

// ─── for packages that keep rows of their own
export { atomicOn, commitAtomic, isEmptyBatch } from './core/store/atomic.js';
export {
  commitParticipants,
  Participant,
  type CommitParticipant,
  type ParticipantBatch,
  type ReplayedBatch,
  type ObservedRows,
  type Verdict,
} from './core/commit/participant.js';
export {
  encodeValue,
  invalidValue,
  mayHoldTags,
  parseStored,
  reviveFrozen,
  type EncodedValue,
} from './core/encoding/codec.js';
export {
  sizeOfValue,
  type CommittedBatch,
  type ConflictedBatch,
  type Contribution,
} from './core/commit/commit.js';
export { assertAtMost } from './core/base/assert-limits.js';
export { StorageAccess } from './core/commit/storage-access.js';
export { lockNameOf, rowNameOf } from './core/port/row-name.js';
export { decodeCursor, encodeCursor, type CursorScope } from './core/store/cursor.js';
export { isBytes, isDate, isError, isPromise, messageOf } from './core/base/kinds.js';
export { compareAddresses } from './core/port/row-order.js';
export {
  IdempotentCall,
  idempotencyOf,
  idempotencyRecordIn,
  idempotencyRecordKey,
  IdempotencyRecord,
  defaultIdempotencyRetentionMs,
  type Idempotency,
  type IdempotencyRecordOptions,
} from './core/commit/idempotency-record.js';
export { locate, type StorageLocation, type LocationRequest } from './core/store/open-storage.js';
export type { OnConflict } from './core/contention/held-locks.js';
export { decodeText, encodeText } from './core/encoding/text-encoding.js';
export { utf8Length } from './core/base/utf8-length.js';

export {
  backoffMs,
  isRetryable,
  nextDelay,
  recordAttempts,
  resolveRetry,
  retryDefaults,
  retrying,
  retryOnConflict,
  type RetryOptions,
  type RetryPolicy,
} from './core/contention/retry-on-conflict.js';
export {
  defineState,
  definitionOf,
  State,
  type ClassOf,
  type Data,
  type Input,
  type ResolvedState,
  type StateDefinition,
  type StateOf,
  type StateOptions,
} from './core/store/state-definition.js';
export { assertTenant, databaseOf, sharedDatabase, tenantIn } from './core/store/tenant.js';

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
} from './storage-provider.js';
export { aborted, throwIfAborted, untilAborted } from './abort.js';
export { SteadyTime, systemClock, type Clock } from './clock.js';
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
} from './errors.js';
export {
  describeExpected,
  evaluateBatch,
  isLive,
  type Evaluation,
  type RowEffect,
} from './evaluate-batch.js';
export { HintSource } from './hint-source.js';
export {
  assertWithin,
  decodeKey,
  inspect,
  encodeKey,
  encodeRange,
  type Key,
  type KeyPart,
  type KeyRange,
} from './key.js';
export { limits, type LimitName } from './limits.js';
export { assertOptions, assertTtl, invalidOption, outOfRange, resolveOptions } from './options.js';
export { hashOfDatabases, RowDigest, type ContainerDigest, type RowsDigest } from './row-digest.js';
export { assertRawRow, faultOfDatabase, faultOfRow, placeOf, soundRows } from './raw-row.js';
export { hidePasswords, looksLikeAddress } from './hide-passwords.js';
export { printable } from './printable.js';
export { readRowLine, rowLine } from './row-line.js';
export { assertReadBytes, withinPageBytes } from './page-bytes.js';
export { RowTable, withoutValue } from './row-table.js';
export { isVersion, versionSource } from './version.js';
export { CoalescingProvider } from './coalescing-provider.js';
export { copyDatabase, copyStorage, type CopiedStorage } from './copy-database.js';
export { unfinishedCopy } from './copy-mark.js';
export type { CopyDatabaseOptions, CopyProgress, CopyStorageOptions } from './copy-options.js';
export type { CopiedDatabase } from './copy-run.js';
export { CopiedRows, countRows, type CopySource } from './copy-source.js';
export { etagOf, isPrecondition, Precondition, versionIn } from './etag.js';
export { Entry, EntryInfo, representation, type Representation } from './entry.js';
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
} from './key-value-store.js';
export { openKeyValueStorage, openStorage, type StorageSettings } from './open-storage.js';

// ─── for packages that keep rows of their own
export { atomicOn, commitAtomic, isEmptyBatch } from './atomic.js';
export {
  commitParticipants,
  Participant,
  type CommitParticipant,
  type Contribution,
  type ParticipantBatch,
  type Replayed,
  type ObservedRows,
  type Verdict,
} from './batch-part.js';
export {
  encodeValue,
  invalidValue,
  mayHoldTags,
  parseStored,
  reviveFrozen,
  type EncodedValue,
} from './codec.js';
export {
  resultOf,
  assertAtMost,
  batchOf,
  commitBatch,
  rowNameOf,
  sizeOfValue,
  type ConflictedBatch,
  type StorageAccess,
  type CommittedBatch,
} from './commit.js';
export { decodeCursor, encodeCursor, type CursorScope } from './cursor.js';
export { isBytes, isDate, isError, isPromise, messageOf } from './kinds.js';
export {
  IdempotentCall,
  idempotencyOf,
  idempotencyRecordIn,
  idempotencyRecordKey,
  IdempotencyRecord,
  defaultIdempotencyRetentionMs,
  type Idempotency,
  type IdempotencyRecordOptions,
} from './mark.js';
export { locate, type StorageLocation, type LocationRequest } from './open-storage.js';
export { lockNameOf } from './own-turns.js';
export { retryWithLock } from './retry-in-turn.js';
export { decodeText, encodeText, utf8Length } from './text-encoding.js';

export {
  recordAttempts,
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
  type Input,
  type ResolvedState,
  type StateDefinition,
  type StateOf,
  type StateOptions,
} from './state-definition.js';
export { assertTenant, databaseOf, sharedDatabase, tenantIn } from './tenant.js';

/** The door for providers, and for packages that build on the port: no Nest is loaded behind it. */
export type {
  Address,
  Batch,
  Change,
  ChangedRow,
  Check,
  CommitResult,
  Expected,
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
export { RowTable, withoutValue } from './row-table.js';
export { isVersion, versionSource } from './version.js';

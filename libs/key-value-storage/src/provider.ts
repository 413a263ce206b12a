/**
 * The door for authors of storage providers: the port, the meaning of a batch, and the parts that
 * every provider needs. No Nest, and nothing of a store.
 *
 * @module @kvent/key-value-storage/provider
 */

// ─── the port
export type {
  Address,
  Batch,
  CallerTransactions,
  Change,
  ChangedRow,
  Check,
  CommitOptions,
  CommitResult,
  CountRange,
  ExportPart,
  Expected,
  FeedEntry,
  FeedPage,
  FeedPosition,
  FeedRequest,
  Freeze,
  Hint,
  HintTarget,
  ProviderFeatures,
  ProviderReadOptions,
  RawRow,
  ReadResult,
  Row,
  RowAddress,
  ScanPage,
  ScannedRow,
  ScanRange,
  Space,
  StorageAdministration,
  StorageProvider,
  StoredValue,
  TimeToLive,
  Value,
  Version,
} from './core/port/storage-provider.js';

// ─── the meaning of a batch
export {
  describeExpected,
  evaluateBatch,
  isLive,
  type Evaluation,
  type RowEffect,
} from './core/port/evaluate-batch.js';
export { numberChangeOf, type NumericChange } from './core/port/number-change.js';

// ─── rows, versions, keys and pages
export { soundRows } from './core/port/raw-row.js';
export { RowTable, withoutValue } from './core/providers/row-table.js';
export { versionSource } from './core/port/version.js';
export type { Key } from './core/base/key.js';
export { decodeKey, encodeKey } from './core/encoding/key-encoding.js';
export { assertReadBytes, withinPageBytes } from './core/port/page-bytes.js';
export { limits } from './core/base/limits.js';

// ─── the feed
export {
  feedEnd,
  feedKeptEnd,
  feedPositionOf,
  feedStart,
  isFeedPosition,
  partOfPosition,
  partsOfPosition,
  PositionCounter,
} from './core/port/feed-position.js';
export { ImportedPositions, isPlaced } from './core/port/imported-positions.js';
export { FeedIndex } from './core/providers/feed-index.js';

// ─── around a provider
export { CoalescingProvider } from './core/providers/coalescing-provider.js';
export { HintSource } from './core/providers/hint-source.js';

// ─── errors, options, cancellation and time
export {
  isStorageError,
  StorageError,
  storageError,
  type StorageErrorCode,
  type StorageErrorDetails,
} from './core/base/errors.js';
export { invalidOption, invalidState, resolveOptions } from './core/base/options.js';
export { throwIfAborted, untilAborted } from './core/base/abort.js';
export { SteadyTime, systemClock, type Clock } from './core/base/clock.js';

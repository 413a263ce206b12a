/**
 * The door for the sister packages (event-store, key-value-postgres, cli), which depend on the
 * exact version. No promise: any release may change or remove these names. No Nest.
 */
export { assertAtMost, assertWithin } from './core/base/assert-limits.js';
export { andThen } from './core/base/and-then.js';
export { callSite, callSiteOf, located } from './core/base/call-site.js';
export { backgroundClock, timerMsMax } from './core/base/clock.js';
export {
  partlyDone,
  partlyImported,
  stoppedAfter,
  type ErrorKind,
  type StorageErrorInit,
} from './core/base/errors.js';
export { looksLikeAddress } from './core/base/hide-passwords.js';
export { inspect } from './core/base/inspect.js';
export { isDate, isError, isPromise, isSchema, messageOf, thrownName } from './core/base/kinds.js';
export { onAbort } from './core/base/on-abort.js';
export { assertOptions, assertTtl, outOfRange } from './core/base/options.js';
export { PendingWork } from './core/base/pending-work.js';
export { assertUpcast, upcastFrom, type Upcast } from './core/encoding/upcast.js';
export { printable } from './core/base/printable.js';
export { RecentMap } from './core/base/recent-map.js';
export { refusedPromise } from './core/base/refused-promise.js';
export { safely } from './core/base/safely.js';
export { Semaphore } from './core/base/semaphore.js';
export { SerialQueue } from './core/base/serial-queue.js';
export { utf8Length } from './core/base/utf8-length.js';
export { Waiters } from './core/base/waiters.js';
export { withAbort } from './core/base/with-abort.js';
export type { CommittedBatch, Contribution, OptionalChange } from './core/commit/commit.js';
export {
  IdempotencyRecord,
  defaultIdempotencyRetentionMs,
  idempotencyOf,
  idempotencyRecordIn,
  idempotencyRecordKey,
} from './core/commit/idempotency-record.js';
export {
  Participant,
  commitParticipants,
  type ObservedRows,
  type Verdict,
} from './core/commit/participant.js';
export { StorageAccess } from './core/commit/storage-access.js';
export type { OnConflict } from './core/contention/held-locks.js';
export { backoffMs, resolveRetry, retrying } from './core/contention/retry-on-conflict.js';
export {
  encodeValue,
  invalidValue,
  decodeStored,
  mayHoldTags,
  type EncodedValue,
} from './core/encoding/codec.js';
export { EncodedJson } from './core/encoding/encoded-json.js';
export { validate } from './core/encoding/validate.js';
export { nameDigest } from './core/encoding/name-digest.js';
export { encodeRange } from './core/encoding/key-encoding.js';
export { decodeText, encodeText } from './core/encoding/text-encoding.js';
export { sizeOfValue } from './core/port/footprint.js';
export { faultOfDatabase, faultOfRow, placeOf } from './core/port/raw-row.js';
export { readRowLine, rowLine } from './core/port/row-line.js';
export { lockNameOf, rowNameOf } from './core/port/row-name.js';
export { compareAddresses } from './core/port/row-order.js';
export { atomicOn, commitAtomic, isEmptyBatch } from './core/store/atomic.js';
export { rowsOf } from './core/store/batch-stores.js';
export { rowsPerEntry } from './core/store/definition-rows.js';
export { storeDefinitionOf } from './core/store/counter-definition.js';
export { decodeCursor, encodeCursor } from './core/store/cursor.js';
export { assertPageLimit } from './core/store/range-reader.js';
export { representation } from './core/store/entry.js';
export { etagOf, isPrecondition, versionIn } from './core/store/etag.js';
export { spacesOf } from './core/store/index-definition.js';
export { joinedStore } from './core/store/joining.js';
export { rebuildIndexes, statesIn, storeOn } from './core/store/states-of-module.js';
export { locate, openKeyValueStorage } from './core/store/open-storage.js';
export { copyOfState } from './core/store/state-definition.js';
export { databaseOf, sharedDatabase, tenantIn } from './core/store/tenant.js';
export { FeedWatcher } from './core/watch/feed-watcher.js';
export { unfinishedCopy } from './transfer/unfinished-copy.js';
export { CopiedRows } from './transfer/copy-source.js';
export { RowDigest, hashOfDatabases } from './transfer/row-digest.js';

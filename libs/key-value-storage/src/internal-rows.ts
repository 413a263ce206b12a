/**
 * The door for code that reads and writes rows without stores: the command line, and the addresses
 * of streams. It loads few modules, so that a command starts quickly. No promise: any release may
 * change or remove these names. No Nest.
 */
export { assertWithin } from './core/base/assert-limits.js';
export { untilAborted } from './core/base/abort.js';
export { isStorageError, storageError } from './core/base/errors.js';
export { hidePasswords, looksLikeAddress } from './core/base/hide-passwords.js';
export { inspect } from './core/base/inspect.js';
export type { Key } from './core/base/key.js';
export { printable } from './core/base/printable.js';
export { untilSignal } from './core/base/until-signal.js';
export { encodeValue, parseStored, reviveFrozen, toBase64 } from './core/encoding/codec.js';
export { decodeKey, encodeKey, encodeRange } from './core/encoding/key-encoding.js';
export { decodeText, encodeText } from './core/encoding/text-encoding.js';
export { isOfPart } from './core/port/export-part.js';
export { faultOfRow, placeOf } from './core/port/raw-row.js';
export type {
  Address,
  Batch,
  ExportPart,
  RawRow,
  Row,
  ScanRange,
  Space,
  StorageProvider,
  TimeToLive,
} from './core/port/storage-provider.js';
export { versionSource } from './core/port/version.js';
export { decodeCursor, encodeCursor } from './core/store/cursor.js';
export { counterContainer, counterSpace, stateContainer, stateSpace } from './core/store/state-space.js';
export { databaseOf, sharedDatabase, tenantIn } from './core/store/tenant.js';
export { UnindexedWriter } from './core/store/unindexed-writer.js';

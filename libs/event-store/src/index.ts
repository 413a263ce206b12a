/** The front door: streams, and the Nest module for them. */
export { EventStore, type EventStoreOptions } from './core/event-store.js';
export {
  EventStream,
  StreamSession,
  type Appended,
  type AppendOptions,
  type Deciding,
  type EventMetadata,
  type EventRange,
  type EventStoreSettings,
  type ExpectedVersion,
  type Loaded,
  type Outcome,
  type PointInTime,
  type Recorded,
  type SameCommit,
  type SessionOptions,
  type StreamPage,
  type StreamPageRequest,
  type TransactOptions,
  type VersionRange,
  type WriteEventsOptions,
} from './core/event-stream.js';
export {
  defineStream,
  event,
  streamOf,
  type AnyEvent,
  type AnyStream,
  type EventMap,
  type EventOf,
  type EventSpec,
  type ResolvedStream,
  type SnapshotOptions,
  type StateOf,
  type StreamDefinition,
} from './core/stream-definition.js';
export { streamError, streamErrorTable, type StreamErrorCode } from './core/stream-errors.js';
export type { StreamCall, StreamCallEnd, StreamName, StreamNotice, StreamObserver } from './core/stream-observer.js';
export { deletedHead, freeHead, headIn, heldHead, type Head } from './core/head.js';
export {
  appendBatch,
  closeBatch,
  deleteBatch,
  openBatch,
  renewBatch,
  sessionAppendBatch,
  takeOverBatch,
  type Held,
  type TableRows,
} from './core/stream-batches.js';

/**
 * The door for applications: streams, and the Nest module for them.
 *
 * @module @kvent/event-store
 */

export { EventStore, type EventStoreOptions } from './core/event-store.js';
export {
  EventStream,
  StreamSession,
  type Appended,
  type AppendOptions,
  type AppendedPosition,
  type AppendResult,
  type DecisionContext,
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
} from './core/definition/event-stream.js';
export type {
  EventFeedPage,
  FeedDeletion,
  FeedEvent,
  FeedItem,
  FeedReadOptions,
  FeedSelection,
  FeedWatchOptions,
} from './core/feed/event-feed.js';
export {
  defineStream,
  event,
  streamDefinitionOf,
  type AnyEvent,
  type AnyStream,
  type EventInputOf,
  type EventMap,
  type EventOf,
  type EventSpec,
  type ResolvedStream,
  type SnapshotOptions,
  type StateOf,
  type StreamDefinition,
} from './core/definition/stream-definition.js';
export type { StreamErrorCode } from './core/definition/stream-errors.js';
export type {
  CommittedEvents,
  StreamCall,
  StreamCallEnd,
  StreamName,
  StreamLogEntry,
  StreamObserver,
} from './core/definition/stream-observer.js';

// ─── Nest
export { EventStoreModule, type EventStoreAsyncOptions } from './nest/event-store.module.js';
export { EventBusBridgeModule, type EventBusMapping } from './nest/event-bus-bridge.module.js';
export { getStreamToken, InjectStream } from './nest/inject-stream.decorator.js';
export { streamOf } from './nest/stream-of.js';
export { RetryOnConflict, RetryOnConflictInterceptor } from '@kvent/key-value-storage';

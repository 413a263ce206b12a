/**
 * The door for scripts and for applications without Nest: streams on any storage.
 *
 * @module @kvent/event-store/core
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
export {
  defineProjection,
  type ProjectionContext,
  type ProjectionDefinition,
  type ProjectionOptions,
} from './core/projections/projection-definition.js';
export { On, type ReactionContext } from './core/projections/class-handlers.js';
export {
  Projection,
  projectionFrom,
  type ProjectionClass,
  type ProjectionClassOptions,
} from './core/projections/projection-class.js';
export type {
  BehindTenant,
  ParkedStream,
  PartitionHealth,
  ProjectionBuild,
  ProjectionHealth,
  ProjectionLag,
} from './core/projections/projection-health.js';
export type { ProjectionRetry } from './core/projections/partition-reader.js';
export { ProjectionRunner, type ProjectionRunnerOptions } from './core/projections/projection-runner.js';
export type {
  CaughtUpOptions,
  ParkedOptions,
  SubscriptionRunnerOptions,
} from './core/projections/subscription-runner.js';
export type { ProjectedStore } from './core/projections/live-store.js';
export {
  defineReaction,
  type ReactionDefinition,
  type ReactionHandler,
  type ReactionHandlers,
  type ReactionOptions,
} from './core/reactions/reaction-definition.js';
export { Reaction, reactionFrom, type ReactionClass } from './core/reactions/reaction-class.js';
export {
  ReactionRunner,
  type ReactionHealth,
  type ReactionRunnerOptions,
} from './core/reactions/reaction-runner.js';
export type { StreamErrorCode } from './core/definition/stream-errors.js';
export type {
  CommittedEvents,
  StreamCall,
  StreamCallEnd,
  StreamName,
  StreamLogEntry,
  StreamObserver,
  StreamPosition,
} from './core/definition/stream-observer.js';

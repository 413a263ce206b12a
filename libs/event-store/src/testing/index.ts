/**
 * The door for tests: deciders, applications, and the clauses of the streams.
 *
 * @module @kvent/event-store/testing
 */

export { overrideEventStore } from './override-event-store.js';
export { given, type AsyncWhen, type Given, type When } from './given.js';
export {
  appended,
  type AppendedEvents,
  type AppendedOptions,
  type GivenProjection,
  type ProjectionToTest,
} from './given-projection.js';
export { whenCaughtUp } from './when-caught-up.js';
export { describeStreams, proveStream, type DescribeStreamsOptions } from './describe-streams.js';
export { streamClauses } from './clauses/stream-clauses.js';
export type { BrokenStream, StreamClause } from './kit/stream-clause.js';
export { StreamSubject, type StreamUnderTest } from './kit/stream-subject.js';

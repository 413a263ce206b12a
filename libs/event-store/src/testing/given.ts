/**
 * Tests of decisions, which are functions: given events, when decided, then events. No storage.
 */
import assert from 'node:assert/strict';
import {
  streamDefinitionOf,
  type AnyEvent,
  type AnyStream,
  type DecisionContext,
  type EventInputOf,
  type EventOf,
  type ResolvedStream,
  type StateOf,
} from '@kvent/event-store/core';
import type { AtomicChanges } from '@kvent/key-value-storage/core';
import { invalidOption } from '@kvent/key-value-storage/provider';
import {
  andThen,
  assertOptions,
  encodeValue,
  isPromise,
  refusedPromise,
} from '@kvent/key-value-storage/internal';
import { encodeEvents, type EncodedEvent } from '../core/events/event-codec.js';
import { assertThrows, type Thrown } from './assert-throws.js';
import {
  givenProjection,
  type AppendedEvents,
  type GivenProjection,
  type ProjectionToTest,
} from './given-projection.js';
import { RecordedChanges } from './recorded-changes.js';

type Awaitable<T> = T | Promise<T>;

/** `Result`: `void`, and a promise of it where the decision is asynchronous. */
interface Expectations<D, Result> {
  /** Compares all events of the decision, in order. */
  then(expected: readonly EventInputOf<D>[]): Result;
  /** Compares the state after the events of the decision. */
  thenState(expected: StateOf<D>): Result;
  /**
   * Compares what the decision put into its `batch`, in order, with what `expected` puts into one.
   */
  thenBatch(expected: (batch: AtomicChanges) => void): Result;
  /** Expects an error: its class, or a part of its message. */
  thenThrows(error: Thrown): Result;
}
export type When<D> = Expectations<D, void>;
/** Of an asynchronous decision: await the expectation. */
export type AsyncWhen<D> = Expectations<D, Promise<void>>;

export interface Given<D> {
  when<Decision extends Awaitable<readonly EventInputOf<D>[]>>(
    decide: (state: StateOf<D>, context: DecisionContext) => Decision,
  ): [Decision] extends [readonly unknown[]] ? When<D> : AsyncWhen<D>;
}

type Decide = (state: unknown, context: DecisionContext) => unknown;
interface Decision {
  readonly events: readonly AnyEvent[];
  readonly batch: RecordedChanges;
}

/**
 * `given(Orders, [placed]).when(cancel).then([cancelled])`; an `AssertionError` if that does not
 * hold. `events` are those of the stream, as they are read. The decision gets the id 'given', the
 * number of events as version, and an empty batch. Its events are validated by their schemas and
 * frozen, as in a stream: `INVALID_OPTION` for an unknown type, `INVALID_VALUE` for data that the
 * schema refuses or that cannot be stored. An asynchronous decision is awaited; each expectation
 * calls it once.
 */
export function given<D extends AnyStream>(definition: D, events: readonly EventOf<D>[]): Given<D>;
/**
 * `await given(SalesByDay, [appended(Orders, 'o-1', [placed])]).then(DaySales, [['monday', {
 * orders: 1 }]])`; an `AssertionError` if that does not hold. The events are appended to streams in
 * memory, and applied by the handlers, as a runner does. A projection of a class is made by a
 * function that gets the storage: `(storage) => projectionFrom(new
 * SalesByDay(storage.store(DaySales)))`.
 */
export function given(projection: ProjectionToTest, events: readonly AppendedEvents[]): GivenProjection;
export function given(definition: AnyStream | ProjectionToTest, events: readonly unknown[]): unknown {
  const isProjection =
    typeof definition === 'function' || (definition as { kind?: unknown }).kind === 'projection';
  return isProjection
    ? givenProjection(definition as ProjectionToTest, events as readonly AppendedEvents[])
    : givenStream(definition as AnyStream, events as readonly never[]);
}

function givenStream<D extends AnyStream>(definition: D, events: readonly EventOf<D>[]): Given<D> {
  const stream = streamDefinitionOf(definition);
  const fold = (from: unknown, more: readonly AnyEvent[]): unknown =>
    more.reduce((state, event) => stream.evolve(state, event), from);
  const before = fold(
    stream.initial(),
    events.map((event) => asStored(stream, event)),
  );
  const expectations = (decide: Decide): Expectations<D, unknown> => {
    const decided = (check: (decision: Decision) => unknown): unknown => {
      const batch = new RecordedChanges();
      const returned = decide(before, { id: 'given', version: events.length, batch });
      return andThen(returned, (decision) =>
        andThen(encoded(stream, decision), (made) => check({ events: made, batch })),
      );
    };
    return {
      then: (expected) =>
        decided(({ events }) =>
          andThen(encoded(stream, expected), (stored) => assert.deepStrictEqual(events, stored)),
        ),
      thenState: (expected) =>
        decided(({ events }) => assert.deepStrictEqual(fold(before, events), expected)),
      thenBatch: (expected) =>
        decided(({ batch }) => {
          const changes = new RecordedChanges();
          const returned: unknown = expected(changes);
          if (isPromise(returned)) throw refusedPromise('thenBatch: its function', returned);
          assert.deepStrictEqual(batch.calls, changes.calls);
        }),
      thenThrows: (error) => assertThrows(() => decided(() => undefined), error),
    };
  };
  return { when: expectations as Given<D>['when'] };
}

function encoded(stream: ResolvedStream, events: unknown) {
  const toEvents = (encodings: readonly EncodedEvent[]): readonly AnyEvent[] =>
    encodings.map(({ event }) => event);
  return andThen(encodeEvents(stream, events as readonly AnyEvent[], undefined), toEvents);
}

/** The event as it is read from a stream. */
function asStored({ type: stream, events }: ResolvedStream, event: AnyEvent): AnyEvent {
  const { type } = event;
  const spec = events.get(type);
  if (spec === undefined)
    throw invalidOption(
      `A stream of type ${stream} has no event '${type}'; it has ${[...events.keys()].join(', ')}.`,
    );
  assertOptions(`The event ${type}`, event, ['type', 'data']);
  const record = event.data === undefined ? { type } : { type, data: event.data };
  return encodeValue(record, () => `event ${type} of ${stream}`, { schemaVersion: spec.schemaVersion })
    .value as AnyEvent;
}

/**
 * Tests of decisions, which are plain functions: given events, when decided, then events. No
 * storage.
 */
import assert from 'node:assert/strict';
import {
  streamOf,
  type AnyEvent,
  type AnyStream,
  type EventOf,
  type ResolvedStream,
  type StateOf,
} from '@kvent/event-store/core';
import { invalidOption } from '@kvent/key-value-storage/provider';
import { assertOptions, encodeValue } from '@kvent/key-value-storage/internal';

/* eslint-disable @typescript-eslint/no-explicit-any -- any error class */
export interface When<D> {
  /** Compares all events of the decision, in order. */
  then(expected: readonly EventOf<D>[]): void;
  /** Compares the state after the events of the decision. */
  thenState(expected: StateOf<D>): void;
  /** Expects an error: its class, or a part of its message. */
  thenThrows(error: (new (...given: any[]) => Error) | string): void;
}
/* eslint-enable @typescript-eslint/no-explicit-any */

export interface Given<D> {
  when(
    decide: (
      state: StateOf<D>,
      context: { readonly id: string; readonly version: number },
    ) => readonly EventOf<D>[],
  ): When<D>;
}

/**
 * `given(Orders, [placed]).when(cancel).then([cancelled])`; an `AssertionError` if that does not
 * hold. The decision gets the id 'given' and the number of events as version. Events are frozen,
 * and must be of known types and storable data, as in a stream (`INVALID_OPTION`, `INVALID_VALUE`).
 */
export function given<D extends AnyStream>(definition: D, events: readonly EventOf<D>[]): Given<D> {
  const stream = streamOf(definition);
  const stored = (more: readonly EventOf<D>[]): readonly AnyEvent[] =>
    more.map((event) => asStored(stream, event));
  const fold = (from: unknown, more: readonly AnyEvent[]): StateOf<D> =>
    more.reduce((state, event) => stream.evolve(state, event), from) as StateOf<D>;
  const before = fold(stream.initial(), stored(events));
  return {
    when(decide) {
      const decided = () => stored(decide(before, { id: 'given', version: events.length }));
      return {
        then: (expected) => assert.deepStrictEqual(decided(), stored(expected)),
        thenState: (expected) => assert.deepStrictEqual(fold(before, decided()), expected),
        thenThrows: (error) => {
          if (typeof error !== 'string') return void assert.throws(decided, error);
          assert.throws(
            decided,
            (thrown: Error) => thrown.message.includes(error),
            `no error was thrown whose message contains '${error}'`,
          );
        },
      };
    },
  };
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

/**
 * Deciders are plain functions: given what happened, when they decide, then these events. No Nest,
 * no storage.
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
  /** Decides, and compares the events: all of them, in order. */
  then(expected: readonly EventOf<D>[]): void;
  /** Decides, and compares what the events lead to. */
  thenState(expected: StateOf<D>): void;
  /** A class of errors, or a text that the message holds. */
  thenThrows(error: (new (...given: any[]) => Error) | string): void;
}
/* eslint-enable @typescript-eslint/no-explicit-any */

export interface Given<D> {
  when(
    decide: (
      state: StateOf<D>,
      deciding: { readonly id: string; readonly version: number },
    ) => readonly EventOf<D>[],
  ): When<D>;
}

/**
 * `given(Orders, [placed]).when(cancel).then([cancelled])`. Throws an `AssertionError` where it is
 * not so. The id is 'given', and the version the number of events. `evolve` sees what it sees in a
 * stream: events that are frozen, and of types and data that can be stored (`INVALID_OPTION`,
 * `INVALID_VALUE`).
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
            `no error was thrown whose message holds '${error}'`,
          );
        },
      };
    },
  };
}

/** The event as it comes out of a stream. */
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

/** Deciders are plain functions: given what happened, when they decide, then these events. No Nest, no storage. */
import assert from 'node:assert/strict';
import { streamOf, type AnyStream, type EventOf, type StateOf } from '@kvent/event-store/core';

/* eslint-disable @typescript-eslint/no-explicit-any -- any error class */
export interface When<D> {
  then(expected: readonly EventOf<D>[]): void;
  thenState(expected: StateOf<D>): void;
  /** A class of errors, or a text that the message holds. */
  thenThrows(error: (new (...given: any[]) => Error) | string): void;
}
/* eslint-enable @typescript-eslint/no-explicit-any */

export interface Given<D> {
  when(decide: (state: StateOf<D>, deciding: { readonly id: string; readonly version: number }) => readonly EventOf<D>[]): When<D>;
}

/** `given(Orders, [placed]).when(cancel).then([cancelled])`. Throws an `AssertionError` where it is not so. The id is 'given'. */
export function given<D extends AnyStream>(definition: D, events: readonly EventOf<D>[]): Given<D> {
  const { initial, evolve } = streamOf(definition);
  const fold = (from: unknown, more: readonly EventOf<D>[]): StateOf<D> =>
    more.reduce((state, event) => evolve(state, event), from) as StateOf<D>;
  const before = fold(initial(), events);
  return {
    when(decide) {
      const decided = () => decide(before, { id: 'given', version: events.length });
      return {
        then: (expected) => assert.deepStrictEqual(decided(), expected),
        thenState: (expected) => assert.deepStrictEqual(fold(before, decided()), expected),
        thenThrows: (error) => {
          if (typeof error !== 'string') return void assert.throws(decided, error);
          assert.throws(decided, (thrown: Error) => thrown.message.includes(error), `no error was thrown whose message holds '${error}'`);
        },
      };
    },
  };
}

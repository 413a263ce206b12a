import { describe, expect, it } from '@jest/globals';
import { isStorageError } from '@kvent/key-value-storage/core';
import { z } from 'zod';
import { defineStream, event, streamDefinitionOf } from './stream-definition.js';

const initial = () => 0;
const evolve = (count: number) => count + 1;
const events = { opened: event() };

function refusal(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (isStorageError(error, 'INVALID_OPTION')) return error.message;
    throw error;
  }
  return 'none';
}

describe('defineStream', () => {
  it('fills in what was left out', () => {
    const { type, snapshot, scope, provider } = streamDefinitionOf(
      defineStream('order', { events, initial, evolve }),
    );
    expect({ type, snapshot, scope, provider }).toEqual({
      type: 'order',
      snapshot: { every: undefined, schemaVersion: 1 },
      scope: undefined,
      provider: undefined,
    });
  });

  it.each([
    ['a blank type', () => defineStream(' ', { events, initial, evolve }), /not blank/],
    ['no events', () => defineStream('order', { events: {}, initial, evolve }), /at least one event type/],
    [
      'an event that is none',
      () => defineStream('order', { events: { a: {} as never }, initial, evolve }),
      /the event 'a'/,
    ],
    [
      'no initial',
      () => defineStream('order', { events, initial: 0 as unknown as () => number, evolve }),
      /initial must be a function/,
    ],
    [
      'no evolve',
      () => defineStream('order', { events, initial, evolve: undefined as never }),
      /evolve must be a function/,
    ],
    [
      'an unknown option',
      () => defineStream('order', { events, initial, evolve, snapshots: {} } as never),
      /snapshots/,
    ],
    [
      'an unknown scope',
      () => defineStream('order', { events, initial, evolve, scope: 'user' as never }),
      /scope/,
    ],
    [
      'snapshots every 0',
      () => defineStream('order', { events, initial, evolve, snapshot: { every: 0 } }),
      /every/,
    ],
    [
      'snapshots that say nothing',
      () => defineStream('order', { events, initial, evolve, snapshot: {} as never }),
      /every/,
    ],
    [
      'a schemaVersion of a half',
      () => defineStream('order', { events, initial, evolve, snapshot: { every: 1, schemaVersion: 0.5 } }),
      /schemaVersion/,
    ],
  ])('refuses %s', (_, define, message) => {
    expect(refusal(define)).toMatch(message);
  });

  it('refuses a type that is too long for where its rows are', () => {
    expect(() => defineStream('x'.repeat(200), { events, initial, evolve })).toThrow(/containerBytesMax/);
  });

  it('is what streams are asked for by, and nothing else is', () => {
    for (const given of [undefined, null, 'order', {}, { kind: 'stream' }])
      expect(refusal(() => streamDefinitionOf(given))).toMatch(/defineStream/);
  });
});

describe('event, with upcasts', () => {
  const schema = z.object({ n: z.number() });
  const step = (older: unknown) => older;

  it('is complete, or refused as it is declared: each missing step by its number', () => {
    expect(refusal(() => event(schema, { schemaVersion: 4, upcast: { 2: step } }))).toMatch(
      /for version 1, 3; got 2\./,
    );
    expect(refusal(() => event(schema, { schemaVersion: 2, upcast: {} }))).toMatch(
      /for version 1; got none\./,
    );
    expect(refusal(() => event(schema, { schemaVersion: 2, upcast: { 1: 'n' as never } }))).toMatch(
      /for version 1; got 1\./,
    );
    expect(refusal(() => event(schema, { schemaVersion: 3, upcast: { 1: step, 2: step } }))).toBe('none');
  });

  it('refuses a step that goes beyond its version, and a version that is none', () => {
    expect(refusal(() => event(schema, { schemaVersion: 2, upcast: { 1: step, 2: step } }))).toMatch(
      /version 2 goes beyond/,
    );
    expect(refusal(() => event(schema, { schemaVersion: 0, upcast: {} }))).toMatch(/schemaVersion/);
    expect(refusal(() => event(schema, { schemaversion: 2 } as never))).toMatch(/schemaversion/);
  });
});

/** Asynchronous functions where one must return at once: nothing is lost, no rejection is left. */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { defineState, MemoryProvider, openStorage, type KeyValueStorage } from '@kvent/key-value-storage';
import type { AtomicChanges } from '@kvent/key-value-storage/core';
import { z } from 'zod';
import { defineStream, event, EventStore } from '../core.js';

const events = { noted: event<string>() };
const Notes = defineStream('note', {
  events,
  initial: (): readonly string[] => [],
  evolve: (notes, { data }) => [...notes, data],
});
const Count = defineState<number>('count');
const noted = { type: 'noted', data: 'a' } as const;
// the compiler refuses some of them, and lint others
const rejecting = (async () => await Promise.reject(new Error('too late'))) as unknown as () => never;
const refusal = (what: string) => ({
  code: 'INVALID_OPTION',
  message: expect.stringContaining(`${what} must not be asynchronous`),
});

describe('An asynchronous function where one must return at once', () => {
  let storage: KeyValueStorage;
  beforeEach(async () => {
    storage = await openStorage(new MemoryProvider());
  });
  afterEach(async () => {
    // an unhandled rejection is reported in this turn, and fails the test
    await new Promise(setImmediate);
    await storage.close();
  });

  it('is refused as sameCommit of transact before anything is sent: its writes would be lost', async () => {
    const counts = storage.store(Count);
    const notes = new EventStore(storage).stream(Notes);
    const late = (async (batch: AtomicChanges) => {
      batch.set(counts, 'before', 1);
      await Promise.resolve();
      batch.set(counts, 'after', 1);
    }) as unknown as () => never;
    for (const sameCommit of [late, rejecting])
      await expect(notes.transact('n', () => [noted], { sameCommit })).rejects.toMatchObject(
        refusal('transact: sameCommit'),
      );
    expect([await notes.version('n'), await counts.count()]).toEqual([0, 0]);
  });

  it('is refused as sameCommit of a session, which continues', async () => {
    const notes = new EventStore(storage).stream(Notes);
    await using session = await notes.openSession('n');
    await expect(session.append([noted], { sameCommit: rejecting })).rejects.toMatchObject(
      refusal('append: sameCommit'),
    );
    expect(session.version).toBe(0);
    expect((await session.append([noted])).version).toBe(1);
  });

  it('is refused as evolve and as initial: the state would be a promise', async () => {
    const store = new EventStore(storage);
    await store.stream(Notes).append('n', [noted], { expectedVersion: 'absent' });
    const evolving = defineStream('note', { events, initial: () => 0, evolve: rejecting });
    await expect(new EventStore(storage).stream(evolving).load('n')).rejects.toMatchObject(
      refusal("evolve of the stream 'note'"),
    );
    const beginning = defineStream('note', { events, initial: rejecting, evolve: (state) => state });
    await expect(new EventStore(storage).stream(beginning).load('n')).rejects.toMatchObject(
      refusal("initial of the stream 'note'"),
    );
  });

  it('is refused as upcast of an event: its data would be a promise', async () => {
    await new EventStore(storage).stream(Notes).append('n', [noted], { expectedVersion: 'absent' });
    const newer = defineStream('note', {
      events: { noted: event(z.unknown(), { schemaVersion: 2, upcast: { 1: rejecting } }) },
      initial: () => 0,
      evolve: (count) => count + 1,
    });
    await expect(new EventStore(storage).stream(newer).load('n')).rejects.toMatchObject({
      code: 'EVENT_UNREADABLE',
      cause: refusal('upcast from version 1'),
    });
  });

  it('is refused as the function that makes metadata', async () => {
    const notes = new EventStore(storage, { metadata: rejecting }).stream(Notes);
    await expect(notes.append('n', [noted], { expectedVersion: 'any' })).rejects.toMatchObject(
      refusal('metadata'),
    );
  });

  it('is ignored where it observes, also when it rejects', async () => {
    const observer = { observe: rejecting, begin: () => rejecting, appended: rejecting };
    const notes = new EventStore(storage, { observer }).stream(Notes);
    await notes.append('n', [noted], { expectedVersion: 'any' });
    const unusual = new EventStore(storage, {
      observer: { observe: rejecting, begin: rejecting },
    });
    expect((await unusual.stream(Notes).load('n')).version).toBe(1);
  });
});

it('A write after the commit is refused, where it was forgotten to await', async () => {
  await using storage = await openStorage(new MemoryProvider());
  const counts = storage.store(Count);
  const notes = new EventStore(storage).stream(Notes);
  let late: Promise<unknown> | undefined;
  let release = (): void => undefined;
  const committed = new Promise<void>((resolve) => (release = resolve));
  await notes.transact('n', (_, { batch }) => {
    late = committed.then(() => batch.set(counts, 'late', 1));
    late.catch(() => undefined);
    return [noted];
  });
  release();
  await expect(late).rejects.toMatchObject({ code: 'INVALID_STATE' });
  const batch = storage.atomic();
  await batch.commit();
  const appending = notes.appending('n', [noted], { expectedVersion: 'any' });
  expect(() => batch.include(appending)).toThrow(expect.objectContaining({ code: 'INVALID_STATE' }));
});

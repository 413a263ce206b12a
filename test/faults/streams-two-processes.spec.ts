/**
 * Streams and sessions across processes on one Postgres: concurrent writers, and a holder that is
 * paused. (`streams-kill.spec.ts` kills one.)
 */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { EventStore } from '@kvent/event-store/core';
import { isStorageError, openStorage, type KeyValueStorage } from '@kvent/key-value-storage/core';
import { collect } from '@kvent/key-value-storage/testing';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { freshDatabase, type FreshDatabase } from '../postgres/databases.js';
import { workInProcesses } from './postgres-processes.js';
import { StreamsProcess } from './streams-processes.js';
import {
  Held,
  heldStreams,
  holders,
  countFaults,
  holdFaults,
  streamsOf,
  sessionsEach,
} from './streams-work.js';

describe('streams on one Postgres, in several processes', () => {
  let database: FreshDatabase;
  let storage: KeyValueStorage;
  let streams: EventStore;
  beforeEach(async () => {
    database = await freshDatabase();
    storage = await openStorage(new PostgresProvider({ url: database.url }));
    streams = streamsOf(storage);
  });
  afterEach(async () => {
    await storage[Symbol.asyncDispose]();
    await database[Symbol.asyncDispose]();
  });

  it('count to 1000 with twenty writers in two processes, and are held by one session at a time: no gap, no duplicate', async () => {
    const reports = await workInProcesses(database.url, 'streams', 2, 50);
    expect(reports.map(({ wrong }) => wrong)).toEqual([[], []]);
    expect(await countFaults(streams, 1_000)).toEqual([]);
    expect(await holdFaults(streams, 2 * holders * sessionsEach * 2)).toEqual([]);
  });

  it('refuse a paused holder whose stream was taken by another session, or whose lock has expired', async () => {
    const held = streams.stream(Held);
    const [followed, alone, renewed] = heldStreams;
    const fromOutside = (id: string) =>
      codeOf(held.append(id, [{ type: 'left', data: { token: 0n } }], { expectedVersion: 'any' }));
    await using paused = new StreamsProcess(database.url, 'hold');
    expect(await paused.line()).toBe('held');
    paused.signal('SIGSTOP');
    // paused, and its locks have not expired
    expect(await Promise.all(heldStreams.map(fromOutside))).toEqual([
      'STREAM_LOCKED',
      'STREAM_LOCKED',
      'STREAM_LOCKED',
    ]);
    const open = (id: string) => held.openSession(id, { openTimeoutMs: 120_000 });
    const [first, second] = await Promise.all([open(followed), open(renewed)]);
    const tokensOf = async (id: string) => (await collect(held.read(id))).map(({ data }) => data.token);
    const earlier = await Promise.all(heldStreams.map(tokensOf));
    const [one = 0n, , other = 0n] = earlier.flat();
    expect([first, second].map(({ fencingToken, version }) => [fencingToken, version])).toEqual([
      [one + 1n, 1],
      [other + 1n, 1],
    ]);
    for (const session of [first, second])
      await session.append([{ type: 'entered', data: { token: session.fencingToken } }]);
    // its lock has expired, and no other session has taken the stream
    await held.transact(alone, () => [], { lockTimeoutMs: 120_000 });
    // commands for when it continues
    for (const id of heldStreams) paused.send(`append ${id}`);
    paused.signal('SIGCONT');
    expect(await paused.answer()).toEqual({ [`append ${followed}`]: 'SESSION_LOST', aborted: true });
    expect(await paused.answer()).toEqual({ [`append ${alone}`]: 'SESSION_EXPIRED', aborted: true });
    expect(await paused.answer()).toEqual({ [`append ${renewed}`]: 'SESSION_LOST', aborted: true });
    for (const id of heldStreams) {
      paused.send(`close ${id}`);
      expect(await paused.answer()).toEqual({ [`close ${id}`]: 'done', aborted: true });
    }
    // the locks of others are unchanged
    expect(await Promise.all([fromOutside(followed), fromOutside(renewed)])).toEqual([
      'STREAM_LOCKED',
      'STREAM_LOCKED',
    ]);
    for (const session of [first, second])
      await session.append([{ type: 'left', data: { token: session.fencingToken } }], { close: true });
    expect(await Promise.all(heldStreams.map(tokensOf))).toEqual([
      [one, one + 1n, one + 1n],
      earlier[1],
      [other, other + 1n, other + 1n],
    ]);
  });
});

async function codeOf(work: Promise<unknown>): Promise<string | undefined> {
  return await work.then(
    () => undefined,
    (error: unknown) => (isStorageError(error) ? error.code : String(error)),
  );
}

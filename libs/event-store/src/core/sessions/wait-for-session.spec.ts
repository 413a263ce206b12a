/** Transactions that wait for a session to end. */
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { MemoryProvider } from '@kvent/key-value-storage';
import type { KeyValueStorage } from '@kvent/key-value-storage/core';
import { openKeyValueStorage } from '@kvent/key-value-storage/internal';
import { systemClock } from '@kvent/key-value-storage/provider';
import { ManualClock } from '@kvent/key-value-storage/testing';
import type { EventStream, StreamSession } from '../definition/event-stream.js';
import { defineStream, event } from '../definition/stream-definition.js';
import { EventStore } from '../event-store.js';

const Door = defineStream('door', {
  events: { opened: event() },
  initial: () => 0,
  evolve: (times: number) => times + 1,
});
const opened = [{ type: 'opened' }] as const;
const lockTimeoutMs = 60_000;

describe('transactions that wait for a session', () => {
  let clock: ManualClock;
  let storage: KeyValueStorage;
  let doors: EventStream<typeof Door>;
  let session: StreamSession<typeof Door>;
  beforeEach(async () => {
    clock = new ManualClock();
    storage = await openKeyValueStorage({ provider: new MemoryProvider({ clock }), tenant: () => 'acme' });
    doors = new EventStore(storage, { clock }).stream(Door);
    session = await doors.openSession('front');
  });
  afterEach(async () => {
    jest.restoreAllMocks();
    await storage[Symbol.asyncDispose]();
  });

  it('hold no lock of the process: other calls are refused at once, and `unlock` waits for none', async () => {
    const waiting = [1, 2].map(async () => await doors.transact('front', () => opened, { lockTimeoutMs }));
    await clock.advance(1_000);
    // waits for locks of the process are by this clock
    const waits = jest.spyOn(systemClock, 'wait');
    for (const call of [
      () => doors.append('front', opened, { expectedVersion: 'any' }),
      () => doors.delete('front'),
      () => doors.transact('front', () => opened),
    ])
      await expect(call()).rejects.toMatchObject({ code: 'STREAM_LOCKED' });
    expect(await doors.unlock('front')).toBe(true);
    expect(waits).not.toHaveBeenCalled();
    await clock.advance(100);
    expect((await Promise.all(waiting)).map(({ version }) => version).toSorted()).toEqual([1, 2]);
  });

  it('have all attempts and the whole budget for conflicts after the wait', async () => {
    // the budget, and waits for locks of the process
    jest.spyOn(systemClock, 'monotonic').mockImplementation(() => clock.monotonic());
    jest.spyOn(systemClock, 'wait').mockImplementation(async (ms, signal) => await clock.wait(ms, signal));
    const ends: unknown[] = [];
    const observer = { observe: () => undefined, begin: () => (end: unknown) => void ends.push(end) };
    const observed = new EventStore(storage, { clock, observer }).stream(Door);
    await session.append(opened);
    const conflictOnce = async (): Promise<number> => {
      let runs = 0;
      await observed.transact(
        'front',
        async (_, { version }) => {
          runs += 1;
          if (runs === 1) await doors.append('front', opened, { expectedVersion: version });
          return opened;
        },
        { lockTimeoutMs },
      );
      return runs;
    };
    const waiting = Promise.all([conflictOnce(), conflictOnce()]);
    waiting.catch(() => undefined);
    await clock.advance(30_000);
    await session.close();
    await clock.advance(1_000);
    expect(await waiting).toEqual([2, 2]);
    expect(await doors.version('front')).toBe(5);
    expect(ends).toMatchObject([{ retries: 1 }, { retries: 1 }]);
  });

  it('wait also for a session that is opened while they decide', async () => {
    await session.close();
    let runs = 0;
    const decide = async (): Promise<typeof opened> => {
      runs += 1;
      if (runs === 1) session = await doors.openSession('front');
      return opened;
    };
    const waiting = doors.transact('front', decide, { lockTimeoutMs });
    await clock.advance(1_000);
    await session.append(opened);
    await session.close();
    await clock.advance(100);
    expect([(await waiting).version, runs]).toEqual([2, 2]);
  });
});

/** Who is handed the events of each commit. */
import { describe, expect, it } from '@jest/globals';
import { openStorage } from '@kvent/key-value-storage';
import { ManualClock, DurableMemory } from '@kvent/key-value-storage/testing';
import { defineStream, event, EventStore } from '../core.js';

const Doors = defineStream('door', {
  events: { opened: event<{ by: string }>() },
  initial: () => 0,
  evolve: (times) => times + 1,
});
const opened = { type: 'opened', data: { by: 'ada' } } as const;

describe('The events of a commit are handed on', () => {
  it('as they are read from the stream, frozen, with the stream that they are of', async () => {
    const handed: unknown[] = [];
    const memory = new DurableMemory();
    await using storage = await openStorage(memory.create({ clock: new ManualClock(), location: 'here' }), {
      tenant: 'acme',
    });
    const store = new EventStore(storage, {
      metadata: () => ({ userId: 'u' }),
      committed: (stream, events, definition) => {
        handed.push([stream, definition]);
        for (const each of events) handed.push(each);
        expect([events, ...events].every((each) => Object.isFrozen(each) || Array.isArray(each))).toBe(true);
      },
    });
    const doors = store.stream(Doors);
    await doors.append('front', [opened, opened], {
      expectedVersion: 'any',
      metadata: { correlationId: 'c' },
    });
    const read: unknown[] = [];
    for await (const each of doors.read('front')) read.push(each);
    expect(handed).toEqual([[{ type: 'door', id: 'front', database: 'tenant:acme' }, Doors], ...read]);
  });

  it('but not out of a transaction of the caller’s, which may still be rolled back', async () => {
    const memory = new DurableMemory();
    await using storage = await openStorage(memory.create({ clock: new ManualClock(), location: 'here' }));
    const handed: string[] = [];
    const held = memory.transaction('here');
    const inside = new EventStore(storage.within(held.transaction), {
      committed: ({ id }) => void handed.push(id),
    }).stream(Doors);
    await inside.append('front', [opened], { expectedVersion: 'any' });
    await inside.transact('front', () => [opened]);
    await held.commit();
    expect(handed).toEqual([]);
    expect(await new EventStore(storage).stream(Doors).version('front')).toBe(2);
  });

  it('and whoever throws at that harms nothing', async () => {
    const memory = new DurableMemory();
    await using storage = await openStorage(memory.create({ clock: new ManualClock(), location: 'here' }));
    const committed = (): never => {
      throw new Error('no');
    };
    const doors = new EventStore(storage, { committed }).stream(Doors);
    expect(await doors.append('front', [opened], { expectedVersion: 'any' })).toEqual({
      version: 1,
      replayed: false,
    });
    expect((await doors.transact('front', () => [opened])).version).toBe(2);
  });
});

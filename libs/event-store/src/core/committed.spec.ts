/** The `committed` listener of an event store. */
import { describe, expect, it } from '@jest/globals';
import { openStorage } from '@kvent/key-value-storage';
import { ManualClock, DurableMemory } from '@kvent/key-value-storage/testing';
import { defineStream, event, EventStore } from '../core.js';

const Door = defineStream('door', {
  events: { opened: event<{ by: string }>() },
  initial: () => 0,
  evolve: (times) => times + 1,
});
const opened = { type: 'opened', data: { by: 'ada' } } as const;

describe('A committed listener', () => {
  it('receives the events as they are read from the stream, frozen, with their stream', async () => {
    const received: unknown[] = [];
    const memory = new DurableMemory();
    await using storage = await openStorage(memory.create({ clock: new ManualClock(), location: 'here' }), {
      tenant: 'acme',
    });
    const store = new EventStore(storage, {
      metadata: () => ({ userId: 'u' }),
      committed: (stream, events, definition) => {
        received.push([stream, definition]);
        for (const each of events) received.push(each);
        expect([events, ...events].every((each) => Object.isFrozen(each) || Array.isArray(each))).toBe(true);
      },
    });
    const doors = store.stream(Door);
    await doors.append('front', [opened, opened], {
      expectedVersion: 'any',
      metadata: { correlationId: 'c' },
    });
    const read: unknown[] = [];
    for await (const each of doors.read('front')) read.push(each);
    expect(received).toEqual([[{ type: 'door', id: 'front', database: 'tenant:acme' }, Door], ...read]);
  });

  it('receives no events of a transaction of the caller, which may be rolled back', async () => {
    const memory = new DurableMemory();
    await using storage = await openStorage(memory.create({ clock: new ManualClock(), location: 'here' }));
    const received: string[] = [];
    const held = memory.transaction('here');
    const inside = new EventStore(storage.within(held.transaction), {
      committed: ({ id }) => void received.push(id),
    }).stream(Door);
    await inside.append('front', [opened], { expectedVersion: 'any' });
    await inside.transact('front', () => [opened]);
    await held.commit();
    expect(received).toEqual([]);
    expect(await new EventStore(storage).stream(Door).version('front')).toBe(2);
  });

  it('does not affect the commit when it throws', async () => {
    const memory = new DurableMemory();
    await using storage = await openStorage(memory.create({ clock: new ManualClock(), location: 'here' }));
    const committed = (): never => {
      throw new Error('listener');
    };
    const doors = new EventStore(storage, { committed }).stream(Door);
    expect(await doors.append('front', [opened], { expectedVersion: 'any' })).toMatchObject({
      version: 1,
      replayed: false,
    });
    expect((await doors.transact('front', () => [opened])).version).toBe(2);
  });
});

import 'reflect-metadata';
import { Test, type TestingModule } from '@nestjs/testing';
import { afterEach, describe, expect, it } from '@jest/globals';
import { KeyValueStorageModule, MemoryProvider } from '@kvent/key-value-storage';
import { ManualClock, overrideStorage } from '@kvent/key-value-storage/testing';
import { defineStream, event, EventStore, EventStoreModule, type StreamLogEntry } from '@kvent/event-store';
import { overrideEventStore } from './override-event-store.js';

const doors = (provider?: string) =>
  defineStream('door', {
    events: { opened: event() },
    initial: () => 0,
    evolve: (times) => times + 1,
    ...(provider !== undefined && { provider }),
  });
const Doors = doors();
const never = (): never => {
  throw new Error('The provider of production was made.');
};

let app: TestingModule;
afterEach(() => app.close());

describe('overrideEventStore', () => {
  it('gives the sessions of the module under test the clock of the test, and leaves the rest as the root says', async () => {
    const clock = new ManualClock();
    const notices: StreamLogEntry[] = [];
    const imports = [
      KeyValueStorageModule.forRoot({ provider: never }),
      EventStoreModule.forRoot({
        metadata: () => ({ userId: 'ada' }),
        session: { sessionTimeoutMs: 30_000 },
      }),
      EventStoreModule.forFeature([Doors]),
    ];
    const builder = overrideStorage(Test.createTestingModule({ imports }), new MemoryProvider({ clock }));
    app = await overrideEventStore(builder, {
      clock,
      observer: { observe: (notice) => void notices.push(notice) },
    }).compile();
    const doors = app.get(EventStore, { strict: false }).stream(Doors);

    const session = await doors.openSession('front');
    await clock.advance(28_999);
    expect(session.signal.aborted).toBe(false);
    await clock.advance(1);
    expect(session.signal.aborted).toBe(true); // a second before its time is over
    await clock.advance(1_000);
    await expect(session.append([{ type: 'opened' }])).rejects.toMatchObject({ code: 'SESSION_EXPIRED' });

    const { events } = await doors.transact('front', () => [{ type: 'opened' }]);
    expect(events[0]?.metadata.userId).toBe('ada');
    expect(notices.map((notice) => notice.event)).toEqual([
      'session opened',
      'session expired',
      'events appended',
    ]);
  });

  it('refuses what is no option', () => {
    expect(() => overrideEventStore(Test.createTestingModule({}), { clok: 1 } as never)).toThrow(
      /overrideEventStore has no option 'clok'/,
    );
  });
});

it('overrideStorage leaves the feed to streams on an engine that the root names', async () => {
  const DoorsElsewhere = doors('events');
  const imports = [
    KeyValueStorageModule.forRoot({ provider: never, providers: { events: never } }),
    EventStoreModule.forFeature([DoorsElsewhere]),
  ];
  app = await overrideStorage(Test.createTestingModule({ imports }), new MemoryProvider()).compile();
  const eventStore = app.get(EventStore, { strict: false });
  await eventStore
    .stream(DoorsElsewhere)
    .append('front', [{ type: 'opened' }], { expectedVersion: 'absent' });
  const { events } = await eventStore.readFeed({ streams: [DoorsElsewhere], limit: 10 });
  expect(events).toMatchObject([{ type: 'opened', stream: 'front' }]);
});

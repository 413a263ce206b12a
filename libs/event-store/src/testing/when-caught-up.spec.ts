import 'reflect-metadata';
import { Test, type TestingModule } from '@nestjs/testing';
import { afterEach, describe, expect, it } from '@jest/globals';
import { defineState, KeyValueStorageModule, MemoryProvider, storeOf } from '@kvent/key-value-storage';
import {
  defineProjection,
  defineReaction,
  defineStream,
  event,
  EventStoreModule,
  ProjectionsModule,
  ReactionsModule,
  streamOf,
} from '@kvent/event-store';
import { whenCaughtUp } from './when-caught-up.js';

const Doors = defineStream('door', {
  events: { opened: event(), blocked: event() },
  initial: () => 0,
  evolve: (times) => times + 1,
});
const Openings = defineState<number>('openings');
const openings = (name: string) =>
  defineProjection(name, {
    streams: [Doors],
    into: Openings,
    key: ({ stream }) => `${name} ${stream}`,
    initial: () => 0,
    evolve: (times, { type }) => {
      if (type === 'blocked') throw new Error('The door is blocked.');
      return times + 1;
    },
  });
const [One, Two] = [openings('one'), openings('two')];

let handled: string[] = [];
let handling: Promise<void> | undefined;
const Bell = defineReaction('bell', {
  streams: [Doors],
  on: {
    opened: async ({ stream }) => {
      await handling;
      handled.push(stream);
    },
  },
});

let app: TestingModule;
afterEach(async () => {
  await app.close();
  handled = [];
  handling = undefined;
});

const root = KeyValueStorageModule.forRoot({ provider: () => new MemoryProvider() });
async function start(imports: Parameters<typeof Test.createTestingModule>[0]['imports'] = []) {
  app = await Test.createTestingModule({
    imports: [
      root,
      KeyValueStorageModule.forFeature([Openings]),
      EventStoreModule.forFeature([Doors]),
      ...imports,
    ],
  }).compile();
  await app.init();
  return streamOf(app, Doors);
}
const retry = { attempts: 1, delayMs: 1 };

describe('whenCaughtUp', () => {
  it('waits for every projection and reaction, of any module', async () => {
    const doors = await start([
      ProjectionsModule.forFeature([One]),
      ProjectionsModule.forFeature([Two]),
      ReactionsModule.forFeature([Bell]),
    ]);
    let release: (() => void) | undefined;
    handling = new Promise((resolve) => (release = resolve));
    await doors.append('front', [{ type: 'opened' }], { expectedVersion: 'any' });
    let isOver = false;
    const waiting = whenCaughtUp(app).then(() => (isOver = true));
    const all = async () =>
      (await storeOf(app, Openings).getMany(['one front', 'two front'])).map((each) => each?.value);
    while ((await all()).includes(undefined)) await new Promise((resolve) => setImmediate(resolve));
    expect(isOver).toBe(false);
    release?.();
    await waiting;
    expect(await all()).toEqual([1, 1]);
    expect(handled).toEqual(['front']);
  });

  it('rejects with the error of a runner that has stopped, also while another waits', async () => {
    const doors = await start([
      ReactionsModule.forFeature([Bell]),
      ProjectionsModule.forFeature([One], { retry }),
    ]);
    let release: (() => void) | undefined;
    handling = new Promise((resolve) => (release = resolve));
    await doors.append('front', [{ type: 'opened' }, { type: 'blocked' }], { expectedVersion: 'any' });
    await expect(whenCaughtUp(app)).rejects.toMatchObject({ code: 'PROJECTION_STOPPED' });
    release?.();
  });

  it('rejects after the timeout', async () => {
    const doors = await start([ReactionsModule.forFeature([Bell])]);
    let release: (() => void) | undefined;
    handling = new Promise((resolve) => (release = resolve));
    await doors.append('front', [{ type: 'opened' }], { expectedVersion: 'any' });
    await expect(whenCaughtUp(app, { timeoutMs: 0 })).rejects.toMatchObject({ code: 'REACTION_BEHIND' });
    release?.();
  });

  it('is PROJECTION_BEHIND for a projection that was not started', async () => {
    app = await Test.createTestingModule({
      imports: [root, EventStoreModule.forFeature([Doors]), ProjectionsModule.forFeature([One])],
    }).compile();
    await streamOf(app, Doors).append('front', [{ type: 'opened' }], { expectedVersion: 'any' });
    await expect(whenCaughtUp(app, { timeoutMs: 0 })).rejects.toMatchObject({ code: 'PROJECTION_BEHIND' });
  });

  it('has nothing to wait for without a projection', async () => {
    await start();
    await whenCaughtUp(app);
  });

  it('refuses what is no application, one without an event store, and an unknown option', async () => {
    app = await Test.createTestingModule({ imports: [root] }).compile();
    const refused = { code: 'INVALID_OPTION' };
    await expect(whenCaughtUp(app)).rejects.toMatchObject(refused);
    await expect(whenCaughtUp(undefined as never)).rejects.toMatchObject(refused);
    await expect(whenCaughtUp(app, { timeout: 1 } as never)).rejects.toMatchObject(refused);
    await expect(whenCaughtUp(app, { timeoutMs: '1' as never })).rejects.toMatchObject(refused);
  });
});

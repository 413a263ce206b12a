import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { defineStream, event, EventStore, type EventStream } from '@kvent/event-store/core';
import type { KeyValueStorage } from '@kvent/key-value-storage';
import { ManualClock } from '@kvent/key-value-storage/testing';
import { Folder, kvent, kventJson } from '../spec-support.js';

const Orders = defineStream('order', {
  events: { placed: event<{ cents: number }>(), paid: event() },
  initial: () => 0,
  evolve: (count: number) => count + 1,
});
const placed = { type: 'placed', data: { cents: 900 } } as const;
let folder: Folder;
let data: string;

const orders = (storage: KeyValueStorage): EventStream<typeof Orders> =>
  new EventStore(storage, { clock: new ManualClock() }).stream(Orders);

beforeEach(async () => {
  folder = new Folder();
  data = folder.path('data');
  await folder.store(async (storage) => {
    await orders(storage).append('o-1', [placed, { type: 'paid' }, { type: 'paid' }], {
      expectedVersion: 'absent',
      metadata: { userId: 'u-7' },
    });
    await orders(storage).append('o-2', [placed], { expectedVersion: 'absent' });
    await orders(storage).delete('o-2');
    // the process ends without closing it
    await orders(storage).openSession('o-3', { sessionTimeoutMs: 3_600_000 });
  });
});
afterEach(() => folder[Symbol.dispose]());

it('kvent stream ls lists the types, and the streams of one page by page', async () => {
  expect(await kventJson('stream', 'ls', data)).toMatchObject({
    items: [{ database: 'tenant:acme', type: 'order' }],
  });
  const first = await kventJson('stream', 'ls', data, 'order', '--limit', '2');
  expect(first['items']).toMatchObject([
    { id: 'o-1', version: 3, state: 'free' },
    { id: 'o-2', version: 1, state: 'deleted' },
  ]);
  expect(await kventJson('stream', 'ls', data, 'order', '--cursor', String(first['next']))).toMatchObject({
    items: [{ id: 'o-3', version: 0, state: 'held' }],
    next: null,
  });
  expect((await kvent(['stream', 'ls', data, 'order', '--prefix', 'o-1'])).stdout).toMatch(
    /^id +version +state +updated\no-1 +3 +free +\S+Z\n$/,
  );
});

it('kvent stream show prints events with version, type, time, data and metadata', async () => {
  expect(await kventJson('stream', 'show', data, 'order', 'o-1', '--limit', '1')).toMatchObject({
    version: 3,
    state: 'free',
    heldUntil: null,
    events: [
      { version: 1, type: 'placed', data: { cents: 900 }, metadata: { userId: 'u-7' }, schemaVersion: 1 },
    ],
    next: 2,
  });
  const { stdout } = await kvent(['stream', 'show', data, 'order', 'o-1', '--from', '2']);
  expect(stdout).toMatch(
    /^version +type +recorded +data +metadata\n +2 +paid +\S+Z +\{"userId":"u-7"\}\n +3 +paid .*\nThe stream order o-1 is at version 3\.\n$/,
  );
  const { events } = await kventJson('stream', 'show', data, 'order', 'o-1', '--from', '2', '--reverse');
  expect(events).toMatchObject([{ version: 3 }, { version: 2 }]);
  expect((await kvent(['stream', 'show', data, 'order', 'o-2'])).stdout).toBe(
    'The stream order o-2 was deleted at version 1.\n',
  );
  expect((await kvent(['stream', 'show', data, 'order', 'o-9'])).stderr).toContain('[KEY_NOT_FOUND, ');
});

it('kvent unlock frees a stream that a session holds, with --write', async () => {
  const call = ['unlock', data, 'order', 'o-3'];
  expect((await kvent(call)).exitCode).toBe(2);
  expect((await kvent(['stream', 'show', data, 'order', 'o-3'])).stdout).toMatch(
    /^The stream order o-3 is at version 0\. A session holds it until \S+Z\.\n$/,
  );
  expect(await kventJson(...call, '--write')).toMatchObject({ unlocked: true, version: 0 });
  expect((await kvent([...call, '--write'])).stdout).toBe(
    'No session holds the stream order o-3: nothing was changed.\n',
  );
  await folder.store((storage) => orders(storage).append('o-3', [placed], { expectedVersion: 'absent' }));
});

it('kvent tail refuses a directory, and says why', async () => {
  expect(await kvent(['tail', data, 'order', 'o-1'])).toEqual({
    exitCode: 2,
    stdout: '',
    stderr: expect.stringContaining('kvent tail follows streams in Postgres'),
  });
});

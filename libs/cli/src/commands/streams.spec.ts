import {
  appendFileSync,
  lstatSync,
  readdirSync,
  readFileSync,
  utimesSync,
  writeFileSync,
  type BigIntStats,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { defineStream, event, EventStore, type EventStream } from '@kvent/event-store/core';
import type { KeyValueStorage } from '@kvent/key-value-storage';
import { ManualClock } from '@kvent/key-value-storage/testing';
import { EndlessCall, Folder, kvent, kventJson } from '../spec-support.js';

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
  // it had no events, so nothing of it is left
  expect((await kvent([...call, '--write'])).stderr).toContain('[KEY_NOT_FOUND, ');
  expect((await kvent(['unlock', data, 'order', 'o-1', '--write'])).stdout).toBe(
    'No session holds the stream order o-1: nothing was changed.\n',
  );
  await folder.store((storage) => orders(storage).append('o-3', [placed], { expectedVersion: 'absent' }));
});

describe('kvent tail of a directory', () => {
  const tail = (from: number): EndlessCall =>
    new EndlessCall('tail', data, 'order', 'o-1', '--from', String(from), '--interval', '0.01');

  /** Every path with its content and times. */
  function everything(): readonly unknown[] {
    const of = ({ mtimeNs, ctimeNs, ino, mode }: BigIntStats): unknown => ({ mtimeNs, ctimeNs, ino, mode });
    return paths().map((path) => {
      const found = lstatSync(path, { bigint: true });
      return [path, of(found), found.isFile() ? readFileSync(path, 'utf8') : ''];
    });
  }
  const paths = (): readonly string[] => [
    data,
    ...readdirSync(data, { recursive: true, encoding: 'utf8' })
      .sort()
      .map((name) => join(data, name)),
  ];
  const journal = (): string => paths().find((path) => path.endsWith('.jsonl')) ?? '';

  it('prints what a process that has it open appends, before and after compactions', async () => {
    await folder.store(async (storage) => {
      await using call = tail(3);
      await call.waitForStdout('3  paid');
      await orders(storage).append('o-1', [placed], { expectedVersion: 3 });
      await call.waitForStdout('4  placed');
      await storage.compact();
      await orders(storage).append('o-1', [{ type: 'paid' }], { expectedVersion: 4 });
      await call.waitForStdout('5  paid');
      await Promise.all([
        storage.compact(),
        orders(storage).append('o-1', [placed, placed], { expectedVersion: 5 }),
      ]);
      await call.waitForStdout('7  placed');
      const { exitCode, stdout, stderr } = await call.end();
      expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
      expect(stdout.match(/^\d+/gm)).toEqual(['3', '4', '5', '6', '7']);
    });
  });

  it('changes nothing in it, takes no lock, and does not refuse the application that starts', async () => {
    // a name that is created and removed leaves a new time at its directory
    for (const path of paths()) utimesSync(path, 1, 1);
    const before = everything();
    await using call = tail(3);
    await call.waitForStdout('3  paid');
    expect(everything()).toEqual(before);
    await folder.store(async (storage) => {
      await orders(storage).append('o-1', [placed], { expectedVersion: 3 });
      await call.waitForStdout('4  placed');
    });
  });

  it('reports damage as an opening does; an unfinished last line is none', async () => {
    appendFileSync(journal(), '{"sum":"0');
    const call = tail(3);
    await call.waitForStdout('3  paid');
    expect(await call.end()).toMatchObject({ exitCode: 0, stderr: '' });
    writeFileSync(journal(), readFileSync(journal(), 'utf8').replace('"cents"', '"scent"'));
    const { exitCode, stderr } = await kvent(['tail', data, 'order', 'o-1']);
    expect({ exitCode, stderr }).toEqual({
      exitCode: 1,
      stderr: expect.stringMatching(/journal-1\.jsonl:2: .*\[STORAGE_CORRUPT, .*kvent salvage --from/),
    });
  });

  it('refuses a directory without a store', async () => {
    expect(await kvent(['tail', folder.path('none'), 'order', 'o-1'])).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining('[STORAGE_UNAVAILABLE, '),
    });
    expect(readdirSync(folder.path('.'))).toEqual(['data']);
  });
});

/** Calls that are aborted before anything of them was sent: they end at once, without effect. */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { MemoryProvider, openStorage, type KeyValueStorage } from '@kvent/key-value-storage';
import { defineState } from '@kvent/key-value-storage/core';
import { defineStream, event, type EventStream } from '../core.js';
import { EventStore } from './event-store.js';

describe('a call that is aborted while a schema checks its values, or while it waits for its session', () => {
  /** Lets the checks of 'slow' end. */
  let finish = (): void => undefined;
  let finished: Promise<void>;
  const schema = {
    '~standard': {
      version: 1,
      vendor: 'test',
      validate: async (value: unknown) => {
        if (value === 'slow') await finished;
        return { value: value as string };
      },
    },
  } as const;
  const Log = defineStream('log', {
    events: { noted: event(schema) },
    initial: () => '',
    evolve: (text, { data }) => text + String(data),
  });
  const Note = defineState('note', { schema });
  const slow = [{ type: 'noted', data: 'slow' }] as const;
  const quick = [{ type: 'noted', data: 'quick' }] as const;
  let storage: KeyValueStorage;
  let logs: EventStream<typeof Log>;
  beforeEach(async () => {
    finished = new Promise((resolve) => (finish = resolve));
    storage = await openStorage(new MemoryProvider());
    logs = new EventStore(storage).stream(Log);
  });
  afterEach(async () => {
    finish();
    await storage.close();
  });

  const aborts = async (work: (signal: AbortSignal) => Promise<unknown>): Promise<void> => {
    const controller = new AbortController();
    const working = work(controller.signal);
    working.catch(() => undefined);
    await new Promise(setImmediate);
    controller.abort(new Error('enough'));
    await expect(working).rejects.toMatchObject({ code: 'ABORTED', effect: 'none' });
  };

  it.each<[string, (signal: AbortSignal) => Promise<unknown>]>([
    ['append', (signal) => logs.append('a', slow, { expectedVersion: 'any', signal })],
    ['transact', (signal) => logs.transact('a', () => slow, { signal })],
    ['session.append', (signal) => logs.session('a', (session) => session.append(slow, { signal }))],
    ['set', (signal) => storage.store(Note).set('a', 'slow', { signal })],
    ['set with a key', (signal) => storage.store(Note).set('a', 'slow', { signal, idempotencyKey: 'k' })],
    ['atomic().set', (signal) => storage.atomic().set(storage.store(Note), 'a', 'slow').commit({ signal })],
    [
      'atomic().include',
      (signal) =>
        storage
          .atomic()
          .include(logs.appending('a', slow, { expectedVersion: 'any' }))
          .commit({ signal }),
    ],
  ])('ends at once: %s', async (_, work) => {
    await aborts(work);
    finish();
    expect([await logs.version('a'), await storage.store(Note).get('a')]).toEqual([0, undefined]);
  });

  it('leaves the queue of its session, whose other calls continue', async () => {
    const session = await logs.openSession('a');
    const first = session.append(slow);
    await aborts((signal) => session.append(quick, { signal }));
    await aborts((signal) => session.renew({ signal }));
    await aborts((signal) => storage.atomic().include(session.appending(quick)).commit({ signal }));
    finish();
    expect((await first).version).toBe(1);
    expect((await session.append(quick)).version).toBe(2);
    await session.close();
    expect((await logs.load('a')).state).toBe('slowquick');
  });
});

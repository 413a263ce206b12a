/** What the `committed` listener gets while the answers of the storage come late, or not at all. */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { openStorage, type KeyValueStorage } from '@kvent/key-value-storage';
import { storageError, type StorageProvider } from '@kvent/key-value-storage/provider';
import { DurableMemory, ManualClock } from '@kvent/key-value-storage/testing';
import { defineStream, event, EventStore, type EventStream } from '../core.js';

const Door = defineStream('door', {
  events: { opened: event() },
  initial: () => 0,
  evolve: (times) => times + 1,
});
const opened = { type: 'opened' } as const;

describe('A committed listener', () => {
  const memory = new DurableMemory();
  /** What is called once with the results of the next commit, before its caller gets them. */
  let beforeAnswer: (() => Promise<void>) | undefined;
  /** What waits for the commit of the transaction of the caller. */
  let afterCommit: (() => void)[];
  let received: string[];
  let storage: KeyValueStorage;
  let store: EventStore;
  let doors: EventStream<typeof Door>;

  beforeEach(async () => {
    [beforeAnswer, afterCommit, received] = [undefined, [], []];
    const provider = memory.create({ clock: new ManualClock(), location: 'here' });
    const { within } = provider;
    const delaying: StorageProvider = {
      ...provider,
      commit: async (...given) => {
        const answer = beforeAnswer;
        beforeAnswer = undefined;
        const results = await provider.commit(...given);
        await answer?.();
        return results;
      },
      within: (transaction) => ({
        ...(within?.(transaction) as StorageProvider),
        afterCommit: (work) => void afterCommit.push(work),
      }),
    };
    storage = await openStorage(delaying);
    store = new EventStore(storage, {
      committed: ({ id }, events) => void received.push(...events.map(({ version }) => `${id} ${version}`)),
    });
    doors = store.stream(Door);
  });
  afterEach(async () => {
    await storage.close();
    memory.dispose('here');
  });

  /** Runs a call up to its commit; returns what lets the answer come, or get lost. */
  async function late(work: () => Promise<unknown>): Promise<(how?: 'lost') => Promise<void>> {
    let answer!: (how?: 'lost') => void;
    let call: Promise<unknown> | undefined;
    await new Promise<void>((isCommitted) => {
      beforeAnswer = async () => {
        const answered = new Promise<'lost' | undefined>((resolve) => (answer = resolve));
        isCommitted();
        if ((await answered) === 'lost')
          throw storageError('STORAGE_OUTCOME_UNKNOWN', 'The answer was lost.', {});
      };
      call = work();
    });
    return async (how) => {
      answer(how);
      await (how === undefined ? call : expect(call).rejects.toMatchObject({ effect: 'unknown' }));
    };
  }
  const append = async (id: string, expectedVersion: number) =>
    await doors.append(id, [opened], { expectedVersion });

  it('receives events after those of lower versions whose answer is late, and other streams at once', async () => {
    const first = await late(async () => await append('front', 0));
    const appending = doors.appending('front', [opened], { expectedVersion: 1 });
    const second = await late(async () => await storage.atomic().include(appending).commit());
    await doors.transact('front', () => [opened]);
    await doors.session('front', async (session) => await session.append([opened]));
    await append('back', 0);
    expect(received).toEqual(['back 1']);
    await second();
    expect(received).toEqual(['back 1']);
    await first();
    expect(received).toEqual(['back 1', 'front 1', 'front 2', 'front 3', 'front 4']);
  });

  it('waits for a late append of a session, which has its turn before', async () => {
    const session = await doors.openSession('front');
    const first = await late(async () => await session.append([opened], { close: true }));
    await append('front', 1);
    expect(received).toEqual([]);
    await first();
    expect(received).toEqual(['front 1', 'front 2']);
  });

  it('waits no longer once an answer is lost, whose events it never receives', async () => {
    const first = await late(async () => await append('front', 0));
    await append('front', 1);
    expect(received).toEqual([]);
    await first('lost');
    expect(received).toEqual(['front 2']);
    await append('front', 2);
    expect(received).toEqual(['front 2', 'front 3']);
  });

  it('receives the events of a transaction after a late answer too', async () => {
    const first = await late(async () => await append('front', 0));
    const held = memory.transaction('here');
    await store.within(held.transaction).stream(Door).append('front', [opened], { expectedVersion: 1 });
    await doors.within(held.transaction).append('front', [opened], { expectedVersion: 2 });
    await held.commit();
    for (const work of afterCommit) work();
    expect(received).toEqual([]);
    await first();
    expect(received).toEqual(['front 1', 'front 2', 'front 3']);
  });
});

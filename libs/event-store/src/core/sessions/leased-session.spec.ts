/** Sessions of which the storage answers late, or loses what it has acknowledged. */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { defineState, type KeyValueStorage, type StorageProvider } from '@kvent/key-value-storage/core';
import { openKeyValueStorage } from '@kvent/key-value-storage/internal';
import { MemoryProvider } from '@kvent/key-value-storage';
import type { Batch } from '@kvent/key-value-storage/provider';
import { collect, ManualClock } from '@kvent/key-value-storage/testing';
import { defineStream, event } from '../definition/stream-definition.js';
import { EventStore } from '../event-store.js';

const Log = defineStream('log', {
  events: { noted: event<string>() },
  initial: () => '',
  evolve: (text, { data }: { data: string }) => text + data,
});
const noted = (...texts: readonly string[]) => texts.map((data) => ({ type: 'noted', data }) as const);
const Note = defineState<string>('note');

describe('a session', () => {
  let provider: StorageProvider;
  let storage: KeyValueStorage;
  const received: unknown[] = [];
  let store: EventStore;
  beforeEach(async () => {
    received.length = 0;
    provider = new MemoryProvider();
    storage = await openKeyValueStorage({ provider, tenant: () => 'acme' });
    store = new EventStore(storage, {
      committed: (_stream, events) =>
        void received.push(...events.map(({ version, data }) => [version, data])),
    });
  });
  afterEach(async () => {
    await store.close();
    await storage[Symbol.asyncDispose]();
  });

  /** Commits at once, and answers late. Returns after the commit, with what lets it answer. */
  const late = async <R>(work: () => Promise<R>): Promise<() => Promise<R>> => {
    const { commit } = provider;
    let answer = (): void => undefined;
    const answered = new Promise<void>((resolve) => (answer = resolve));
    let working: Promise<R> | undefined;
    await new Promise<void>((resolve) => {
      Object.assign(provider, {
        commit: (async (batches, options) => {
          Object.assign(provider, { commit });
          const results = await commit.call(provider, batches, options);
          resolve();
          await answered;
          return results;
        }) satisfies StorageProvider['commit'],
      });
      working = work();
    });
    return async () => {
      answer();
      return await (working as Promise<R>);
    };
  };
  const stored = async (id: string) =>
    (await collect(store.stream(Log).read(id))).map(({ version, data }) => [version, data]);
  const numbered = (text: string) => [...text].map((data, index) => [index + 1, data]);

  it('leaves no gap in its stream when it has gone on before the answer of an earlier commit', async () => {
    const logs = store.stream(Log);
    const session = await logs.openSession('a');
    await session.append(noted('a'));
    const append = (text: string) =>
      late(
        async () =>
          await storage
            .atomic()
            .include(session.appending(noted(text)))
            .commit(),
      );
    const first = await append('b');
    expect((await session.append(noted('c'))).version).toBe(3);
    await first();
    expect([session.version, session.state]).toEqual([3, 'abc']);
    await session.append(noted('d'));
    // two late answers, the later one first
    const second = await append('e');
    await session.append(noted('f'));
    const third = await append('g');
    await session.append(noted('h'));
    await third();
    await second();
    expect([session.version, session.state]).toEqual([8, 'abcdefgh']);
    const last = await append('i');
    await session.close();
    await last();
    await storage
      .atomic()
      .include(logs.appending('a', noted('j'), { expectedVersion: 9 }))
      .commit();
    expect([await stored('a'), (await logs.load('a')).state]).toEqual([numbered('abcdefghij'), 'abcdefghij']);
    // each event has the version that it has in the stream
    expect(received.toSorted()).toEqual(numbered('abcdefghij').toSorted());
  });

  it('writes what `sameCommit` was called for, or calls it again', async () => {
    const notes = storage.store(Note);
    const session = await store.stream(Log).openSession('a');
    const first = await late(
      async () =>
        await storage
          .atomic()
          .include(session.appending(noted('a')))
          .commit(),
    );
    const { read } = provider;
    // the answer comes when the second append has conflicted, before it reads what has happened
    Object.assign(provider, {
      read: (async (addresses, options) => {
        Object.assign(provider, { read });
        await first();
        return await read.call(provider, addresses, options);
      }) satisfies StorageProvider['read'],
    });
    const { version } = await session.append(noted('b'), {
      sameCommit: (batch, after) => batch.set(notes, 'last', `${after.version} ${after.state}`),
    });
    expect([version, (await notes.getOrThrow('last')).value]).toEqual([2, '2 ab']);
  });

  it('continues from what is stored when a failover has lost commits while it was opened', async () => {
    const logs = store.stream(Log);
    await logs.append('a', noted('a', 'b'), { expectedVersion: 0 });
    const before = await collect(provider.administration.export('tenant:acme'));
    await logs.append('a', noted('c'), { expectedVersion: 2 });
    const { commit } = provider;
    Object.assign(provider, {
      commit: (async (batches, options) => {
        Object.assign(provider, { commit });
        await provider.administration.drop('tenant:acme');
        await provider.administration.import('tenant:acme', before);
        return await commit.call(provider, batches, options);
      }) satisfies StorageProvider['commit'],
    });
    const session = await logs.openSession('a');
    expect([session.version, session.state]).toEqual([2, 'ab']);
    await session.append(noted('d'));
    await session.close();
    expect([await stored('a'), (await logs.load('a')).state]).toEqual([numbered('abd'), 'abd']);
  });

  it('that was abandoned is forgotten when its time is over; after a late renewal the store closes it', async () => {
    const clock = new ManualClock();
    const logs = (store = new EventStore(storage, { clock })).stream(Log);
    const options = { sessionTimeoutMs: 60_000 };
    for (const id of ['a', 'b', 'c']) await logs.openSession(id, options);
    const session = await logs.openSession('d', options);
    await clock.advance(60_000);
    expect([session.signal.aborted, clock.waiting]).toEqual([true, 0]);
    // by the provider's clock its lock is still valid
    await session.renew();
    const batches: Batch[] = [];
    const { commit } = provider;
    Object.assign(provider, {
      commit: (async (...given) => {
        batches.push(...given[0]);
        return await commit.apply(provider, given);
      }) satisfies StorageProvider['commit'],
    });
    await store.close();
    expect(batches.map(({ changes }) => changes[0]?.address.entity)).toEqual(['d']);
    expect(clock.waiting).toBe(0);
  });
});

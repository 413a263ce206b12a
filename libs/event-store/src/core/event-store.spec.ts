/** Whose streams they are, and what an event store does beside them, on a storage in memory. */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  defineState,
  isStorageError,
  openStorage,
  type AtomicChanges,
  type KeyValueStorage,
} from '@kvent/key-value-storage/core';
import { openKeyValueStorage } from '@kvent/key-value-storage/internal';
import { MemoryProvider } from '@kvent/key-value-storage';
import { storageError } from '@kvent/key-value-storage/provider';
import { collect, ManualClock } from '@kvent/key-value-storage/testing';
import { EventStore, type EventStoreOptions } from './event-store.js';
import type { EventStream } from './definition/event-stream.js';
import { defineStream, event } from './definition/stream-definition.js';
import type { StreamLogEntry } from './definition/stream-observer.js';

const options = {
  events: { noted: event<{ text: string }>() },
  initial: (): readonly string[] => [],
  evolve: (texts: readonly string[], { data: { text } }: { data: { text: string } }) => [...texts, text],
};
const Notes = defineStream('note', options);
const Kept = defineStream('note', { ...options, snapshot: { every: 2 } });
const Shared = defineStream('shared', { ...options, scope: 'shared' });
const Level = defineState<string>('level');
const noted = (text: string) => ({ type: 'noted', data: { text } }) as const;

describe('an event store', () => {
  let storage: KeyValueStorage;
  let tenant: string | undefined;
  const notices: StreamLogEntry[] = [];
  const store = (more: EventStoreOptions = {}) =>
    new EventStore(storage, { observer: { observe: (notice) => notices.push(notice) }, ...more });
  beforeEach(async () => {
    notices.length = 0;
    tenant = 'acme';
    storage = await openKeyValueStorage({ provider: new MemoryProvider(), tenant: () => tenant });
  });
  afterEach(async () => {
    await storage[Symbol.asyncDispose]();
  });
  const codeOf = async (work: () => Promise<unknown>) =>
    await work().then(
      () => undefined,
      (error: unknown) => (isStorageError(error) ? error.code : String(error)),
    );

  it('keeps to the tenant of the moment that a method was called in: retries, later pages, sessions and parts, too', async () => {
    const notes = store().stream(Notes);
    const elsewhere = async <R>(work: () => Promise<R>): Promise<R> => {
      tenant = 'other';
      try {
        return await work();
      } finally {
        tenant = 'acme';
      }
    };
    let runs = 0;
    const transacting = notes.transact('a', async (texts) => {
      runs += 1;
      if (runs === 1) await notes.forTenant('acme').append('a', [noted('faster')], { expectedVersion: 0 });
      return [noted(`behind ${texts.length}`)];
    });
    await elsewhere(async () => await transacting);
    const many = Array.from({ length: 450 }, (_, index) => noted(String(index)));
    await notes.append('long', many, { expectedVersion: 0 });
    const reading = notes.read('long');
    const session = await notes.openSession('held');
    const part = notes.appending('part', [noted('part')], { expectedVersion: 0 });
    await elsewhere(async () => {
      expect((await collect(reading)).length).toBe(450);
      await session.append([noted('mine')]);
      await storage.atomic().include(part).commit();
      await session.close();
      for (const id of ['a', 'long', 'held', 'part']) expect(await notes.version(id)).toBe(0);
      expect((await notes.page()).items).toEqual([]);
    });
    expect(runs).toBe(2);
    expect((await notes.load('a')).state).toEqual(['faster', 'behind 1']);
    expect((await notes.page()).items.map(({ id, version }) => [id, version])).toEqual([
      ['a', 2],
      ['held', 1],
      ['long', 450],
      ['part', 1],
    ]);
  });

  it('refuses streams of tenants where there is none, and gives what is shared to all', async () => {
    const [notes, shared] = [store().stream(Notes), store().stream(Shared)];
    tenant = undefined;
    expect(await codeOf(async () => await notes.append('a', [noted('lost')], { expectedVersion: 0 }))).toBe(
      'TENANT_MISSING',
    );
    await shared.append('a', [noted('for all')], { expectedVersion: 0 });
    tenant = 'other';
    const [first] = await collect(shared.read('a'));
    expect([first?.data.text, first?.metadata.tenant]).toEqual(['for all', undefined]);
    expect(() => shared.forTenant('acme')).toThrow(/shared/);
  });

  it.each([
    [{ metadata: {} }],
    [{ session: { sessionTimeoutMs: 0 } }],
    [{ session: { openTimeoutMs: -1 } }],
    [{ idempotencyRetentionMs: 0 }],
    [{ committed: 'yes' }],
    [{ retention: 5 }],
  ])('refuses %j', (given) => {
    expect(() => store(given as never)).toThrow(/EventStore/);
  });

  it('appends what has a state that is too large to keep, and warns that its snapshot was left out', async () => {
    const kept = store().stream(Kept);
    const large = 'x'.repeat(500_000);
    expect((await kept.transact('a', () => [noted(large), noted(large)])).version).toBe(2);
    expect(await kept.snapshotVersions('a')).toEqual([]);
    expect(notices.map((notice) => notice.event)).toEqual(['snapshot ignored', 'events appended']);
    expect(await codeOf(async () => await kept.snapshot('a'))).toBe('LIMIT_EXCEEDED');
    // off the request path, likewise
    const other = store();
    await other.stream(Kept).append('b', [noted(large), noted(large)], { expectedVersion: 0 });
    await other.idle();
    expect(notices.at(-1)).toMatchObject({ event: 'snapshot ignored', id: 'b', version: 2 });
    expect((await kept.load('b')).state).toEqual([large, large]);
    await kept.session('c', async (session) => await session.append([noted(large), noted(large)]));
    expect(notices.filter(({ event: name, id }) => name === 'snapshot ignored' && id === 'c').length).toBe(1);
  });

  it('reports how many snapshots are stored, or cleared, before an error', async () => {
    const provider = new MemoryProvider();
    await using own = await openStorage(provider);
    const notes = new EventStore(own).stream(Notes);
    await notes.append(
      'a',
      Array.from({ length: 501 }, () => noted('')),
      { expectedVersion: 0 },
    );
    const commit = provider.commit.bind(provider);
    const failAfter = (commits: number): void => {
      let left = commits;
      provider.commit = async (...args) => {
        if (left === 0) throw storageError('STORAGE_UNAVAILABLE', 'The disk is full.', {});
        left -= 1;
        return await commit(...args);
      };
    };
    for (const [commits, effect] of [
      [0, 'none'],
      [3, 'unknown'],
    ] as const) {
      failAfter(commits);
      await expect(notes.snapshotAll('a', { every: 1 })).rejects.toMatchObject({ effect, done: commits });
      expect(await notes.snapshotVersions('a')).toHaveLength(commits);
    }
    provider.commit = commit;
    await notes.snapshotAll('a', { every: 1 });
    failAfter(1);
    await expect(notes.clearSnapshots('a')).rejects.toMatchObject({ effect: 'unknown', done: 500 });
    provider.commit = commit;
    expect(await notes.clearSnapshots('a')).toBe(1);
  });

  // a decision changes two rows beside, a session three
  describe.each([
    ['rows', { beside: 898, besideSession: 897, text: 'x' }],
    ['bytes', { beside: 9, besideSession: 9, text: 'x'.repeat(895_000) }],
  ])('whose callers leave no %s for a snapshot', (_, { beside, besideSession, text }) => {
    const fill = (batch: AtomicChanges, count: number): void => {
      for (let index = 0; index < count; index += 1) batch.set(storage.store(Level), `k${index}`, text);
    };
    const expectLeftOut = async (kept: EventStream<typeof Kept>, count: number): Promise<void> => {
      expect(await kept.version('a')).toBe(2);
      expect(await kept.snapshotVersions('a')).toEqual([]);
      expect(await storage.store(Level).count()).toBe(count);
      expect(notices.filter(({ event: name }) => /appended|snapshot/.test(name)).slice(-2)).toMatchObject([
        { event: 'events appended', from: 2 },
        { event: 'snapshot ignored', version: 2, reason: 'the commit has no room for it' },
      ]);
    };

    it('commits the events of a decision without the snapshot, and warns', async () => {
      const kept = store().stream(Kept);
      await kept.append('a', [noted(text)], { expectedVersion: 0 });
      await kept.transact('a', (_state, { batch }) => {
        fill(batch, beside);
        return [noted('')];
      });
      await expectLeftOut(kept, beside);
    });

    it('commits the events of a session with `sameCommit` without it', async () => {
      const kept = store().stream(Kept);
      await kept.append('a', [noted(text)], { expectedVersion: 0 });
      await kept.session(
        'a',
        async (session) =>
          await session.append([noted('')], { sameCommit: (batch) => fill(batch, besideSession) }),
      );
      await expectLeftOut(kept, besideSession);
    });

    it('commits a batch that includes an append of a session without it', async () => {
      const kept = store().stream(Kept);
      await kept.append('a', [noted(text)], { expectedVersion: 0 });
      await kept.session('a', async (session) => {
        const batch = storage.atomic().include(session.appending([noted('')]));
        fill(batch, besideSession);
        await batch.commit();
      });
      await expectLeftOut(kept, besideSession);
    });
  });

  it('lets a session that renews itself end with its time, when the storage is closed before it', async () => {
    const clock = new ManualClock();
    const session = await store({ clock })
      .stream(Notes)
      .openSession('a', { sessionTimeoutMs: 900, renewal: 'auto' });
    await storage[Symbol.asyncDispose]();
    await clock.advance(500);
    expect([session.signal.aborted, clock.waiting > 0]).toEqual([false, true]);
    await clock.advance(1_000);
    // nothing waits any more that could hold the process
    expect([session.signal.aborted, clock.waiting]).toEqual([true, 0]);
  });

  it('lets a session renew itself for `renewalTimeoutMs` only: then its lock expires', async () => {
    const clock = new ManualClock();
    await using timed = await openKeyValueStorage({ provider: new MemoryProvider({ clock }) });
    const notes = new EventStore(timed, { clock, session: { renewalTimeoutMs: 5_000 } }).stream(Notes);
    const session = await notes.openSession('a', { sessionTimeoutMs: 900, renewal: 'auto' });
    for (let ms = 0; ms < 4_800; ms += 300) await clock.advance(300);
    expect(session.signal.aborted).toBe(false);
    for (let ms = 0; ms < 1_500; ms += 300) await clock.advance(300);
    expect(session.signal.aborted).toBe(true);
    await expect(session.append([noted('late')])).rejects.toMatchObject({ code: 'SESSION_EXPIRED' });
    await notes.append('a', [noted('free')], { expectedVersion: 'absent' });
    expect(clock.waiting).toBe(0);
  });

  it('folds each event once, whatever wants to know the state that it leads to', async () => {
    const folded: string[] = [];
    const Counted = defineStream('counted', {
      ...options,
      evolve: (texts, { data: { text } }) => {
        folded.push(text);
        return [...texts, text];
      },
      snapshot: { every: 2 },
    });
    const counted = store().stream(Counted);
    await counted.session('a', async (session) => {
      await session.append([noted('1'), noted('2')], {
        sameCommit: (_, { state }) => void expect(state).toEqual(['1', '2']),
      });
      await session.append([noted('3')], { close: true });
    });
    await counted.transact('b', () => [noted('4'), noted('5')], { sameCommit: () => undefined });
    expect(folded).toEqual(['1', '2', '3', '4', '5']);
  });

  it('does not break on an observer that does', async () => {
    const failing = store({
      observer: {
        observe: () => {
          throw new Error('no disk');
        },
        begin: () => () => {
          throw new Error('no network');
        },
      },
    }).stream(Notes);
    expect((await failing.append('a', [noted('there')], { expectedVersion: 0 })).version).toBe(1);
    await failing.session('a', async (session) => await session.append([noted('too')]));
    expect((await failing.load('a')).state).toEqual(['there', 'too']);
  });

  it('compares a repeat by types and data: not by metadata or the order of properties', async () => {
    const events = { noted: event<object>() };
    const stream = defineStream('note', { ...options, events, evolve: (texts) => texts });
    let userId = 'ann';
    const notes = store({ metadata: () => ({ userId }) }).stream(stream);
    const append = async (data: object) =>
      await notes.append(
        'a',
        [
          { type: 'noted', data },
          { type: 'noted', data: {} },
        ],
        { expectedVersion: 'any', idempotencyKey: 'k' },
      );
    const at = new Date(0);
    expect(await append({ text: 'x', tags: [{ a: 1, b: at }] })).toMatchObject({
      version: 2,
      replayed: false,
    });
    userId = 'bob';
    expect(await append({ tags: [{ b: at, a: 1 }], text: 'x' })).toMatchObject({
      version: 2,
      replayed: true,
    });
    const others = [
      { text: 'x' },
      { text: 'x', tags: [{ a: 1, b: 0 }] },
      { text: 'x', tags: [{ a: 2, b: at }] },
    ];
    for (const other of others) expect(await codeOf(() => append(other))).toBe('IDEMPOTENCY_CONFLICT');
  });

  it('compares a repeat by the events of its call, not by what the caller made of them later', async () => {
    const notes = store().stream(Notes);
    const data = { text: 'first' };
    const append = async (text: string) =>
      await notes.append('a', [noted(text)], { expectedVersion: 'any', idempotencyKey: 'k' });
    const appending = notes.append('a', [{ type: 'noted', data }], {
      expectedVersion: 'any',
      idempotencyKey: 'k',
    });
    data.text = 'second';
    await appending;
    expect(await codeOf(() => append('second'))).toBe('IDEMPOTENCY_CONFLICT');
    expect((await append('first')).replayed).toBe(true);
  });
});

/**
 * Each error of the streams as it comes: with the fields that its code promises, what holds then,
 * and a cause where something lies behind it.
 */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  defineState,
  isStorageError,
  MemoryProvider,
  openStorage,
  type KeyValueStorage,
  type StorageError,
} from '@kvent/key-value-storage';
import { ManualClock } from '@kvent/key-value-storage/testing';
import { z } from 'zod';
import {
  defineProjection,
  defineReaction,
  defineStream,
  event,
  EventStore,
  ProjectionRunner,
  ReactionRunner,
  type EventMap,
  type EventStream,
  type StreamErrorCode,
} from '../../core.js';
import { streamErrorTable } from './stream-errors.js';

const ledgerOf = <M extends EventMap>(events: M) =>
  defineStream('ledger', { events, initial: () => 0, evolve: (times: number) => times + 1 });
const Ledger = ledgerOf({ noted: event<{ secret: string }>() });
const Without = ledgerOf({ other: event() });
const Newer = ledgerOf({
  noted: event(z.object({ text: z.string() }), { schemaVersion: 2, upcast: { 1: (old: object) => old } }),
});
const noted = { type: 'noted', data: { secret: 'hunter2' } } as const;
const failing = defineProjection('failing', {
  streams: [Ledger],
  into: defineState<object>('none'),
  key: () => 'k',
  initial: () => ({}),
  evolve: (_, { data }) => {
    throw new Error(JSON.stringify(data));
  },
});
const failingReaction = defineReaction('failing', {
  streams: [Ledger],
  from: 'beginning',
  on: {
    noted: ({ data }) => {
      throw new Error(JSON.stringify(data));
    },
  },
});

let clock: ManualClock;
let provider: MemoryProvider;
let storage: KeyValueStorage;
let store: EventStore;
let ledger: EventStream<typeof Ledger>;
beforeEach(async () => {
  clock = new ManualClock();
  provider = new MemoryProvider({ clock });
  storage = await openStorage(provider);
  store = new EventStore(storage, { clock });
  ledger = store.stream(Ledger);
});
afterEach(() => storage[Symbol.asyncDispose]());

const stream = 'ledger/a';
const write = async (times = 1): Promise<void> =>
  void (await ledger.append(
    'a',
    Array.from({ length: times }, () => noted),
    { expectedVersion: 'any' },
  ));
const expired = async () => {
  const session = await ledger.openSession('a', { sessionTimeoutMs: 1_000 });
  await clock.advance(1_000);
  return session;
};
async function damage(text: string): Promise<void> {
  for await (const raw of provider.administration.export('shared')) {
    if (!raw.container.startsWith('event:')) continue;
    await provider.administration.import('shared', [
      { ...raw, row: { ...raw.row, value: { kind: 'json', text } } },
    ]);
  }
}

/** Work that ends in the error, and what the error says. */
const cases: Record<StreamErrorCode, () => Promise<readonly [work: Promise<unknown>, fields: object]>> = {
  STREAM_NOT_FOUND: async () => [ledger.loadOrThrow('a'), { stream }],
  STREAM_DELETED: async () => {
    await write();
    await ledger.delete('a');
    return [ledger.append('a', [noted], { expectedVersion: 'any' }), { stream }];
  },
  STREAM_VERSION_NOT_FOUND: async () => [ledger.load('a', { atVersion: 7 }), { stream, version: 7 }],
  STREAM_VERSION_MISMATCH: async () => {
    await write(2);
    return [
      ledger.append('a', [noted], { expectedVersion: 1 }),
      { stream, expected: 1, actual: 2, check: 'own' },
    ];
  },
  STREAM_LOCKED: async () => {
    const { expiresAt } = await ledger.openSession('a');
    return [ledger.append('a', [noted], { expectedVersion: 'any' }), { stream, until: expiresAt }];
  },
  SESSION_OPEN_FAILED: async () => {
    const { expiresAt } = await ledger.openSession('a');
    return [ledger.openSession('a', { openTimeoutMs: 0 }), { stream, openTimeoutMs: 0, until: expiresAt }];
  },
  SESSION_NOT_OPEN: async () => {
    const session = await ledger.openSession('a');
    await session.close();
    return [session.append([noted]), { stream }];
  },
  SESSION_EXPIRED: async () => {
    const session = await expired();
    return [session.append([noted]), { stream, expiredAt: session.expiresAt }];
  },
  SESSION_LOST: async () => {
    const session = await expired();
    await (await ledger.openSession('a')).close();
    return [session.append([noted]), { stream }];
  },
  SNAPSHOT_NOT_FOUND: async () => {
    await write();
    return [ledger.clearSnapshots('a', { version: 1 }), { stream, version: 1 }];
  },
  IDEMPOTENCY_KEY_NOT_FOUND: async () => [
    ledger.findByIdempotencyKeyOrThrow('a', 'k'),
    { stream, idempotencyKey: 'k' },
  ],
  EVENT_UNKNOWN_TYPE: async () => {
    await write();
    return [store.stream(Without).load('a'), { stream, version: 1, type: 'noted' }];
  },
  EVENT_UNREADABLE: async () => {
    await write();
    await damage('{"type":{"$date":"hunter2"}}');
    return [ledger.load('a'), { stream, version: 1 }];
  },
  PROJECTION_STOPPED: async () => {
    await write();
    const runner = new ProjectionRunner(storage, failing, { retry: { attempts: 1 } });
    await runner.start();
    return [runner.whenCaughtUp(), { projection: 'failing', tenant: undefined }];
  },
  PROJECTION_BEHIND: async () => {
    await write();
    const runner = new ProjectionRunner(storage, failing);
    return [runner.whenCaughtUp({ timeoutMs: 0 }), { projection: 'failing' }];
  },
  REACTION_STOPPED: async () => {
    await write();
    const runner = new ReactionRunner(storage, failingReaction, { retry: { attempts: 1 } });
    await runner.start();
    return [runner.whenCaughtUp(), { reaction: 'failing', tenant: undefined }];
  },
  REACTION_BEHIND: async () => {
    await write();
    const runner = new ReactionRunner(storage, failingReaction);
    return [runner.whenCaughtUp({ timeoutMs: 0 }), { reaction: 'failing' }];
  },
  INVALID_POSITION: async () => {
    const runner = new ProjectionRunner(storage, failing);
    return [runner.whenCaughtUp({ position: 'yesterday' }), {}];
  },
};
/** What the message names, where it is not the stream. */
const subjects: Partial<Record<StreamErrorCode, string>> = {
  PROJECTION_BEHIND: "'failing'",
  REACTION_BEHIND: "'failing'",
  INVALID_POSITION: '"yesterday"',
};

async function errorOf(work: Promise<unknown>): Promise<StorageError> {
  const error: unknown = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (isStorageError(error)) return error;
  throw new Error('It was done.', { cause: error });
}

describe('An error of a stream', () => {
  it.each(streamErrorTable.map(({ code }) => code))(
    '%s has its fields, changed nothing, and says no data',
    async (code) => {
      const [work, fields] = await cases[code]();
      const error = await errorOf(work);
      expect(error).toMatchObject({ code, effect: 'none', ...fields });
      expect(error.message).toContain(subjects[code] ?? 'ledger "a"');
      expect(error.help).toMatch(new RegExp(`^https://.*/docs/reference/errors\\.md#${code.toLowerCase()}$`));
      expect(error.message).not.toContain('docs/');
      expect(JSON.stringify(error) + error.message).not.toContain('hunter2');
    },
  );

  it('keeps what lies behind it as its cause: of an event that is no JSON, and of one whose upcast failed', async () => {
    await write();
    const invalid = await errorOf(store.stream(Newer).load('a'));
    expect(invalid).toMatchObject({
      code: 'EVENT_UNREADABLE',
      stream,
      version: 1,
      cause: { code: 'INVALID_VALUE' },
    });
    expect(invalid.message).toContain('upcast from schemaVersion 1 to 2');
    await damage('{"type":{"$date":"hunter2"}}');
    expect((await errorOf(ledger.load('a'))).cause).toBeInstanceOf(SyntaxError);
  });

  it('of the caller’s etag is a 412, and one of a check that the caller gave is not to be tried again', async () => {
    await write(2);
    const byEtag = await errorOf(ledger.append('a', [noted], { ifMatch: 'v1' }));
    expect(byEtag).toMatchObject({
      code: 'STREAM_VERSION_MISMATCH',
      check: 'caller',
      retryable: false,
      expected: 1,
      actual: 2,
    });
    expect(await errorOf(ledger.append('a', [noted], { expectedVersion: 1 }))).toMatchObject({
      check: 'own',
      retryable: false,
    });
  });

  it('that gave up after its attempts says how many they were', async () => {
    const error = await errorOf(
      ledger.transact(
        'a',
        async () => {
          await ledger.append('a', [noted], { expectedVersion: 'any' });
          return [noted];
        },
        { retry: { attempts: 3, delayMs: 0 } },
      ),
    );
    expect(error).toMatchObject({ code: 'STREAM_VERSION_MISMATCH', attempts: 3, retryable: true });
  });

  it('of the storage beneath comes through as it is, with its effect', async () => {
    const cause = new Error('no route to host');
    provider.commit = () => Promise.reject(Object.assign(cause, { code: 'EHOSTUNREACH' }));
    await expect(ledger.append('a', [noted], { expectedVersion: 'any' })).rejects.toBe(cause);
  });
});

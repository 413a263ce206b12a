import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { ConsoleLogger } from '@nestjs/common';
import { MemoryProvider, openStorage, type KeyValueStorage } from '@kvent/key-value-storage';
import { ManualClock } from '@kvent/key-value-storage/testing';
import { defineStream, event, EventStore } from '../core.js';
import { StreamLogger } from './stream-logger.js';

const defineJar = (schemaVersion: number) =>
  defineStream('jar', {
    events: { filled: event<{ secret: string }>() },
    initial: () => ({ secrets: [] as readonly string[] }),
    evolve: ({ secrets }, { data }) => ({ secrets: [...secrets, data.secret] }),
    snapshot: { every: 3, schemaVersion },
  });
const filled = { type: 'filled', data: { secret: 'hunter2' } } as const;

const logged: [level: string, line: Record<string, unknown>][] = [];
const level =
  (name: string) =>
  (line: unknown): void =>
    void logged.push([name, line as Record<string, unknown>]);
const logger = { log: level('log'), debug: level('debug'), warn: level('warn'), error: level('error') };

let clock: ManualClock;
let provider: MemoryProvider;
let storage: KeyValueStorage;
let store: EventStore;
beforeEach(async () => {
  logged.length = 0;
  clock = new ManualClock();
  provider = new MemoryProvider({ clock });
  storage = await openStorage(provider, { tenant: 'acme' });
  store = new EventStore(storage, { clock, observer: new StreamLogger(logger) });
});
afterEach(async () => {
  await store.close();
  await storage.close();
});
const ids = { type: 'jar', id: 'a', database: 'tenant:acme' };
const uuid = expect.stringMatching(/^[0-9a-f-]{36}$/);

describe('The log of streams has an entry with its ids as fields for', () => {
  it('appended events (debug), and a snapshot in the same commit (log)', async () => {
    await store.stream(defineJar(1)).append('a', [filled, filled], { expectedVersion: 'absent' });
    await store.stream(defineJar(1)).transact('a', () => [filled]);
    expect(logged).toEqual([
      ['debug', { message: 'events appended: jar/a', event: 'events appended', ...ids, from: 1, to: 2 }],
      ['debug', { message: 'events appended: jar/a', event: 'events appended', ...ids, from: 3, to: 3 }],
      ['log', { message: 'snapshot created: jar/a', event: 'snapshot created', ...ids, version: 3 }],
    ]);
  });

  it('a session that opens and closes (log), and its appends (debug)', async () => {
    const session = await store.stream(defineJar(1)).openSession('a');
    await session.append([filled]);
    await session.close();
    const fields = { ...ids, session: uuid };
    expect(logged).toEqual([
      [
        'log',
        {
          message: 'session opened: jar/a',
          event: 'session opened',
          ...fields,
          fencingToken: String(clock.now()),
          version: 0,
        },
      ],
      ['debug', { message: 'events appended: jar/a', event: 'events appended', ...fields, from: 1, to: 1 }],
      [
        'log',
        { message: 'session closed: jar/a', event: 'session closed', ...fields, version: 1, freed: true },
      ],
    ]);
    expect(new Set(logged.map(([, { session: id }]) => id)).size).toBe(1);
  });

  it('an expired session (warn)', async () => {
    const session = await store.stream(defineJar(1)).openSession('a', { sessionTimeoutMs: 1_000 });
    const expiredAt = session.expiresAt.toISOString();
    await clock.advance(1_000);
    await expect(session.renew()).rejects.toMatchObject({ code: 'SESSION_EXPIRED' });
    expect(logged.at(-1)).toEqual([
      'warn',
      { message: 'session expired: jar/a', event: 'session expired', ...ids, session: uuid, expiredAt },
    ]);
  });

  it('an expired session whose stream another session holds (warn), once', async () => {
    const session = await store.stream(defineJar(1)).openSession('a', { sessionTimeoutMs: 1_000 });
    const expiredAt = session.expiresAt.toISOString();
    await clock.advance(1_000);
    const next = await store.stream(defineJar(1)).openSession('a');
    for (let attempt = 0; attempt < 2; attempt += 1)
      await expect(session.append([filled])).rejects.toMatchObject({ code: 'SESSION_LOST' });
    await next.close();
    expect(logged.filter(([, { event: what }]) => what === 'session expired')).toEqual([
      [
        'warn',
        { message: 'session expired: jar/a', event: 'session expired', ...ids, session: uuid, expiredAt },
      ],
    ]);
  });

  it('a session that cannot open (warn), with the time until which the stream is held', async () => {
    const first = await store.stream(defineJar(1)).openSession('a');
    const until = first.expiresAt.toISOString();
    await expect(store.stream(defineJar(1)).openSession('a', { openTimeoutMs: 0 })).rejects.toMatchObject({
      code: 'SESSION_OPEN_FAILED',
    });
    expect(logged.at(-1)).toEqual([
      'warn',
      { message: 'open failed: jar/a', event: 'open failed', ...ids, openTimeoutMs: 0, until },
    ]);
  });

  it('a version mismatch (warn)', async () => {
    await store.stream(defineJar(1)).append('a', [filled], { expectedVersion: 'absent' });
    await expect(
      store.stream(defineJar(1)).append('a', [filled], { expectedVersion: 7 }),
    ).rejects.toMatchObject({
      actual: 1,
    });
    expect(logged.at(-1)).toEqual([
      'warn',
      { message: 'version mismatch: jar/a', event: 'version mismatch', ...ids, expected: 7, actual: 1 },
    ]);
  });

  it('an ignored snapshot (warn), with the reason, without its content', async () => {
    await store.stream(defineJar(1)).transact('a', () => [filled, filled, filled]);
    await store.stream(defineJar(2)).load('a');
    expect(logged.at(-1)).toEqual([
      'warn',
      {
        message: 'snapshot ignored: jar/a',
        event: 'snapshot ignored',
        ...ids,
        version: 3,
        reason: 'it has schemaVersion 1, and the current one is 2',
      },
    ]);
    for await (const raw of provider.administration.export('tenant:acme')) {
      if (!raw.container.startsWith('snapshot:')) continue;
      const damaged = {
        ...raw,
        row: { ...raw.row, value: { kind: 'json', text: '{"$date":"hunter2"}' } as const },
      };
      await provider.administration.import('tenant:acme', [damaged]);
    }
    await store.stream(defineJar(1)).load('a');
    expect(logged.at(-1)?.[1]).toMatchObject({
      version: 3,
      reason: 'it cannot be read',
      cause: 'SyntaxError',
    });
    expect(JSON.stringify(logged)).not.toContain('hunter2');
  });

  it.each<[string, unknown]>([
    ['string', 'hunter2'],
    ['object', { payload: 'hunter2' }],
    ['object', { name: 'hunter2' }],
    ['TypeError', new TypeError('hunter2')],
    ['undefined', undefined],
  ])('a listener that throws (error): of its cause only the kind, here %s', async (kind, thrown) => {
    const committed = (): never => {
      throw thrown;
    };
    const failing = new EventStore(storage, { clock, observer: new StreamLogger(logger), committed });
    await failing.stream(defineJar(1)).append('a', [filled], { expectedVersion: 'absent' });
    while (logged.length < 2) await Promise.resolve();
    expect(logged.at(-1)).toMatchObject([
      'error',
      { event: 'listener failed', ...ids, from: 1, to: 1, ...(thrown !== undefined && { cause: kind }) },
    ]);
    expect(JSON.stringify(logged)).not.toContain('hunter2');
  });

  it('the logger of Nest, whose JSON contains each field', async () => {
    const printed: string[] = [];
    class RecordingLogger extends ConsoleLogger {
      protected override printAsJson(...args: Parameters<ConsoleLogger['printAsJson']>): void {
        printed.push(JSON.stringify(args[0]));
      }
    }
    const observer = new StreamLogger(new RecordingLogger('EventStore', { json: true }));
    await new EventStore(storage, { clock, observer }).stream(defineJar(1)).openSession('b');
    expect(JSON.parse(printed[0] ?? '')).toMatchObject({
      event: 'session opened',
      type: 'jar',
      id: 'b',
      fencingToken: String(clock.now()),
    });
  });
});

describe('The log of streams', () => {
  it('is one line an entry with the default logger of Nest, which prints plain objects on many', async () => {
    const printed: string[] = [];
    class RecordingLogger extends ConsoleLogger {
      protected override printMessages(
        ...[messages, context, level]: Parameters<ConsoleLogger['printMessages']>
      ): void {
        for (const message of messages)
          printed.push(this.formatMessage(level ?? 'log', message, '', String(level), context ?? '', ''));
      }
    }
    const observer = new StreamLogger(new RecordingLogger('EventStore', { colors: false }));
    const stream = new EventStore(storage, { clock, observer }).stream(defineJar(1));
    await stream.append('a', [filled, filled], { expectedVersion: 'absent' });
    expect(printed).toHaveLength(1);
    expect(printed[0]).toMatch(/events appended: jar\/a \(from=1, to=2, database=tenant:acme\)\n$/);
    expect(printed[0]?.split('\n')).toHaveLength(2);
  });

  it('has no entry for reads, nor for a transaction without events', async () => {
    await store.stream(defineJar(1)).load('a');
    await store.stream(defineJar(1)).version('a');
    await store.stream(defineJar(1)).transact('a', () => []);
    expect(logged).toEqual([]);
  });

  it('does not affect an append when the logger throws', async () => {
    const failingLogger = {
      ...logger,
      debug: () => {
        throw new Error('disk full');
      },
    };
    const observer = new StreamLogger(failingLogger);
    const storeWithFailingLogger = new EventStore(storage, { clock, observer });
    await expect(
      storeWithFailingLogger.stream(defineJar(1)).append('a', [filled], { expectedVersion: 'any' }),
    ).resolves.toMatchObject({
      version: 1,
      replayed: false,
    });
  });
});

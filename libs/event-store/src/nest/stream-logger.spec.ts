import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { ConsoleLogger, type LoggerService } from '@nestjs/common';
import { MemoryProvider, openStorage, type KeyValueStorage } from '@kvent/key-value-storage';
import { ManualClock } from '@kvent/key-value-storage/testing';
import { defineStream, event, EventStore } from '../core.js';
import { StreamLogger } from './stream-logger.js';

const jars = (schemaVersion: number) =>
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
const eventsLogged = () => logged.map(([name, { event: what }]) => `${name}: ${String(what)}`);

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
  await storage[Symbol.asyncDispose]();
});
const ids = { type: 'jar', id: 'a', database: 'tenant:acme' };
const uuid = expect.stringMatching(/^[0-9a-f-]{36}$/);

describe('What happens at streams is logged, each with its ids as fields', () => {
  it('events that are appended (debug), and a snapshot that goes along (log)', async () => {
    await store.stream(jars(1)).append('a', [filled, filled], { expectedVersion: 'absent' });
    await store.stream(jars(1)).transact('a', () => [filled]);
    expect(logged).toEqual([
      ['debug', { message: 'events appended: jar/a', event: 'events appended', ...ids, from: 1, to: 2 }],
      ['debug', { message: 'events appended: jar/a', event: 'events appended', ...ids, from: 3, to: 3 }],
      ['log', { message: 'snapshot created: jar/a', event: 'snapshot created', ...ids, version: 3 }],
    ]);
  });

  it('a session that is opened, appends, and is closed (log)', async () => {
    const session = await store.stream(jars(1)).openSession('a');
    await session.append([filled]);
    await session.close();
    const mine = { ...ids, session: uuid };
    expect(logged).toEqual([
      [
        'log',
        { message: 'session opened: jar/a', event: 'session opened', ...mine, fencingToken: '1', version: 0 },
      ],
      ['debug', { message: 'events appended: jar/a', event: 'events appended', ...mine, from: 1, to: 1 }],
      [
        'log',
        { message: 'session closed: jar/a', event: 'session closed', ...mine, version: 1, freed: true },
      ],
    ]);
    expect(new Set(logged.map(([, { session: id }]) => id)).size).toBe(1);
  });

  it('a session that slept through its time (warn), and that its late close freed nothing', async () => {
    const session = await store.stream(jars(1)).openSession('a', { sessionTimeoutMs: 1_000 });
    const expiredAt = session.expiresAt.toISOString();
    await clock.advance(1_000);
    await expect(session.renew()).rejects.toMatchObject({ code: 'SESSION_EXPIRED' });
    expect(logged.at(-1)).toEqual([
      'warn',
      { message: 'session expired: jar/a', event: 'session expired', ...ids, session: uuid, expiredAt },
    ]);
  });

  it('a session that slept until another had its stream (warn), once', async () => {
    const session = await store.stream(jars(1)).openSession('a', { sessionTimeoutMs: 1_000 });
    const expiredAt = session.expiresAt.toISOString();
    await clock.advance(1_000);
    const next = await store.stream(jars(1)).openSession('a');
    for (let time = 0; time < 2; time += 1)
      await expect(session.append([filled])).rejects.toMatchObject({ code: 'SESSION_LOST' });
    await next.close();
    expect(logged.filter(([, { event: what }]) => what === 'session expired')).toEqual([
      [
        'warn',
        { message: 'session expired: jar/a', event: 'session expired', ...ids, session: uuid, expiredAt },
      ],
    ]);
  });

  it('a stream that is not let in (error), with until when it is held', async () => {
    const first = await store.stream(jars(1)).openSession('a');
    const until = first.expiresAt.toISOString();
    await expect(store.stream(jars(1)).openSession('a', { openTimeoutMs: 0 })).rejects.toMatchObject({
      code: 'SESSION_OPEN_FAILED',
    });
    expect(logged.at(-1)).toEqual([
      'error',
      { message: 'open failed: jar/a', event: 'open failed', ...ids, openTimeoutMs: 0, until },
    ]);
  });

  it('a version that is another one than expected (warn)', async () => {
    await store.stream(jars(1)).append('a', [filled], { expectedVersion: 'absent' });
    await expect(store.stream(jars(1)).append('a', [filled], { expectedVersion: 7 })).rejects.toMatchObject({
      actual: 1,
    });
    expect(logged.at(-1)).toEqual([
      'warn',
      { message: 'version mismatch: jar/a', event: 'version mismatch', ...ids, expected: 7, actual: 1 },
    ]);
  });

  it('a snapshot that is not used, and why (warn); never what is in it', async () => {
    await store.stream(jars(1)).transact('a', () => [filled, filled, filled]);
    await store.stream(jars(2)).load('a');
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
      const spoilt = {
        ...raw,
        row: { ...raw.row, value: { kind: 'json', text: '{"$date":"hunter2"}' } as const },
      };
      await provider.administration.import('tenant:acme', [spoilt]);
    }
    await store.stream(jars(1)).load('a');
    expect(logged.at(-1)?.[1]).toMatchObject({
      version: 3,
      reason: 'it cannot be read',
      cause: 'SyntaxError',
    });
    expect(JSON.stringify(logged)).not.toContain('hunter2');
  });

  it('with Nest’s own logger too: each field is in its JSON', async () => {
    const printed: string[] = [];
    class Printing extends ConsoleLogger {
      protected override printAsJson(...given: Parameters<ConsoleLogger['printAsJson']>): void {
        printed.push(JSON.stringify(given[0]));
      }
    }
    const nest: LoggerService = new Printing('EventStore', { json: true });
    const observer = new StreamLogger(nest as ConsoleLogger);
    await new EventStore(storage, { clock, observer }).stream(jars(1)).openSession('b');
    expect(JSON.parse(printed[0] ?? '')).toMatchObject({
      event: 'session opened',
      type: 'jar',
      id: 'b',
      fencingToken: '1',
    });
  });

  it('nothing of it where all goes well and nobody listens for it', async () => {
    await store.stream(jars(1)).load('a');
    await store.stream(jars(1)).version('a');
    await store.stream(jars(1)).transact('a', () => []);
    expect(eventsLogged()).toEqual([]);
  });

  it('and a log that fails harms no append', async () => {
    const failing = {
      ...logger,
      debug: () => {
        throw new Error('disk full');
      },
    };
    const other = new EventStore(storage, { clock, observer: new StreamLogger(failing) });
    await expect(other.stream(jars(1)).append('a', [filled], { expectedVersion: 'any' })).resolves.toEqual({
      version: 1,
      replayed: false,
    });
  });
});

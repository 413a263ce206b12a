/**
 * Streams on Postgres behind a network that loses answers or requests: no event is stored twice,
 * and a commit that may have been done is never reported as failed.
 */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { defineStream, event, EventStore, type EventStream } from '@kvent/event-store/core';
import { isStorageError, openStorage, type KeyValueStorage } from '@kvent/key-value-storage/core';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { collect } from '@kvent/key-value-storage/testing';
import { asAdmin, freshDatabase, type FreshDatabase } from '../postgres/databases.js';
import { Proxy } from '../postgres/proxy.js';

const Notes = defineStream('note', {
  events: { noted: event<{ text: string }>() },
  initial: (): readonly string[] => [],
  evolve: (texts, { data: { text } }) => [...texts, text],
});
const noted = (text: string) => ({ type: 'noted', data: { text } }) as const;

describe.each(['answer', 'request'] as const)('streams on Postgres, when the %s is lost', (loss) => {
  let database: FreshDatabase;
  let proxy: Proxy;
  let storage: KeyValueStorage;
  let notes: EventStream<typeof Notes>;
  beforeEach(async () => {
    database = await freshDatabase();
    proxy = await Proxy.before({ port: Number(new URL(database.url).port) });
    storage = await openStorage(new PostgresProvider({ url: proxy.url(database.url) }));
    notes = new EventStore(storage).stream(Notes);
  });
  afterEach(async () => {
    await storage[Symbol.asyncDispose]();
    await proxy[Symbol.asyncDispose]();
    await database[Symbol.asyncDispose]();
  });

  const committed = loss === 'answer';
  const textsIn = async (id: string) => (await collect(notes.read(id))).map(({ data }) => data.text);
  /** Loses the message that contains the text: the outcome must be unknown. */
  async function losing(text: string, work: () => Promise<unknown>): Promise<void> {
    const gone = loss === 'answer' ? proxy.loseAnswer(text) : proxy.loseRequest(text);
    const error: unknown = await work().catch((thrown: unknown) => thrown);
    expect(isStorageError(error, 'STORAGE_OUTCOME_UNKNOWN') && error.effect).toBe('unknown');
    await gone;
  }

  it('do a repeated append and a repeated transaction with their keys once', async () => {
    const append = () =>
      notes.append('a', [noted('appended'), noted('too')], { expectedVersion: 0, idempotencyKey: 'k' });
    await losing('appended', append);
    expect(await append()).toMatchObject({ version: 2, replayed: committed });
    const transact = () =>
      notes.transact('a', (texts) => [noted(`decided on ${texts.length}`)], { idempotencyKey: 'l' });
    await losing('decided on 2', transact);
    expect(await transact()).toMatchObject({ version: 3, replayed: committed });
    expect(await textsIn('a')).toEqual(['appended', 'too', 'decided on 2']);
  });

  it('continue a session from what was committed', async () => {
    await using session = await notes.openSession('a');
    await session.append([noted('first')]);
    await losing('second', () => session.append([noted('second')]));
    await session.append([noted('third')]);
    expect(session.state).toEqual(committed ? ['first', 'second', 'third'] : ['first', 'third']);
    const last = () => session.append([noted('last')], { idempotencyKey: 'k', close: true });
    await losing('last', last);
    expect((await last()).replayed).toBe(committed);
    await notes.append('a', [noted('outside')], {
      expectedVersion: session.state.length + (committed ? 1 : 0),
    });
    expect(await textsIn('a')).toEqual([
      'first',
      ...(committed ? ['second'] : []),
      'third',
      'last',
      'outside',
    ]);
  });

  it('are held by the opener, or not at all', async () => {
    // the request that opens a session is the only one that contains this word
    const open = () => notes.openSession('a', { openTimeoutMs: 0 });
    if (committed) {
      const gone = proxy.loseAnswer('session');
      await using session = await open();
      await gone;
      expect(await open().catch((error: unknown) => isStorageError(error) && error.code)).toBe(
        'SESSION_OPEN_FAILED',
      );
      expect((await session.append([noted('mine')])).version).toBe(1);
    } else {
      await losing('session', open);
      await (await open()).close();
    }
    expect(
      (await notes.append('a', [noted('outside')], { expectedVersion: committed ? 1 : 0 })).version,
    ).toBe(committed ? 2 : 1);
  });

  it('go on in a session whose renewal or batch has an unknown outcome', async () => {
    await using session = await notes.openSession('a');
    // a renewal and a batch of a session read nothing before
    await losing('lease', () => session.renew());
    expect((await session.renew()).getTime()).toBeGreaterThan(Date.now());
    const batch = (text: string) =>
      storage
        .atomic()
        .include(session.appending([noted(text)]))
        .commit();
    await losing('in a batch', () => batch('in a batch'));
    await batch('next');
    expect(await textsIn('a')).toEqual([...(committed ? ['in a batch'] : []), 'next']);
    expect(session.state).toEqual(await textsIn('a'));
  });

  const isFree = async () =>
    await notes.append('a', [noted('outside')], { expectedVersion: 'any' }).then(
      () => true,
      (error: unknown) => !isStorageError(error, 'STREAM_LOCKED'),
    );

  it('are freed by the repeated close of a session, which frees no other one', async () => {
    const session = await notes.openSession('a');
    await session.append([noted('first')]);
    await losing('lease', () => session.close());
    await using next = committed ? await notes.openSession('a') : undefined;
    await session.close();
    expect(await isFree()).toBe(!committed);
    await next?.append([noted('of the next')]);
  });

  it('are freed with their session, or when its time is over: its work was done', async () => {
    const work = await notes.session('a', async (session) => {
      await session.append([noted('first')]);
      // its close, whose error is not thrown
      void (committed ? proxy.loseAnswer('lease') : proxy.loseRequest('lease'));
      return session.version;
    });
    expect(work).toBe(1);
    expect(await isFree()).toBe(committed);
  });
  it('are unlocked by a repeated unlock', async () => {
    const session = await notes.openSession('a');
    await session.append([noted('first')]);
    const head = await asAdmin(database.url, async (admin) => {
      const { rows } = await admin.query<{ version: string }>(
        `select version from kvent.row where container like 'head:%' and key = 'a'`,
      );
      return rows[0]?.version ?? 'none';
    });
    await losing(head, () => notes.unlock('a'));
    expect(await notes.unlock('a')).toBe(!committed);
    expect(await isFree()).toBe(true);
    await expect(session.append([noted('late')])).rejects.toMatchObject({ code: 'SESSION_LOST' });
    expect(await textsIn('a')).toEqual(['first', 'outside']);
  });
});

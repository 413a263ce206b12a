/**
 * Streams on a real Postgres whose network swallows answers, or requests: nothing is there twice,
 * and nobody is told that something failed which may be there.
 */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { defineStream, event, EventStore, type EventStream } from '@kvent/event-store/core';
import { isStorageError, openStorage, type KeyValueStorage } from '@kvent/key-value-storage/core';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { collect } from '@kvent/key-value-storage/testing';
import { freshDatabase, type FreshDatabase } from '../postgres/databases.js';
import { Proxy } from '../postgres/proxy.js';

const Notes = defineStream('note', {
  events: { noted: event<{ text: string }>() },
  initial: (): readonly string[] => [],
  evolve: (texts, { data: { text } }) => [...texts, text],
});
const noted = (text: string) => ({ type: 'noted', data: { text } }) as const;

describe.each(['answer', 'request'] as const)(
  'streams on Postgres, when the %s is lost on the way',
  (loss) => {
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

    const landed = loss === 'answer';
    const textsIn = async (id: string) => (await collect(notes.read(id))).map(({ data }) => data.text);
    /** What mentions the text is lost, and told as what nobody knows. */
    async function losing(text: string, work: () => Promise<unknown>): Promise<void> {
      const gone = loss === 'answer' ? proxy.loseAnswer(text) : proxy.loseRequest(text);
      const error: unknown = await work().catch((thrown: unknown) => thrown);
      expect(isStorageError(error, 'STORAGE_OUTCOME_UNKNOWN') && error.effect).toBe('unknown');
      await gone;
    }

    it('do an append and a transaction once that are repeated with their keys', async () => {
      const append = () =>
        notes.append('a', [noted('appended'), noted('too')], { expectedVersion: 0, idempotencyKey: 'k' });
      await losing('appended', append);
      expect(await append()).toEqual({ version: 2, replayed: landed });
      const transact = () =>
        notes.transact('a', (texts) => [noted(`decided on ${texts.length}`)], { idempotencyKey: 'l' });
      await losing('decided on 2', transact);
      expect(await transact()).toMatchObject({ version: 3, replayed: landed });
      expect(await textsIn('a')).toEqual(['appended', 'too', 'decided on 2']);
    });

    it('go on with a session from what has landed', async () => {
      await using session = await notes.openSession('a');
      await session.append([noted('first')]);
      await losing('second', () => session.append([noted('second')]));
      await session.append([noted('third')]);
      expect(session.state).toEqual(landed ? ['first', 'second', 'third'] : ['first', 'third']);
      const last = () => session.append([noted('last')], { idempotencyKey: 'k', close: true });
      await losing('last', last);
      expect((await last()).replayed).toBe(landed);
      await notes.append('a', [noted('outside')], {
        expectedVersion: session.state.length + (landed ? 1 : 0),
      });
      expect(await textsIn('a')).toEqual([
        'first',
        ...(landed ? ['second'] : []),
        'third',
        'last',
        'outside',
      ]);
    });

    it('hold a stream for whoever opened it, or for nobody', async () => {
      // the head of a held stream names its session; nothing that is read does
      const open = () => notes.openSession('a', { openTimeoutMs: 0 });
      if (landed) {
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
      expect((await notes.append('a', [noted('outside')], { expectedVersion: landed ? 1 : 0 })).version).toBe(
        landed ? 2 : 1,
      );
    });
  },
);

/**
 * Verbs of several commits on Postgres, where the network loses the answer to one of them, or its
 * request: the error says what is done for certain, and that more may be; the repeat does the rest.
 */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { defineStream, event, EventStore, type EventStream } from '@kvent/event-store/core';
import {
  copyDatabase,
  defineState,
  isStorageError,
  openStorage,
  StateMigration,
  type KeyValueStorage,
  type KeyValueStore,
} from '@kvent/key-value-storage/core';
import { MemoryProvider } from '@kvent/key-value-storage';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { collect } from '@kvent/key-value-storage/testing';
import { freshDatabase, type FreshDatabase } from '../postgres/databases.js';
import { Proxy } from '../postgres/proxy.js';
import { until } from '../postgres/until.js';

const Names = defineState<string>('name');
const Copies = defineState<string>('copy');
const Notes = defineStream('note', {
  events: { noted: event<{ text: string }>() },
  initial: (): readonly string[] => [],
  evolve: (texts, { data: { text } }) => [...texts, text],
});
/** One more than a commit of keys may have. */
const many = Array.from({ length: 901 }, (_, index) => ({
  key: `key-${String(index).padStart(4, '0')}`,
  value: 'a name',
}));
const last = 'key-0900';

describe.each(['answer', 'request'] as const)('when the %s of one of its commits is lost,', (loss) => {
  let database: FreshDatabase;
  let proxy: Proxy;
  let storage: KeyValueStorage;
  let names: KeyValueStore<string>;
  let notes: EventStream<typeof Notes>;
  beforeEach(async () => {
    database = await freshDatabase();
    proxy = await Proxy.before({ port: Number(new URL(database.url).port) });
    storage = await openStorage(new PostgresProvider({ url: proxy.url(database.url) }));
    names = storage.store(Names);
    notes = new EventStore(storage).stream(Notes);
  });
  afterEach(async () => {
    await storage[Symbol.asyncDispose]();
    await proxy[Symbol.asyncDispose]();
    await database[Symbol.asyncDispose]();
  });

  const isDone = loss === 'answer';
  /** Loses the request with the text: the outcome must be unknown, and `done` before it. */
  async function losing(text: string, done: number, work: () => Promise<unknown>): Promise<void> {
    const gone = isDone ? proxy.loseAnswer(text) : proxy.loseRequest(text);
    const error: unknown = await work().catch((thrown: unknown) => thrown);
    expect(isStorageError(error, 'STORAGE_OUTCOME_UNKNOWN') && [error.effect, error.done]).toEqual([
      'unknown',
      done,
    ]);
    await gone;
  }
  const namesIn = async (store = names) =>
    (await collect(store.list())).map(({ key, value }) => [key, value] as const);

  it('a load has stored what it counts, and what is unknown is neither loaded nor a failure', async () => {
    await names.set('b', 'before');
    const load = () =>
      names.loadFrom(
        [
          { key: 'a', value: 'first' },
          { key: '', value: 'refused' },
          { key: 'b', value: 'second' },
          { key: 'c', value: 'third' },
        ],
        { chunk: 1, concurrency: 1, onError: 'continue' },
      );
    // its first commit finds that the key exists, and is no longer one of new keys
    await names.set('a', 'before');
    await losing('second', 1, load);
    expect(await namesIn()).toEqual([
      ['a', 'first'],
      ['b', isDone ? 'second' : 'before'],
    ]);
    expect(await load()).toMatchObject({ loaded: 3, failed: 1, failures: [{ index: 1 }] });
    expect(await namesIn()).toEqual([
      ['a', 'first'],
      ['b', 'second'],
      ['c', 'third'],
    ]);
  });

  it.each<readonly [string, () => Promise<number>]>([
    ['deleteKeys', () => names.deleteKeys(many.map(({ key }) => key))],
    ['deleteMany', () => names.deleteMany({ prefix: 'key-' })],
    ['clear', () => names.clear()],
  ])('%s has deleted what it counts, and its repeat deletes the rest', async (_, deletion) => {
    await names.loadFrom(many);
    await losing(last, 900, deletion);
    expect(await names.count()).toBe(isDone ? 0 : 1);
    expect(await deletion()).toBe(isDone ? 0 : 1);
    expect(await names.count()).toBe(0);
  });

  it.each<readonly [string, () => KeyValueStore<string>]>([
    ['another store', () => storage.store(Copies)],
    ['another tenant', () => storage.store(Copies).forTenant('other')],
  ])('a migration into %s has copied what it counts, and goes on where it was', async (_, target) => {
    const items = ['a', 'b', 'c'].map((key) => ({ key, value: `value of ${key}` }));
    await names.setMany(items);
    const copies = target();
    const run = () =>
      new StateMigration(names, { to: copies, pageRows: 1, concurrency: 1, onError: 'continue' }).run();
    await losing('value of b', 1, run);
    expect(await copies.count()).toBe(isDone ? 2 : 1);
    expect(await run()).toMatchObject({ resumed: true, failed: 0, written: isDone ? 1 : 2 });
    expect(await namesIn(copies)).toEqual(items.map(({ key, value }) => [key, value]));
  });

  it('the deletion of a stream has marked it, and its repeat deletes the events', async () => {
    await notes.append(
      'a',
      [
        { type: 'noted', data: { text: 'one' } },
        { type: 'noted', data: { text: 'two' } },
      ],
      {
        expectedVersion: 0,
      },
    );
    // of the second event: the first one is deleted in the commit that marks the stream
    await losing('!n1b2', 1, () => notes.delete('a'));
    expect(await notes.version('a')).toBe(0);
    expect(await notes.delete('a')).toBe(false);
    expect(await storage.sweep()).toBe(0);
  });

  it('snapshots of a stream are stored as they are counted, and cleared again', async () => {
    const events = ['one', 'two'].map((text) => ({ type: 'noted', data: { text } }) as const);
    await notes.append('a', events, { expectedVersion: 0 });
    const snapshots = () => notes.snapshotAll('a', { every: 1 });
    await losing('two', 1, snapshots);
    expect(await notes.snapshotVersions('a')).toEqual(isDone ? [1, 2] : [1]);
    expect(await snapshots()).toEqual([1, 2]);
    expect(await notes.snapshotVersions('a')).toEqual([1, 2]);
  });

  it('a copy from another storage is unfinished, and is resumed', async () => {
    const from = new MemoryProvider();
    await using source = await openStorage(from);
    await source.store(Names).loadFrom(many);
    const to = new PostgresProvider({ url: proxy.url(database.url) });
    await using _ = await openStorage(to);
    const copy = (ifPresent: 'refuse' | 'resume') =>
      copyDatabase(from, to, { database: 'shared', ifPresent });
    // the last row is in the only statement of the import
    await losing(last, many.length, () => copy('refuse'));
    expect(await copy('resume')).toMatchObject({ outcome: 'copied', rows: many.length });
    expect(await namesIn()).toEqual(many.map(({ key, value }) => [key, value]));
  });

  it('the build of an index is repeated, and has each entry once', async () => {
    await names.setMany(['a', 'b', 'c'].map((key) => ({ key, value: `value of ${key}` })));
    const indexed = storage.store(
      defineState<string>('name', { indexes: { byText: { key: (text: string) => text, unique: true } } }),
    );
    // the rows of an index have copies of the values
    const gone = isDone ? proxy.loseAnswer('value of c') : proxy.loseRequest('value of c');
    const read = async () =>
      await collect(indexed.index('byText').list()).catch((error: unknown) => {
        if (!isStorageError(error, 'INDEX_NOT_READY')) throw error;
      });
    await until('the index is built', async () => (await read()) !== undefined);
    await gone;
    expect((await read())?.map(({ key }) => key)).toEqual(['a', 'b', 'c']);
    await expect(indexed.set('d', 'value of c')).rejects.toMatchObject({ code: 'UNIQUE_TAKEN' });
  });
});

/** Events are checked when they are appended, and upcast when they are read. */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { isStorageError, openStorage, type KeyValueStorage } from '@kvent/key-value-storage/core';
import { MemoryProvider } from '@kvent/key-value-storage';
import { collect } from '@kvent/key-value-storage/testing';
import { z } from 'zod';
import { EventStore } from '../event-store.js';
import { defineStream, event, type AnyStream } from '../definition/stream-definition.js';
import type { EventStream } from '../definition/event-stream.js';

const initial = (): readonly string[] => [];

/**
 * Three releases of one stream type: a name; first and last name; a full name with a language.
 */
const First = defineStream('person', {
  events: { named: z.object({ name: z.string() }), left: event() },
  initial,
  evolve: (names, { type, data }) => (type === 'named' ? [...names, data.name] : names),
});
const Second = defineStream('person', {
  events: {
    named: event(z.object({ first: z.string(), last: z.string() }), {
      schemaVersion: 2,
      upcast: {
        1: ({ name }: { name: string }) => ({ first: name.split(' ')[0], last: name.split(' ')[1] }),
      },
    }),
    left: event(),
  },
  initial,
  evolve: (names, { type, data }) => (type === 'named' ? [...names, `${data.last}, ${data.first}`] : names),
});
const third = (
  upcast: (older: { first: string; last: string }) => unknown,
  schema = z.object({ full: z.string(), language: z.string() }),
) =>
  defineStream('person', {
    events: {
      named: event(schema, {
        schemaVersion: 3,
        upcast: {
          1: ({ name }: { name: string }) => ({ first: name.split(' ')[0], last: name.split(' ')[1] }),
          2: upcast,
        },
      }),
      left: event(),
    },
    initial,
    evolve: (names, { type, data }) =>
      type === 'named' ? [...names, `${data.full} (${data.language})`] : names,
  });
const Third = third(({ first, last }) => ({ full: `${first} ${last}`, language: 'en' }));

describe('events of a stream', () => {
  let storage: KeyValueStorage;
  let stream: <D extends AnyStream>(definition: D) => EventStream<D>;
  beforeEach(async () => {
    storage = await openStorage(new MemoryProvider());
    const store = new EventStore(storage);
    stream = (definition) => store.stream(definition);
  });
  afterEach(async () => {
    await storage.close();
  });
  const errorOf = async (
    work: () => Promise<unknown>,
  ): Promise<{ code?: string; version?: number; cause?: unknown }> => {
    const error: unknown = await work().catch((thrown: unknown) => thrown);
    return isStorageError(error) ? error : {};
  };

  it('of three releases are upcast step by step, each from its own schema version', async () => {
    await stream(First).append('a', [{ type: 'named', data: { name: 'Ada Lovelace' } }, { type: 'left' }], {
      expectedVersion: 0,
    });
    await stream(Second).append('a', [{ type: 'named', data: { first: 'Grace', last: 'Hopper' } }], {
      expectedVersion: 2,
    });
    await stream(Third).append('a', [{ type: 'named', data: { full: 'Barbara Liskov', language: 'pt' } }], {
      expectedVersion: 3,
    });
    expect((await stream(Third).load('a')).state).toEqual([
      'Ada Lovelace (en)',
      'Grace Hopper (en)',
      'Barbara Liskov (pt)',
    ]);
    const events = await collect(stream(Third).read('a'));
    // the stored schema version is kept
    expect(events.map(({ type, metadata }) => [type, metadata.schemaVersion])).toEqual([
      ['named', 1],
      ['left', 1],
      ['named', 2],
      ['named', 3],
    ]);
    expect(events[0]?.data).toEqual({ full: 'Ada Lovelace', language: 'en' });
    expect(Object.isFrozen(events[0])).toBe(true);
  });

  it('of a later release are EVENT_UNREADABLE, with their stream and version', async () => {
    await stream(First).append('a', [{ type: 'left' }], { expectedVersion: 0 });
    await stream(Third).append('a', [{ type: 'named', data: { full: 'Ada', language: 'en' } }], {
      expectedVersion: 1,
    });
    for (const work of [
      () => stream(Second).load('a'),
      () => collect(stream(First).read('a')),
      () => stream(First).transact('a', () => []),
    ])
      expect(await errorOf(work)).toMatchObject({ code: 'EVENT_UNREADABLE', stream: 'person/a', version: 2 });
  });

  it.each([
    [
      'throws',
      third(() => {
        throw new RangeError('the cause');
      }),
      RangeError,
    ],
    ['returns a value that the schema refuses', third(({ first }) => ({ full: first })), Error],
  ])('are EVENT_UNREADABLE when an upcast %s, and the cause is kept', async (_, Broken, cause) => {
    await stream(First).append('a', [{ type: 'left' }, { type: 'named', data: { name: 'Ada Lovelace' } }], {
      expectedVersion: 0,
    });
    const error = await errorOf(() => stream(Broken).load('a'));
    expect(error).toMatchObject({ code: 'EVENT_UNREADABLE', version: 2 });
    expect(error.cause).toBeInstanceOf(cause);
  });

  it('are upcast also when the schema is asynchronous', async () => {
    const slow = z
      .object({ full: z.string(), language: z.string() })
      .refine(async () => await Promise.resolve(true));
    const Slow = third(({ first, last }) => ({ full: `${first} ${last}`, language: 'en' }), slow);
    await stream(First).append('a', [{ type: 'named', data: { name: 'Ada Lovelace' } }], {
      expectedVersion: 0,
    });
    await stream(Slow).append('a', [{ type: 'named', data: { full: 'Grace Hopper', language: 'en' } }], {
      expectedVersion: 1,
    });
    expect((await stream(Slow).load('a')).state).toEqual(['Ada Lovelace (en)', 'Grace Hopper (en)']);
    expect(
      (await collect(stream(Slow).read('a'))).map(({ data }) => (data as { full: string }).full),
    ).toEqual(['Ada Lovelace', 'Grace Hopper']);
  });

  it('are INVALID_OPTION with the cause if their schema throws, and nothing is appended', async () => {
    const failing = z.object({ name: z.string() }).refine(() => {
      throw new TypeError('down');
    });
    const Failing = defineStream('failing', {
      events: { named: failing },
      initial,
      evolve: (names) => names,
    });
    const events = [{ type: 'named' as const, data: { name: 'Ada' } }];
    for (const work of [
      () => stream(Failing).append('a', events, { expectedVersion: 0 }),
      () => stream(Failing).transact('a', () => events),
    ])
      expect(await errorOf(work)).toMatchObject({
        code: 'INVALID_OPTION',
        message: 'The schema must return issues, and has thrown TypeError for event 0 (named) of failing.',
        cause: { message: 'down' },
      });
    expect((await stream(Failing).load('a')).version).toBe(0);
  });

  it('are stored as the output of their schema; if it refuses one, nothing is appended, and the error has its path', async () => {
    const Trimmed = defineStream('trimmed', {
      events: {
        noted: event(z.object({ text: z.string().trim(), stars: z.number().default(3) }), {
          schemaVersion: 1,
          upcast: {},
        }),
      },
      initial,
      evolve: (texts, { data: { text, stars } }) => [...texts, `${text} ${stars}`],
    });
    const notes = stream(Trimmed);
    const { state } = await notes.transact('a', () => [{ type: 'noted', data: { text: '  fine ' } }]);
    expect(state).toEqual(['fine 3']);
    expect((await notes.load('a')).state).toEqual(state);
    const error = await errorOf(() =>
      notes.append(
        'a',
        [
          { type: 'noted', data: { text: 'x', stars: 1 } },
          { type: 'noted', data: { text: 7 } as never },
        ],
        { expectedVersion: 1 },
      ),
    );
    expect(error).toMatchObject({ code: 'INVALID_VALUE', effect: 'none', issues: [{ path: ['text'] }] });
    expect(await notes.version('a')).toBe(1);
  });

  it('are read with values that JSON cannot express', async () => {
    const Rich = defineStream('rich', {
      events: { kept: event<unknown>() },
      initial,
      evolve: (texts) => texts,
    });
    const data = {
      at: new Date(0),
      big: 2n ** 70n,
      bytes: new Uint8Array([1, 2]),
      set: new Set(['a']),
      map: new Map([[1, { $date: 'mine' }]]),
      none: undefined,
      numbers: [Number.NaN, -0],
    };
    await stream(Rich).append('a', [{ type: 'kept', data }], { expectedVersion: 0 });
    expect((await collect(stream(Rich).read('a')))[0]?.data).toEqual(data);
  });

  it('are stored as they were at the call of append, also when the caller changes them later', async () => {
    const Slow = defineStream('slow', {
      events: {
        noted: event(
          z.object({ text: z.string() }).refine(async () => await Promise.resolve(true)),
          { schemaVersion: 1, upcast: {} },
        ),
      },
      initial,
      evolve: (texts, { data: { text } }) => [...texts, text],
    });
    const data = { text: 'before' };
    const events = [{ type: 'noted' as const, data }];
    const appending = stream(Slow).append('a', events, { expectedVersion: 0 });
    data.text = 'after';
    events.push({ type: 'noted', data });
    await appending;
    expect((await stream(Slow).load('a')).state).toEqual(['before']);
  });

  it('have metadata of texts only', async () => {
    const append = (metadata: object) =>
      stream(First).append('a', [{ type: 'left' }], { expectedVersion: 'any', metadata });
    for (const metadata of [{ user: 'u' }, { userId: 7 }, { extensions: { n: 1 } }, { extensions: 'text' }])
      expect(await errorOf(() => append(metadata))).toMatchObject({ code: 'INVALID_OPTION' });
    // the limit counts also the metadata that the store adds to each event
    const adding = new EventStore(storage, {
      metadata: () => ({ extensions: { own: 'x'.repeat(9_000) } }),
    }).stream(First);
    const extensions = { given: 'x'.repeat(9_000) };
    expect(
      await errorOf(() =>
        adding.append('a', [{ type: 'left' }], { expectedVersion: 'any', metadata: { extensions } }),
      ),
    ).toMatchObject({
      code: 'LIMIT_EXCEEDED',
      limit: 'eventMetadataBytesMax',
    });
    expect(await stream(First).version('a')).toBe(0);
    await append({ extensions });
    expect((await collect(stream(First).read('a')))[0]?.metadata.extensions).toEqual(extensions);
  });
});

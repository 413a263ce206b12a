/**
 * The law of reads: a read returns exactly the events of its range, in order, and a load folds
 * exactly the events up to its version. What is missing or unreadable is an error that names it,
 * never a shorter stream, because a decision on an incomplete state would be wrong without notice.
 * The clauses also hold the costs: which rows are read, and how many at once.
 */
import assert from 'node:assert/strict';
import { collect, changesPages, assertRejects, assertThrows } from '@kvent/key-value-storage/testing';
import type { StorageProvider } from '@kvent/key-value-storage/core';
import { added, cleared, FaultyLedger, Ledger, many, OlderLedger } from '../kit/ledger.js';
import { breaksStream, throughProvider, type StreamClause } from '../kit/stream-clause.js';
import { unreadable } from '../kit/stream-subject.js';

const skipsUnreadable = breaksStream('skip what they cannot read', (stream) => ({
  load: async (...given) =>
    await stream.load(...given).catch(() => ({ id: given[0], state: { sum: 0, count: 0 }, version: 0 })),
}));

/** Counts the pages and rows that the provider returns from now on. */
export function countScans(provider: StorageProvider): {
  readonly scans: number;
  readonly rows: number;
  readonly rowsOfOne: number;
} {
  const counted = { scans: 0, rows: 0, rowsOfOne: 0 };
  const { scan } = provider;
  Object.assign(provider, {
    scan: async (...given: Parameters<typeof scan>) => {
      const pages = await scan.apply(provider, given);
      for (const { rows } of pages) {
        counted.scans += 1;
        counted.rows += rows.length;
        counted.rowsOfOne = Math.max(counted.rowsOfOne, rows.length);
      }
      return pages;
    },
  });
  return counted;
}

/** From now on pages have at most this many rows, as if the rows were large. */
function shortenPages(provider: StorageProvider, rowsMax: number): void {
  const { scan } = provider;
  Object.assign(provider, {
    scan: async (...given: Parameters<typeof scan>) =>
      (await scan.apply(provider, given)).map((page) => ({
        ...page,
        rows: page.rows.slice(0, rowsMax),
        more: page.more || page.rows.length > rowsMax,
      })),
  });
}

export const readingClauses: readonly StreamClause[] = [
  {
    name: 'An event for which `evolve` throws is EVENT_UNREADABLE with stream, version, type and cause; the stream is still read, appended to and repaired.',
    broken: breaksStream('throw what `evolve` throws', (stream) => ({
      load: async (...given) =>
        await stream.load(...given).catch((error: unknown) => {
          throw (error as { readonly cause?: unknown }).cause ?? error;
        }),
    })),
    async run(subject) {
      const { ledger } = subject;
      await ledger.append('a', [added(1), cleared, added(2)], { expectedVersion: 0 });
      const faulty = subject.stream(FaultyLedger);
      const calls = [
        ['load', () => faulty.load('a')],
        ['loadOrThrow', () => faulty.loadOrThrow('a')],
        ['transact', () => faulty.transact('a', () => [added(1)])],
        ['openSession', () => faulty.openSession('a')],
        ['snapshot', () => faulty.snapshot('a')],
        ['snapshotAll', () => faulty.snapshotAll('a', { every: 1 })],
      ] as const;
      for (const [name, call] of calls) {
        const error = await assertRejects('EVENT_UNREADABLE', name, call);
        assert.deepEqual(
          { ...error, stream: 'ledger/a', version: 2, type: 'cleared', effect: 'none', retryable: false },
          { ...error },
        );
        assert.ok(error.cause instanceof TypeError, 'the cause is missing');
      }
      // calls without this event in their fold still work
      assert.deepEqual([(await collect(faulty.read('a'))).length, await faulty.version('a')], [3, 3]);
      assert.deepEqual((await faulty.load('a', { atVersion: 1 })).state, { sum: 1, count: 1 });
      assert.equal((await faulty.append('a', [added(3)], { expectedVersion: 3 })).version, 4);
      assert.deepEqual((await ledger.load('a')).state, { sum: 5, count: 4 });
    },
  },
  {
    name: 'Events that `evolve` cannot fold are not appended by a transaction or a session: nothing is written, and the session continues.',
    broken: breaksStream('append what cannot be folded', (stream) => ({
      transact: async (id, decide, options) =>
        await stream.transact(id, decide, options).catch(async (error: unknown) => {
          await stream.append(id, [cleared], { expectedVersion: 'any' });
          throw error;
        }),
    })),
    async run(subject) {
      const faulty = subject.stream(FaultyLedger);
      const decided = await assertRejects('EVENT_UNREADABLE', 'transact', () =>
        faulty.transact('a', () => [added(1), cleared]),
      );
      assert.deepEqual(
        { ...decided, stream: 'ledger/a', version: 2, type: 'cleared', effect: 'none' },
        { ...decided },
      );
      assert.equal(await faulty.version('a'), 0);
      await faulty.session('a', async (session) => {
        const appended = await assertRejects('EVENT_UNREADABLE', 'session.append', () =>
          session.append([cleared]),
        );
        assert.deepEqual(
          { ...appended, stream: 'ledger/a', version: 1, type: 'cleared', effect: 'none' },
          { ...appended },
        );
        await assertRejects('EVENT_UNREADABLE', 'session.appending', () =>
          subject.storage
            .atomic()
            .include(session.appending([cleared]))
            .set(subject.things, 'beside', { n: 1 })
            .commit(),
        );
        assert.deepEqual([await faulty.version('a'), await subject.things.has('beside')], [0, false]);
        assert.equal((await session.append([added(1)])).version, 1);
        assert.deepEqual(session.state, { sum: 1, count: 1 });
      });
    },
  },
  {
    name: 'An unknown stream has no events, version 0 and the initial state; `loadOrThrow` is STREAM_NOT_FOUND.',
    broken: breaksStream('invent a first event', (stream) => ({
      version: async (id) => Math.max(1, await stream.version(id)),
    })),
    async run({ ledger }) {
      assert.deepEqual(await collect(ledger.read('none')), []);
      assert.deepEqual(
        { ...(await ledger.load('none')) },
        { id: 'none', state: { sum: 0, count: 0 }, version: 0 },
      );
      assert.equal(await ledger.version('none'), 0);
      const error = await assertRejects('STREAM_NOT_FOUND', 'loadOrThrow', () => ledger.loadOrThrow('none'));
      assert.deepEqual({ ...error, stream: 'ledger/none' }, { ...error });
    },
  },
  {
    name: 'Events are read in order, with type, data and metadata.',
    broken: breaksStream('lose the metadata', (stream) => ({
      append: async (id, events, options) =>
        await stream.append(id, events, { ...options, metadata: undefined }),
    })),
    async run(subject) {
      const { ledger } = subject;
      const metadata = { correlationId: 'c', causationId: 'd', userId: 'u', extensions: { a: 'b' } };
      await ledger.append('a', [added(1), cleared], { expectedVersion: 0, metadata });
      await ledger.append('a', [added(2)], { expectedVersion: 2 });
      const events = await collect(ledger.read('a'));
      assert.deepEqual(
        events.map(({ type, data, version, stream }) => [type, data?.n, version, stream]),
        [
          ['added', 1, 1, 'a'],
          ['cleared', undefined, 2, 'a'],
          ['added', 2, 3, 'a'],
        ],
      );
      const own = { tenant: subject.tenant, schemaVersion: 1 };
      assert.deepEqual(
        events.map((event) => event.metadata),
        [{ ...metadata, ...own }, { ...metadata, ...own }, own],
      );
      assert.equal(new Set(events.map(({ id }) => id)).size, 3);
      const [first, second, third] = events.map(({ recordedAt }) => recordedAt.getTime());
      assert.ok(
        first === second && (second as number) <= (third as number),
        'the events of an append have one time, and times never decrease',
      );
      assert.ok(Object.isFrozen(events[0]) && Object.isFrozen(events[0]?.data), 'events cannot be changed');
    },
  },
  {
    name: "The caller's metadata take precedence over those that the event store adds.",
    broken: breaksStream('ignore the metadata of the caller', (stream) => ({
      append: async (id, events, options) =>
        await stream.append(id, events, { ...options, metadata: undefined }),
      transact: async (id, decide, options) =>
        await stream.transact(id, decide, { ...options, metadata: undefined }),
    })),
    async run(subject) {
      const own = { userId: 'store', extensions: { a: '1', b: '1' } };
      const store = subject.newEventStore({ metadata: () => own });
      await store.stream(Ledger).append('plain', [cleared], { expectedVersion: 0 });
      await subject.ledger.append('a', [cleared], { expectedVersion: 0, metadata: { userId: 'caller' } });
      await store.stream(Ledger).append('b', [cleared], {
        expectedVersion: 0,
        metadata: { userId: 'caller', extensions: { b: '2' } },
      });
      const userOf = async (id: string) => (await collect(subject.ledger.read(id)))[0]?.metadata;
      assert.equal((await userOf('plain'))?.userId, 'store');
      assert.equal((await userOf('a'))?.userId, 'caller');
      assert.deepEqual(await userOf('b'), {
        userId: 'caller',
        extensions: { a: '1', b: '2' },
        tenant: subject.tenant,
        schemaVersion: 1,
      });
    },
  },
  {
    name: 'A stream is read and loaded completely, however few events a page of the provider has.',
    broken: breaksStream('treat a short page as the last', (stream) => ({
      async *read(...given) {
        let left = 3;
        for await (const event of stream.read(...given)) if ((left -= 1) >= 0) yield event;
      },
    })),
    async run({ ledger, provider }) {
      await ledger.append('a', many(40), { expectedVersion: 0 });
      for (const version of [5, 17, 30]) await ledger.snapshot('a', { atVersion: version });
      shortenPages(provider, 3);
      const versions = async (range: Parameters<typeof ledger.read>[1]) =>
        (await collect(ledger.read('a', range))).map(({ version }) => version);
      const whole = Array.from({ length: 40 }, (_, index) => index + 1);
      assert.deepEqual(await versions({}), whole);
      assert.deepEqual(await versions({ reverse: true, limit: 20 }), whole.toReversed().slice(0, 20));
      assert.deepEqual(await versions({ from: 7, to: 22 }), whole.slice(6, 22));
      assert.equal((await ledger.load('a')).version, 40);
      assert.equal((await ledger.load('a', { atVersion: 12 })).version, 12);
      assert.equal(await ledger.delete('a'), true);
    },
  },
  {
    name: 'A range has exactly its events, forward and in reverse, and reads only their rows.',
    broken: throughProvider(
      changesPages('loses a row of a long page', (page) => ({
        ...page,
        rows: page.rows.filter((_, index) => index !== 20),
      })),
    ),
    async run({ ledger, provider }) {
      await ledger.append(
        'a',
        Array.from({ length: 100 }, (_, index) => added(index + 1)),
        { expectedVersion: 0 },
      );
      const counted = countScans(provider);
      const read = async (range: Parameters<typeof ledger.read>[1]) =>
        (await collect(ledger.read('a', range))).map(({ version }) => version);
      const from = (first: number, last: number): readonly number[] =>
        Array.from({ length: last - first + 1 }, (_, index) => first + index);
      assert.deepEqual(await read({ from: 50, to: 75 }), from(50, 75));
      assert.deepEqual(await read({ from: 60, to: 60 }), [60]);
      assert.equal(counted.rows, 27);
      assert.deepEqual(await read({ from: 95 }), from(95, 100));
      assert.deepEqual(await read({ from: 101 }), []);
      assert.deepEqual(await read({ to: 200, from: 99 }), [99, 100]);
      assert.deepEqual(await read({ reverse: true, limit: 3 }), [100, 99, 98]);
      assert.deepEqual(await read({ from: 3, to: 5, reverse: true }), [5, 4, 3]);
      assert.deepEqual(await read({ limit: 2 }), [1, 2]);
      assert.equal(counted.rows, 27 + 6 + 0 + 2 + 3 + 3 + 2);
      assertThrows('OUT_OF_RANGE', 'read', () => ledger.read('a', { from: 5, to: 4 }));
      assertThrows('OUT_OF_RANGE', 'read', () => ledger.read('a', { from: 0 }));
      assertThrows('OUT_OF_RANGE', 'read', () => ledger.read('a', { limit: 0 }));
    },
  },
  {
    name: 'A long stream is read page by page, and events appended during the reading are left out.',
    broken: throughProvider(
      changesPages('loses a row of a long page', (page) => ({
        ...page,
        rows: page.rows.filter((_, index) => index !== 700),
      })),
    ),
    async run({ ledger, provider }) {
      for (let version = 0; version < 2_500; version += 500)
        await ledger.append('a', many(500), { expectedVersion: version });
      const counted = countScans(provider);
      let seen = 0;
      for await (const { version } of ledger.read('a')) {
        seen += 1;
        assert.equal(version, seen);
        if (seen === 300) await ledger.append('a', many(500), { expectedVersion: 'any' });
      }
      assert.equal(seen, 2_500);
      for await (const { version } of ledger.read('a', { reverse: true, to: 2_500 })) {
        assert.equal(version, seen);
        seen -= 1;
      }
      assert.equal(seen, 0);
      assert.ok(counted.rowsOfOne <= 1_000, `one call read ${counted.rowsOfOne} rows`);
      assert.deepEqual((await ledger.load('a')).state, { sum: 3_000, count: 3_000 });
    },
  },
  {
    name: 'A stream is loaded as it was at a version, and at a time.',
    capability: 'clock',
    broken: breaksStream('return the current state', (stream) => ({
      load: async (id) => await stream.load(id),
    })),
    async run({ ledger, clock }) {
      const times: Date[] = [];
      for (let version = 0; version < 60; version += 1) {
        await ledger.append('a', [added(1)], { expectedVersion: version });
        const [last] = await collect(ledger.read('a', { reverse: true, limit: 1 }));
        times.push(last?.recordedAt as Date);
        await clock.advance(version % 3 === 0 ? 0 : 10);
      }
      for (const version of [0, 1, 30, 60])
        assert.deepEqual((await ledger.load('a', { atVersion: version })).state.sum, version);
      for (const [index, atTime] of times.entries()) {
        // several versions may have the same time: the last of them is found
        const expected = times.filter((time) => time.getTime() <= atTime.getTime()).length;
        assert.deepEqual(
          (await ledger.load('a', { atTime })).version,
          expected,
          `at the time of version ${index + 1}`,
        );
      }
      const first = times[0] as Date;
      assert.equal((await ledger.load('a', { atTime: new Date(first.getTime() - 1) })).version, 0);
      assert.equal((await ledger.load('a', { atTime: new Date(first.getTime() + 1e9) })).version, 60);
      await assertRejects('STREAM_NOT_FOUND', 'loadOrThrow', () =>
        ledger.loadOrThrow('a', { atTime: new Date(first.getTime() - 1) }),
      );
      const error = await assertRejects('STREAM_VERSION_NOT_FOUND', 'load', () =>
        ledger.load('a', { atVersion: 61 }),
      );
      assert.deepEqual({ ...error, stream: 'ledger/a', version: 61 }, { ...error });
      for (const [code, options] of [
        ['INVALID_OPTION', { atVersion: 1, atTime: first }],
        ['OUT_OF_RANGE', { atTime: new Date(Number.NaN) }],
        ['INVALID_OPTION', { atTime: 0 }],
        ['OUT_OF_RANGE', { atVersion: -1 }],
        ['INVALID_OPTION', { atVersion: '1' }],
        ['INVALID_OPTION', { version: 1 }],
      ] as const)
        await assertRejects(code, 'load', () => ledger.load('a', options as never));
    },
  },
  {
    name: 'The times of a stream never decrease, also when the clock is set back; a time finds the last version recorded by then.',
    capability: 'clock',
    broken: throughProvider(
      changesPages('returns times that decrease', (page) => ({
        ...page,
        rows: page.rows.map(({ key, row }, index) => ({
          key,
          row: { ...row, updatedAt: row.updatedAt - index },
        })),
      })),
    ),
    async run({ ledger, clock }) {
      for (let version = 0; version < 12; version += 1) {
        await ledger.append('a', many(1), { expectedVersion: version });
        if (version % 3 === 2) clock.setNow(clock.now() - 60_000);
        else await clock.advance(5);
      }
      const times = (await collect(ledger.read('a'))).map(({ recordedAt }) => recordedAt.getTime());
      assert.deepEqual(
        times,
        times.toSorted((a, b) => a - b),
      );
      for (const time of times) {
        const { version } = await ledger.load('a', { atTime: new Date(time) });
        assert.equal(version, times.filter((each) => each <= time).length);
      }
    },
  },
  {
    name: 'The version of a stream is read from one row, however long the stream is.',
    broken: breaksStream('count the events', (stream) => ({
      version: async (id) => (await collect(stream.read(id))).length,
    })),
    async run({ ledger, provider }) {
      await ledger.append('a', many(500), { expectedVersion: 0 });
      const counted = countScans(provider);
      assert.equal(await ledger.version('a'), 500);
      assert.equal(counted.scans, 0);
    },
  },
  {
    name: 'An unknown event type makes reading and loading fail with type, stream and version.',
    broken: skipsUnreadable,
    async run(subject) {
      await subject.ledger.append('a', [added(1), cleared, added(2)], { expectedVersion: 0 });
      const older = subject.stream(OlderLedger);
      for (const call of [() => older.load('a'), () => collect(older.read('a'))]) {
        const error = await assertRejects('EVENT_UNKNOWN_TYPE', 'reading', call);
        assert.deepEqual({ ...error, stream: 'ledger/a', version: 2, type: 'cleared' }, { ...error });
      }
    },
  },
  {
    name: 'An unreadable event makes reading and loading fail with stream and version; it is never skipped.',
    broken: skipsUnreadable,
    async run(subject) {
      const { ledger } = subject;
      await ledger.append('a', many(3), { expectedVersion: 0 });
      await subject.damageRows('event', (text, index) => (index === 1 ? unreadable : text));
      for (const call of [() => ledger.load('a'), () => collect(ledger.read('a'))]) {
        const error = await assertRejects('EVENT_UNREADABLE', 'reading', call);
        assert.deepEqual({ ...error, stream: 'ledger/a', version: 2 }, { ...error });
        assert.ok(error.cause instanceof SyntaxError, 'the cause is missing');
      }
    },
  },
  {
    name: 'An event that is missing is damage, never the end of the stream.',
    broken: skipsUnreadable,
    async run(subject) {
      const { ledger, provider } = subject;
      await ledger.append('a', many(5), { expectedVersion: 0 });
      const raw = (await subject.rows('event'))[2];
      assert.ok(raw !== undefined);
      const { container, entity, key } = raw;
      await provider.commit([
        {
          database: subject.database,
          version: '77',
          checks: [],
          changes: [{ kind: 'delete', address: { container, entity, key } }],
        },
      ]);
      await assertRejects('STORAGE_CORRUPT', 'load', () => ledger.load('a'));
      await assertRejects('STORAGE_CORRUPT', 'read', () => collect(ledger.read('a')));
      assert.equal((await collect(ledger.read('a', { from: 4 }))).length, 2);
    },
  },
  {
    name: 'A head that is lost, or older than its events, is damage, never an empty or a shorter stream.',
    broken: skipsUnreadable,
    async run(subject) {
      const { ledger, provider, database } = subject;
      await ledger.append('a', many(3), { expectedVersion: 0 });
      const head = (await subject.rows('head'))[0];
      assert.ok(head !== undefined);
      const { container, entity, key } = head;
      const address = { container, entity, key };
      const damages = [
        { kind: 'put', address, value: { kind: 'number', number: 2n }, ttl: 'never' },
        { kind: 'delete', address },
      ] as const;
      for (const [index, change] of damages.entries()) {
        await provider.commit([{ database, version: `7${index}`, checks: [], changes: [change] }]);
        for (const call of [
          () => ledger.load('a'),
          () => collect(ledger.read('a')),
          () => collect(ledger.read('a', { from: 3, reverse: true })),
          () => ledger.transact('a', () => []),
          () => ledger.openSession('a'),
        ])
          await assertRejects('STORAGE_CORRUPT', 'reading', call);
      }
      await assertRejects('STORAGE_CORRUPT', 'load', () => ledger.load('a', { atVersion: 0 }));
    },
  },
  {
    name: 'The streams of a type are listed page by page, ordered by id; those without events are left out.',
    broken: breaksStream('return only one page', (stream) => ({
      page: async (request) => ({ ...(await stream.page(request)), next: undefined }),
    })),
    async run({ ledger }) {
      for (const id of ['b-1', 'b-3', 'b-2', 'a', 'c'])
        await ledger.append(id, many(2), { expectedVersion: 0 });
      await (await ledger.openSession('b-0')).close();
      assert.equal(await ledger.delete('b-3'), true);
      const seen: string[] = [];
      for (let cursor: string | undefined, more = true; more; more = cursor !== undefined) {
        const page = await ledger.page({ prefix: 'b-', limit: 1, cursor });
        seen.push(...page.items.map(({ id }) => id));
        assert.ok(page.items.every(({ version, updatedAt }) => version === 2 && updatedAt instanceof Date));
        cursor = page.next;
      }
      assert.deepEqual(seen, ['b-1', 'b-2']);
      assert.deepEqual(
        (await ledger.page()).items.map(({ id }) => id),
        ['a', 'b-1', 'b-2', 'c'],
      );
      await assertRejects('INVALID_CURSOR', 'page', () => ledger.page({ cursor: 'zzz' }));
      await assertRejects('LIMIT_EXCEEDED', 'page', () => ledger.page({ limit: 1_001 }));
    },
  },
  {
    name: 'Appended events are kept when the storage is closed and opened again.',
    capability: 'durable',
    broken: breaksStream('append to another stream', (stream, subject) => ({
      append: async (id, events, options) =>
        await subject
          .newEventStore()
          .stream(Ledger)
          .append(`other ${id}`, events, options)
          .then(
            (answer) => answer,
            () => stream.append(id, events, options),
          ),
    })),
    async run(subject) {
      await subject.ledger.append('a', many(3), { expectedVersion: 0 });
      const before = await collect(subject.ledger.read('a'));
      await subject.reopen();
      assert.deepEqual(await collect(subject.ledger.read('a')), before);
      assert.equal(before.length, 3);
      assert.equal((await subject.ledger.append('a', many(1), { expectedVersion: 3 })).version, 4);
    },
  },
];

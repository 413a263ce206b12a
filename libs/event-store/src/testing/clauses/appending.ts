/**
 * The law of appends: an append is atomic, and is made at the version that the caller expects. The
 * events of a stream have the versions 1, 2, 3 … without gap or duplicate, whatever happens at the
 * same time. Without it no state that is folded from events could be trusted, and a check of the
 * version would not protect against lost updates. The clauses also hold the limits, the separation
 * of ids and tenants, and commits of several streams.
 */
import assert from 'node:assert/strict';
import {
  collect,
  changesBatches,
  commitOne,
  replacesCommit,
  hostileKeys,
  concurrently,
  assertRejects,
} from '@kvent/key-value-storage/testing';
import { limits } from '@kvent/key-value-storage/core';
import { added, cleared, Journal, KeptLedger, Ledger, many, withoutPosition } from '../kit/ledger.js';
import { readFeedToEnd } from './feed.js';
import { breaksStream, throughProvider, type StreamClause } from '../kit/stream-clause.js';

const withoutChecks = throughProvider(
  changesBatches('does not look at checks', (batch) => ({ ...batch, checks: [] })),
);

export const appendingClauses: readonly StreamClause[] = [
  {
    name: 'An append to a new stream returns the number of its events, whose versions count from 1.',
    broken: breaksStream('count from 0', (stream) => ({
      append: async (...given) => {
        const { version, replayed } = await stream.append(...given);
        return { version: version - 1, replayed };
      },
    })),
    async run({ ledger }) {
      assert.deepEqual(withoutPosition(await ledger.append('a', many(3), { expectedVersion: 'absent' })), {
        version: 3,
        replayed: false,
      });
      assert.deepEqual(
        (await collect(ledger.read('a'))).map(({ version }) => version),
        [1, 2, 3],
      );
      assert.deepEqual(withoutPosition(await ledger.append('b', [cleared], { expectedVersion: 0 })), {
        version: 1,
        replayed: false,
      });
    },
  },
  {
    name: "An append at the right version, at 'present' or at 'any' adds its events at the end.",
    broken: breaksStream('start again with each append', (stream) => ({
      append: async (id, events, options) => {
        if (await stream.version(id)) await stream.append(`${id} again`, events, { expectedVersion: 'any' });
        else return await stream.append(id, events, options);
        return { version: events.length, replayed: false };
      },
    })),
    async run({ ledger }) {
      await ledger.append('a', many(2), { expectedVersion: 'any' });
      assert.equal((await ledger.append('a', many(2), { expectedVersion: 2 })).version, 4);
      assert.equal((await ledger.append('a', [added(7)], { expectedVersion: 'present' })).version, 5);
      assert.equal((await ledger.append('a', [added(8)], { expectedVersion: 'any' })).version, 6);
      assert.equal((await ledger.append('a', [cleared], { ifMatch: 'v6' })).version, 7);
      assert.equal((await ledger.append('a', [cleared], { ifMatch: '*' })).version, 8);
      assert.deepEqual(
        (await collect(ledger.read('a', { from: 3 }))).map(({ type, data }) => data?.n ?? type),
        [1, 1, 7, 8, 'cleared', 'cleared'],
      );
    },
  },
  {
    name: 'A lower or higher expected version is a mismatch with the expected and the actual version; nothing is written.',
    broken: withoutChecks,
    async run(subject) {
      const { ledger } = subject;
      await ledger.append('a', many(3), { expectedVersion: 0 });
      for (const expectedVersion of [2, 4, 0, 'absent'] as const) {
        const error = await assertRejects('STREAM_VERSION_MISMATCH', 'append', () =>
          ledger.append('a', many(2), { expectedVersion }),
        );
        assert.deepEqual(
          {
            ...error,
            stream: 'ledger/a',
            expected: expectedVersion,
            actual: 3,
            check: 'own',
            effect: 'none',
            retryable: false,
          },
          { ...error },
        );
      }
      const byEtag = await assertRejects('STREAM_VERSION_MISMATCH', 'append', () =>
        ledger.append('a', many(2), { ifMatch: 'v2' }),
      );
      assert.deepEqual({ ...byEtag, check: 'caller', retryable: false }, { ...byEtag });
      const none = await assertRejects('STREAM_VERSION_MISMATCH', 'append', () =>
        ledger.append('b', many(2), { expectedVersion: 'present' }),
      );
      assert.deepEqual({ ...none, expected: 'present', actual: 0, retryable: false }, { ...none });
      assert.deepEqual([await ledger.version('a'), await ledger.version('b')], [3, 0]);
      assert.equal(subject.entriesOf('version mismatch').length, 6);
    },
  },
  {
    name: 'When the third of five events cannot be stored, none of the five is stored.',
    broken: breaksStream('append one event at a time', (stream) => ({
      append: async (id, events, options) => {
        let answer = await stream.append(id, events.slice(0, 1), options);
        for (const event of events.slice(1))
          answer = await stream.append(id, [event], { expectedVersion: 'any' });
        return answer;
      },
    })),
    async run({ ledger }) {
      const bad = { type: 'added', data: { n: (() => 1) as unknown as number } } as const;
      await assertRejects('INVALID_VALUE', 'append', () =>
        ledger.append('a', [added(1), added(2), bad, added(4), added(5)], { expectedVersion: 0 }),
      );
      await assertRejects('INVALID_OPTION', 'append', () =>
        ledger.append('a', [added(1), { type: 'unheard' } as never, added(3)], { expectedVersion: 0 }),
      );
      assert.equal(await ledger.version('a'), 0);
      assert.deepEqual(await collect(ledger.read('a')), []);
    },
  },
  {
    name: 'A storage that fails in the middle of an append leaves the stream as it was.',
    broken: throughProvider(
      changesBatches('does not look whether an event is there', (batch) => ({
        ...batch,
        checks: batch.checks.filter(({ address }) => !address.container.startsWith('event:')),
      })),
    ),
    async run(subject) {
      const { ledger, provider } = subject;
      await ledger.append('a', many(2), { expectedVersion: 0 });
      // an event at a version beyond the head is damage: the whole append is refused
      const [event] = (await subject.rows('event')).slice(-1);
      assert.ok(event !== undefined);
      await provider.administration.import(subject.database, [
        { ...event, key: event.key.replace('2', '5') },
      ]);
      await assertRejects('STORAGE_CORRUPT', 'append', () =>
        ledger.append('a', many(5), { expectedVersion: 2 }),
      );
      assert.equal(await ledger.version('a'), 2);
      assert.deepEqual((await subject.rows('event')).length, 3);
    },
  },
  {
    name: 'An append of no events returns the current version, and writes nothing.',
    broken: breaksStream('write the head again', (stream) => ({
      append: async (id, events, options) =>
        events.length > 0
          ? await stream.append(id, events, options)
          : await stream.append(id, [cleared], { expectedVersion: 'any' }),
    })),
    async run({ ledger }) {
      assert.deepEqual(await ledger.append('a', [], { expectedVersion: 'any' }), {
        version: 0,
        replayed: false,
      });
      await ledger.append('a', many(2), { expectedVersion: 0 });
      const before = await ledger.page();
      assert.deepEqual(await ledger.append('a', [], { expectedVersion: 2 }), { version: 2, replayed: false });
      assert.deepEqual(await ledger.page(), before);
    },
  },
  {
    name: 'Of concurrent appends at one version exactly one succeeds; each other is a mismatch.',
    broken: withoutChecks,
    async run({ ledger }) {
      const results = await Promise.allSettled(
        Array.from({ length: 20 }, (_, n) => ledger.append('a', [added(n)], { expectedVersion: 0 })),
      );
      assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 1);
      assert.equal(await ledger.version('a'), 1);
      assert.equal((await collect(ledger.read('a'))).length, 1);
    },
  },
  {
    name: "Twenty writers append at 'any' ten times each: versions 1 to 200, without gap or duplicate.",
    broken: withoutChecks,
    async run({ ledger }) {
      await concurrently(20, async (writer) => {
        for (let turn = 0; turn < 10; turn += 1)
          await retried(() => ledger.append('hot', [added(writer)], { expectedVersion: 'any' }));
      });
      const events = await collect(ledger.read('hot'));
      assert.deepEqual(
        events.map(({ version }) => version),
        Array.from({ length: 200 }, (_, index) => index + 1),
      );
      for (let writer = 0; writer < 20; writer += 1)
        assert.equal(events.filter(({ data }) => data?.n === writer).length, 10);
    },
  },
  {
    name: 'An expected version that is present without a value is refused: it never turns the check off.',
    broken: breaksStream("treat it as 'any'", (stream) => ({
      append: async (id, events, options) =>
        await stream.append(
          id,
          events,
          options.expectedVersion === undefined && options.ifMatch === undefined
            ? { expectedVersion: 'any' }
            : options,
        ),
    })),
    async run({ ledger }) {
      for (const options of [
        { expectedVersion: undefined },
        { expectedVersion: null },
        {},
        { expectedVersion: 'none' },
        undefined,
      ]) {
        await assertRejects('INVALID_OPTION', 'append', () =>
          ledger.append('a', [cleared], options as never),
        );
      }
      await assertRejects('OUT_OF_RANGE', 'append', () =>
        ledger.append('a', [cleared], { expectedVersion: -1 }),
      );
      for (const ifMatch of [undefined, null, 7])
        await assertRejects('INVALID_OPTION', 'append', () =>
          ledger.append('a', [cleared], { ifMatch } as never),
        );
      for (const ifMatch of ['', '"v1"', 'v01', '7'])
        await assertRejects('INVALID_ETAG', 'append', () => ledger.append('a', [cleared], { ifMatch }));
      assert.equal(await ledger.version('a'), 0);
    },
  },
  {
    name: 'Several streams and a state commit together, or not at all.',
    broken: throughProvider(
      replacesCommit('commits a part of a batch that conflicts', async (batch, provider) => {
        const whole = await commitOne(provider, batch);
        if (whole.outcome === 'committed') return whole;
        await commitOne(provider, {
          ...batch,
          checks: [],
          changes: batch.changes.filter(({ address }) => address.container.startsWith('state:')),
        });
        return whole;
      }),
    ),
    async run({ ledger, storage, things }) {
      await ledger.append('a', many(2), { expectedVersion: 0 });
      const seen = await ledger.load('b');
      const both = async () =>
        storage
          .atomic()
          .include(ledger.appending(await ledger.load('a'), [added(5)]))
          .include(ledger.appending(seen, [added(-5)]))
          .set(things, 'moved', { n: 5 });
      const { replayed, changes } = await (await both()).commit();
      assert.deepEqual([replayed, changes.map(({ key }) => key)], [false, ['moved']]);
      assert.deepEqual([(await ledger.load('a')).state.sum, (await ledger.load('b')).state.sum], [7, -5]);
      const error = await assertRejects('STREAM_VERSION_MISMATCH', 'commit', async () =>
        (await both()).set(things, 'moved', { n: 6 }).commit(),
      );
      assert.deepEqual({ ...error, stream: 'ledger/b', retryable: true }, { ...error });
      assert.deepEqual(
        [await ledger.version('a'), await ledger.version('b'), (await things.getOrThrow('moved')).value],
        [3, 1, { n: 5 }],
      );
    },
  },
  {
    name: 'Events that one commit appends to several streams have different ids; an event has the same id in results, listeners, reads and the feed.',
    broken: breaksStream('make ids of the versions of commit and event alone', (stream) => ({
      async *read(...given) {
        for await (const recorded of stream.read(...given))
          yield { ...recorded, id: recorded.id.split('-', 2).join('-') };
      },
    })),
    async run(subject) {
      const notified: string[] = [];
      const store = subject.newEventStore({
        committed: (_, events) => void notified.push(...events.map(({ id }) => id)),
      });
      const ledger = subject.stream(Ledger, store);
      const journal = store.stream(Journal);
      const { events } = await ledger.transact('a', () => many(2), {
        sameCommit: (batch) =>
          batch
            .include(ledger.appending('b', many(2), { expectedVersion: 'absent' }))
            .include(journal.appending('a', many(2), { expectedVersion: 'absent' })),
      });
      const read: string[] = [];
      for (const stream of [ledger.read('a'), ledger.read('b'), journal.read('a')])
        read.push(...(await collect(stream)).map(({ id }) => id));
      assert.equal(new Set(read).size, 6, 'two events have one id');
      assert.deepEqual(
        events.map(({ id }) => id),
        read.slice(0, 2),
      );
      assert.deepEqual(notified.toSorted(), read.toSorted());
      if (!subject.abilities.features.feed) return;
      const items = await readFeedToEnd(subject, { streams: [Ledger, Journal] });
      assert.deepEqual(items.map((item) => item.kind === 'event' && item.id).toSorted(), read.toSorted());
    },
  },
  {
    name: 'A whole commit is retried when a new read resolves the conflict of a stream; the conflict of a state is thrown.',
    broken: breaksStream('append at the first version that they read', (stream) => ({
      appending: ((id: string, events: never, options: never) => {
        const { expectedVersion } = options as { expectedVersion: unknown };
        return stream.appending(id, events, {
          expectedVersion: expectedVersion === 'any' ? 0 : (expectedVersion as number),
        });
      }) as typeof stream.appending,
    })),
    async run({ ledger, storage, things }) {
      await ledger.append('a', many(4), { expectedVersion: 0 });
      await concurrently(10, (n) =>
        retried(() =>
          storage
            .atomic()
            .include(ledger.appending('a', [added(n)], { expectedVersion: 'any' }))
            .set(things, `${n}`, { n })
            .commit(),
        ),
      );
      assert.equal(await ledger.version('a'), 14);
      const entry = await things.getOrThrow('1');
      await things.set('1', { n: 100 });
      await assertRejects('STORAGE_CONFLICT', 'commit', () =>
        storage
          .atomic()
          .include(ledger.appending('a', [added(0)], { expectedVersion: 'any' }))
          .save(things, entry)
          .commit(),
      );
      assert.equal(await ledger.version('a'), 14);
    },
  },
  {
    name: 'One stream twice in one commit is refused, and so are streams of two tenants.',
    broken: breaksStream('ignore the tenant', (stream) => ({ forTenant: () => stream })),
    async run(subject) {
      const { ledger, storage } = subject;
      const participant = () => ledger.appending('a', [cleared], { expectedVersion: 'any' });
      assert.throws(() => storage.atomic().include(participant()).include(participant()), /already/);
      const other = ledger.forTenant(subject.otherTenant());
      let refused = false;
      try {
        storage
          .atomic()
          .include(participant())
          .include(other.appending('a', [cleared], { expectedVersion: 'any' }));
      } catch (error) {
        refused = String(error).includes('one tenant');
      }
      assert.ok(refused, 'one batch has streams of two tenants');
    },
  },
  {
    name: 'Too many events, one that is too large, and too much metadata are refused before any I/O.',
    broken: breaksStream('cut off what is above the limits', (stream) => ({
      append: async (id, events, options) =>
        await stream.append(id, events.slice(0, 100), { ...options, metadata: undefined }),
    })),
    async run(subject) {
      const { ledger } = subject;
      await assertRejects('LIMIT_EXCEEDED', 'append', () =>
        ledger.append('a', many(limits.batchEntriesMax), { expectedVersion: 0 }),
      );
      const large = { type: 'added', data: { n: 1, text: 'x'.repeat(limits.valueBytesMax) } } as const;
      await assertRejects('LIMIT_EXCEEDED', 'append', () =>
        ledger.append('a', [large], { expectedVersion: 0 }),
      );
      const extensions = { text: 'x'.repeat(limits.eventMetadataBytesMax) };
      await assertRejects('LIMIT_EXCEEDED', 'append', () =>
        ledger.append('a', many(1), { expectedVersion: 0, metadata: { extensions } }),
      );
      await assertRejects('INVALID_KEY', 'append', () => ledger.append('', many(1), { expectedVersion: 0 }));
      await assertRejects('LIMIT_EXCEEDED', 'append', () =>
        ledger.append('x'.repeat(513), many(1), { expectedVersion: 0 }),
      );
      assert.equal(await ledger.version('a'), 0);
      assert.equal(
        (await ledger.append('a', many(limits.batchEntriesMax - 1), { expectedVersion: 0 })).version,
        limits.batchEntriesMax - 1,
      );
      // a snapshot that would exceed the limit of rows is left out
      const kept = subject.stream(KeptLedger);
      assert.equal(
        (await kept.transact('b', () => many(limits.batchEntriesMax - 2), { idempotencyKey: 'k' })).version,
        limits.batchEntriesMax - 2,
      );
      const version = await kept.session(
        'c',
        async (session) => (await session.append(many(limits.batchEntriesMax - 2))).version,
      );
      assert.equal(version, limits.batchEntriesMax - 2);
    },
  },
  {
    name: 'Streams whose ids look alike, or like paths, keys or numbers, are separate.',
    broken: breaksStream('ignore the case of ids', (stream) => ({
      append: async (id, ...given) => await stream.append(id.toLowerCase(), ...given),
      read: (id, range) => stream.read(id.toLowerCase(), range),
    })),
    async run({ ledger }) {
      const ids = [
        ...hostileKeys,
        'Order',
        'order',
        'order/1',
        'order',
        '1',
        '01',
        'lease',
        'token',
        '__proto__',
        'constructor',
      ];
      const distinct = [...new Set(ids)];
      for (const [index, id] of distinct.entries())
        await ledger.append(id, [added(index), cleared], { expectedVersion: 0 });
      for (const [index, id] of distinct.entries()) {
        const events = await collect(ledger.read(id));
        assert.deepEqual([events.length, events[0]?.data?.n, events[0]?.stream], [2, index, id]);
      }
      const { items } = await ledger.page({ limit: 1_000 });
      assert.deepEqual(new Set(items.map(({ id }) => id)), new Set(distinct));
      assert.equal(await ledger.delete(distinct[0] as string), true);
      assert.equal((await ledger.page({ limit: 1_000 })).items.length, distinct.length - 1);
    },
  },
  {
    name: 'Two tenants have separate streams of the same type and id.',
    broken: breaksStream('use one tenant for all', (stream) => ({ forTenant: () => stream })),
    async run(subject) {
      const { ledger } = subject;
      const other = ledger.forTenant(subject.otherTenant());
      await ledger.append('a', many(2), { expectedVersion: 0 });
      await other.append('a', many(3), { expectedVersion: 0 });
      assert.deepEqual([await ledger.version('a'), await other.version('a')], [2, 3]);
      assert.deepEqual(
        (await collect(other.read('a'))).map(({ metadata }) => metadata.tenant)[0],
        subject.otherTenant(),
      );
      assert.equal(await other.delete('a'), true);
      assert.deepEqual([await ledger.version('a'), (await other.page()).items], [2, []]);
    },
  },
];

/** Repeats the work after conflicts: without locks, concurrent appends may conflict many times. */
async function retried<R>(work: () => Promise<R>): Promise<R> {
  for (let left = 200; ; left -= 1) {
    try {
      return await work();
    } catch (error) {
      if ((error as { code?: string }).code !== 'STREAM_VERSION_MISMATCH' || left === 0) throw error;
    }
  }
}

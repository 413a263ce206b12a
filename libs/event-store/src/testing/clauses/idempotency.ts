/**
 * The law of idempotency keys: a repeated call with the same key and content is done once and
 * returns the result of the first call, as long as the record of its key is kept. A client whose
 * answer was lost can only be safe by repeating the call, so a repeat must never append twice,
 * whether it comes later, at the same time, or from another process.
 */
import assert from 'node:assert/strict';
import {
  collect,
  breaks,
  changesChanges,
  concurrently,
  assertRejects,
} from '@kvent/key-value-storage/testing';
import { added, cleared, Ledger, many, withoutPosition } from '../kit/ledger.js';
import { breaksStream, throughProvider, type StreamClause } from '../kit/stream-clause.js';

const forgets = throughProvider(
  breaks('forgets idempotency records', (provider) => ({
    commit: (batches, options) =>
      provider.commit(
        batches.map((batch) => ({
          ...batch,
          checks: batch.checks.filter(({ address }) => !address.container.startsWith('mark:')),
          changes: batch.changes.filter(({ address }) => !address.container.startsWith('mark:')),
        })),
        options,
      ),
  })),
);
const withoutKeys = breaksStream('ignore idempotency keys', (stream) => ({
  append: async (id, events, options) =>
    await stream.append(id, events, { ...options, idempotencyKey: undefined }),
  transact: async (id, decide, options) =>
    await stream.transact(id, decide, { ...options, idempotencyKey: undefined }),
}));

export const idempotencyClauses: readonly StreamClause[] = [
  {
    name: 'A repeated append with the same key returns the first result at any later version, and appends nothing.',
    broken: forgets,
    async run({ ledger }) {
      const once = async () =>
        withoutPosition(await ledger.append('a', many(2), { expectedVersion: 0, idempotencyKey: 'k' }));
      assert.deepEqual(await once(), { version: 2, replayed: false });
      await ledger.append('a', many(3), { expectedVersion: 2 });
      assert.deepEqual(await once(), { version: 2, replayed: true });
      const any = async () =>
        withoutPosition(await ledger.append('a', [cleared], { expectedVersion: 'any', idempotencyKey: 'l' }));
      assert.deepEqual(
        [await any(), await any(), await ledger.version('a')],
        [{ version: 6, replayed: false }, { version: 6, replayed: true }, 6],
      );
      // a repeat returns the first result, also while a session holds the stream
      await ledger.session('a', async () => {
        assert.deepEqual(
          [await once(), await any()].map(({ replayed }) => replayed),
          [true, true],
        );
        await assertRejects('STREAM_LOCKED', 'append', () =>
          ledger.append('a', [cleared], { expectedVersion: 'any', idempotencyKey: 'm' }),
        );
      });
      assert.equal(
        (await ledger.append('a', [cleared], { expectedVersion: 'any', idempotencyKey: 'm' })).replayed,
        false,
      );
      // a key belongs to its stream
      assert.equal(
        (await ledger.append('b', many(2), { expectedVersion: 0, idempotencyKey: 'k' })).replayed,
        false,
      );
    },
  },
  {
    name: 'The same key with other content is IDEMPOTENCY_CONFLICT, and nothing is written.',
    broken: breaksStream('return the first result for any content', (stream) => ({
      append: async (id, events, options) =>
        await stream
          .append(id, events, options)
          .catch(async () => ({ version: await stream.version(id), replayed: true })),
    })),
    async run({ ledger }) {
      await ledger.append('a', [added(1)], { expectedVersion: 'any', idempotencyKey: 'k' });
      const error = await assertRejects('IDEMPOTENCY_CONFLICT', 'append', () =>
        ledger.append('a', [added(2)], { expectedVersion: 'any', idempotencyKey: 'k' }),
      );
      assert.deepEqual({ ...error, idempotencyKey: 'k', effect: 'none' }, { ...error });
      const call = (content: unknown) =>
        ({ expectedVersion: 'any', idempotencyKey: { key: 'm', content } }) as const;
      await ledger.append('a', [added(3)], call({ path: '/a', body: 1 }));
      assert.equal((await ledger.append('a', [added(4)], call({ body: 1, path: '/a' }))).replayed, true);
      await assertRejects('IDEMPOTENCY_CONFLICT', 'append', () =>
        ledger.append('a', [added(3)], call({ path: '/a', body: 2 })),
      );
      assert.equal(await ledger.version('a'), 2);
      for (const idempotencyKey of ['', ' '])
        await assertRejects('IDEMPOTENCY_KEY_REQUIRED', 'append', () =>
          ledger.append('a', [cleared], { expectedVersion: 'any', idempotencyKey }),
        );
      for (const idempotencyKey of [7, { content: 1 }])
        await assertRejects('INVALID_OPTION', 'append', () =>
          ledger.append('a', [cleared], { expectedVersion: 'any', idempotencyKey } as never),
        );
      await assertRejects('LIMIT_EXCEEDED', 'append', () =>
        ledger.append('a', [cleared], { expectedVersion: 'any', idempotencyKey: 'x'.repeat(256) }),
      );
    },
  },
  {
    name: 'Work that loads a stream and appends at its version with a key is done once, also when its repeat loads what it has written.',
    broken: withoutKeys,
    async run({ ledger, storage, things }) {
      const add = async () => {
        const { version } = await ledger.load('a');
        return withoutPosition(
          await ledger.append('a', [added(7)], { expectedVersion: version, idempotencyKey: 'k' }),
        );
      };
      assert.deepEqual(
        [await add(), await add()],
        [
          { version: 1, replayed: false },
          { version: 1, replayed: true },
        ],
      );
      const both = async () => {
        const loaded = await ledger.load('b');
        const n = loaded.state.sum + 1;
        return await storage
          .atomic()
          .include(ledger.appending(loaded, [added(n)]))
          .set(things, 'b', { n })
          .commit({ idempotencyKey: 'k' });
      };
      const first = await both();
      assert.deepEqual(await both(), { ...first, replayed: true });
      assert.deepEqual(
        [await ledger.version('a'), await ledger.version('b'), (await things.getOrThrow('b')).value],
        [1, 1, { n: 1 }],
      );
    },
  },
  {
    name: 'A repeated transaction does not decide again: it returns the state and the events of the first call.',
    broken: withoutKeys,
    async run({ ledger }) {
      let runs = 0;
      const once = () =>
        ledger.transact('a', ({ sum }) => ((runs += 1), [added(sum + 1), cleared]), { idempotencyKey: 'k' });
      const first = await once();
      await ledger.append('a', many(20), { expectedVersion: 2 });
      const again = await once();
      assert.deepEqual([runs, again], [1, { ...first, replayed: true }]);
      const call = (content: number) =>
        ledger.transact('b', () => [cleared], { idempotencyKey: { key: 'k', content } });
      await call(1);
      assert.equal((await call(1)).replayed, true);
      await assertRejects('IDEMPOTENCY_CONFLICT', 'transact', () => call(2));
    },
  },
  {
    name: 'A decision without events is remembered too; one that throws is not, unless a concurrent call with its key has succeeded.',
    broken: withoutKeys,
    async run({ ledger }) {
      assert.deepEqual(
        [(await ledger.transact('a', () => [], { idempotencyKey: 'k' })).replayed, await ledger.version('a')],
        [false, 0],
      );
      const again = await ledger.transact('a', () => [cleared], { idempotencyKey: 'k' });
      assert.deepEqual([again.replayed, again.version, again.events], [true, 0, []]);
      const fail = () => {
        throw new RangeError('not now');
      };
      await assert.rejects(ledger.transact('a', fail, { idempotencyKey: 'l' }), RangeError);
      assert.equal((await ledger.transact('a', () => [cleared], { idempotencyKey: 'l' })).replayed, false);
      const concurrent = await ledger.transact(
        'a',
        async (_, { version }) => {
          // with a version, so that it does not wait for the lock of the transaction around it
          await ledger.append('a', [added(5)], { expectedVersion: version, idempotencyKey: 'm' });
          return fail();
        },
        { idempotencyKey: 'm' },
      );
      assert.deepEqual([concurrent.replayed, concurrent.state.sum], [true, 5]);
    },
  },
  {
    name: 'Of ten equal concurrent calls one is done, and all return its result.',
    broken: forgets,
    async run({ ledger }) {
      const appends = await concurrently(10, () =>
        ledger.append('a', many(3), { expectedVersion: 'any', idempotencyKey: 'k' }),
      );
      assert.deepEqual(
        [await ledger.version('a'), appends.filter(({ replayed }) => !replayed).length],
        [3, 1],
      );
      assert.ok(appends.every(({ version }) => version === 3));
      const transactions = await concurrently(10, () =>
        ledger.transact('b', ({ sum }) => [added(sum + 1)], { idempotencyKey: 'k' }),
      );
      assert.deepEqual(
        [await ledger.version('b'), transactions.filter(({ replayed }) => !replayed).length],
        [1, 1],
      );
      assert.deepEqual(new Set(transactions.map(({ events }) => events[0]?.id)).size, 1);
    },
  },
  {
    name: 'A key is found with the versions that its call appended; an unknown key is not found.',
    broken: breaksStream('find every key', (stream) => ({
      findByIdempotencyKey: async (id, key) =>
        (await stream.findByIdempotencyKey(id, key)) ?? { from: 1, to: 1 },
    })),
    async run({ ledger }) {
      await ledger.append('a', many(2), { expectedVersion: 0 });
      await ledger.append('a', many(3), { expectedVersion: 2, idempotencyKey: 'k' });
      assert.deepEqual(await ledger.findByIdempotencyKey('a', 'k'), { from: 3, to: 5 });
      assert.equal(await ledger.findByIdempotencyKey('a', 'l'), undefined);
      const error = await assertRejects('IDEMPOTENCY_KEY_NOT_FOUND', 'find', () =>
        ledger.findByIdempotencyKeyOrThrow('a', 'l'),
      );
      assert.deepEqual({ ...error, stream: 'ledger/a', idempotencyKey: 'l' }, { ...error });
    },
  },
  {
    name: 'Keys are kept when the storage is closed and opened again.',
    capability: 'durable',
    broken: forgets,
    async run(subject) {
      const once = () => subject.ledger.transact('a', () => many(2), { idempotencyKey: 'k' });
      const first = await once();
      await subject.reopen();
      assert.deepEqual(await once(), { ...first, replayed: true });
    },
  },
  {
    name: 'A key is forgotten after its retention time.',
    capability: 'exact expiry',
    broken: throughProvider(
      changesChanges('lets nothing expire', (change) =>
        change.kind === 'put' ? { ...change, ttl: 'never' } : change,
      ),
    ),
    async run(subject) {
      const once = () => subject.ledger.append('a', many(1), { expectedVersion: 'any', idempotencyKey: 'k' });
      await once();
      await subject.clock.advance(24 * 60 * 60 * 1_000 - 1);
      assert.equal((await once()).replayed, true);
      assert.deepEqual(await subject.ledger.findByIdempotencyKey('a', 'k'), { from: 1, to: 1 });
      await subject.clock.advance(1);
      assert.equal(await subject.ledger.findByIdempotencyKey('a', 'k'), undefined);
      assert.equal((await once()).replayed, false);
      const short = subject.newEventStore({ idempotencyRetentionMs: 50 }).stream(Ledger);
      await short.append('b', many(1), { expectedVersion: 'any', idempotencyKey: 'k' });
      await subject.clock.advance(50);
      assert.equal(
        (await short.append('b', many(1), { expectedVersion: 'any', idempotencyKey: 'k' })).replayed,
        false,
      );
    },
  },
  {
    name: 'A batch of states and streams with a key is done once, and its repeat returns the same etags.',
    broken: forgets,
    async run({ ledger, storage, things }) {
      const once = (n: number) =>
        storage
          .atomic()
          .set(things, 'a', { n })
          .include(ledger.appending('a', [added(n)], { expectedVersion: 'any' }))
          .commit({ idempotencyKey: 'k' });
      const first = await once(1);
      assert.deepEqual([await once(1), await ledger.version('a')], [{ ...first, replayed: true }, 1]);
      assert.equal((await things.getOrThrow('a')).etag, first.changes[0]?.etag);
      await assertRejects('IDEMPOTENCY_CONFLICT', 'commit', () => once(2));
      assert.deepEqual((await collect(ledger.read('a'))).length, 1);
    },
  },
];

/**
 * The law of ends: a deleted stream never returns, a closed storage does nothing, and an aborted
 * call does nothing. If a deleted id could start again at version 1, an old client could append to
 * a stream that it has never read. Reads during a delete are the whole stream or an error, never a
 * part. The last clause holds the log: one entry for each thing that happens.
 */
import assert from 'node:assert/strict';
import { collect, breaks, concurrently, assertRejects } from '@kvent/key-value-storage/testing';
import { added, cleared, KeptLedger, many } from '../kit/ledger.js';
import { breaksStream, throughProvider, type StreamClause } from '../kit/stream-clause.js';

export const deletingClauses: readonly StreamClause[] = [
  {
    name: 'A deleted stream is deleted for good: nothing is appended, opened or replayed any more, and its id cannot be used again.',
    broken: throughProvider(
      breaks('forgets that a stream was deleted', (provider) => ({
        commit: (batches, options) =>
          provider.commit(
            batches.map((batch) => ({
              ...batch,
              changes: batch.changes.map((change) =>
                change.kind === 'put' &&
                change.value.kind === 'json' &&
                change.value.text.includes('"deleted":true')
                  ? { kind: 'delete', address: change.address }
                  : change,
              ),
            })),
            options,
          ),
      })),
    ),
    async run(subject) {
      const { ledger } = subject;
      await ledger.append('a', many(5), { expectedVersion: 0, idempotencyKey: 'k' });
      await ledger.transact('a', () => many(5), { idempotencyKey: 'l' });
      await ledger.snapshot('a');
      assert.equal(await ledger.delete('a'), true);
      const refused: readonly (() => Promise<unknown>)[] = [
        () => ledger.append('a', [cleared], { expectedVersion: 0 }),
        () => ledger.append('a', [cleared], { expectedVersion: 'any' }),
        () => ledger.append('a', [], { expectedVersion: 'any' }),
        () => ledger.append('a', many(5), { expectedVersion: 0, idempotencyKey: 'k' }),
        () => ledger.transact('a', () => [cleared]),
        () => ledger.transact('a', () => many(5), { idempotencyKey: 'l' }),
        () => ledger.openSession('a'),
        () => ledger.loadOrThrow('a'),
        () => collect(ledger.read('a')),
        () => ledger.snapshot('a'),
        () => ledger.snapshotAll('a', { every: 1 }),
        () =>
          subject.storage
            .atomic()
            .include(ledger.appending('a', [cleared], { expectedVersion: 'any' }))
            .commit(),
        () => ledger.findByIdempotencyKey('a', 'k'),
      ];
      for (const call of refused) {
        const error = await assertRejects('STREAM_DELETED', 'the use of a deleted stream', call);
        assert.deepEqual({ ...error, stream: 'ledger/a', effect: 'none' }, { ...error });
      }
      assert.deepEqual(
        [await ledger.version('a'), (await ledger.load('a')).version, (await ledger.page()).items],
        [0, 0, []],
      );
      assert.deepEqual(
        [(await subject.rows('event')).length, (await subject.rows('snapshot')).length],
        [0, 0],
      );
    },
  },
  {
    name: 'Deleting again removes rows that were left, and returns false; so does deleting an unknown stream.',
    broken: breaksStream('leave the rows', (stream) => ({
      delete: async (id, options) =>
        (await stream.version(id)) === 0 ? false : await stream.delete(id, options),
    })),
    async run(subject) {
      const { ledger, provider } = subject;
      await ledger.append('a', many(5), { expectedVersion: 0 });
      const rows = await subject.rows('event');
      assert.equal(await ledger.delete('a'), true);
      // a delete that was killed leaves events
      await provider.administration.import(subject.database, rows.slice(1));
      assert.equal((await ledger.load('a')).version, 0);
      assert.equal(await ledger.delete('a'), false);
      assert.equal((await subject.rows('event')).length, 0);
      assert.equal(await ledger.delete('none'), false);
      assert.deepEqual((await subject.rows('head')).length, 1);
    },
  },
  {
    name: 'Deleting at another version than expected is a mismatch; a long stream is deleted page by page.',
    broken: breaksStream('ignore the version', (stream) => ({
      delete: async (id) => await stream.delete(id),
    })),
    async run(subject) {
      const { ledger } = subject;
      for (let version = 0; version < 2_000; version += 500)
        await ledger.append('a', many(500), { expectedVersion: version });
      const error = await assertRejects('STREAM_VERSION_MISMATCH', 'delete', () =>
        ledger.delete('a', { expectedVersion: 1_999 }),
      );
      assert.deepEqual({ ...error, expected: 1_999, actual: 2_000, retryable: false }, { ...error });
      await assertRejects('INVALID_OPTION', 'delete', () =>
        ledger.delete('a', { expectedVersion: undefined } as never),
      );
      assert.equal(await ledger.delete('a', { expectedVersion: 2_000 }), true);
      assert.equal((await subject.rows('event')).length, 0);
    },
  },
  {
    name: 'A stream that is deleted while it is read ends with an error, never as a shorter stream.',
    broken: breaksStream('end early', (stream) => ({
      read: (id, range) => ({
        async *[Symbol.asyncIterator]() {
          try {
            yield* stream.read(id, range);
          } catch {
            // as if the stream ended here
          }
        },
      }),
    })),
    async run({ ledger }) {
      // more than a page
      for (const version of [0, 800]) await ledger.append('a', many(800), { expectedVersion: version });
      await assertRejects('STREAM_DELETED', 'read', async () => {
        for await (const { version } of ledger.read('a')) if (version === 10) await ledger.delete('a');
      });
    },
  },
  {
    name: 'A stream that is deleted while it is loaded is the whole stream, or none.',
    broken: breaksStream('load what is left', (stream) => ({
      load: async (id) => {
        const events = await collect(stream.read(id)).catch(() => []);
        return { id, state: { sum: -1, count: events.length }, version: events.length };
      },
    })),
    async run({ ledger }) {
      for (const id of ['a', 'b', 'c']) {
        // more than a page
        for (const version of [0, 800]) await ledger.append(id, many(800), { expectedVersion: version });
        const loads = concurrently(8, () => ledger.load(id));
        const [gone, seen] = await Promise.all([ledger.delete(id), loads]);
        assert.equal(gone, true);
        for (const { version, state } of [...seen, ...(await concurrently(3, () => ledger.load(id)))])
          assert.deepEqual([version, state.sum], version === 0 ? [0, 0] : [1_600, 1_600]);
      }
    },
  },
  {
    name: 'Once the storage is closed, every call is STORAGE_NOT_OPEN.',
    broken: breaksStream('return 0 for an error', (stream) => ({
      version: async (id) => await stream.version(id).catch(() => 0),
    })),
    async run(subject) {
      const { ledger, storage } = subject;
      const session = await ledger.openSession('s');
      await storage[Symbol.asyncDispose]();
      const calls: readonly (() => Promise<unknown>)[] = [
        () => ledger.load('a'),
        () => ledger.version('a'),
        () => ledger.append('a', [cleared], { expectedVersion: 0 }),
        () => ledger.transact('a', () => [added(1)]),
        () => collect(ledger.read('a')),
        () => ledger.page(),
        () => ledger.openSession('a'),
        () => ledger.delete('a'),
        () => session.append([cleared]),
        () => session.renew(),
      ];
      for (const call of calls) await assertRejects('STORAGE_NOT_OPEN', 'a call', call);
      await session[Symbol.asyncDispose]();
      await storage[Symbol.asyncDispose]();
      await subject.reopen();
    },
  },
  {
    name: 'An aborted call does nothing.',
    broken: breaksStream('ignore signals', (stream) => ({
      append: async (id, events, options) =>
        await stream.append(id, events, { ...options, signal: undefined }),
      load: async (id) => await stream.load(id),
    })),
    async run({ ledger }) {
      const aborted = { signal: AbortSignal.abort(new Error('enough')) };
      await assertRejects('ABORTED', 'append', () =>
        ledger.append('a', [cleared], { expectedVersion: 0, ...aborted }),
      );
      await assertRejects('ABORTED', 'transact', () => ledger.transact('a', () => [cleared], aborted));
      await assertRejects('ABORTED', 'load', () => ledger.load('a', aborted));
      await assertRejects('ABORTED', 'read', () => collect(ledger.read('a', aborted)));
      assert.equal(await ledger.version('a'), 0);
      await ledger.append('a', many(300), { expectedVersion: 0 });
      const controller = new AbortController();
      await assertRejects('ABORTED', 'read', async () => {
        for await (const { version } of ledger.read('a', { signal: controller.signal })) {
          assert.ok(version <= 10, 'the reading continued');
          if (version === 10) controller.abort(new Error('enough'));
        }
      });
    },
  },
  {
    name: 'Each thing that happens is logged once, with its ids.',
    broken: breaksStream('do things twice', (stream) => ({
      snapshot: async (id) => (await stream.snapshot(id), await stream.snapshot(id)),
    })),
    async run(subject) {
      const kept = subject.stream(KeptLedger);
      await kept.append('a', many(3), { expectedVersion: 0 });
      await kept.session('a', async (session) => {
        await session.append(many(2));
        await assertRejects('SESSION_OPEN_FAILED', 'openSession', () =>
          kept.openSession('a', { openTimeoutMs: 0 }),
        );
      });
      await kept.snapshot('a');
      await assertRejects('STREAM_VERSION_MISMATCH', 'append', () =>
        kept.append('a', many(1), { expectedVersion: 1 }),
      );
      assert.deepEqual(
        subject.entries.map(({ event, type, id, database }) => [event, type, id, database]),
        [
          'events appended',
          'session opened',
          'events appended',
          'open failed',
          'session closed',
          'snapshot created',
          'version mismatch',
        ].map((event) => [event, 'ledger', 'a', subject.database]),
      );
      assert.deepEqual(
        subject.entriesOf('events appended').map(({ from, to }) => [from, to]),
        [
          [1, 3],
          [4, 5],
        ],
      );
    },
  },
];

/**
 * The law of transactions: streams within the caller's database transaction are committed with it,
 * or not at all, and nothing about them is written or published outside of it. So events and the
 * caller's own tables cannot disagree. Everything else holds as outside: tenants, settings, checks,
 * locks and idempotency keys.
 */
import assert from 'node:assert/strict';
import { EventStore } from '@kvent/event-store/core';
import { collect, breaks, assertRejects, replacing, assertThrows } from '@kvent/key-value-storage/testing';
import type { StorageProvider } from '@kvent/key-value-storage/core';
import { added, cleared, KeptLedger, Ledger, many, withoutPosition } from '../kit/ledger.js';
import { breaksStream, throughProvider, type StreamClause } from '../kit/stream-clause.js';

const capability = 'transactions' as const;

const breaksWithin = (
  fault: string,
  change: (within: StorageProvider, outside: StorageProvider) => Partial<StorageProvider>,
) =>
  throughProvider(
    breaks(fault, (provider) => ({
      within: (transaction) => {
        const within = (provider.within as NonNullable<StorageProvider['within']>)(transaction);
        return replacing(within, change(within, provider));
      },
    })),
  );

export const withinClauses: readonly StreamClause[] = [
  {
    name: 'Streams and stores within the caller’s transaction keep their tenant and their settings, and share one batch.',
    capability,
    broken: breaksStream('forget their settings within a transaction', (_, { storage }) => ({
      within: (transaction) => new EventStore(storage.within(transaction)).stream(Ledger),
    })),
    async run(subject) {
      const { things } = subject;
      const store = subject.newEventStore({
        metadata: () => ({ userId: 'ada' }),
        idempotencyRetentionMs: 7_000,
      });
      const ledger = subject.stream(Ledger, store);
      const theirs = ledger.forTenant(subject.otherTenant());
      const { transaction, commit } = await subject.transaction();
      await ledger.within(transaction).transact('a', () => [added(1)], {
        idempotencyKey: 'k',
        sameCommit: (batch) =>
          batch.set(things.within(transaction), 'beside', { n: 1 }).include(
            store
              .within(transaction)
              .stream(Ledger)
              .appending('b', [added(2)], { expectedVersion: 'absent' }),
          ),
      });
      await theirs.within(transaction).append('a', [added(3)], { expectedVersion: 'absent' });
      assert.deepEqual(
        [await ledger.version('a'), await ledger.version('b'), await theirs.version('a')],
        [0, 0, 0],
      );
      assert.deepEqual(
        subject.entriesOf('events appended').map(({ inTransaction }) => inTransaction),
        [true, true, true],
      );
      await commit();
      assert.deepEqual([(await ledger.load('a')).state.sum, (await ledger.load('b')).state.sum], [1, 2]);
      assert.deepEqual([(await theirs.load('a')).state.sum, await things.has('beside')], [3, true]);
      for (const stream of [ledger, theirs]) {
        const [event] = await collect(stream.read('a'));
        assert.equal(event?.metadata.userId, 'ada');
      }
      const [mark] = await subject.rows('mark');
      assert.equal(mark?.row.ttlMs, 7_000);
      assertThrows('INVALID_OPTION', 'within a transaction that has ended', () => ledger.within(transaction));
      assertThrows('INVALID_OPTION', 'within a transaction that has ended', () => store.within(transaction));
    },
  },
  {
    name: 'Events within the caller’s transaction are visible there at once, and to others after the commit.',
    capability,
    broken: breaksWithin('writes outside the transaction', (_, outside) => ({
      commit: (batches, options) => outside.commit(batches, options),
    })),
    async run(subject) {
      const { ledger, things } = subject;
      await ledger.append('a', many(2), { expectedVersion: 0 });
      const { storage, commit } = await subject.transaction();
      const store = new EventStore(storage);
      const inside = store.stream(Ledger);
      assert.equal((await inside.append('a', [added(5)], { expectedVersion: 2 })).version, 3);
      const { state, events } = await inside.transact('b', ({ sum }) => [added(sum + 7)], {
        sameCommit: (batch) => batch.set(storage.store(subject.thing), 'beside', { n: 1 }),
      });
      assert.deepEqual([state.sum, events[0]?.version], [7, 1]);
      await storage
        .atomic()
        .include(inside.appending(await inside.load('a'), [added(-5)]))
        .include(inside.appending('b', [added(5)], { expectedVersion: 'present' }))
        .commit();
      assert.deepEqual([(await inside.load('a')).state.sum, (await inside.load('b')).state.sum], [2, 12]);
      assert.equal((await collect(inside.read('a'))).length, 4);
      assert.deepEqual(
        [await ledger.version('a'), await ledger.version('b'), await things.has('beside')],
        [2, 0, false],
      );
      // an append that does not know the state writes no snapshot: nothing runs in the background
      // of a transaction that the caller may end
      await store.stream(KeptLedger).append('kept', many(12), { expectedVersion: 0 });
      await store.idle();
      await commit();
      assert.deepEqual([await ledger.version('kept'), await ledger.snapshotVersions('kept')], [12, []]);
      assert.deepEqual(
        [await ledger.version('a'), await ledger.version('b'), await things.has('beside')],
        [4, 2, true],
      );
      assert.deepEqual((await ledger.load('b')).state, { sum: 12, count: 2 });
    },
  },
  {
    name: 'A transaction that is rolled back leaves nothing of its streams: no event, no snapshot, no key, no deletion.',
    capability,
    broken: breaksWithin('writes at once what the commit would write', (within, outside) => ({
      commit: async (batches) => {
        await outside.commit(batches);
        return await within.commit(batches);
      },
    })),
    async run(subject) {
      const { ledger } = subject;
      await ledger.append('gone', many(3), { expectedVersion: 0 });
      const { storage, rollback } = await subject.transaction();
      const store = new EventStore(storage);
      const [inside, kept] = [store.stream(Ledger), store.stream(KeptLedger)];
      await kept.transact('a', () => many(12), { idempotencyKey: 'k' });
      assert.deepEqual(await kept.snapshotVersions('a'), [12]);
      assert.equal(await inside.delete('gone'), true);
      await store.idle();
      await rollback();
      assert.deepEqual([await ledger.version('a'), await ledger.version('gone')], [0, 3]);
      assert.deepEqual(
        [await ledger.snapshotVersions('a'), await ledger.findByIdempotencyKey('a', 'k')],
        [[], undefined],
      );
      assert.deepEqual((await ledger.load('gone')).state, { sum: 3, count: 3 });
      assert.equal((await ledger.transact('a', () => [cleared], { idempotencyKey: 'k' })).replayed, false);
    },
  },
  {
    name: 'Within a transaction as outside, another version is a mismatch, a held stream is locked and a repeat returns the first result; no session can be opened there.',
    capability,
    broken: breaksWithin('does not look at checks', (within) => ({
      commit: (batches, options) =>
        within.commit(
          batches.map((batch) => ({ ...batch, checks: [] })),
          options,
        ),
    })),
    async run(subject) {
      const { ledger } = subject;
      const once = { expectedVersion: 0, idempotencyKey: 'k' } as const;
      await ledger.append('a', many(2), once);
      const session = await ledger.openSession('held');
      const { storage, commit } = await subject.transaction();
      const inside = new EventStore(storage).stream(Ledger);
      const error = await assertRejects('STREAM_VERSION_MISMATCH', 'append', () =>
        inside.append('a', [cleared], { expectedVersion: 1 }),
      );
      assert.deepEqual({ ...error, expected: 1, actual: 2, effect: 'none' }, { ...error });
      await assertRejects('STREAM_LOCKED', 'append', () =>
        inside.append('held', [cleared], { expectedVersion: 'any' }),
      );
      await assertRejects('STREAM_LOCKED', 'transact', () => inside.transact('held', () => [cleared]));
      await assertRejects('STORAGE_UNSUPPORTED', 'openSession', () => inside.openSession('a'));
      assert.deepEqual(withoutPosition(await inside.append('a', many(2), once)), {
        version: 2,
        replayed: true,
      });
      // the refused calls have not broken the transaction
      assert.equal((await inside.append('a', [added(9)], { expectedVersion: 'any' })).version, 3);
      await commit();
      assert.deepEqual([await ledger.version('a'), (await ledger.load('a')).state.sum], [3, 11]);
      await session.close();
    },
  },
];

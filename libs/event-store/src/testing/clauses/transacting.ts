/**
 * The law of `transact`: a decision is made on the state that its events are appended to. After a
 * conflict it is made again on the new state, and nothing of its earlier run is written. So a rule
 * that the decision checks (a balance, a stock) holds under any concurrency, also across several
 * streams of one commit.
 */
import assert from 'node:assert/strict';
import { collect, changesBatches, concurrently, assertRejects } from '@kvent/key-value-storage/testing';
import { added, cleared, KeptLedger, many, type LedgerStream } from '../kit/ledger.js';
import { breaksStream, throughProvider, type StreamClause } from '../kit/stream-clause.js';

const withoutChecks = throughProvider(
  changesBatches('does not look at checks', (batch) => ({ ...batch, checks: [] })),
);
const manyAttempts = { retry: { attempts: 2_000, budgetMs: 60_000 } };

const decidesOnce = breaksStream('send stale events again after a conflict', (stream) => ({
  transact: async (id, decide, options) => {
    const decided = new Map<string, Awaited<ReturnType<typeof decide>>>();
    return await stream.transact(
      id,
      async (state, deciding) => {
        const events = decided.get(id) ?? (await decide(state, deciding));
        decided.set(id, events);
        return events;
      },
      options,
    );
  },
}));

export const transactingClauses: readonly StreamClause[] = [
  {
    name: 'A decision is made on the current state, and its events are appended to exactly that state.',
    broken: breaksStream('return the state from before', (stream) => ({
      transact: async (id, decide, options) => {
        const { state } = await stream.load(id);
        return { ...(await stream.transact(id, decide, options)), state };
      },
    })),
    async run({ ledger }) {
      const first = await ledger.transact('a', (state, { id, version }) => {
        assert.deepEqual([state, id, version], [{ sum: 0, count: 0 }, 'a', 0]);
        return [added(1), added(2)];
      });
      assert.deepEqual([first.state, first.version, first.replayed], [{ sum: 3, count: 2 }, 2, false]);
      assert.deepEqual(first.events, await collect(ledger.read('a')));
      const second = await ledger.transact('a', ({ sum }) => (sum === 3 ? [cleared] : []));
      assert.deepEqual([second.state.sum, second.version], [0, 3]);
    },
  },
  {
    name: 'A decision that returns no events, or throws, writes nothing; its error is thrown.',
    broken: breaksStream('append an event of their own', (stream) => ({
      transact: async (id, decide, options) =>
        await stream.transact(id, async (...given) => [...(await decide(...given)), cleared], options),
    })),
    async run({ ledger }) {
      const answer = await ledger.transact('a', () => []);
      assert.deepEqual(
        { ...answer },
        { id: 'a', state: { sum: 0, count: 0 }, version: 0, events: [], replayed: false },
      );
      const error = new RangeError('out of stock');
      await assert.rejects(
        ledger.transact('a', () => {
          throw error;
        }),
        (thrown) => thrown === error,
      );
      await assertRejects('INVALID_OPTION', 'transact', () =>
        ledger.transact('a', (() => undefined) as never),
      );
      assert.deepEqual([await ledger.version('a'), (await ledger.page()).items], [0, []]);
    },
  },
  {
    name: 'After a conflict the decision is made again on the new state: its old events are never sent.',
    broken: decidesOnce,
    async run({ ledger }) {
      let runs = 0;
      const { state, version } = await ledger.transact('a', async ({ sum }) => {
        runs += 1;
        // a concurrent append, once
        if (runs === 1) await ledger.append('a', [added(10)], { expectedVersion: 0 });
        return [added(sum + 1)];
      });
      assert.deepEqual([runs, state.sum, version], [2, 21, 2]);
    },
  },
  {
    name: 'Twenty writers transact fifty times each on one stream: versions 1 to 1000, without gap, duplicate or lost decision.',
    broken: withoutChecks,
    async run(subject) {
      // with snapshots, so that each load reads few rows
      const ledger = subject.stream(KeptLedger);
      await concurrently(20, async () => {
        for (let turn = 0; turn < 50; turn += 1)
          await ledger.transact('hot', ({ sum }) => [added(sum + 1 - sum)], manyAttempts);
      });
      const events = await collect(ledger.read('hot'));
      assert.deepEqual(
        events.map(({ version }) => version),
        Array.from({ length: 1_000 }, (_, index) => index + 1),
      );
      assert.deepEqual((await ledger.load('hot')).state, { sum: 1_000, count: 1_000 });
    },
  },
  {
    name: 'When the attempts are spent, the conflict has their number; a version given by the caller is not retried.',
    broken: breaksStream('append without the decision when the attempts are spent', (stream) => ({
      transact: async (id, decide, options) => {
        try {
          return await stream.transact(id, decide, options);
        } catch {
          return await stream.transact(id, () => [cleared]);
        }
      },
    })),
    async run({ ledger }) {
      let runs = 0;
      const error = await assertRejects('STREAM_VERSION_MISMATCH', 'transact', () =>
        ledger.transact(
          'a',
          async (_, { version }) => {
            runs += 1;
            // with a version, so that it does not wait for the lock of the transaction around it
            await ledger.append('a', [added(1)], { expectedVersion: version });
            return [cleared];
          },
          { retry: { attempts: 3, delayMs: 0 } },
        ),
      );
      assert.deepEqual([runs, (error as { attempts?: number }).attempts], [3, 3]);
      runs = 0;
      for (const options of [{ expectedVersion: 2 }, { ifMatch: 'v2' }] as const) {
        const own = await assertRejects('STREAM_VERSION_MISMATCH', 'transact', () =>
          ledger.transact('a', () => ((runs += 1), [cleared]), options),
        );
        assert.deepEqual({ ...own, expected: 2, actual: 3, retryable: false }, { ...own });
      }
      assert.deepEqual([runs, await ledger.version('a')], [0, 3]);
      assert.equal((await ledger.transact('a', () => [cleared], { expectedVersion: 3 })).version, 4);
    },
  },
  {
    name: 'Writes of the decision and of `sameCommit` are in the same commit; each run of the decision starts with an empty batch.',
    broken: breaksStream('write the batch apart from the events', (stream, { things }) => ({
      transact: async (id, decide, { sameCommit, ...options } = {}) => {
        const batch = {
          set: (_: unknown, key: string, value: { n: number }) => (void things.set(key, value), batch),
        };
        return await stream.transact(
          id,
          async (state, deciding) => {
            const events = await decide(state, deciding);
            sameCommit?.(batch as never, { id, state, version: deciding.version, events });
            return events;
          },
          options,
        );
      },
    })),
    async run({ ledger, things }) {
      let runs = 0;
      await ledger.transact(
        'a',
        async ({ sum }, { batch }) => {
          runs += 1;
          if (runs === 1) await ledger.append('a', [added(10)], { expectedVersion: 0 });
          batch
            .set(things, `run ${runs}`, { n: runs })
            .include(ledger.appending(await ledger.load('b'), [added(-sum)]));
          return [added(sum)];
        },
        {
          sameCommit: (batch, { id, state, version, events }) =>
            batch.set(things, id, { n: state.sum, text: `${version} ${events.length}` }),
        },
      );
      assert.deepEqual((await things.getOrThrow('a')).value, { n: 20, text: '2 1' });
      assert.deepEqual([await things.has('run 1'), await things.has('run 2')], [false, true]);
      assert.deepEqual((await ledger.load('b')).state, { sum: -10, count: 1 });
      await ledger.transact('a', () => [], {
        sameCommit: (batch) => batch.set(things, 'nothing happened', { n: 1 }),
      });
      assert.equal(await things.has('nothing happened'), false);
    },
  },
  {
    name: 'A decision that adds an existing key is KEY_EXISTS at once: it is made once, and nothing is written.',
    broken: breaksStream('decide again after any error', (stream) => ({
      transact: async (id, decide, options) =>
        await stream
          .transact(id, decide, options)
          .catch(async () => await stream.transact(id, decide, options)),
    })),
    async run({ ledger, things }) {
      await things.set('taken', { n: 1 });
      let runs = 0;
      const adding = async (how: 'decide' | 'sameCommit') =>
        await ledger.transact(
          'a',
          (_, { batch }) => {
            runs += 1;
            if (how === 'decide') batch.add(things, 'taken', { n: 2 });
            return [cleared];
          },
          {
            ...(how === 'sameCommit' && { sameCommit: (batch) => void batch.add(things, 'taken', { n: 2 }) }),
          },
        );
      for (const how of ['decide', 'sameCommit'] as const) {
        const error = await assertRejects('KEY_EXISTS', 'transact', () => adding(how));
        assert.deepEqual({ ...error, key: 'taken', retryable: false, effect: 'none' }, { ...error });
      }
      assert.deepEqual(
        [runs, await ledger.version('a'), (await things.getOrThrow('taken')).value],
        [2, 0, { n: 1 }],
      );
      // a key that was read as absent is a conflict that is retried
      runs = 0;
      await ledger.transact('a', async (_, { batch }) => {
        runs += 1;
        const read = await things.get('free');
        if (runs === 1) await things.set('free', { n: 1 });
        if (read === undefined) batch.checkAbsent(things, 'free').set(things, 'free', { n: 2 });
        return [cleared];
      });
      assert.deepEqual(
        [runs, await ledger.version('a'), (await things.getOrThrow('free')).value],
        [2, 1, { n: 1 }],
      );
    },
  },
  {
    name: 'A decision without events whose batch has other writes checks the version that it was made on.',
    broken: breaksStream('commit them separately', (stream, { things }) => ({
      transact: async (id, decide, options) => {
        const answer = await stream.transact(id, decide, options);
        if (answer.events.length === 0) await things.set('beside', { n: 2 });
        return answer;
      },
    })),
    async run({ ledger, things }) {
      let runs = 0;
      await ledger.append('a', many(1), { expectedVersion: 0 });
      await ledger.transact('a', async ({ sum }, { batch }) => {
        runs += 1;
        if (runs === 1) await ledger.append('a', [added(10)], { expectedVersion: 1 });
        batch.set(things, 'beside', { n: sum });
        return [];
      });
      assert.deepEqual(
        [runs, (await things.getOrThrow('beside')).value, await ledger.version('a')],
        [2, { n: 11 }, 2],
      );
    },
  },
  {
    name: 'Fifty concurrent transfers between two streams keep their sum.',
    broken: withoutChecks,
    async run({ ledger }) {
      await ledger.append('from', [added(100)], { expectedVersion: 0 });
      const transfer = (stream: LedgerStream, n: number) =>
        stream.transact(
          'from',
          async ({ sum }, { batch }) => {
            if (sum < n) return [];
            batch.include(stream.appending(await stream.load('to'), [added(n)]));
            return [added(-n)];
          },
          manyAttempts,
        );
      await concurrently(50, () => transfer(ledger, 3));
      assert.deepEqual([(await ledger.load('from')).state.sum, (await ledger.load('to')).state.sum], [1, 99]);
    },
  },
];

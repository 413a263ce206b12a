/**
 * Answers that never come: nobody is told that something failed which may have landed, and whoever
 * asks again with a key is told what became of it.
 */
import assert from 'node:assert/strict';
import { isStorageError, type StorageProvider } from '@kvent/key-value-storage/core';
import { storageError, type Batch } from '@kvent/key-value-storage/provider';
import { collect, assertRejects } from '@kvent/key-value-storage/testing';
import { added, cleared, many } from '../kit/ledger.js';
import { breaksSessions, breaksStream, type StreamClause } from '../kit/stream-clause.js';

/** What is lost on the way: the answer of a commit that was done, or the commit itself. */
const losses = ['answer', 'request'] as const;

/**
 * While `work` runs, the first commit that changes a row of this kind is lost. It must be told as
 * what nobody knows.
 */
async function losing(
  provider: StorageProvider,
  loss: (typeof losses)[number],
  kind: 'head' | 'lease',
  work: () => Promise<unknown>,
): Promise<void> {
  const error = await assertRejects('STORAGE_OUTCOME_UNKNOWN', 'a commit without an answer', () =>
    whileLosing(provider, loss, kind, work),
  );
  assert.equal(error.effect, 'unknown');
}

async function whileLosing<R>(
  provider: StorageProvider,
  loss: (typeof losses)[number],
  kind: 'head' | 'lease',
  work: () => Promise<R>,
): Promise<R> {
  const commit = provider.commit.bind(provider);
  const isMeant = ({ changes }: Batch): boolean =>
    changes.some(({ address }) => address.container.startsWith(`${kind}:`));
  let lost = false;
  const once: StorageProvider['commit'] = async (batches, options) => {
    if (lost || !batches.some(isMeant)) return await commit(batches, options);
    lost = true;
    // the whole group: no answer is given early
    if (loss === 'answer') await commit(batches);
    return batches.map(() => ({
      outcome: 'failed',
      error: storageError('STORAGE_OUTCOME_UNKNOWN', 'Lost.', {}, { effect: 'unknown' }),
    }));
  };
  Object.assign(provider, { commit: once });
  try {
    return await work();
  } finally {
    Object.assign(provider, { commit });
    assert.ok(lost, 'nothing was committed that could be lost');
  }
}

const repeatsBlindly = breaksStream('send again what may have landed', (stream) => {
  const again = async <R>(work: () => Promise<R>): Promise<R> =>
    await work().catch(async (error: unknown) => {
      if (isStorageError(error, 'STORAGE_OUTCOME_UNKNOWN')) return await work();
      throw error;
    });
  return {
    append: (...given) => again(() => stream.append(...given)),
    transact: (...given) => again(() => stream.transact(...given)),
    delete: (...given) => again(() => stream.delete(...given)),
  };
});

export const lostAnswerClauses: readonly StreamClause[] = [
  {
    name: 'An append without an answer is told as what nobody knows; again with its key, it is done once, whether it had landed or not.',
    broken: repeatsBlindly,
    async run({ ledger, provider }) {
      for (const loss of losses) {
        const append = () => ledger.append(loss, many(3), { expectedVersion: 0, idempotencyKey: 'k' });
        await losing(provider, loss, 'head', append);
        assert.deepEqual(await append(), { version: 3, replayed: loss === 'answer' });
        let runs = 0;
        const transact = () =>
          ledger.transact(loss, ({ sum }) => ((runs += 1), [added(sum)]), { idempotencyKey: 'l' });
        await losing(provider, loss, 'head', transact);
        const { replayed, state, version } = await transact();
        assert.deepEqual(
          [runs, replayed, state.sum, version],
          [loss === 'answer' ? 1 : 2, loss === 'answer', 6, 4],
        );
        assert.equal((await collect(ledger.read(loss))).length, 4);
      }
    },
  },
  {
    name: 'A session whose append had no answer looks what became of it, and goes on from there.',
    broken: breaksSessions('send again what may have landed', (session) => ({
      append: async (...given) => await session.append(...given).catch(() => session.append(...given)),
    })),
    async run({ ledger, provider, storage }) {
      for (const loss of losses) {
        const landed = loss === 'answer' ? 1 : 0;
        const session = await ledger.openSession(loss);
        await session.append([added(1)]);
        await losing(provider, loss, 'head', () => session.append([added(10)]));
        assert.deepEqual(await session.append([added(100)]), { version: 2 + landed, replayed: false });
        assert.deepEqual(session.state, { sum: 101 + 10 * landed, count: 2 + landed });
        // the same through a larger commit, which does not tell the session
        await losing(provider, loss, 'head', () =>
          storage
            .atomic()
            .include(session.appending([added(1_000)]))
            .commit(),
        );
        await session.append([added(10_000)]);
        await losing(provider, loss, 'head', () => session.append([cleared]));
        await storage
          .atomic()
          .include(session.appending([added(7)]))
          .commit();
        await session.close();
        const versions = (await collect(ledger.read(loss))).map(({ version }) => version);
        assert.deepEqual(
          versions,
          Array.from({ length: 4 + 3 * landed }, (_, index) => index + 1),
        );
        assert.deepEqual((await ledger.load(loss)).state, session.state);
        assert.equal(session.state.sum, loss === 'answer' ? 7 : 10_108);
      }
    },
  },
  {
    name: 'A session’s append with a key that had no answer is answered as done when it is repeated, also when it let the stream go.',
    broken: breaksSessions('take no notice of idempotency keys', (session) => ({
      append: async (events, options) =>
        await session.append(events, { ...options, idempotencyKey: undefined }),
    })),
    async run({ ledger, provider }) {
      for (const loss of losses) {
        const replayed = loss === 'answer';
        const session = await ledger.openSession(loss);
        const append = () => session.append(many(2), { idempotencyKey: 'k' });
        await losing(provider, loss, 'head', append);
        assert.deepEqual(await append(), { version: 2, replayed });
        assert.deepEqual([session.version, session.state], [2, { sum: 2, count: 2 }]);
        const last = () => session.append([cleared], { idempotencyKey: 'l', close: true });
        await losing(provider, loss, 'head', last);
        assert.deepEqual(await last(), { version: 3, replayed });
        await assertRejects('SESSION_NOT_OPEN', 'append', () => session.append([cleared]));
        assert.equal((await ledger.append(loss, [added(1)], { expectedVersion: 3 })).version, 4);
      }
    },
  },
  {
    name: 'A session that was opened without an answer is held by whoever opened it, or by nobody.',
    broken: breaksStream('open once more, and hold it twice', (stream) => ({
      openSession: async (id, options) => {
        const session = await stream.openSession(id, options);
        await session.close();
        return session;
      },
    })),
    async run({ ledger, provider }) {
      const session = await whileLosing(provider, 'answer', 'lease', () => ledger.openSession('a'));
      await assertRejects('STREAM_LOCKED', 'append', () =>
        ledger.append('a', [cleared], { expectedVersion: 0 }),
      );
      assert.equal((await session.append([cleared])).version, 1);
      await session.close();
      const next = await ledger.openSession('a', { openTimeoutMs: 0 });
      assert.ok(next.fencingToken > session.fencingToken, 'later holders have larger tokens');
      await next.close();
      await losing(provider, 'request', 'lease', () => ledger.openSession('a'));
      await (await ledger.openSession('a', { openTimeoutMs: 0 })).close();
    },
  },
  {
    name: 'A renewal or a close without an answer frees nobody else’s lock; the close is repeated without harm, and what may be closed is not written.',
    broken: breaksSessions('append all the same', (session, stream) => ({
      append: async (events) =>
        await session
          .append(events)
          .catch(() => stream.append(session.id, events, { expectedVersion: 'any' })),
    })),
    async run({ ledger, provider }) {
      for (const loss of losses) {
        const session = await ledger.openSession(loss);
        await losing(provider, loss, 'lease', () => session.renew());
        assert.equal((await session.append([cleared])).version, 1);
        await losing(provider, loss, 'lease', () => session.close());
        if (loss === 'answer') {
          const next = await ledger.openSession(loss, { openTimeoutMs: 0 });
          await assertRejects('SESSION_LOST', 'append', () => session.append([cleared]));
          await session.close();
          await assertRejects('STREAM_LOCKED', 'append', () =>
            ledger.append(loss, [cleared], { expectedVersion: 1 }),
          );
          await next.close();
        }
        await session.close();
        assert.equal((await ledger.append(loss, [cleared], { expectedVersion: 1 })).version, 2);
        await assertRejects(loss === 'answer' ? 'SESSION_LOST' : 'SESSION_NOT_OPEN', 'append', () =>
          session.append([cleared]),
        );
      }
      const alone = await ledger.openSession('alone');
      await losing(provider, 'answer', 'lease', () => alone.close());
      // nobody took it: it is closed, that is all
      await assertRejects('SESSION_NOT_OPEN', 'append', () => alone.append([cleared]));
    },
  },
  {
    name: 'An opening that its caller gives up while it is on its way leaves no lock behind.',
    broken: breaksStream('take no notice of signals', (stream) => ({
      openSession: async (id, { signal, ...options } = {}) => {
        await stream.openSession(id, options);
        signal?.throwIfAborted();
        throw new Error('nobody gave up');
      },
    })),
    async run({ ledger, provider, store }) {
      const giving = new AbortController();
      const commit = provider.commit.bind(provider);
      const taken: StorageProvider['commit'] = async (batches, options) => {
        giving.abort(new Error('enough'));
        const results = await commit(batches);
        Object.assign(provider, { commit });
        if (options?.signal?.aborted === true)
          throw storageError('ABORTED', 'Given up.', {}, { effect: 'unknown' });
        return results;
      };
      Object.assign(provider, { commit: taken });
      await assertRejects('ABORTED', 'openSession', () => ledger.openSession('a', { signal: giving.signal }));
      await store.idle();
      await (await ledger.openSession('a', { openTimeoutMs: 0 })).close();
    },
  },
  {
    name: 'A deletion without an answer is repeated until it is known.',
    broken: breaksStream('delete twice', (stream) => ({
      delete: async (id, options) => await stream.delete(id, options).catch(() => stream.delete(id, options)),
    })),
    async run({ ledger, provider }) {
      for (const loss of losses) {
        await ledger.append(loss, many(3), { expectedVersion: 0 });
        await losing(provider, loss, 'head', () => ledger.delete(loss));
        assert.equal(await ledger.delete(loss), loss === 'request');
        await assertRejects('STREAM_DELETED', 'read', () => collect(ledger.read(loss)));
      }
    },
  },
];

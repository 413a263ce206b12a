/**
 * The law of lost answers: a commit whose outcome is unknown is STORAGE_OUTCOME_UNKNOWN, never a
 * failure, because it may have been done. A repeat with an idempotency key returns what happened,
 * and a session reads its rows before its next write. The clauses lose either the request or the
 * answer: the caller sees no difference, and both must end well.
 */
import assert from 'node:assert/strict';
import { isStorageError, type StorageProvider } from '@kvent/key-value-storage/core';
import { storageError, type Batch } from '@kvent/key-value-storage/provider';
import { collect, assertRejects } from '@kvent/key-value-storage/testing';
import { added, cleared, many, withoutPosition } from '../kit/ledger.js';
import { breaksSessions, breaksStream, type StreamClause } from '../kit/stream-clause.js';

/** What is lost: the answer of a commit that was done, or the request. */
const losses = ['answer', 'request'] as const;

/**
 * Loses the first commit of `work` that changes a row of this kind: its outcome must be unknown.
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
  const isMatch = ({ changes }: Batch): boolean =>
    changes.some(({ address }) => address.container.startsWith(`${kind}:`));
  let lost = false;
  const once: StorageProvider['commit'] = async (batches, options) => {
    if (lost || !batches.some(isMatch)) return await commit(batches, options);
    lost = true;
    // for the whole group, so that no answer is returned early
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
    assert.ok(lost, 'no commit was lost');
  }
}

/** The next commit fails at once, and is done after the next call: it was still under way. */
function failingEarly(provider: StorageProvider, fail: () => Error): void {
  const { commit, read } = provider;
  const early: StorageProvider['commit'] = async (batches) => {
    const thenCommit = async <R>(call: Promise<R>): Promise<R> => {
      Object.assign(provider, { commit, read });
      const result = await call;
      await commit.call(provider, batches);
      return result;
    };
    const next: Pick<StorageProvider, 'commit' | 'read'> = {
      commit: async (...given) => await thenCommit(commit.apply(provider, given)),
      read: async (...given) => await thenCommit(read.apply(provider, given)),
    };
    Object.assign(provider, next);
    throw fail();
  };
  Object.assign(provider, { commit: early });
}

const repeatsBlindly = breaksStream('repeat a commit that may have been done', (stream) => {
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
    name: 'An append whose answer is lost is STORAGE_OUTCOME_UNKNOWN; repeated with its key it is done once, whether it was committed or not.',
    broken: repeatsBlindly,
    async run({ ledger, provider }) {
      for (const loss of losses) {
        const append = () => ledger.append(loss, many(3), { expectedVersion: 0, idempotencyKey: 'k' });
        await losing(provider, loss, 'head', append);
        assert.deepEqual(withoutPosition(await append()), { version: 3, replayed: loss === 'answer' });
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
    name: 'After a lost answer a session reads what was committed, and continues from there.',
    broken: breaksSessions('repeat a commit that may have been done', (session) => ({
      append: async (...given) => await session.append(...given).catch(() => session.append(...given)),
    })),
    async run({ ledger, provider, storage }) {
      for (const loss of losses) {
        const done = loss === 'answer' ? 1 : 0;
        const session = await ledger.openSession(loss);
        await session.append([added(1)]);
        await losing(provider, loss, 'head', () => session.append([added(10)]));
        assert.deepEqual(withoutPosition(await session.append([added(100)])), {
          version: 2 + done,
          replayed: false,
        });
        assert.deepEqual(session.state, { sum: 101 + 10 * done, count: 2 + done });
        // the same in a larger commit, of which the session gets no error
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
          Array.from({ length: 4 + 3 * done }, (_, index) => index + 1),
        );
        assert.deepEqual((await ledger.load(loss)).state, session.state);
        assert.equal(session.state.sum, loss === 'answer' ? 7 : 10_108);
      }
    },
  },
  {
    name: 'An append of a session with a key whose answer is lost is done once when it is repeated, also when it closes the session.',
    broken: breaksSessions('ignore idempotency keys', (session) => ({
      append: async (events, options) =>
        await session.append(events, { ...options, idempotencyKey: undefined }),
    })),
    async run({ ledger, provider }) {
      for (const loss of losses) {
        const replayed = loss === 'answer';
        const session = await ledger.openSession(loss);
        const append = () => session.append(many(2), { idempotencyKey: 'k' });
        await losing(provider, loss, 'head', append);
        assert.deepEqual(withoutPosition(await append()), { version: 2, replayed });
        assert.deepEqual([session.version, session.state], [2, { sum: 2, count: 2 }]);
        const last = () => session.append([cleared], { idempotencyKey: 'l', close: true });
        await losing(provider, loss, 'head', last);
        assert.deepEqual(withoutPosition(await last()), { version: 3, replayed });
        await assertRejects('SESSION_NOT_OPEN', 'append', () => session.append([cleared]));
        assert.equal((await ledger.append(loss, [added(1)], { expectedVersion: 3 })).version, 4);
      }
    },
  },
  {
    name: 'When the answer of an opening is lost, either the opener holds the session, or no one does.',
    broken: breaksStream('return a closed session', (stream) => ({
      openSession: async (id, options) => {
        const session = await stream.openSession(id, options);
        await session.close();
        return session;
      },
    })),
    async run({ ledger, provider, store }) {
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
      failingEarly(provider, () =>
        storageError('STORAGE_OUTCOME_UNKNOWN', 'Lost.', {}, { effect: 'unknown' }),
      );
      await assertRejects('STORAGE_OUTCOME_UNKNOWN', 'openSession', () => ledger.openSession('a'));
      await store.idle();
      await (await ledger.openSession('a', { openTimeoutMs: 0 })).close();
    },
  },
  {
    name: 'A renewal or close whose answer is lost frees no lock of another session; a repeated close has no effect, and a session that may be closed does not write.',
    broken: breaksSessions('append without the lock', (session, stream) => ({
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
      // no other session has opened it: it is closed
      await assertRejects('SESSION_NOT_OPEN', 'append', () => alone.append([cleared]));
    },
  },
  {
    name: 'An opening that is aborted in flight leaves no lock behind.',
    broken: breaksStream('ignore signals', (stream) => ({
      openSession: async (id, { signal, ...options } = {}) => {
        await stream.openSession(id, options);
        signal?.throwIfAborted();
        throw new Error('the signal was not aborted');
      },
    })),
    async run({ ledger, provider, store }) {
      const controller = new AbortController();
      const commit = provider.commit.bind(provider);
      const abortInFlight: StorageProvider['commit'] = async (batches, options) => {
        controller.abort(new Error('enough'));
        const results = await commit(batches);
        Object.assign(provider, { commit });
        if (options?.signal?.aborted === true)
          throw storageError('ABORTED', 'Given up.', {}, { effect: 'unknown' });
        return results;
      };
      Object.assign(provider, { commit: abortInFlight });
      await assertRejects('ABORTED', 'openSession', () =>
        ledger.openSession('a', { signal: controller.signal }),
      );
      await store.idle();
      await (await ledger.openSession('a', { openTimeoutMs: 0 })).close();
      const late = new AbortController();
      failingEarly(provider, () => {
        late.abort(new Error('enough'));
        return storageError('ABORTED', 'Given up.', {}, { effect: 'unknown' });
      });
      await assertRejects('ABORTED', 'openSession', () => ledger.openSession('a', { signal: late.signal }));
      await store.idle();
      await (await ledger.openSession('a', { openTimeoutMs: 0 })).close();
    },
  },
  {
    name: 'A deletion whose answer is lost can be repeated.',
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

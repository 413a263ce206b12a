/**
 * The law of sessions: while a session holds a stream, only it can write, in every process; and
 * once its lease has expired it can write no more, however late it notices. A lease alone cannot
 * promise the second, because a holder may pause between its check and its write. So each write
 * checks the lease in its own batch, by the clock of the provider. The clauses prove both with a
 * clock that is moved by hand.
 */
import assert from 'node:assert/strict';
import {
  collect,
  changesBatches,
  changesReads,
  concurrently,
  assertRejects,
} from '@kvent/key-value-storage/testing';
import {
  added,
  cleared,
  KeptLedger,
  Ledger,
  many,
  type LedgerSession,
  withoutPosition,
} from '../kit/ledger.js';
import { breaksSessions, breaksStream, throughProvider, type StreamClause } from '../kit/stream-clause.js';

/** Batches are evaluated without their checks of lease, head and fence. */
const withoutLease = throughProvider(
  changesBatches('ignores leases', (batch) => ({
    ...batch,
    checks: batch.checks.filter(({ address }) => !/^(lease|head|fence):/.test(address.container)),
    changes: batch.changes.filter(({ kind }) => kind !== 'renew'),
  })),
);
/** A close frees the stream, whatever lease it has. */
const freesAnyLock = throughProvider(
  changesBatches('frees any lock', (batch) =>
    batch.changes.some(({ kind, address }) => kind === 'delete' && address.container.startsWith('lease:'))
      ? { ...batch, checks: batch.checks.filter(({ address }) => !/^(lease|head):/.test(address.container)) }
      : batch,
  ),
);
const withoutChecks = throughProvider(
  changesBatches('does not look at checks', (batch) => ({ ...batch, checks: [] })),
);
const ignoresLocks = throughProvider(
  changesBatches('allows writes to a held stream', (batch) => ({
    ...batch,
    checks: batch.checks.filter(
      ({ address, expected }) =>
        !(address.container.startsWith('head:') && typeof expected === 'object' && 'number' in expected),
    ),
  })),
);

export const sessionClauses: readonly StreamClause[] = [
  {
    name: 'While a session is open only it appends: other writes are STREAM_LOCKED with the time at which the lock expires.',
    broken: ignoresLocks,
    async run(subject) {
      const { ledger, storage } = subject;
      await ledger.append('a', many(2), { expectedVersion: 0 });
      const session = await ledger.openSession('a');
      assert.deepEqual(
        [session.id, session.version, session.state, session.signal.aborted],
        ['a', 2, { sum: 2, count: 2 }, false],
      );
      const outsiders = [
        () => ledger.append('a', [cleared], { expectedVersion: 2 }),
        () => ledger.append('a', [cleared], { expectedVersion: 'any' }),
        () => ledger.transact('a', () => [cleared]),
        () =>
          storage
            .atomic()
            .include(ledger.appending('a', [cleared], { expectedVersion: 2 }))
            .commit(),
        () => ledger.delete('a'),
      ];
      for (const outsider of outsiders) {
        const error = await assertRejects('STREAM_LOCKED', 'a write from outside', outsider);
        assert.deepEqual(
          { ...error, stream: 'ledger/a', until: session.expiresAt, effect: 'none' },
          { ...error },
        );
      }
      assert.deepEqual(withoutPosition(await session.append([added(5)])), { version: 3, replayed: false });
      assert.deepEqual([session.version, session.state], [3, { sum: 7, count: 3 }]);
      await session.close();
      assert.equal((await ledger.append('a', [cleared], { expectedVersion: 3 })).version, 4);
    },
  },
  {
    name: 'A session on an unknown stream can start it.',
    broken: withoutChecks,
    async run({ ledger }) {
      const session = await ledger.openSession('new');
      assert.deepEqual(
        [session.version, session.state, await ledger.version('new')],
        [0, { sum: 0, count: 0 }, 0],
      );
      await assertRejects('STREAM_LOCKED', 'append', () =>
        ledger.append('new', [cleared], { expectedVersion: 0 }),
      );
      await session.close();
      assert.equal((await ledger.append('new', [cleared], { expectedVersion: 'absent' })).version, 1);
      const other = await ledger.openSession('other');
      await other.append([cleared]);
      await other.close();
      assert.equal(await ledger.version('other'), 1);
    },
  },
  {
    name: 'Sessions on an unknown stream that append nothing leave no head, and a fence for a day; later holders have larger tokens all the same.',
    capability: 'exact expiry',
    broken: throughProvider(
      changesBatches('keeps heads', (batch) => ({
        ...batch,
        changes: batch.changes.filter(
          ({ kind, address }) => kind !== 'delete' || !address.container.startsWith('head:'),
        ),
      })),
    ),
    async run(subject) {
      const { ledger, clock } = subject;
      const open = async (id: string) => await ledger.openSession(id, { sessionTimeoutMs: 1_000 });
      const sessions = [await open('closed'), await open('unlocked'), await open('deleted')];
      await sessions[0]?.close();
      assert.equal(await ledger.unlock('unlocked'), true);
      // never closed
      await clock.advance(1_000);
      assert.equal(await ledger.delete('deleted'), false);
      assert.deepEqual([await subject.rows('head'), await subject.rows('lease')], [[], []]);
      const again = await open('closed');
      await again.close();
      await clock.advance(86_400_000);
      assert.deepEqual(await subject.rows('fence'), []);
      for (const earlier of [again, ...sessions]) {
        const later = await open(earlier.id);
        assert.ok(later.fencingToken > earlier.fencingToken, 'later holders have larger tokens');
        await later.append([cleared]);
        await later.close();
      }
    },
  },
  {
    name: 'With `openTimeoutMs: 0`, opening a held stream fails at once with the time at which its lock expires.',
    broken: breaksStream('open another stream instead', (stream) => ({
      openSession: async (id, options) =>
        await stream.openSession(id, options).catch(() => stream.openSession(`${id}'`, options)),
    })),
    async run(subject) {
      const { ledger } = subject;
      const first = await ledger.openSession('a');
      const error = await assertRejects('SESSION_OPEN_FAILED', 'openSession', () =>
        ledger.openSession('a', { openTimeoutMs: 0 }),
      );
      assert.deepEqual(
        { ...error, stream: 'ledger/a', openTimeoutMs: 0, until: first.expiresAt },
        { ...error },
      );
      await first.close();
      await (await ledger.openSession('a', { openTimeoutMs: 0 })).close();
    },
  },
  {
    name: '`unlock` ends the session that holds a stream: its holder is refused, and the next writer is not.',
    broken: breaksStream('unlock nothing', () => ({ unlock: async () => true })),
    async run({ ledger }) {
      assert.equal(await ledger.unlock('a'), false);
      await ledger.append('a', many(2), { expectedVersion: 0 });
      assert.equal(await ledger.unlock('a'), false);
      const session = await ledger.openSession('a');
      await session.append([added(5)]);
      assert.equal(await ledger.unlock('a'), true);
      assert.equal(await ledger.unlock('a'), false);
      assert.equal((await ledger.append('a', [cleared], { expectedVersion: 3 })).version, 4);
      await assertRejects('SESSION_LOST', 'append', () => session.append([added(1)]));
      assert.equal(session.signal.aborted, true);
      await session.close();
      const next = await ledger.openSession('a', { openTimeoutMs: 0 });
      assert.ok(next.fencingToken > session.fencingToken);
      await next.close();
      await ledger.delete('a');
      await assertRejects('STREAM_DELETED', 'unlock', () => ledger.unlock('a'));
    },
  },
  {
    name: 'Opening a held stream waits until the first session closes or expires.',
    capability: 'exact expiry',
    broken: throughProvider(
      changesReads('lets no lease expire', (result) => ({
        ...result,
        rows: result.rows.map(
          (row) =>
            row ?? {
              version: '7',
              value: { kind: 'json', text: '{}' },
              updatedAt: 0,
              expiresAt: Number.MAX_SAFE_INTEGER,
            },
        ),
      })),
    ),
    async run({ ledger, clock, inBackground, whileTimePasses }) {
      const first = await ledger.openSession('a', { sessionTimeoutMs: 1_000 });
      const second = inBackground(ledger.openSession('a', { openTimeoutMs: 5_000, sessionTimeoutMs: 1_000 }));
      await clock.advance(300);
      await first.append([cleared]);
      await first.close();
      const opened = await whileTimePasses(second);
      assert.equal(opened.version, 1);
      const last = await whileTimePasses(ledger.openSession('a', { openTimeoutMs: 5_000 }));
      assert.ok(
        last.fencingToken > opened.fencingToken && opened.fencingToken > first.fencingToken,
        'later holders have larger tokens',
      );
      await whileTimePasses(
        assertRejects('SESSION_OPEN_FAILED', 'openSession', () =>
          ledger.openSession('a', { openTimeoutMs: 500 }),
        ),
      );
      await last.close();
    },
  },
  {
    name: 'An expired session cannot write any more, and its stream is free.',
    capability: 'exact expiry',
    broken: withoutLease,
    async run(subject) {
      const { ledger, clock } = subject;
      const session = await ledger.openSession('a', { sessionTimeoutMs: 1_000 });
      await session.append([cleared]);
      await clock.advance(999);
      assert.equal((await session.append([cleared])).version, 2);
      await clock.advance(1_000);
      const error = await assertRejects('SESSION_EXPIRED', 'append', () => session.append([cleared]));
      assert.deepEqual({ ...error, stream: 'ledger/a', effect: 'none' }, { ...error });
      await assertRejects('SESSION_EXPIRED', 'renew', () => session.renew());
      assert.deepEqual([session.signal.aborted, subject.entriesOf('session expired').length], [true, 1]);
      assert.equal((await ledger.append('a', [cleared], { expectedVersion: 2 })).version, 3);
      await session.close();
      assert.equal(await ledger.version('a'), 3);
    },
  },
  {
    name: 'After another session has taken the stream, the old holder cannot write, and its late close frees nothing.',
    capability: 'exact expiry',
    broken: freesAnyLock,
    async run({ ledger, clock }) {
      const old = await ledger.openSession('a', { sessionTimeoutMs: 1_000 });
      await old.append([added(1)]);
      await clock.advance(1_000);
      const next = await ledger.openSession('a', { sessionTimeoutMs: 1_000 });
      assert.ok(next.fencingToken > old.fencingToken);
      await assertRejects('SESSION_LOST', 'append', () => old.append([added(2)]));
      await old.close();
      const sleeper = await ledger.openSession('b', { sessionTimeoutMs: 1_000 });
      await clock.advance(1_000);
      const holder = await ledger.openSession('b', { sessionTimeoutMs: 1_000 });
      // a late close of a session that has not noticed its expiry
      await sleeper.close();
      await assertRejects('STREAM_LOCKED', 'append', () =>
        ledger.append('b', [cleared], { expectedVersion: 0 }),
      );
      assert.equal((await holder.append([cleared])).version, 1);
      await assertRejects('SESSION_EXPIRED', 'append', () => next.append([added(3)]));
      assert.deepEqual(
        (await collect(ledger.read('a'))).map(({ data }) => data?.n),
        [1],
      );
      await holder.close();
    },
  },
  {
    name: 'An append from outside frees a stream whose session has expired, and that session cannot write any more.',
    capability: 'exact expiry',
    broken: withoutChecks,
    async run({ ledger, clock }) {
      for (const [index, expectedVersion] of ([1, 'any', 'present'] as const).entries()) {
        const id = `a${index}`;
        const expired = await ledger.openSession(id, { sessionTimeoutMs: 1_000 });
        await expired.append([added(1)]);
        await clock.advance(1_000);
        assert.equal((await ledger.append(id, [added(2)], { expectedVersion })).version, 2);
        await assertRejects('SESSION_LOST', 'append', () => expired.append([added(3)]));
        await expired.close();
        assert.equal((await ledger.transact(id, ({ sum }) => [added(sum)])).state.sum, 6);
      }
      // a session that appended nothing, and an append by `transact`
      const [idle, busy] = [
        await ledger.openSession('b', { sessionTimeoutMs: 1_000 }),
        await ledger.openSession('c', { sessionTimeoutMs: 1_000 }),
      ];
      await busy.append([added(1)]);
      await clock.advance(1_000);
      assert.equal((await ledger.append('b', [added(2)], { expectedVersion: 'absent' })).version, 1);
      assert.deepEqual((await ledger.transact('c', ({ sum }) => [added(sum + 1)])).state, {
        sum: 3,
        count: 2,
      });
      for (const expired of [idle, busy])
        await assertRejects('SESSION_LOST', 'append', () => expired.append([added(3)]));
    },
  },
  {
    name: 'A stream whose session has expired can be deleted, and that session cannot write any more.',
    capability: 'exact expiry',
    broken: withoutChecks,
    async run(subject) {
      const { ledger, clock } = subject;
      const expired = await ledger.openSession('a', { sessionTimeoutMs: 1_000 });
      await expired.append(many(3));
      await assertRejects('STREAM_LOCKED', 'delete', () => ledger.delete('a'));
      await clock.advance(1_000);
      assert.equal(await ledger.delete('a'), true);
      await assertRejects('STREAM_DELETED', 'append', () => expired.append([added(1)]));
      await assertRejects('STREAM_DELETED', 'renew', () => expired.renew());
      await expired.close();
      await assertRejects('STREAM_DELETED', 'openSession', () => ledger.openSession('a'));
      assert.deepEqual([await ledger.version('a'), (await ledger.page()).items], [0, []]);
      assert.deepEqual(await subject.rows('fence'), []);
    },
  },
  {
    name: 'A lock is valid for a minute and is waited for five seconds, unless the event store or the caller set other times.',
    capability: 'exact expiry',
    broken: breaksStream('use other default times', (stream) => ({
      openSession: async (id, options) =>
        await stream.openSession(id, { sessionTimeoutMs: 30_000, openTimeoutMs: 100, ...options }),
    })),
    async run(subject) {
      const { clock, whileTimePasses } = subject;
      const validMs = (session: LedgerSession): number => session.expiresAt.getTime() - clock.now();
      const session = await subject.ledger.openSession('a');
      assert.equal(validMs(session), 60_000);
      const begun = clock.monotonic();
      const error = await whileTimePasses(
        assertRejects('SESSION_OPEN_FAILED', 'openSession', () => subject.ledger.openSession('a')),
      );
      assert.deepEqual({ ...error, openTimeoutMs: 5_000 }, { ...error });
      assert.ok(clock.monotonic() - begun >= 5_000, 'it did not wait');
      const store = subject.newEventStore({ session: { sessionTimeoutMs: 7_000, openTimeoutMs: 0 } });
      await assertRejects('SESSION_OPEN_FAILED', 'openSession', () => store.stream(Ledger).openSession('a'));
      const [own, given] = [
        await store.stream(Ledger).openSession('b'),
        await store.stream(Ledger).openSession('c', { sessionTimeoutMs: 3_000 }),
      ];
      assert.deepEqual([validMs(own), validMs(given)], [7_000, 3_000]);
      for (const each of [session, own, given]) await each.close();
    },
  },
  {
    name: 'An aborted wait for a lock ends at once, and takes no lock.',
    broken: breaksStream('ignore signals', (stream) => ({
      openSession: async (id, options) => await stream.openSession(id, { ...options, signal: undefined }),
      transact: async (id, decide, options) =>
        await stream.transact(id, decide, { ...options, signal: undefined, lockTimeoutMs: 0 }),
    })),
    async run({ ledger }) {
      const session = await ledger.openSession('a');
      const controller = new AbortController();
      const { signal } = controller;
      const waiting = [
        assertRejects('ABORTED', 'openSession', () =>
          ledger.openSession('a', { signal, openTimeoutMs: 60_000 }),
        ),
        assertRejects('ABORTED', 'transact', () =>
          ledger.transact('a', () => [cleared], { signal, lockTimeoutMs: 60_000 }),
        ),
      ];
      // by now both wait for the lock
      await ledger.load('a');
      await ledger.load('a');
      controller.abort(new Error('enough'));
      await Promise.all(waiting);
      await session.close();
      assert.equal((await ledger.append('a', [cleared], { expectedVersion: 0 })).version, 1);
    },
  },
  {
    name: 'A renewal makes the lock valid for the full time from now; a renewal after expiry is refused.',
    capability: 'exact expiry',
    broken: breaksSessions('do not renew', (session) => ({ renew: async () => session.expiresAt })),
    async run({ ledger, clock, provider }) {
      const session = await ledger.openSession('a', { sessionTimeoutMs: 1_000 });
      const { time } = await provider.read([]);
      await clock.advance(900);
      const until = await session.renew();
      assert.deepEqual([until.getTime(), session.expiresAt], [time + 1_900, until]);
      await clock.advance(900);
      await assertRejects('STREAM_LOCKED', 'append', () =>
        ledger.append('a', [cleared], { expectedVersion: 0 }),
      );
      await session.append([cleared]);
      await clock.advance(1_000);
      await assertRejects('SESSION_EXPIRED', 'renew', () => session.renew());
    },
  },
  {
    name: 'A session with automatic renewal holds the stream for as long as it is open, and not longer.',
    capability: 'exact expiry',
    broken: breaksStream('ignore the option', (stream) => ({
      openSession: async (id, options) => await stream.openSession(id, { ...options, renewal: 'manual' }),
    })),
    async run({ ledger, clock, things }) {
      await things.set('wait', { n: 0 });
      // the provider may have timers, too
      const { waiting } = clock;
      const session = await ledger.openSession('a', { sessionTimeoutMs: 900, renewal: 'auto' });
      for (let turn = 0; turn < 10; turn += 1) {
        const { expiresAt } = session;
        await clock.advance(300);
        // no time passes until the renewal is committed, however slow the storage is
        for (let n = 0; session.expiresAt <= expiresAt && n < 10_000; n += 1) await things.set('wait', { n });
        assert.ok(session.expiresAt > expiresAt, 'the lock was not renewed');
        await assertRejects('STREAM_LOCKED', 'append', () =>
          ledger.append('a', [cleared], { expectedVersion: 0 }),
        );
      }
      assert.equal(session.signal.aborted, false);
      await session.close();
      assert.equal((await ledger.append('a', [cleared], { expectedVersion: 0 })).version, 1);
      assert.equal(clock.waiting, waiting);
    },
  },
  {
    name: 'The signal is aborted shortly before the lock expires, and not when it is renewed in time.',
    capability: 'exact expiry',
    broken: breaksSessions('never warn', () => ({ signal: new AbortController().signal })),
    async run({ ledger, clock }) {
      const session = await ledger.openSession('a', { sessionTimeoutMs: 10_000 });
      await clock.advance(8_000);
      await session.renew();
      await clock.advance(8_000);
      assert.equal(session.signal.aborted, false);
      await clock.advance(1_500);
      assert.equal(session.signal.aborted, true);
      // the lock is still valid: a quick holder may write
      assert.equal((await session.append([cleared])).version, 1);
      await session.close();
    },
  },
  {
    name: 'Every use of a closed session is SESSION_NOT_OPEN, and closing it again has no effect.',
    broken: breaksSessions('continue after they were closed', (session, stream) => ({
      append: async (events) =>
        await session
          .append(events)
          .catch(() => stream.append(session.id, events, { expectedVersion: 'any' })),
    })),
    async run(subject) {
      const { ledger } = subject;
      const session = await ledger.openSession('a');
      await session.close();
      await session.close();
      await assertRejects('SESSION_NOT_OPEN', 'append', () => session.append([cleared]));
      await assertRejects('SESSION_NOT_OPEN', 'renew', () => session.renew());
      assert.throws(() => session.appending([cleared]), /closed/);
      assert.deepEqual(
        [
          subject.entriesOf('session opened').length,
          subject.entriesOf('session closed').map(({ freed }) => freed),
        ],
        [1, [true]],
      );
      assert.equal(await ledger.version('a'), 0);
    },
  },
  {
    name: 'The lock is freed when the work ends, also when it throws.',
    broken: breaksStream('keep the lock after an error', (stream) => ({
      session: async (id, work, options) => {
        const session = await stream.openSession(id, options);
        const answer = await work(session);
        await session.close();
        return answer;
      },
    })),
    async run({ ledger }) {
      const answer = await ledger.session('a', async (session) => (await session.append([cleared])).version);
      assert.equal(answer, 1);
      await assert.rejects(
        ledger.session('a', async () => {
          throw new RangeError('the card was declined');
        }),
        RangeError,
      );
      assert.equal((await ledger.append('a', [cleared], { expectedVersion: 1 })).version, 2);
      {
        await using session = await ledger.openSession('a', { openTimeoutMs: 0 });
        assert.equal(session.version, 2);
      }
      await (await ledger.openSession('a', { openTimeoutMs: 0 })).close();
    },
  },
  {
    name: 'A session appends, writes other states and closes in one commit, and runs its calls one at a time.',
    broken: breaksSessions('run calls concurrently', (session, stream) => ({
      append: async (events, options) =>
        options?.close === true
          ? await session.append(events, options)
          : await stream.append(session.id, events, { expectedVersion: session.version }),
    })),
    async run({ ledger, storage, things }) {
      const session = await ledger.openSession('a');
      const results = await concurrently(10, (n) => session.append([added(n)]));
      assert.deepEqual(
        results.map(({ version }) => version),
        Array.from({ length: 10 }, (_, index) => index + 1),
      );
      await storage
        .atomic()
        .include(session.appending([added(100)]))
        .set(things, 'part', { n: 1 })
        .commit();
      assert.deepEqual([session.version, session.state], [11, { sum: 145, count: 11 }]);
      const last = await session.append([cleared], {
        close: true,
        sameCommit: (batch, { state, version }) =>
          batch.set(things, 'end', { n: state.sum, text: String(version) }),
      });
      assert.deepEqual([last.version, (await things.getOrThrow('end')).value], [12, { n: 0, text: '12' }]);
      await assertRejects('SESSION_NOT_OPEN', 'append', () => session.append([cleared]));
      assert.equal((await ledger.append('a', [cleared], { expectedVersion: 12 })).version, 13);
    },
  },
  {
    name: 'A session’s append with a key is done once.',
    broken: breaksSessions('ignore idempotency keys', (session) => ({
      append: async (events, options) =>
        await session.append(events, { ...options, idempotencyKey: undefined }),
    })),
    async run({ ledger }) {
      const pay = async () =>
        await ledger.session('a', async (session) =>
          withoutPosition(await session.append([added(1)], { idempotencyKey: 'k' })),
        );
      assert.deepEqual(
        [await pay(), await pay()],
        [
          { version: 1, replayed: false },
          { version: 1, replayed: true },
        ],
      );
      assert.equal(await ledger.version('a'), 1);
    },
  },
  {
    name: 'Of ten concurrent openers that do not wait one holds the stream; openers that wait hold it one after the other.',
    broken: withoutLease,
    async run({ ledger, whileTimePasses }) {
      const openers = await Promise.allSettled(
        Array.from({ length: 10 }, () => ledger.openSession('a', { openTimeoutMs: 0 })),
      );
      const opened = openers.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
      assert.equal(opened.length, 1);
      await opened[0]?.close();
      let inside = 0;
      const tokens: bigint[] = [];
      const work = concurrently(5, (n) =>
        ledger.session(
          'a',
          async (session) => {
            inside += 1;
            assert.equal(inside, 1, 'two sessions hold the stream');
            tokens.push(session.fencingToken);
            await session.append([added(n)]);
            inside -= 1;
          },
          { openTimeoutMs: 60_000 },
        ),
      );
      await whileTimePasses(work);
      assert.deepEqual(
        [tokens, (await ledger.load('a')).state.sum],
        [tokens.toSorted((a, b) => (a < b ? -1 : 1)), 10],
      );
    },
  },
  {
    name: 'A transaction waits for a lock for `lockTimeoutMs`.',
    broken: breaksStream('do not wait for locks', (stream) => ({
      transact: async (id, decide, options) =>
        await stream.transact(id, decide, { ...options, lockTimeoutMs: 0 }),
    })),
    capability: 'exact expiry',
    async run({ ledger, clock, inBackground, whileTimePasses }) {
      const session = await ledger.openSession('a', { sessionTimeoutMs: 10_000 });
      const waiting = inBackground(
        ledger.transact('a', ({ sum }) => [added(sum + 1)], { lockTimeoutMs: 5_000 }),
      );
      await clock.advance(1_000);
      await session.append([added(10)]);
      await session.close();
      assert.deepEqual((await whileTimePasses(waiting)).state.sum, 21);
      const again = await ledger.openSession('a', { sessionTimeoutMs: 10_000 });
      await whileTimePasses(
        assertRejects('STREAM_LOCKED', 'transact', () =>
          ledger.transact('a', () => [cleared], { lockTimeoutMs: 500 }),
        ),
      );
      await again.close();
    },
  },
  {
    name: 'The lock of a crashed holder is kept when the storage is opened again, and expires after its time.',
    capability: 'durable, clock',
    broken: withoutLease,
    async run(subject) {
      const session = await subject.ledger.openSession('a', { sessionTimeoutMs: 60_000 });
      await session.append(many(2));
      await subject.reopen();
      await assertRejects('STREAM_LOCKED', 'append', () =>
        subject.ledger.append('a', [cleared], { expectedVersion: 2 }),
      );
      await subject.clock.advance(60_001);
      assert.equal((await subject.ledger.append('a', [cleared], { expectedVersion: 2 })).version, 3);
    },
  },
  {
    name: 'The options of a session are checked before anything is sent.',
    broken: breaksStream('ignore options', (stream) => ({
      openSession: async (id) => await stream.openSession(id),
    })),
    async run({ ledger }) {
      for (const options of [
        { sessionTimeoutMs: 0 },
        { sessionTimeoutMs: 1.5 },
        { sessionTimeoutMs: 2 ** 31 },
        { openTimeoutMs: -1 },
        { renewal: 'never' },
        { timeoutMs: 5 },
      ])
        await assertRejects('INVALID_OPTION', 'openSession', () => ledger.openSession('a', options as never));
      const aborted = new AbortController();
      aborted.abort();
      await assertRejects('ABORTED', 'openSession', () =>
        ledger.openSession('a', { signal: aborted.signal }),
      );
      await (await ledger.openSession('a', { openTimeoutMs: 0 })).close();
    },
  },
  {
    name: 'An append of a session that crosses a multiple of `every` writes a snapshot in the same commit.',
    broken: throughProvider(
      changesBatches('stores no snapshots', (batch) => ({
        ...batch,
        changes: batch.changes.filter(({ address }) => !address.container.startsWith('snapshot:')),
      })),
    ),
    async run(subject) {
      const kept = subject.stream(KeptLedger);
      await kept.session('a', async (session) => {
        await session.append(many(9));
        await session.append(many(3));
        await session.append(many(20));
      });
      assert.deepEqual(await kept.snapshotVersions('a'), [12, 32]);
      assert.deepEqual((await kept.load('a')).state, { sum: 32, count: 32 });
    },
  },
];

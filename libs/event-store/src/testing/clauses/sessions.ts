/**
 * Sessions: one holder at a time, whose every write carries its lock; deadlines are the provider's.
 */
import assert from 'node:assert/strict';
import {
  collect,
  changesBatches,
  changesReads,
  concurrently,
  assertRejects,
} from '@kvent/key-value-storage/testing';
import { added, cleared, KeptLedger, Ledger, many, type LedgerSession } from '../kit/ledger.js';
import { breaksSessions, breaksStream, throughProvider, type StreamClause } from '../kit/stream-clause.js';

/** The lease is not looked at when a batch is judged. */
const withoutLease = throughProvider(
  changesBatches('does not look at leases', (batch) => ({
    ...batch,
    checks: batch.checks.filter(({ address }) => !/^(lease|head):/.test(address.container)),
    changes: batch.changes.filter(({ kind }) => kind !== 'renew'),
  })),
);
/** Whoever closes frees the stream, whatever the lease says. */
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
  changesBatches('lets everybody into a held stream', (batch) => ({
    ...batch,
    checks: batch.checks.filter(
      ({ address, expected }) =>
        !(address.container.startsWith('head:') && typeof expected === 'object' && 'number' in expected),
    ),
  })),
);

export const sessionClauses: readonly StreamClause[] = [
  {
    name: 'While a session is open it alone appends: everybody else is told that the stream is locked, and until when.',
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
      assert.deepEqual(await session.append([added(5)]), { version: 3, replayed: false });
      assert.deepEqual([session.version, session.state], [3, { sum: 7, count: 3 }]);
      await session.close();
      assert.equal((await ledger.append('a', [cleared], { expectedVersion: 3 })).version, 4);
    },
  },
  {
    name: 'A session on a stream that is not there yet begins it.',
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
    name: 'A second opener with no patience fails at once, and hears until when the stream is held.',
    broken: breaksStream('open another stream', (stream) => ({
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
    name: 'A second opener with patience is let in when the first closes, or when its time is over.',
    capability: 'exact expiry',
    broken: throughProvider(
      changesReads('never lets a lease end', (result) => ({
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
    async run({ ledger, clock, meanwhile, passing }) {
      const first = await ledger.openSession('a', { sessionTimeoutMs: 1_000 });
      const second = meanwhile(ledger.openSession('a', { openTimeoutMs: 5_000, sessionTimeoutMs: 1_000 }));
      await clock.advance(300);
      await first.append([cleared]);
      await first.close();
      const opened = await passing(second);
      assert.equal(opened.version, 1);
      const last = await passing(ledger.openSession('a', { openTimeoutMs: 5_000 }));
      assert.ok(
        last.fencingToken > opened.fencingToken && opened.fencingToken > first.fencingToken,
        'later holders have larger tokens',
      );
      await passing(
        assertRejects('SESSION_OPEN_FAILED', 'openSession', () =>
          ledger.openSession('a', { openTimeoutMs: 500 }),
        ),
      );
      await last.close();
    },
  },
  {
    name: 'A session that has expired cannot write any more, and its stream is free.',
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
      assert.deepEqual([session.signal.aborted, subject.told('session expired').length], [true, 1]);
      assert.equal((await ledger.append('a', [cleared], { expectedVersion: 2 })).version, 3);
      await session.close();
      assert.equal(await ledger.version('a'), 3);
    },
  },
  {
    name: 'After a take-over the old holder cannot write, and its late close frees nothing.',
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
      // closing late, before it was told anything
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
    name: 'An append from outside takes over what a dead session left, and the session cannot write behind it.',
    capability: 'exact expiry',
    broken: withoutChecks,
    async run({ ledger, clock }) {
      for (const [index, expectedVersion] of ([1, 'any', 'present'] as const).entries()) {
        const id = `a${index}`;
        const dead = await ledger.openSession(id, { sessionTimeoutMs: 1_000 });
        await dead.append([added(1)]);
        await clock.advance(1_000);
        assert.equal((await ledger.append(id, [added(2)], { expectedVersion })).version, 2);
        await assertRejects('SESSION_LOST', 'append', () => dead.append([added(3)]));
        await dead.close();
        assert.equal((await ledger.transact(id, ({ sum }) => [added(sum)])).state.sum, 6);
      }
      // of one that appended nothing, and by a decision
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
      for (const dead of [idle, busy])
        await assertRejects('SESSION_LOST', 'append', () => dead.append([added(3)]));
    },
  },
  {
    name: 'A stream whose session is dead is deleted, and the session cannot write behind the end.',
    capability: 'exact expiry',
    broken: withoutChecks,
    async run({ ledger, clock }) {
      const dead = await ledger.openSession('a', { sessionTimeoutMs: 1_000 });
      await dead.append(many(3));
      await assertRejects('STREAM_LOCKED', 'delete', () => ledger.delete('a'));
      await clock.advance(1_000);
      assert.equal(await ledger.delete('a'), true);
      await assertRejects('STREAM_DELETED', 'append', () => dead.append([added(1)]));
      await assertRejects('STREAM_DELETED', 'renew', () => dead.renew());
      await dead.close();
      await assertRejects('STREAM_DELETED', 'openSession', () => ledger.openSession('a'));
      assert.deepEqual([await ledger.version('a'), (await ledger.page()).items], [0, []]);
    },
  },
  {
    name: 'A lock lives for a minute and is waited for five seconds, unless the store or the caller say otherwise.',
    capability: 'exact expiry',
    broken: breaksStream('have times of their own', (stream) => ({
      openSession: async (id, options) =>
        await stream.openSession(id, { sessionTimeoutMs: 30_000, openTimeoutMs: 100, ...options }),
    })),
    async run(subject) {
      const { clock, passing } = subject;
      const livesFor = (session: LedgerSession): number => session.expiresAt.getTime() - clock.now();
      const session = await subject.ledger.openSession('a');
      assert.equal(livesFor(session), 60_000);
      const begun = clock.monotonic();
      const error = await passing(
        assertRejects('SESSION_OPEN_FAILED', 'openSession', () => subject.ledger.openSession('a')),
      );
      assert.deepEqual({ ...error, openTimeoutMs: 5_000 }, { ...error });
      assert.ok(clock.monotonic() - begun >= 5_000, 'it was not waited for');
      const store = subject.another({ session: { sessionTimeoutMs: 7_000, openTimeoutMs: 0 } });
      await assertRejects('SESSION_OPEN_FAILED', 'openSession', () => store.stream(Ledger).openSession('a'));
      const [own, given] = [
        await store.stream(Ledger).openSession('b'),
        await store.stream(Ledger).openSession('c', { sessionTimeoutMs: 3_000 }),
      ];
      assert.deepEqual([livesFor(own), livesFor(given)], [7_000, 3_000]);
      for (const each of [session, own, given]) await each.close();
    },
  },
  {
    name: 'Whoever waits for a lock and gives up is let go at once, and takes nothing.',
    broken: breaksStream('take no notice of signals', (stream) => ({
      openSession: async (id, options) => await stream.openSession(id, { ...options, signal: undefined }),
      transact: async (id, decide, options) =>
        await stream.transact(id, decide, { ...options, signal: undefined, lockTimeoutMs: 0 }),
    })),
    async run({ ledger }) {
      const session = await ledger.openSession('a');
      const giving = new AbortController();
      const { signal } = giving;
      const waiting = [
        assertRejects('ABORTED', 'openSession', () =>
          ledger.openSession('a', { signal, openTimeoutMs: 60_000 }),
        ),
        assertRejects('ABORTED', 'transact', () =>
          ledger.transact('a', () => [cleared], { signal, lockTimeoutMs: 60_000 }),
        ),
      ];
      // they have looked, and are waiting
      await ledger.load('a');
      await ledger.load('a');
      giving.abort(new Error('enough'));
      await Promise.all(waiting);
      await session.close();
      assert.equal((await ledger.append('a', [cleared], { expectedVersion: 0 })).version, 1);
    },
  },
  {
    name: 'Renewing gives a full time from now; what was renewed in time goes on, and a renewal too late is refused.',
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
    name: 'A session that renews itself is held for as long as it is open, and not a moment longer.',
    capability: 'exact expiry',
    broken: breaksStream('take no notice of the option', (stream) => ({
      openSession: async (id, options) => await stream.openSession(id, { ...options, renewal: 'manual' }),
    })),
    async run({ ledger, clock, passing }) {
      await ledger.append('other', [cleared], { expectedVersion: 0 });
      // a provider may wait for the time, too
      const { waiting } = clock;
      const session = await ledger.openSession('a', { sessionTimeoutMs: 900, renewal: 'auto' });
      for (let turn = 0; turn < 12; turn += 1) {
        await passing(clock.wait(250));
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
    name: 'The signal warns before the time is over, and not while the session lives on.',
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
      // about to be lost, not lost: who is quick may still write
      assert.equal((await session.append([cleared])).version, 1);
      await session.close();
    },
  },
  {
    name: 'A closed session is not open: every use of it says so, and closing it again is harmless.',
    broken: breaksSessions('go on after they were closed', (session, stream) => ({
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
        [subject.told('session opened').length, subject.told('session closed').map(({ freed }) => freed)],
        [1, [true]],
      );
      assert.equal(await ledger.version('a'), 0);
    },
  },
  {
    name: 'The lock is let go when the work is done, also when it throws.',
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
    name: 'A session appends and closes in one commit, writes what goes along in it, and does one thing at a time.',
    broken: breaksSessions('do everything at once', (session, stream) => ({
      append: async (events, options) =>
        options?.close === true
          ? await session.append(events, options)
          : await stream.append(session.id, events, { expectedVersion: session.version }),
    })),
    async run({ ledger, storage, things }) {
      const session = await ledger.openSession('a');
      const answers = await concurrently(10, (n) => session.append([added(n)]));
      assert.deepEqual(
        answers.map(({ version }) => version),
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
    broken: breaksSessions('take no notice of idempotency keys', (session) => ({
      append: async (events, options) =>
        await session.append(events, { ...options, idempotencyKey: undefined }),
    })),
    async run({ ledger }) {
      const pay = async () =>
        await ledger.session('a', (session) => session.append([added(1)], { idempotencyKey: 'k' }));
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
    name: 'Of ten openers without patience one holds the stream; with patience they hold it one after the other.',
    broken: withoutLease,
    async run({ ledger, passing }) {
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
            assert.equal(inside, 1, 'two hold the stream');
            tokens.push(session.fencingToken);
            await session.append([added(n)]);
            inside -= 1;
          },
          { openTimeoutMs: 60_000 },
        ),
      );
      await passing(work);
      assert.deepEqual(
        [tokens, (await ledger.load('a')).state.sum],
        [tokens.toSorted((a, b) => (a < b ? -1 : 1)), 10],
      );
    },
  },
  {
    name: 'A transaction waits for a lock as long as it was told to.',
    broken: breaksStream('do not wait', (stream) => ({
      transact: async (id, decide, options) =>
        await stream.transact(id, decide, { ...options, lockTimeoutMs: 0 }),
    })),
    capability: 'exact expiry',
    async run({ ledger, clock, meanwhile, passing }) {
      const session = await ledger.openSession('a', { sessionTimeoutMs: 10_000 });
      const waiting = meanwhile(
        ledger.transact('a', ({ sum }) => [added(sum + 1)], { lockTimeoutMs: 5_000 }),
      );
      await clock.advance(1_000);
      await session.append([added(10)]);
      await session.close();
      assert.deepEqual((await passing(waiting)).state.sum, 21);
      const again = await ledger.openSession('a', { sessionTimeoutMs: 10_000 });
      await passing(
        assertRejects('STREAM_LOCKED', 'transact', () =>
          ledger.transact('a', () => [cleared], { lockTimeoutMs: 500 }),
        ),
      );
      await again.close();
    },
  },
  {
    name: 'A crashed holder’s lock survives a restart, and is free after its time.',
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
    name: 'What a session and an outsider expect of options is checked before anything is sent.',
    broken: breaksStream('take anything', (stream) => ({
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
      const gone = new AbortController();
      gone.abort();
      await assertRejects('ABORTED', 'openSession', () => ledger.openSession('a', { signal: gone.signal }));
      await (await ledger.openSession('a', { openTimeoutMs: 0 })).close();
    },
  },
  {
    name: 'A session’s append that crosses a multiple of `every` leaves a snapshot in the same commit.',
    broken: throughProvider(
      changesBatches('keeps no snapshots', (batch) => ({
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

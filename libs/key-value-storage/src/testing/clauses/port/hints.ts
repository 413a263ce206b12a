/**
 * Law 9, watches: hints name the spaces that changed, so that watchers read again. They may be late
 * or merged, but must end with their signal and with the provider, and must never name a space that
 * was not requested. A provider that is not `shared` is not polled, so it must lose none.
 */
import assert from 'node:assert/strict';
import type { StorageProvider } from '../../../core.js';
import type { Address, FeedPosition, Hint, HintTarget, RawRow, Space } from '../../../provider.js';
import { put, remove, sum } from '../../kit/batches.js';
import { breaks } from '../../kit/broken-providers.js';
import type { Clause } from '../../kit/clause.js';
import type { Subject } from '../../kit/subject.js';

const law = 9;
type Hints = NonNullable<StorageProvider['hints']>;
type Feed = NonNullable<StorageProvider['feed']>;

const breaksHints = (fault: string, change: (hints: Hints) => Hints) =>
  breaks(fault, (provider) => ({
    hints: change((spaces, signal) => (provider.hints as Hints)(spaces, signal)),
  }));

const spaceOf = (subject: Subject, entity = 'thing'): Space => ({
  database: subject.database(),
  container: 'state:kit',
  entity,
});

/** Collects hints until they end. */
async function collect(hints: AsyncIterable<Hint>): Promise<readonly Hint[]> {
  const all: Hint[] = [];
  for await (const hint of hints) all.push(hint);
  return all;
}

/** The result of work that must end within 500 rounds of the event loop. */
async function withinRounds<T>(subject: Subject, work: Promise<T>, failure: string): Promise<T> {
  const timedOut = Symbol('timed out');
  let hasEnded = false;
  const timeOut = async (): Promise<typeof timedOut> => {
    for (let round = 0; round < 500 && !hasEnded; round += 1) await subject.clock.advance(0);
    return timedOut;
  };
  try {
    const result = await Promise.race([work, timeOut()]);
    return result === timedOut ? assert.fail(failure) : result;
  } finally {
    hasEnded = true;
  }
}

/** The hints of a listener that must end. */
const endOf = (subject: Subject, what: string, work: Promise<readonly Hint[]>): Promise<readonly Hint[]> =>
  withinRounds(subject, work, `hints must end ${what}`);

/**
 * Reads hints until one is about this row and the row then has this version (`undefined`: it is
 * absent).
 */
async function hintOf(
  subject: Subject,
  hints: AsyncIterator<Hint>,
  address: Address,
  version: string | undefined,
): Promise<void> {
  const { entity, key } = address;
  while (true) {
    const next = await withinRounds(subject, hints.next(), `a change of '${key}' was not hinted at`);
    assert.ok(next.done !== true, 'the hints ended');
    const { space, key: changed = key } = next.value;
    if (space?.entity === entity && changed === key && (await subject.readRow(address))?.version === version)
      return;
  }
}

/** Reads hints until a row of this database stands behind `after`; returns its position. */
async function hintOfFeed(
  subject: Subject,
  hints: AsyncIterator<Hint>,
  database: string,
  after: FeedPosition,
): Promise<FeedPosition> {
  while (true) {
    const next = await withinRounds(subject, hints.next(), 'what came into the feed was not hinted at');
    assert.ok(next.done !== true, 'the hints ended');
    const page = await (subject.provider.feed as Feed)({ databases: [database], after, limit: 1 });
    const [entry] = page.entries;
    if (entry !== undefined) return entry.position;
  }
}

/** Runs work with the hints of some targets, which then end. */
async function withHints(
  subject: Subject,
  targets: readonly HintTarget[],
  work: (hints: AsyncIterator<Hint>) => Promise<void>,
): Promise<void> {
  const listening = new AbortController();
  const hints = (subject.provider.hints as Hints).call(subject.provider, targets, listening.signal);
  try {
    await work(hints[Symbol.asyncIterator]());
  } finally {
    listening.abort();
  }
}

export const hintClauses: readonly Clause[] = [
  {
    name: 'Hints end with their signal, also with one that is already aborted.',
    law,
    capability: 'hints',
    broken: breaksHints(
      'ignores the signal of hints',
      (hints) => (spaces) => hints(spaces, new AbortController().signal),
    ),
    async run(subject) {
      const controller = new AbortController();
      const listening = collect((subject.provider.hints as Hints)([spaceOf(subject)], controller.signal));
      await subject.putRow(subject.address('one'), '1');
      controller.abort();
      await endOf(subject, 'with their signal', listening);
      await endOf(
        subject,
        'when the signal was aborted before',
        collect((subject.provider.hints as Hints)([spaceOf(subject)], AbortSignal.abort())),
      );
    },
  },
  {
    name: 'Hints end when the provider closes.',
    law,
    capability: 'hints',
    broken: breaksHints(
      'does not end hints when it closes',
      (hints) =>
        async function* (spaces, signal) {
          yield* hints(spaces, signal);
          await new Promise<void>((resolve) =>
            signal.addEventListener('abort', () => resolve(), { once: true }),
          );
        },
    ),
    async run(subject) {
      const controller = new AbortController();
      const listening = collect((subject.provider.hints as Hints)([spaceOf(subject)], controller.signal));
      await subject.putRow(subject.address('one'), '1');
      try {
        await subject.provider.close();
        await endOf(subject, 'when the provider closes', listening);
      } finally {
        controller.abort();
      }
      await subject.provider.open();
    },
  },
  {
    name: 'A listener that ends does not affect other listeners.',
    law,
    capability: 'hints',
    broken: breaksHints('ends all listeners when one of them ends', (hints) => {
      const all = new AbortController();
      return async function* (spaces, signal) {
        try {
          yield* hints(spaces, AbortSignal.any([signal, all.signal]));
        } finally {
          all.abort();
        }
      };
    }),
    async run(subject) {
      const [ending, remaining] = [new AbortController(), new AbortController()];
      const hints = subject.provider.hints as Hints;
      const first = collect(hints.call(subject.provider, [spaceOf(subject)], ending.signal));
      const iterator = hints
        .call(subject.provider, [spaceOf(subject)], remaining.signal)
        [Symbol.asyncIterator]();
      let next = iterator.next();
      ending.abort();
      await endOf(subject, 'with their signal', first);
      // hints may be lost, but the other listener must not end
      for (let round = 0; round < 3; round += 1) {
        await subject.putRow(subject.address('one'), String(round));
        const hint = await Promise.race([next, subject.clock.advance(0)]);
        if (hint === undefined) continue;
        assert.equal(hint.done, false, 'the other listener ended too');
        next = iterator.next();
      }
      remaining.abort();
      await Promise.race([next, subject.clock.advance(0)]);
    },
  },
  {
    name: 'Hints name only the requested spaces.',
    law,
    capability: 'hints',
    broken: breaksHints(
      'hints at other spaces too',
      (hints) => (spaces, signal) =>
        hints([...spaces, ...spaces.map((space) => ({ ...space, entity: 'other' }))], signal),
    ),
    async run(subject) {
      const controller = new AbortController();
      const listening = collect((subject.provider.hints as Hints)([spaceOf(subject)], controller.signal));
      for (const entity of ['other', 'thing', 'other'])
        await subject.putRow(subject.address('one', { entity }), '1');
      await subject.putRow(subject.address('one', { database: subject.database('elsewhere') }), '1');
      await subject.clock.advance(0);
      controller.abort();
      for (const { space } of await endOf(subject, 'with their signal', listening))
        assert.deepEqual(space, spaceOf(subject));
    },
  },
  {
    name: 'Every change of a row is hinted at once it can be read, also to a listener that reads its hints late.',
    law,
    capability: 'hints, one process',
    broken: breaksHints(
      'loses every second hint',
      (hints) =>
        async function* (targets, signal) {
          let isLost = false;
          for await (const hint of hints(targets, signal)) {
            if (!isLost) yield hint;
            isLost = !isLost;
          }
        },
    ),
    async run(subject) {
      const address = subject.address('one');
      const { database } = address;
      await withHints(subject, [{ ...spaceOf(subject), key: 'one' }], async (hints) => {
        for (const change of [put(address, '1'), put(address, '2'), remove(address), sum(address, 1)]) {
          const version = subject.nextVersion();
          await subject.mustCommit({ database, version, changes: [change] });
          await hintOf(subject, hints, address, change.kind === 'delete' ? undefined : version);
        }
        await subject.provider.administration.drop(database);
        await hintOf(subject, hints, address, undefined);
      });
      await withHints(subject, [spaceOf(subject)], async (hints) => {
        const keys = Array.from({ length: 250 }, (_, index) => `k${index}`);
        const version = subject.nextVersion();
        const changes = keys.map((key) => put(subject.address(key), '1'));
        await subject.mustCommit({ database, version, changes });
        const last = await subject.putRow(subject.address('last'), '1');
        await hintOf(subject, hints, subject.address('last'), last);
      });
    },
  },
  {
    name: 'A listener of several rows and ranges receives the hints of all of them.',
    law,
    capability: 'hints, one process',
    broken: breaksHints(
      'hints only at the last range of a space',
      (hints) => (targets, signal) =>
        hints(
          targets.filter(
            ({ key, entity }, index) =>
              key !== undefined ||
              targets.slice(index + 1).every((it) => it.key !== undefined || it.entity !== entity),
          ),
          signal,
        ),
    ),
    async run(subject) {
      const space = spaceOf(subject);
      const targets = [
        { ...space, key: 'b' },
        { ...space, start: 'd', end: 'f' },
        { ...space, key: 'h' },
        { ...space, start: 'm' },
        { ...spaceOf(subject, 'other'), end: 'c' },
      ];
      await withHints(subject, targets, async (hints) => {
        for (const key of ['b', 'd', 'e', 'h', 'm', 'z']) {
          const address = subject.address(key);
          await hintOf(subject, hints, address, await subject.putRow(address, '1'));
        }
        const other = subject.address('a', { entity: 'other' });
        await hintOf(subject, hints, other, await subject.putRow(other, '1'));
      });
    },
  },
  {
    name: 'Hints without targets are of the feed: each commit and each import that puts a row into it is hinted at once that row can be read there.',
    law,
    capability: 'feed, hints, one process',
    broken: breaksHints(
      'hints at an import only in the spaces of its rows',
      (hints) =>
        async function* (targets, signal) {
          let count = 0;
          for await (const hint of hints(targets, signal))
            if (targets.length > 0 || (count += 1) < 3) yield hint;
        },
    ),
    async run(subject) {
      const { provider } = subject;
      const database = subject.database();
      let { next: after } = await (provider.feed as Feed)({ limit: 0 });
      await withHints(subject, [], async (hints) => {
        for (const key of ['one', 'two']) {
          const changes = [{ ...put(subject.address(key), '1'), feed: true }];
          await subject.mustCommit({ database, changes });
          after = await hintOfFeed(subject, hints, database, after);
        }
        const rows: RawRow[] = [];
        for await (const raw of provider.administration.export(database)) rows.push(raw);
        const imported = subject.database('imported');
        await provider.administration.import(imported, rows);
        await hintOfFeed(subject, hints, imported, after);
      });
    },
  },
];

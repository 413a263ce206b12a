/**
 * Law 9, watches: hints name the spaces that changed, so that watchers read again. They may be late
 * or merged, but must end with their signal and with the provider, and must never name a space that
 * was not requested.
 */
import assert from 'node:assert/strict';
import type { StorageProvider } from '../../../core.js';
import type { Hint, Space } from '../../../provider.js';
import { breaks } from '../../kit/broken-providers.js';
import type { Clause } from '../../kit/clause.js';
import type { Subject } from '../../kit/subject.js';

const law = 9;
type Hints = NonNullable<StorageProvider['hints']>;

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

/** The hints of a listener that must end. Fails after 500 rounds of the event loop. */
async function endOf(
  subject: Subject,
  what: string,
  work: Promise<readonly Hint[]>,
): Promise<readonly Hint[]> {
  const timedOut = Symbol('timed out');
  const timeOut = async (): Promise<typeof timedOut> => {
    for (let round = 0; round < 500; round += 1) await subject.clock.advance(0);
    return timedOut;
  };
  const result = await Promise.race([work, timeOut()]);
  return result === timedOut ? assert.fail(`hints must end ${what}`) : result;
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
];

/** The stream of the clauses, and the same stream in other releases of a program. */
import {
  defineStream,
  event,
  type AppendResult,
  type EventOf,
  type EventStream,
  type StreamSession,
} from '@kvent/event-store/core';

interface Balance {
  readonly sum: number;
  readonly count: number;
}

const events = { added: event<{ n: number }>(), cleared: event() };
const evolve = (balance: Balance, happened: EventOf<typeof events>): Balance => {
  switch (happened.type) {
    case 'added':
      return { sum: balance.sum + happened.data.n, count: balance.count + 1 };
    case 'cleared':
      return { sum: 0, count: balance.count + 1 };
  }
};
const initial = (): Balance => ({ sum: 0, count: 0 });

export const Ledger = defineStream('ledger', { events, initial, evolve });
/** The same streams, with snapshots. */
export const KeptLedger = defineStream('ledger', { events, initial, evolve, snapshot: { every: 10 } });
/** A release whose state has another shape. */
export const LaterLedger = defineStream('ledger', {
  events,
  initial,
  evolve,
  snapshot: { every: 10, schemaVersion: 2 },
});
/** A release without the event `cleared`. */
export const OlderLedger = defineStream('ledger', {
  events: { added: events.added },
  initial,
  evolve: (balance, { data: { n } }): Balance => ({ sum: balance.sum + n, count: balance.count + 1 }),
});
/** A release whose `evolve` throws. */
export const FaultyLedger = defineStream('ledger', {
  events,
  initial,
  evolve: (balance, happened): Balance => {
    if (happened.type === 'cleared') throw new TypeError('a mistake in evolve');
    return evolve(balance, happened);
  },
});

export type LedgerStream = EventStream<typeof Ledger>;
export type LedgerSession = StreamSession<typeof Ledger>;
type LedgerEvent = EventOf<typeof Ledger>;
export const added = (n: number): LedgerEvent => ({ type: 'added', data: { n } });
export const cleared: LedgerEvent = { type: 'cleared' };
export const many = (count: number, n = 1): readonly LedgerEvent[] =>
  Array.from({ length: count }, () => added(n));

/** Another type of streams, and one whose events are not in the feed. */
export const Journal = defineStream('journal', { events, initial, evolve });
export const Quiet = defineStream('quiet', { events, initial, evolve, feed: false });

/** The result of an append on any provider: only those with a feed have positions. */
export const withoutPosition = ({ version, replayed }: AppendResult) => ({ version, replayed });

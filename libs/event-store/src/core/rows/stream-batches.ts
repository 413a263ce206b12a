/**
 * The table of batches: what each operation on a stream checks and changes, as pure functions of
 * the rows that were read. Each batch that changes a held head also replaces or deletes the lease,
 * so that a renewal needs to check only the lease. `test/streams/sessions-model.spec.ts` explores
 * all orders of these batches, and finds every check that is left out.
 */
import type {
  Change,
  Check,
  Expected,
  RowAddress,
  StoredValue,
  Version,
} from '@kvent/key-value-storage/provider';
import type { Contribution } from '@kvent/key-value-storage/internal';
import type { Fence } from './fence.js';
import { deletedHead, freeHead, heldHead, type Head } from './head.js';

/** The addresses that the table needs. */
interface TableRows {
  readonly head: RowAddress;
  readonly lease: RowAddress;
  readonly fence: RowAddress;
  event(version: number): RowAddress;
}

/** The same, and whether what happens to the stream is in the feed. */
export interface FeedRows extends TableRows {
  readonly inFeed: boolean;
}

const check = (address: RowAddress, expected: Expected): Check => ({ address, expected });
const put = (address: RowAddress, value: StoredValue, ttl: number | 'never' = 'never'): Change => ({
  kind: 'put',
  address,
  value,
  ttl,
});
const putInFeed = ({ inFeed }: FeedRows, address: RowAddress, value: StoredValue): Change =>
  inFeed ? { kind: 'put', address, value, ttl: 'never', feed: true } : put(address, value);
const remove = (address: RowAddress): Change => ({ kind: 'delete', address });

/** Must be the row that was read, or still absent. */
const unchanged = ({ row }: Head | Fence): Expected =>
  row === undefined ? 'absent' : { version: row.version };

/**
 * The stream must be free at this version. `hasHead`: whether the head exists; that of a stream
 * without events does after a session that was never closed.
 */
const freeAt = (version: number, hasHead: boolean): Expected =>
  version === 0 && !hasHead ? 'absent' : { number: BigInt(version) };

const putEvents = (rows: FeedRows, version: number, events: readonly StoredValue[]): Contribution => {
  const addresses = events.map((_, index) => rows.event(version + index + 1));
  return {
    checks: addresses.map((address) => check(address, 'absent')),
    changes: events.map((value, index) => putInFeed(rows, addresses[index] as RowAddress, value)),
  };
};

/** An append to a free stream at a version. Without events it only checks that version. */
export function appendBatch(
  rows: FeedRows,
  version: number,
  hasHead: boolean,
  events: readonly StoredValue[],
): Contribution {
  const { checks, changes } = putEvents(rows, version, events);
  return {
    checks: [check(rows.head, freeAt(version, hasHead)), ...checks],
    changes: events.length === 0 ? [] : [put(rows.head, freeHead(version + events.length)), ...changes],
  };
}

/**
 * An append to a stream whose lease has expired. The lease is checked and deleted, so that the
 * batch conflicts with a renewal in flight, and a clock that steps back cannot make the lease valid
 * again.
 */
export function takeOverBatch(rows: FeedRows, head: Head, events: readonly StoredValue[]): Contribution {
  const { checks, changes } = putEvents(rows, head.version, events);
  return {
    checks: [...freeChecks(rows, head), ...checks],
    changes: [put(rows.head, freeHead(head.version + events.length)), remove(rows.lease), ...changes],
  };
}

/** Milliseconds that a stream without events keeps its fence. */
const emptyFenceMs = 86_400_000;

/**
 * Opens a session. An unchanged head means that nothing was appended since it was read, and an
 * unchanged fence that no other session was opened: each holder has a larger token.
 */
export function openBatch(
  rows: TableRows,
  { head, fence }: { readonly head: Head; readonly fence: Fence },
  session: string,
  ttlMs: number,
): Contribution {
  const token: StoredValue = { kind: 'number', number: fence.next };
  return {
    checks: [...freeChecks(rows, head), check(rows.fence, unchanged(fence))],
    changes: [
      put(rows.fence, token, head.version === 0 ? emptyFenceMs : 'never'),
      put(rows.head, heldHead(head.version, session)),
      put(rows.lease, { kind: 'json', text: JSON.stringify({ session }) }, ttlMs),
    ],
  };
}

/** A stream as its session knows it: the versions of its rows. */
export interface HeldStream {
  readonly session: string;
  readonly version: number;
  readonly head: Version;
  readonly lease: Version;
}

/** The head is unchanged, and no session holds the stream. */
const freeChecks = (rows: TableRows, head: Head): readonly Check[] => [
  check(rows.head, unchanged(head)),
  check(rows.lease, 'absent'),
];

const holderChecks = (rows: TableRows, held: HeldStream): readonly Check[] => [
  check(rows.lease, { version: held.lease }),
  check(rows.head, { version: held.head }),
];

/** An append of a session, which also renews the lease. */
export function sessionAppendBatch(
  rows: FeedRows,
  held: HeldStream,
  events: readonly StoredValue[],
  ttlMs: number,
): Contribution {
  const { checks, changes } = putEvents(rows, held.version, events);
  return {
    checks: [...holderChecks(rows, held), ...checks],
    changes: [
      { kind: 'renew', address: rows.lease, ttlMs },
      ...(events.length === 0
        ? []
        : [put(rows.head, heldHead(held.version + events.length, held.session)), ...changes]),
    ],
  };
}

/** A stream that no session holds any more. Without events, nothing of it is left. */
const freed = ({ head }: TableRows, version: number): Change =>
  version === 0 ? remove(head) : put(head, freeHead(version));

/** The last append of a session, which also frees the stream; without events it only frees it. */
export function closeBatch(
  rows: FeedRows,
  held: HeldStream,
  events: readonly StoredValue[] = [],
): Contribution {
  const { checks, changes } = putEvents(rows, held.version, events);
  return {
    checks: [...holderChecks(rows, held), ...checks],
    changes: [remove(rows.lease), freed(rows, held.version + events.length), ...changes],
  };
}

/**
 * Frees a stream without its session. Its head is the one that was read, so it still names the same
 * session, which finds its lease removed.
 */
export function unlockBatch(rows: TableRows, head: Head): Contribution {
  return {
    checks: [check(rows.head, unchanged(head))],
    changes: [freed(rows, head.version), remove(rows.lease)],
  };
}

export function renewBatch(
  rows: TableRows,
  { lease }: Pick<HeldStream, 'lease'>,
  ttlMs: number,
): Contribution {
  return {
    checks: [check(rows.lease, { version: lease })],
    changes: [{ kind: 'renew', address: rows.lease, ttlMs }],
  };
}

/**
 * Marks a stream as deleted; its other rows are removed later. Event 1 is removed here, so that a
 * load that is under way notices, and so that no snapshot is stored any more. The head enters the
 * feed: its row says that the stream was deleted, when its events have left the feed.
 */
export function deleteBatch(rows: FeedRows, head: Head): Contribution {
  return {
    checks: freeChecks(rows, head),
    changes: [
      putInFeed(rows, rows.head, deletedHead(head.version)),
      remove(rows.lease),
      remove(rows.fence),
      remove(rows.event(1)),
    ],
  };
}

/** Removes what a session that was never closed has left of a stream without events. */
export function forgetBatch(rows: TableRows, head: Head): Contribution {
  return { checks: freeChecks(rows, head), changes: [remove(rows.head), remove(rows.lease)] };
}

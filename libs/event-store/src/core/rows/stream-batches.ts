/**
 * The table of batches: what each step of a stream checks and changes, as pure functions of the
 * rows it has seen. Who changes a held head replaces or deletes the lease in the same batch; that
 * is why renewing needs no look at the head. `test/streams/sessions-model.spec.ts` explores them
 * exhaustively: leaving out a check is found there.
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
import { deletedHead, freeHead, heldHead, type Head } from './head.js';

/** The rows of one stream, as the table names them. */
export interface TableRows {
  readonly head: RowAddress;
  readonly lease: RowAddress;
  readonly fence: RowAddress;
  event(version: number): RowAddress;
}

const check = (address: RowAddress, expected: Expected): Check => ({ address, expected });
const put = (address: RowAddress, value: StoredValue, ttl: number | 'never' = 'never'): Change => ({
  kind: 'put',
  address,
  value,
  ttl,
});
const remove = (address: RowAddress): Change => ({ kind: 'delete', address });

/** The head is exactly as it was seen: the same row, or none. */
const unchanged = ({ row }: Head): Expected => (row === undefined ? 'absent' : { version: row.version });

/**
 * A free stream is exactly this long. `numbered`: its head is there with 0, left behind by a
 * session that appended nothing.
 */
const freeAt = (version: number, numbered: boolean): Expected =>
  version === 0 && !numbered ? 'absent' : { number: BigInt(version) };

const putEvents = (rows: TableRows, version: number, events: readonly StoredValue[]): Contribution => {
  const places = events.map((value, index) => ({ address: rows.event(version + index + 1), value }));
  return {
    checks: places.map(({ address }) => check(address, 'absent')),
    changes: places.map(({ address, value }) => put(address, value)),
  };
};

/**
 * An append to a free stream at a version. With no events it only checks: what else is in the batch
 * rests on that version.
 */
export function appendBatch(
  rows: TableRows,
  version: number,
  numbered: boolean,
  events: readonly StoredValue[],
): Contribution {
  const { checks, changes } = putEvents(rows, version, events);
  return {
    checks: [check(rows.head, freeAt(version, numbered)), ...checks],
    changes: events.length === 0 ? [] : [put(rows.head, freeHead(version + events.length)), ...changes],
  };
}

/**
 * The same to a stream whose session is dead: the head must be the very row that was seen, and the
 * lease is checked and deleted, so that it meets a renewal that is still on its way, and no clock
 * that steps back revives it.
 */
export function takeOverBatch(rows: TableRows, seen: Head, events: readonly StoredValue[]): Contribution {
  const { checks, changes } = putEvents(rows, seen.version, events);
  return {
    checks: [check(rows.head, unchanged(seen)), check(rows.lease, 'absent'), ...checks],
    changes: [put(rows.head, freeHead(seen.version + events.length)), remove(rows.lease), ...changes],
  };
}

/**
 * Opens a session. An unchanged head means that nothing landed since it was seen; the fence counts,
 * so each holder's token is larger than those before.
 */
export function openBatch(rows: TableRows, seen: Head, session: string, ttlMs: number): Contribution {
  return {
    checks: [check(rows.head, unchanged(seen)), check(rows.lease, 'absent')],
    changes: [
      { kind: 'sum', address: rows.fence, operand: 1n },
      put(rows.head, heldHead(seen.version, session)),
      put(rows.lease, { kind: 'json', text: JSON.stringify({ session }) }, ttlMs),
    ],
  };
}

/** What a session knows of its own rows: the versions they have. */
export interface HeldStream {
  readonly session: string;
  readonly version: number;
  readonly head: Version;
  readonly lease: Version;
}

const checksOfHolder = (rows: TableRows, held: HeldStream): readonly Check[] => [
  check(rows.lease, { version: held.lease }),
  check(rows.head, { version: held.head }),
];

/** A session's append: the lease is still mine, and lives on. */
export function sessionAppendBatch(
  rows: TableRows,
  held: HeldStream,
  events: readonly StoredValue[],
  ttlMs: number,
): Contribution {
  const { checks, changes } = putEvents(rows, held.version, events);
  return {
    checks: [...checksOfHolder(rows, held), ...checks],
    changes: [
      { kind: 'renew', address: rows.lease, ttlMs },
      ...(events.length === 0
        ? []
        : [put(rows.head, heldHead(held.version + events.length, held.session)), ...changes]),
    ],
  };
}

/** A session's last append, which lets the stream go; without events, it only lets go. */
export function closeBatch(
  rows: TableRows,
  held: HeldStream,
  events: readonly StoredValue[] = [],
): Contribution {
  const { checks, changes } = putEvents(rows, held.version, events);
  return {
    checks: [...checksOfHolder(rows, held), ...checks],
    changes: [remove(rows.lease), put(rows.head, freeHead(held.version + events.length)), ...changes],
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

/** Deletes a stream: from here on it is gone. Event 1 goes with it, so that no load can miss it. */
export function deleteBatch(rows: TableRows, seen: Head): Contribution {
  return {
    checks: [check(rows.head, unchanged(seen)), check(rows.lease, 'absent')],
    changes: [put(rows.head, deletedHead(seen.version)), remove(rows.lease), remove(rows.event(1))],
  };
}

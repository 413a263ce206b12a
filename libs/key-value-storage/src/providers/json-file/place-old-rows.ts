/**
 * The feed of a store that is being opened: the rows that were found join it in the order of their
 * positions. Events of a store that is older than the feed get positions. In a directory that was
 * copied from another store, a row may have the position of another row: it gets a new one, behind
 * all rows, and so do the later rows of its space, so that the events of a stream stay in order.
 */
import { setImmediate } from 'node:timers/promises';
import { feedPositionOf, feedStart, partsOfPosition } from '../../core/port/feed-position.js';
import { compareAddresses, compareText } from '../../core/port/row-order.js';
import type { RowTable } from '../../core/providers/row-table.js';
import type { FeedPosition, RawRow } from '../../core/port/storage-provider.js';
import type { StoreFeed } from './database/store-feed.js';

interface FoundTable {
  readonly name: string;
  readonly table: RowTable;
}

interface FoundRow extends FoundTable {
  readonly raw: RawRow;
  readonly position: FeedPosition;
}

/** Rows after which the event loop gets its turn: the lock is renewed. */
const pageRows = 10_000;

interface JoinedRows {
  /** The databases that must be written, because their rows have other positions now. */
  readonly changed: ReadonlySet<string>;
  /** How many events of each database have their first position. */
  readonly placed: ReadonlyMap<string, number>;
}

/** Call it before anything else uses the feed. `isOld`: the store is older than the feed. */
export async function joinFeed(
  found: readonly FoundTable[],
  feed: StoreFeed,
  isOld: boolean,
): Promise<JoinedRows> {
  const tables = found.toSorted((a, b) => compareText(a.name, b.name));
  const placed: FoundRow[] = [];
  const unplaced: Omit<FoundRow, 'position'>[] = [];
  let count = 0;
  for (const each of tables)
    for (const raw of each.table.all()) {
      if ((count += 1) % pageRows === 0) await setImmediate();
      const { position } = raw.row;
      if (position !== undefined) placed.push({ ...each, raw, position });
      else if (isOld && raw.container.startsWith('event:')) unplaced.push({ ...each, raw });
    }
  placed.sort((a, b) => compareText(a.position, b.position));
  const rows: FoundRow[] = [];
  const moved: FoundRow[] = [];
  const movedSpaces = new Set<string>();
  for (const row of placed) {
    const space = `${row.name}\0${row.raw.container}\0${row.raw.entity}`;
    if (row.position === rows.at(-1)?.position) movedSpaces.add(space);
    (movedSpaces.has(space) ? moved : rows).push(row);
  }
  const placedIn = await place(unplaced, rows);
  const changed = new Set(placedIn.keys());
  for (const [index, { position, name, raw }] of rows.entries()) {
    if (index % pageRows === pageRows - 1) await setImmediate();
    feed.add(position, name, raw);
  }
  for (const { name, table, raw } of moved) {
    const { row, ...address } = raw;
    const position = feed.addLast(name, address);
    table.set(address, { ...row, position });
    changed.add(name);
  }
  return { changed, placed: placedIn };
}

/**
 * In the order of their times, and within one in that of their streams. The first number of a
 * position is the time: so this order is kept if the opening ends before all databases are
 * written, and the next one goes on.
 */
async function place(unplaced: Omit<FoundRow, 'position'>[], rows: FoundRow[]): Promise<Map<string, number>> {
  const placed = new Map<string, number>();
  if (unplaced.length === 0) return placed;
  let second = rows.reduce((most, { position }) => {
    const [, number] = partsOfPosition(position);
    return number > most ? number : most;
  }, partsOfPosition(feedStart)[1]);
  unplaced.sort((a, b) => compareEvents(a.raw, b.raw) || compareText(a.name, b.name));
  for (const [index, { name, table, raw }] of unplaced.entries()) {
    if (index % pageRows === pageRows - 1) await setImmediate();
    const { row, ...address } = raw;
    const position = feedPositionOf(Math.max(0, Math.floor(row.updatedAt)), (second += 1n));
    table.set(address, { ...row, position });
    rows.push({ name, table, raw, position });
    placed.set(name, (placed.get(name) ?? 0) + 1);
  }
  rows.sort((a, b) => compareText(a.position, b.position));
  return placed;
}

const compareEvents = (a: RawRow, b: RawRow): number =>
  a.row.updatedAt - b.row.updatedAt || compareAddresses(a, b);

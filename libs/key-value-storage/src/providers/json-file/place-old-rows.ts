/**
 * The feed of a store that is being opened: the rows that were found join it in the order of their
 * positions. Events of a store that is older than the feed get positions. In a directory that was
 * copied from another store, a row may have the position of another row: it gets a new one, behind
 * all rows, and so do the later rows of its space, so that the events of a stream stay in order.
 */
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

/**
 * Call it before anything else uses the feed. `isOld`: the store is older than the feed. Returns
 * the databases that must be written, because their rows have other positions now.
 */
export function joinFeed(found: readonly FoundTable[], feed: StoreFeed, isOld: boolean): Set<string> {
  const tables = found.toSorted((a, b) => compareText(a.name, b.name));
  const placed: FoundRow[] = [];
  const unplaced: Omit<FoundRow, 'position'>[] = [];
  for (const each of tables)
    for (const raw of each.table.all()) {
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
  const changed = place(unplaced, rows);
  for (const { position, name, raw } of rows) feed.add(position, name, raw);
  for (const { name, table, raw } of moved) {
    const { row, ...address } = raw;
    const position = feed.addLast(name, address);
    table.set(address, { ...row, position });
    changed.add(name);
  }
  return changed;
}

/**
 * In the order of their times, and within one in that of their streams. The first number of a
 * position is the time: so this order is kept if the opening ends before all databases are
 * written, and the next one goes on.
 */
function place(unplaced: Omit<FoundRow, 'position'>[], rows: FoundRow[]): Set<string> {
  const changed = new Set<string>();
  if (unplaced.length === 0) return changed;
  let second = rows.reduce((most, { position }) => {
    const [, number] = partsOfPosition(position);
    return number > most ? number : most;
  }, partsOfPosition(feedStart)[1]);
  unplaced.sort((a, b) => compareEvents(a.raw, b.raw) || compareText(a.name, b.name));
  for (const { name, table, raw } of unplaced) {
    const { row, ...address } = raw;
    const position = feedPositionOf(Math.max(0, Math.floor(row.updatedAt)), (second += 1n));
    table.set(address, { ...row, position });
    rows.push({ name, table, raw, position });
    changed.add(name);
  }
  rows.sort((a, b) => compareText(a.position, b.position));
  return changed;
}

const compareEvents = (a: RawRow, b: RawRow): number =>
  a.row.updatedAt - b.row.updatedAt || compareAddresses(a, b);

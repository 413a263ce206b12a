/**
 * The rows of one database in memory, for the memory and the JSON-file provider: in the order of
 * space and key, with an index of those that expire. `evaluateBatch` decides about batches.
 */
import { isLive, type RowEffect } from '../port/evaluate-batch.js';
import { withinPageBytes } from '../port/page-bytes.js';
import { ExpiryIndex } from './expiry-index.js';
import type { FeedIndex } from './feed-index.js';
import { SortedMap } from './sorted-map.js';
import type {
  CountRange,
  FeedPosition,
  RawRow,
  Row,
  RowAddress,
  ScanPage,
  ScanRange,
  ScannedRow,
  Space,
} from '../port/storage-provider.js';

/** The feed of a provider, and the database of the table within it. */
interface TableFeed {
  readonly index: FeedIndex;
  readonly database: string;
}

export class RowTable {
  #feed: TableFeed | undefined;
  /** Container → entity → key → row. */
  readonly #containers = new SortedMap<SortedMap<SortedMap<Row>>>();
  readonly #expiring = new ExpiryIndex();
  #size = 0;
  /** The rows that were looked up last: those of one batch are mostly of one entity. */
  #last: { readonly container: string; readonly entity: string; readonly rows: SortedMap<Row> } | undefined;

  /** `feed`: where the positions of the rows are kept. */
  constructor(feed?: TableFeed) {
    this.#feed = feed;
  }

  /** From now on the positions of rows that change are kept there. */
  joinFeed(feed: TableFeed): void {
    this.#feed = feed;
  }

  /** Rows held, expired ones included. */
  get size(): number {
    return this.#size;
  }

  get(address: RowAddress): Row | undefined {
    return this.#entity(address, false)?.get(address.key);
  }

  apply(effects: readonly RowEffect[]): void {
    for (const { address, row } of effects) this.set(address, row);
  }

  /** Sets a row, or removes it; returns the one that was there. */
  set(address: RowAddress, row: Row | undefined): Row | undefined {
    const entity = this.#entity(address, row !== undefined);
    if (entity === undefined) return undefined;
    const before = entity.get(address.key);
    this.#expiring.replace(address, before, row);
    if (this.#feed !== undefined && before?.position !== row?.position)
      this.#move(this.#feed, address, before?.position, row?.position);
    if (row === undefined) {
      if (entity.delete(address.key)) this.#size -= 1;
      if (entity.size === 0) this.#forget(address);
      return before;
    }
    entity.set(address.key, row);
    if (before === undefined) this.#size += 1;
    return before;
  }

  scan(range: Omit<ScanRange, 'database'>, now: number): Omit<ScanPage, 'time'> {
    const { start = '', end, after, reverse = false, limit, values } = range;
    const found: ScannedRow[] = [];
    let more = false;
    const visit = (key: string, row: Row): boolean => {
      if (reverse ? key < start : end !== undefined && key >= end) return false;
      if (key === after || !isLive(row, now)) return true;
      more = found.length === limit;
      if (!more) found.push({ key, row: values === 'omit' ? withoutValue(row) : row });
      return !more;
    };
    const rows = this.#containers.get(range.container)?.get(range.entity);
    if (reverse)
      rows?.visitDescending(after !== undefined && (end === undefined || after < end) ? after : end, visit);
    else rows?.visitAscending(after !== undefined && after > start ? after : start, visit);
    return withinPageBytes({ rows: found, more });
  }

  /** The number of rows of a range that have not expired. */
  count({ container, entity, start = '', end }: Omit<CountRange, 'database'>, now: number): number {
    let count = 0;
    this.#containers
      .get(container)
      ?.get(entity)
      ?.visitAscending(start, (key, row) => {
        if (end !== undefined && key >= end) return false;
        if (isLive(row, now)) count += 1;
        return true;
      });
    return count;
  }

  /** Removes at most `limit` rows that have expired, and returns their addresses. */
  sweep(limit: number, now: number): readonly RowAddress[] {
    const gone = this.expired(limit, now);
    for (const address of gone) this.set(address, undefined);
    return gone;
  }

  /** The addresses of at most `limit` rows that have expired, in the order of their expiry. */
  expired(limit: number, now: number): readonly RowAddress[] {
    const found: RowAddress[] = [];
    for (const address of this.#expiring.ascending()) {
      if (found.length === limit || isLive(this.get(address), now)) break;
      found.push(address);
    }
    return found;
  }

  /** The spaces that hold a row that has not expired, in order. */
  spaces(database: string, now: number): readonly Space[] {
    const spaces: Space[] = [];
    for (const [container, entities] of this.#containers.ascending()) {
      for (const [entity, rows] of entities.ascending()) {
        for (const [, row] of rows.ascending()) {
          if (!isLive(row, now)) continue;
          spaces.push({ database, container, entity });
          break;
        }
      }
    }
    return spaces;
  }

  /**
   * Every row, expired ones included, in the order of container, entity and key. The table must not
   * change while it is read.
   */
  *all(): Generator<RawRow> {
    for (const [container, entities] of this.#containers.ascending()) {
      for (const [entity, rows] of entities.ascending()) {
        for (const [key, row] of rows.ascending()) yield { container, entity, key, row };
      }
    }
  }

  /**
   * At most `limit` rows that come after `last` in the order of `all`, expired ones included: a
   * walk during which the table may change.
   */
  next(last: RowAddress | undefined, limit: number): readonly RawRow[] {
    const found: RawRow[] = [];
    for (const [container, entities] of this.#containers.ascending(last?.container)) {
      const after = container === last?.container ? last : undefined;
      for (const [entity, rows] of entities.ascending(after?.entity)) {
        const key = entity === after?.entity ? after.key : undefined;
        for (const entry of rows.ascending(key)) {
          if (entry[0] === key) continue;
          if (found.length === limit) return found;
          found.push({ container, entity, key: entry[0], row: entry[1] });
        }
      }
    }
    return found;
  }

  #entity({ container, entity }: RowAddress, create: boolean): SortedMap<Row> | undefined {
    const last = this.#last;
    if (last?.entity === entity && last.container === container) return last.rows;
    let entities = this.#containers.get(container);
    let rows = entities?.get(entity);
    if (rows === undefined) {
      if (!create) return undefined;
      if (entities === undefined) this.#containers.set(container, (entities = new SortedMap()));
      entities.set(entity, (rows = new SortedMap()));
    }
    this.#last = { container, entity, rows };
    return rows;
  }

  #move(
    { index, database }: TableFeed,
    address: RowAddress,
    from: FeedPosition | undefined,
    to: FeedPosition | undefined,
  ): void {
    if (from !== undefined) index.delete(from);
    if (to !== undefined) index.set(to, database, address);
  }

  #forget(address: RowAddress): void {
    this.#last = undefined;
    const entities = this.#containers.get(address.container);
    entities?.delete(address.entity);
    if (entities?.size === 0) this.#containers.delete(address.container);
  }
}

/** The row with its value omitted. */
export function withoutValue(row: Row): Row {
  return { ...row, value: { kind: 'omitted' } };
}

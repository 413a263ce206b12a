/**
 * The feed of a provider that holds its rows in memory: the addresses of the rows, by position. The
 * rows are in the `RowTable` of their database, which keeps this index true.
 */
import { isLive } from '../port/evaluate-batch.js';
import { limits } from '../base/limits.js';
import { sizeOfValue } from '../port/footprint.js';
import { feedStart } from '../port/feed-position.js';
import { SortedMap } from './sorted-map.js';
import type {
  Address,
  FeedEntry,
  FeedPage,
  FeedPosition,
  FeedRequest,
  Row,
  RowAddress,
} from '../port/storage-provider.js';

/** The rows that one page visits: a filter that few rows pass must not stop the event loop. */
const visitedMax = 10_000;

/** The database of a row, and its address within it. */
interface Place {
  readonly database: string;
  readonly address: RowAddress;
}

interface Source {
  readonly rowAt: (place: Place) => Row | undefined;
  readonly time: number;
  /** Rows behind it are not readable yet. */
  readonly horizon: FeedPosition;
}

export class FeedIndex {
  readonly #places = new SortedMap<Place>();

  set(position: FeedPosition, database: string, address: RowAddress): void {
    this.#places.set(position, { database, address });
  }

  delete(position: FeedPosition): void {
    this.#places.delete(position);
  }

  has(position: FeedPosition): boolean {
    return this.#places.get(position) !== undefined;
  }

  page(request: FeedRequest, { rowAt, time, horizon }: Source): FeedPage {
    const { after = feedStart, limit } = request;
    const end = after > horizon ? after : horizon;
    if (limit === 0) return { time, entries: [], next: end, upToDate: true };
    const isWanted = filterOf(request);
    const entries: FeedEntry[] = [];
    let next = after;
    let upToDate = true;
    let bytes = 0;
    let visited = 0;
    this.#places.visitAscending(after, (position, place) => {
      if (position === after) return true;
      if (position > horizon) return false;
      upToDate = entries.length < limit && visited < visitedMax;
      if (!upToDate) return false;
      visited += 1;
      const row = isWanted(place) ? rowAt(place) : undefined;
      if (isLive(row, time)) {
        bytes += sizeOfValue(row.value);
        upToDate = entries.length === 0 || bytes <= limits.feedPageBytesMax;
        if (!upToDate) return false;
        entries.push({ address: addressAt(place), row, position });
      }
      next = position;
      return true;
    });
    return { time, entries, next: upToDate ? end : next, upToDate };
  }
}

const addressAt = ({ database, address: { container, entity, key } }: Place): Address => ({
  database,
  container,
  entity,
  key,
});

function filterOf({ databases, containers }: FeedRequest): (place: Place) => boolean {
  const inDatabases = databases && new Set(databases);
  const inContainers = containers && new Set(containers);
  return ({ database, address: { container } }) =>
    inDatabases?.has(database) !== false && inContainers?.has(container) !== false;
}

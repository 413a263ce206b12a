/**
 * The feed of a provider that holds its rows in memory: the addresses of the rows, by position. The
 * rows are in the `RowTable` of their database, which keeps this index true.
 */
import { isLive } from '../port/evaluate-batch.js';
import { limits } from '../base/limits.js';
import { sizeOfValue } from '../port/footprint.js';
import { feedStart } from '../port/feed-position.js';
import { chunkMax, chunkOf, lowerBound } from './sorted-map.js';
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

/**
 * Chunks of a sorted map, with the addresses beside them. A map of them by position was about a
 * tenth of the CPU of an append.
 */
export class FeedIndex {
  readonly #chunks: FeedPosition[][] = [];
  /** Those of the positions, in the same order. */
  readonly #addresses: Address[][] = [];

  set(position: FeedPosition, database: string, address: RowAddress): void {
    const whole = addressIn(database, address);
    const tail = this.#chunks.at(-1);
    if (tail !== undefined && tail.length < chunkMax && (tail.at(-1) as FeedPosition) < position) {
      tail.push(position);
      (this.#addresses.at(-1) as Address[]).push(whole);
    } else this.#insert(position, whole);
  }

  delete(position: FeedPosition): void {
    const index = chunkOf(this.#chunks, position);
    const [chunk, addresses] = [this.#chunks[index], this.#addresses[index]];
    const at = chunk === undefined ? 0 : lowerBound(chunk, position);
    if (addresses === undefined || chunk?.[at] !== position) return;
    chunk.splice(at, 1);
    addresses.splice(at, 1);
    if (chunk.length > 0) return;
    this.#chunks.splice(index, 1);
    this.#addresses.splice(index, 1);
  }

  has(position: FeedPosition): boolean {
    const chunk = this.#chunks[chunkOf(this.#chunks, position)];
    return chunk?.[lowerBound(chunk, position)] === position;
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
    this.#visit(after, (position, address) => {
      if (position === after) return true;
      if (position > horizon) return false;
      upToDate = entries.length < limit && visited < visitedMax;
      if (!upToDate) return false;
      visited += 1;
      const row = isWanted(address) ? rowAt({ database: address.database, address }) : undefined;
      if (isLive(row, time)) {
        bytes += sizeOfValue(row.value);
        upToDate = entries.length === 0 || bytes <= limits.feedPageBytesMax;
        if (!upToDate) return false;
        entries.push({ address: copyOf(address), row, position });
      }
      next = position;
      return true;
    });
    return { time, entries, next: upToDate ? end : next, upToDate };
  }

  /** From the first position that is not below `from`, until `visit` returns false. */
  #visit(from: FeedPosition, visit: (position: FeedPosition, address: Address) => boolean): void {
    for (let index = chunkOf(this.#chunks, from); index < this.#chunks.length; index += 1) {
      const chunk = this.#chunks[index] as FeedPosition[];
      const addresses = this.#addresses[index] as Address[];
      for (let at = lowerBound(chunk, from); at < chunk.length; at += 1)
        if (!visit(chunk[at] as FeedPosition, addresses[at] as Address)) return;
    }
  }

  #insert(position: FeedPosition, address: Address): void {
    const index = Math.min(chunkOf(this.#chunks, position), Math.max(0, this.#chunks.length - 1));
    const chunk = (this.#chunks[index] ??= []);
    const addresses = (this.#addresses[index] ??= []);
    const at = lowerBound(chunk, position);
    const replaced = chunk[at] === position ? 1 : 0;
    chunk.splice(at, replaced, position);
    addresses.splice(at, replaced, address);
    if (chunk.length <= chunkMax) return;
    // a full last chunk is left full, as in the sorted map
    const kept = index === this.#chunks.length - 1 ? chunkMax : chunkMax / 2;
    this.#chunks.splice(index + 1, 0, chunk.splice(kept));
    this.#addresses.splice(index + 1, 0, addresses.splice(kept));
  }
}

/** Addresses of streams name their database already: nothing is kept beside them. */
const addressIn = (database: string, address: RowAddress): Address =>
  (address as Partial<Address>).database === database ? (address as Address) : { ...address, database };

const copyOf = ({ database, container, entity, key }: Address): Address => ({
  database,
  container,
  entity,
  key,
});

function filterOf({ databases, containers }: FeedRequest): (address: Address) => boolean {
  const inDatabases = databases && new Set(databases);
  const inContainers = containers && new Set(containers);
  return ({ database, container }) =>
    inDatabases?.has(database) !== false && inContainers?.has(container) !== false;
}

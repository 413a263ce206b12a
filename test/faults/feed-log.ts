/**
 * A reader of the feed that goes on from `next` while processes end and others open the store, and
 * what law 15 says about it: it misses nothing, has nothing twice, and the order never changes.
 */
import type { StorageProvider } from '../../libs/key-value-storage/src/core.js';
import type { FeedEntry, FeedPosition, RawRow } from '../../libs/key-value-storage/src/provider.js';

const pageLimit = 3;

/** The row and its version: what a position is given to. */
const nameOf = ({ address: { database, key }, row }: FeedEntry): string =>
  `${database} ${key} ${row.version}`;

export class FeedLog {
  #next: FeedPosition | undefined;
  /** What was read, by position. */
  readonly #read = new Map<FeedPosition, string>();

  /** A copy that continues independently. */
  clone(): FeedLog {
    const copy = new FeedLog();
    copy.#next = this.#next;
    for (const [position, name] of this.#read) copy.#read.set(position, name);
    return copy;
  }

  /** Reads the next page; returns its entries. */
  async read(provider: StorageProvider): Promise<readonly FeedEntry[]> {
    const after = this.#next;
    const { entries, next } = await pageOf(provider, after);
    // another call has read this page
    if (after !== this.#next) return entries;
    for (const entry of entries) {
      if (after !== undefined && entry.position <= after)
        throw new Error(`The feed returned ${nameOf(entry)} at ${entry.position}, not behind ${after}.`);
      this.#record(entry);
    }
    this.#next = next;
    return entries;
  }

  /** Compares the whole feed with what was read, and with the stored rows of all databases. */
  async check(provider: StorageProvider, stored: ReadonlyMap<string, readonly RawRow[]>): Promise<void> {
    const entries: FeedEntry[] = [];
    for (let after: FeedPosition | undefined, upToDate = false; !upToDate;) {
      const page = await pageOf(provider, after);
      entries.push(...page.entries);
      ({ next: after, upToDate } = page);
    }
    const positions = entries.map(({ position }) => position);
    if (positions.some((position, index) => index > 0 && position <= (positions[index - 1] as string)))
      throw new Error('The feed is not in the order of its positions.');
    for (const entry of entries) {
      if (this.#next !== undefined && entry.position <= this.#next && !this.#read.has(entry.position))
        throw new Error(`The reader at ${this.#next} misses ${nameOf(entry)} at ${entry.position}.`);
      this.#assertSame(entry);
    }
    assertComplete(entries, stored);
  }

  #record(entry: FeedEntry): void {
    this.#assertSame(entry);
    const name = nameOf(entry);
    for (const [position, other] of this.#read)
      if (other === name && position !== entry.position)
        throw new Error(`${name} was read at ${position}, and again at ${entry.position}.`);
    this.#read.set(entry.position, name);
  }

  /** A position is given once: also not again after its row has left the feed. */
  #assertSame(entry: FeedEntry): void {
    const before = this.#read.get(entry.position);
    if (before !== undefined && before !== nameOf(entry))
      throw new Error(
        `${entry.position} was the position of ${before}, and is now that of ${nameOf(entry)}.`,
      );
  }
}

const pageOf = (
  provider: StorageProvider,
  after: FeedPosition | undefined,
): ReturnType<NonNullable<StorageProvider['feed']>> =>
  (provider.feed as NonNullable<StorageProvider['feed']>)({ after, limit: pageLimit });

/** Every stored event is in the feed, and nothing else. */
function assertComplete(entries: readonly FeedEntry[], stored: ReadonlyMap<string, readonly RawRow[]>): void {
  const missing = new Set<string>();
  for (const [database, rows] of stored)
    for (const { row, ...address } of rows)
      if (address.key.startsWith('event '))
        missing.add(nameOf({ address: { database, ...address }, row, position: '' }));
  for (const entry of entries)
    if (!missing.delete(nameOf(entry)))
      throw new Error(`The feed has ${nameOf(entry)}, which is not stored.`);
  if (missing.size > 0) throw new Error(`The feed lacks ${[...missing].join(', ')}.`);
}

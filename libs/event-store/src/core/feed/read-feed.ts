/** Pages of the feed, decoded. */
import type { KeyValueStorage } from '@kvent/key-value-storage/core';
import type { FeedEntry, FeedPosition } from '@kvent/key-value-storage/provider';
import {
  andThen,
  assertOptions,
  assertPageLimit,
  decodeText,
  FeedWatcher,
  isPromise,
  rowNameOf,
} from '@kvent/key-value-storage/internal';
import type { Recorded } from '../definition/event-stream.js';
import type { AnyEvent, AnyStream, StreamDefinition } from '../definition/stream-definition.js';
import { decodeRecorded } from '../events/event-codec.js';
import { pageEvents } from '../events/event-rows.js';
import { headIn } from '../rows/head.js';
import { corrupt, numbersIn } from '../rows/stream-addresses.js';
import { StreamRows } from '../rows/stream-rows.js';
import type {
  EventFeedPage,
  FeedDeletion,
  FeedEvent,
  FeedItem,
  FeedReadOptions,
  FeedWatchOptions,
} from './event-feed.js';
import { FeedSource, type FeedContainer } from './feed-source.js';

/** Any stream, with events as the codec returns them. */
export type UntypedStream = StreamDefinition<unknown, AnyEvent>;
type AnyItem = FeedItem<UntypedStream, true>;
type AnyPage = EventFeedPage<UntypedStream, true>;

const names = ['after', 'streams', 'tenants', 'deletions', 'signal'];

export async function readFeed(
  storage: KeyValueStorage,
  options: FeedReadOptions<AnyStream, boolean>,
): Promise<AnyPage> {
  assertOptions('readFeed', options, [...names, 'limit']);
  const { after, limit = pageEvents, signal } = options;
  if (limit !== 0) assertPageLimit(limit);
  return await new FeedReader(new FeedSource('readFeed', storage, options)).page(after, limit, signal);
}

/** Each iteration is a reader of its own. */
export function watchFeed(
  storage: KeyValueStorage,
  options: FeedWatchOptions<AnyStream, boolean>,
): AsyncIterable<AnyItem> {
  assertOptions('feed', options, [...names, 'recover']);
  const { after, signal, recover } = options;
  const source = new FeedSource('feed', storage, options);
  const feed = {
    after,
    page: async (from: FeedPosition | undefined, ended: AbortSignal) => {
      const { events, next, upToDate } = await new FeedReader(source).page(from, pageEvents, ended);
      return { items: events, next, upToDate };
    },
  };
  const { watches } = source.access;
  return {
    [Symbol.asyncIterator]: () => new FeedWatcher<AnyItem>(watches, feed, { signal, recover }).iterator(),
  };
}

/** Reads one page; events of one stream share what they have in common. */
export class FeedReader {
  readonly #source: FeedSource;
  readonly #streams = new Map<string, StreamRows>();

  constructor(source: FeedSource) {
    this.#source = source;
  }

  async page(
    after: FeedPosition | undefined,
    limit: number,
    signal: AbortSignal | undefined,
  ): Promise<AnyPage> {
    const { entries, next, upToDate, heldBackMs } = await this.#source.page(after, limit, signal);
    const events: AnyItem[] = [];
    let last = after;
    for (const entry of entries) {
      try {
        const item = this.item(entry);
        if (item !== undefined) events.push(isPromise(item) ? await item : item);
      } catch (error) {
        // what stands before an event that cannot be read is returned first
        if (events.length === 0 || last === undefined) throw error;
        return { events, next: last, upToDate: false };
      }
      last = entry.position;
    }
    return { events, next, upToDate, ...(heldBackMs !== undefined && { heldBackMs }) };
  }

  /** An entry, decoded; `undefined` for a row that does not belong to what was asked for. */
  item(entry: FeedEntry): AnyItem | Promise<AnyItem> | undefined {
    const { database, container } = entry.address;
    const of = this.#source.containers.get(container);
    if (of?.isOf(database) !== true) return undefined;
    return of.kind === 'event' ? this.#event(of, entry) : this.#deletion(of, entry);
  }

  #event(of: FeedContainer, { address, row, position }: FeedEntry): AnyItem | Promise<AnyItem> {
    const rows = this.#rows(of, address.database, address.entity);
    const [version] = numbersIn(address.key) ?? [];
    if (version === undefined) throw corrupt(address, 'Kvent did not write its key');
    const recorded = decodeRecorded(rows, version, row);
    const { type: streamType } = of.definition;
    const itemOf = (event: Recorded<AnyEvent>): FeedEvent<UntypedStream> =>
      Object.freeze({ kind: 'event', ...event, streamType, position });
    return andThen(recorded, itemOf);
  }

  #deletion(of: FeedContainer, { address, row, position }: FeedEntry): FeedDeletion | undefined {
    const head = headIn(address, row);
    if (head.kind !== 'deleted') return undefined;
    const { id, tenant } = this.#rows(of, address.database, address.key);
    return Object.freeze({
      kind: 'deletion',
      streamType: of.definition.type,
      stream: id,
      ...(tenant !== undefined && { tenant }),
      version: head.version,
      deletedAt: new Date(row.updatedAt),
      position,
    });
  }

  /** The stream of an encoded id. */
  #rows({ definition }: FeedContainer, database: string, entity: string): StreamRows {
    const name = rowNameOf({ container: definition.name, entity: database, key: entity });
    let rows = this.#streams.get(name);
    if (rows === undefined) {
      const id = decodeText(entity);
      if (id === undefined)
        throw corrupt(
          { database, container: definition.containers.event, entity, key: '' },
          'its stream has no id',
        );
      rows = new StreamRows(this.#source.access, definition, database, id);
      this.#streams.set(name, rows);
    }
    return rows;
  }
}

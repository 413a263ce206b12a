/** What readers of the feed give and are given. */
import type { CallOptions } from '@kvent/key-value-storage/core';
import type { FeedPosition } from '@kvent/key-value-storage/provider';
import type { Recorded } from '../definition/event-stream.js';
import type { AnyStream, EventOf } from '../definition/stream-definition.js';

/**
 * An event of a stream, and where it stands in the feed; of one type: `FeedEvent<typeof Orders,
 * 'placed'>`.
 */
export type FeedEvent<D extends AnyStream, Type extends string = string> = D extends AnyStream
  ? Recorded<Extract<EventOf<D>, { readonly type: Type }>> & {
      readonly kind: 'event';
      /** The type of the stream, as `defineStream` names it. */
      readonly streamType: string;
      readonly position: FeedPosition;
    }
  : never;

/** A stream was deleted: its events have left the feed, or do so now. */
export interface FeedDeletion {
  readonly kind: 'deletion';
  readonly streamType: string;
  readonly stream: string;
  /** The tenant of the stream; absent for a shared stream. */
  readonly tenant?: string;
  /** The version that the stream had. */
  readonly version: number;
  readonly deletedAt: Date;
  readonly position: FeedPosition;
}

export type FeedItem<D extends AnyStream, Deletions extends boolean> =
  | FeedEvent<D>
  | (Deletions extends true ? FeedDeletion : never);

/** Which part of the feed is read. */
export interface FeedSelection<D extends AnyStream, Deletions extends boolean = false> extends CallOptions {
  /** `next` of a page, or the position of an event: exclusive. @default the beginning */
  readonly after?: FeedPosition | undefined;
  /** Types of streams on one provider. */
  readonly streams: readonly D[];
  /**
   * The tenants whose streams are read. A list, or 'all', crosses tenants: for operators and for
   * subscribers of the application itself. @default the current tenant
   */
  readonly tenants?: 'all' | readonly string[] | undefined;
  /** Whether deletions of streams are items too. @default false */
  readonly deletions?: Deletions | undefined;
}

export interface FeedReadOptions<
  D extends AnyStream,
  Deletions extends boolean = false,
> extends FeedSelection<D, Deletions> {
  /**
   * The maximum of items, up to 1,000; a page has at most 4 MB too. 0: no items, and `next` is the
   * end of the feed. @default 1_000
   */
  readonly limit?: number | undefined;
}

export interface FeedWatchOptions<
  D extends AnyStream,
  Deletions extends boolean = false,
> extends FeedSelection<D, Deletions> {
  /**
   * Continues after a failure of the storage that may pass (`STORAGE_UNAVAILABLE`), instead of
   * ending with it. @default false
   */
  readonly recover?: boolean | undefined;
}

/** A page of the feed. It may have fewer events than its limit, or none, while more follow. */
export interface EventFeedPage<D extends AnyStream, Deletions extends boolean = false> {
  readonly events: readonly FeedItem<D, Deletions>[];
  /** The next page begins after it. It moves on also when no event was found. */
  readonly next: FeedPosition;
  /** Whether the feed ended here when it was read. */
  readonly upToDate: boolean;
  /**
   * Milliseconds since an open transaction has held back what stands behind it; absent when nothing
   * is held back.
   */
  readonly heldBackMs?: number | undefined;
}

/** What operators learn of a projection. */
import type { FeedPosition } from '@kvent/key-value-storage/provider';

/**
 * A tenant whose events wait. 'retrying': it is tried again. 'stopped': an event could not be
 * applied, and its tenant waits until `retry`, or until the process starts again.
 */
export interface BehindTenant {
  /** `undefined`: shared streams. */
  readonly tenant: string | undefined;
  readonly state: 'retrying' | 'stopped';
  /** The event that could not be applied, where it is known. */
  readonly event?: {
    readonly streamType: string;
    readonly stream: string;
    readonly version: number;
    readonly position: FeedPosition;
  };
  /** The message of the error. */
  readonly reason: string;
  readonly error: unknown;
}

export interface PartitionHealth {
  readonly partition: number;
  /** 'waiting': another process has the partition. 'retrying': the storage cannot be read. */
  readonly state: 'stopped' | 'waiting' | 'running' | 'retrying';
  /** All tenants are at least here, except those `behind`; `undefined` before the first page. */
  readonly position: FeedPosition | undefined;
  readonly behind: readonly BehindTenant[];
  /** Why the feed could not be read at the last attempt. */
  readonly error?: unknown;
}

export interface ProjectionHealth {
  readonly projection: string;
  readonly version: number;
  /** 'degraded': a tenant is stopped, or a partition cannot be read. */
  readonly status: 'up' | 'degraded';
  readonly partitions: readonly PartitionHealth[];
}

/** How far a projection is behind the feed. */
export interface ProjectionLag {
  /**
   * Events of its streams that it has not read, counted within 10,000 from the position of its
   * slowest partition on; the others may have read some of these.
   */
  readonly events: number;
  /**
   * Milliseconds since the first of them was committed; 0 where all are read. Where there are more
   * than these 10,000, and none of them is unread, since the first of these.
   */
  readonly ms: number;
  /** Milliseconds since an open transaction has held back what stands behind it. */
  readonly heldBackMs?: number;
}

/**
 * A stream that was put aside, with `onError: 'park'`: from an event that could not be applied on.
 */
export interface ParkedStream {
  /** For `discardParked`. */
  readonly id: string;
  readonly tenant: string | undefined;
  readonly streamType: string;
  readonly stream: string;
  /** Of the event that could not be applied. */
  readonly version: number;
  /** The message of its error. */
  readonly reason: string;
  readonly parkedAt: Date;
}

/** One computation of a projection, from the first event. */
export interface ProjectionBuild {
  /** Counts the builds of a projection. */
  readonly generation: number;
  readonly version: number;
  /**
   * 'live': the one that is read. 'building': it applies events, and takes over when it has caught
   * up. 'switching': it has, and is about to. 'kept': it was live, and lists that began before may
   * still read it. 'removing': its states are being removed.
   */
  readonly state: 'live' | 'building' | 'switching' | 'kept' | 'removing';
  /** How far a build is behind the feed; absent for one that is or was live. */
  readonly lag?: ProjectionLag;
}

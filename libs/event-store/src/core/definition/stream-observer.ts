/** What observers of an event store are given: ids, versions and durations; never data. */
import type { FeedPosition } from '@kvent/key-value-storage/provider';
import { safely } from '@kvent/key-value-storage/internal';
import type { Recorded } from './event-stream.js';
import type { AnyEvent, AnyStream } from './stream-definition.js';

/** Identifies a stream; `database` is its tenant's. */
export interface StreamName {
  readonly type: string;
  readonly id: string;
  readonly database: string;
}

/** An entry for the log; each thing that happens is one entry. */
export type StreamLogEntry = StreamName &
  (
    | {
        readonly event: 'session opened';
        readonly session: string;
        readonly fencingToken: bigint;
        readonly version: number;
      }
    /** `freed`: false when the lock was lost before. */
    | {
        readonly event: 'session closed';
        readonly session: string;
        readonly version: number;
        readonly freed: boolean;
      }
    /** `inTransaction`: the caller's transaction may still be rolled back. */
    | {
        readonly event: 'events appended';
        readonly from: number;
        readonly to: number;
        readonly session?: string;
        readonly inTransaction?: true;
      }
    /** A listener of committed events has thrown; the events stay committed. */
    | {
        readonly event: 'listener failed';
        readonly from: number;
        readonly to: number;
        readonly cause: unknown;
      }
    | { readonly event: 'snapshot created'; readonly version: number }
    /** By an operator, without its holder. */
    | { readonly event: 'session unlocked'; readonly session: string; readonly version: number }
    | { readonly event: 'session expired'; readonly session: string; readonly expiredAt: Date }
    | { readonly event: 'version mismatch'; readonly expected: number | string; readonly actual: number }
    | {
        readonly event: 'snapshot ignored';
        readonly version: number;
        readonly reason: string;
        readonly cause?: unknown;
      }
    | { readonly event: 'open failed'; readonly openTimeoutMs: number; readonly until: Date | undefined }
  );

/** A call that begins. */
export interface StreamCall extends StreamName {
  readonly operation: 'append' | 'transact' | 'load' | 'openSession';
}
export interface StreamCallEnd {
  readonly durationMs: number;
  /** The code of the error; 'UNKNOWN' when it is not a StorageError. */
  readonly error?: string;
  readonly retries: number;
  readonly conflicts: number;
  /** For calls that load: the events read, and whether a snapshot was used. */
  readonly events?: number;
  readonly snapshot?: 'hit' | 'miss';
}

/** Where the last event of an append stands in the feed. */
export interface StreamPosition extends StreamName {
  /** Positions of different providers have no order. `undefined`: the main provider. */
  readonly provider: string | undefined;
  readonly position: FeedPosition;
}

/**
 * Called inside the observed call, in the caller's async context, so that logs and traces belong to
 * the request; for background work (snapshots, renewals), outside any context. What it throws or
 * rejects with is ignored.
 */
export interface StreamObserver {
  observe(entry: StreamLogEntry): void;
  /** Called when a call begins; the returned function is called once, when it ends. */
  begin?(call: StreamCall): (end: StreamCallEnd) => void;
  /**
   * Called for each append that has a position, and for each repeat of `append`, `transact` and
   * `session.append` that finds the append done. A transaction of the caller may still be rolled
   * back.
   */
  appended?(position: StreamPosition): void;
}

/**
 * Called with the events of each commit, after it: for the tenant of the commit, outside the async
 * context of the caller. Its promise is not awaited; what it throws or rejects with is logged as
 * 'listener failed'.
 */
export type CommittedEvents = (
  stream: StreamName,
  events: readonly Recorded<AnyEvent>[],
  definition: AnyStream,
) => void | Promise<void>;

/** Observes nothing: what an observer would get is not made. */
export const silentObserver: StreamObserver = Object.freeze({ observe: () => undefined });

/** An observer that never throws. */
export const safeObserver = (observer: StreamObserver | undefined): StreamObserver =>
  observer === undefined
    ? silentObserver
    : {
        observe: (entry) => void safely(() => observer.observe(entry)),
        begin(call) {
          const end = safely(() => observer.begin?.(call));
          return (result) => void safely(() => end?.(result));
        },
        appended: (position) => void safely(() => observer.appended?.(position)),
      };

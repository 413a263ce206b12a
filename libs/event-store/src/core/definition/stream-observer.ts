/**
 * What happens at streams, for logs, traces and metrics. Ids, versions and durations; never data.
 */
import type { Recorded } from './event-stream.js';
import type { AnyEvent, AnyStream } from './stream-definition.js';

/** A stream: its type, its id, and the database (tenant) it is in. */
export interface StreamName {
  readonly type: string;
  readonly id: string;
  readonly database: string;
}

/** Something that logs tell of, each once. */
export type StreamLogEntry = StreamName &
  (
    | {
        readonly event: 'session opened';
        readonly session: string;
        readonly fencingToken: bigint;
        readonly version: number;
      }
    /** `freed`: false where the lock was lost already. */
    | {
        readonly event: 'session closed';
        readonly session: string;
        readonly version: number;
        readonly freed: boolean;
      }
    /** `inTransaction`: of the caller's, which may still be rolled back. */
    | {
        readonly event: 'events appended';
        readonly from: number;
        readonly to: number;
        readonly session?: string;
        readonly inTransaction?: true;
      }
    /**
     * What `committed`, or somebody else who is handed the events of commits, has thrown. The
     * commit stands.
     */
    | {
        readonly event: 'listener failed';
        readonly from: number;
        readonly to: number;
        readonly cause: unknown;
      }
    | { readonly event: 'snapshot created'; readonly version: number }
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

/** A verb at work. */
export interface StreamCall extends StreamName {
  readonly operation: 'append' | 'transact' | 'load' | 'openSession';
}
export interface StreamCallEnd {
  readonly durationMs: number;
  /** The code of the error it ended with; 'UNKNOWN' for what is no StorageError. */
  readonly error?: string;
  /** How often it was begun anew after a conflict. */
  readonly retries: number;
  /** Conflicts met on the way, the last one included. */
  readonly conflicts: number;
  /** Events that were read, and whether a snapshot stood in front of them; of loads. */
  readonly events?: number;
  readonly snapshot?: 'hit' | 'miss';
}

/**
 * It is called within the call that it is told of, in the caller's async context, so that logs and
 * traces belong to the request; of background work (snapshots, renewals), outside any. The tenant
 * is in `database`, whatever the context is.
 */
export interface StreamObserver {
  observe(notice: StreamLogEntry): void;
  /** Called as a verb begins; what it answers is called once, as it ends. */
  begin?(call: StreamCall): (end: StreamCallEnd) => void;
}

/**
 * Is handed the events of each commit, once it is done: for the tenant of the commit, outside the
 * async context of whoever made it. What it throws, or what its promise rejects with, is told as
 * 'listener failed'; nobody waits for the promise.
 */
export type CommittedEvents = (
  stream: StreamName,
  events: readonly Recorded<AnyEvent>[],
  definition: AnyStream,
) => void | Promise<void>;

/** Watching must not break what is watched: what an observer throws is ignored. */
export function quiet(observer: StreamObserver | undefined): StreamObserver {
  return {
    observe(notice) {
      ignoring(() => observer?.observe(notice));
    },
    begin(call) {
      const end = ignoring(() => observer?.begin?.(call));
      return (how) => void ignoring(() => end?.(how));
    },
  };
}

function ignoring<R>(work: () => R): R | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}

/**
 * What applications inject and call; `stored-stream.ts` implements it. Abstract classes, because
 * Nest needs a runtime value for a decorated parameter. No private members, so that a stub is
 * assignable.
 */
import type {
  AtomicChanges,
  CommitParticipant,
  CallOptions,
  EtagLike,
  IdempotentCall,
  Precondition,
  RetryOptions,
} from '@kvent/key-value-storage/core';
import type { FeedPosition } from '@kvent/key-value-storage/provider';
import type { AnyStream, EventInputOf, EventOf, StateOf } from './stream-definition.js';

type Awaitable<T> = T | Promise<T>;

/** Stored with an event, beside its data; at most 16 KB. */
export interface EventMetadata {
  readonly correlationId?: string;
  readonly causationId?: string;
  readonly userId?: string;
  /** Further entries; values are strings. */
  readonly extensions?: Readonly<Record<string, string>>;
}
/**
 * A stored event. `recordedAt` never decreases within a stream; `id` is unique among all streams,
 * the same at each read, and opaque.
 */
export type Recorded<E> = E & {
  readonly id: string;
  readonly stream: string;
  /** The tenant of the stream; absent for a shared stream. */
  readonly tenant?: string;
  /** 1, 2, 3 … without gap. */
  readonly version: number;
  readonly recordedAt: Date;
  readonly metadata: EventMetadata & {
    /** The same as the event's `tenant`. */
    readonly tenant?: string;
    /** The `schemaVersion` of the event type when it was written. */
    readonly schemaVersion: number;
  };
};
/**
 * A stream at one version. Over HTTP, `EtagInterceptor` sends its state, with an `ETag` of version,
 * stream and `snapshot.schemaVersion`, which `ifMatch` accepts.
 */
export interface Loaded<S> {
  readonly id: string;
  readonly state: S;
  /** 0: the stream has no events. */
  readonly version: number;
}
export interface Appended<S, E> extends Loaded<S>, AppendedPosition {
  readonly events: readonly Recorded<E>[];
  /** true: the call was done before, and this is the result of that first call. */
  readonly replayed: boolean;
}
export interface AppendedPosition {
  /**
   * Where the last appended event stands in the feed; absent when nothing was appended, when
   * the stream is not in the feed, and on a provider without a feed.
   */
  readonly position?: FeedPosition | undefined;
}
/** The result of an append. */
export interface AppendResult extends AppendedPosition {
  readonly version: number;
  /** true: the call was done before, and this is the result of that first call. */
  readonly replayed: boolean;
}
/** A version or a time, not both. */
export type PointInTime =
  | { readonly atVersion?: number; readonly atTime?: never }
  | { readonly atTime?: Date; readonly atVersion?: never };
/**
 * A number: exactly this version; 0 is 'absent'. 'present': any version from 1. 'any': no check.
 */
export type ExpectedVersion = number | 'absent' | 'present' | 'any';

export interface WriteEventsOptions extends CallOptions {
  /**
   * A repeat with the same key and content returns the result of the first call; with other content
   * it is `IDEMPOTENCY_CONFLICT`.
   */
  readonly idempotencyKey?: string | IdempotentCall | undefined;
  /** Takes precedence over the metadata that the event store adds. */
  readonly metadata?: EventMetadata | undefined;
}
/** A check is required, so that appending without one is a decision: 'any'. */
export type AppendOptions = WriteEventsOptions &
  (
    | { readonly expectedVersion: ExpectedVersion; readonly ifMatch?: never }
    | { readonly ifMatch: EtagLike | Precondition | '*'; readonly expectedVersion?: never }
  );
/** The stream after the appended events. */
export interface Outcome<S, E> extends Loaded<S> {
  readonly events: readonly E[];
}
export interface SameCommit<S, E> {
  /**
   * Adds writes to the same commit, computed from the result. Not called when there are no events.
   * It must not be asynchronous: `INVALID_OPTION`, and nothing is committed.
   */
  readonly sameCommit?: ((batch: AtomicChanges, result: Outcome<S, E>) => void) | undefined;
}
export interface TransactOptions<S, E> extends WriteEventsOptions, SameCommit<S, E> {
  readonly retry?: RetryOptions | undefined;
  /** The version that the client saw; a mismatch is never retried. */
  readonly expectedVersion?: number;
  /** The etag that the client saw; a mismatch is never retried, and is a 412 over HTTP. */
  readonly ifMatch?: EtagLike | Precondition | '*';
  /**
   * Milliseconds to wait for a session to end. Then the attempts and the budget of `retry` begin
   * anew. @default 0
   */
  readonly lockTimeoutMs?: number | undefined;
}
/**
 * `batch`: its writes are part of the same commit. Each run of the decision starts with an empty
 * one.
 */
export interface DecisionContext {
  readonly id: string;
  readonly version: number;
  readonly batch: AtomicChanges;
}
export interface EventRange {
  /** The first version. @default 1 */
  readonly from?: number;
  /** The last version, inclusive. @default the stream's version */
  readonly to?: number;
  /** Reads from the last version to the first. @default false */
  readonly reverse?: boolean;
  /** The maximum number of events. @default all of the range */
  readonly limit?: number;
}
export interface StreamPageRequest {
  readonly prefix?: string;
  /** The maximum number of items, up to 1,000. @default 100 */
  readonly limit?: number;
  /** `next` of the previous page. */
  readonly cursor?: string | undefined;
}
export interface StreamPage {
  readonly items: readonly { readonly id: string; readonly version: number; readonly updatedAt: Date }[];
  readonly next: string | undefined;
}
/**
 * The versions that a call with an idempotency key appended. `to` is one less than `from` where it
 * appended nothing.
 */
export interface VersionRange {
  readonly from: number;
  readonly to: number;
}

/**
 * All streams of one type and one tenant. A stream id is a string of 1 to 512 encoded bytes.
 *
 * Every method rejects before any I/O with `INVALID_OPTION`, `INVALID_KEY` or `LIMIT_EXCEEDED` for
 * an argument that is not allowed, and with `TENANT_MISSING` outside a tenant. A failing storage is
 * `STORAGE_UNAVAILABLE`, `STORAGE_OUTCOME_UNKNOWN`, `STORAGE_CORRUPT` or `STORAGE_NOT_OPEN`. An
 * event that cannot be decoded is `EVENT_UNKNOWN_TYPE` or `EVENT_UNREADABLE`, with stream and
 * version. After `delete`, every method except `load`, `version`, `page` and `delete` rejects with
 * `STREAM_DELETED`.
 */
export abstract class EventStream<D extends AnyStream> {
  /**
   * Returns the state, folded from the newest snapshot on; `initial` at version 0 for an unknown
   * stream. `STREAM_VERSION_NOT_FOUND` for a version above the stream's.
   */
  abstract load(id: string, options?: CallOptions & PointInTime): Promise<Loaded<StateOf<D>>>;
  /**
   * Like `load`; `STREAM_NOT_FOUND` for an unknown stream, and for a time before its first event.
   */
  abstract loadOrThrow(id: string, options?: CallOptions & PointInTime): Promise<Loaded<StateOf<D>>>;
  /**
   * Loads the state, calls `decide`, and appends the events it returns. After a conflict all of it
   * runs again, so `decide` may be called several times: by default 50 attempts within 5 s, then
   * `STREAM_VERSION_MISMATCH` with `attempts`. Without events nothing is written. `STREAM_LOCKED`
   * while a session holds the stream.
   */
  abstract transact(
    id: string,
    decide: (state: StateOf<D>, context: DecisionContext) => Awaitable<readonly EventInputOf<D>[]>,
    options?: TransactOptions<StateOf<D>, EventOf<D>>,
  ): Promise<Appended<StateOf<D>, EventOf<D>>>;
  /**
   * Appends all events or none; returns the new version. `STREAM_VERSION_MISMATCH`,
   * `STREAM_LOCKED`. Without events it returns the current version, and neither writes nor checks
   * anything.
   */
  abstract append(
    id: string,
    events: readonly EventInputOf<D>[],
    options: AppendOptions,
  ): Promise<AppendResult>;
  /**
   * An append that takes part in a larger commit: `storage.atomic().include(orders.appending(…))`.
   */
  abstract appending(
    id: string,
    events: readonly EventInputOf<D>[],
    options: { readonly expectedVersion: ExpectedVersion },
  ): CommitParticipant;
  /** The same at a loaded version: after a conflict, load again and retry. */
  abstract appending(loaded: Loaded<StateOf<D>>, events: readonly EventInputOf<D>[]): CommitParticipant;
  /**
   * The events in order, read page by page: memory stays constant, and a range reads only its rows.
   * Events appended after the first page was read are left out.
   */
  abstract read(id: string, range?: CallOptions & EventRange): AsyncIterable<Recorded<EventOf<D>>>;
  /** The number of events, from one row; 0 for an unknown or deleted stream. */
  abstract version(id: string, options?: CallOptions): Promise<number>;
  /** The versions that a call with this key appended; `undefined` for an unknown key. */
  abstract findByIdempotencyKey(
    id: string,
    key: string,
    options?: CallOptions,
  ): Promise<VersionRange | undefined>;
  /** Like `findByIdempotencyKey`; `IDEMPOTENCY_KEY_NOT_FOUND` for an unknown key. */
  abstract findByIdempotencyKeyOrThrow(id: string, key: string, options?: CallOptions): Promise<VersionRange>;
  /** The streams of this type that have events, ordered by id. */
  abstract page(request?: StreamPageRequest, options?: CallOptions): Promise<StreamPage>;
  /**
   * Deletes the stream for good: its id cannot be used again. Returns false when there was nothing
   * to delete. An error after a part was deleted has `done`; calling again deletes the rest.
   */
  abstract delete(
    id: string,
    options?: CallOptions & { readonly expectedVersion?: number },
  ): Promise<boolean>;

  // ─── sessions

  /** Runs work in a session, and closes it afterwards, also when the work throws. */
  abstract session<R>(
    id: string,
    work: (session: StreamSession<D>) => Promise<R>,
    options?: SessionOptions,
  ): Promise<R>;
  /**
   * Locks the stream: until the session ends, other appends are `STREAM_LOCKED`, in every process.
   * `SESSION_OPEN_FAILED` when another session still holds the stream after `openTimeoutMs`.
   */
  abstract openSession(id: string, options?: SessionOptions): Promise<StreamSession<D>>;

  /**
   * For operators: ends the session that holds the stream, and returns whether one did. The next
   * call of its holder is `SESSION_LOST`; what it does outside the storage is not stopped.
   */
  abstract unlock(id: string, options?: CallOptions): Promise<boolean>;

  // ─── snapshots

  /**
   * Stores the state at a version, so that loads start there; returns the version.
   * `STREAM_NOT_FOUND`, `STREAM_VERSION_NOT_FOUND`.
   */
  abstract snapshot(id: string, options?: CallOptions & { readonly atVersion?: number }): Promise<number>;
  /** Stores snapshots at `every`, 2 × `every` … in one pass; returns their versions. */
  abstract snapshotAll(
    id: string,
    options: CallOptions & { readonly every: number },
  ): Promise<readonly number[]>;
  /** The versions that have a snapshot of the current `snapshot.schemaVersion`, in order. */
  abstract snapshotVersions(id: string, options?: CallOptions): Promise<readonly number[]>;
  /** Removes one snapshot (`SNAPSHOT_NOT_FOUND`) or all of them; returns how many. */
  abstract clearSnapshots(id: string, options?: CallOptions & { readonly version?: number }): Promise<number>;

  /** The streams of a given tenant, whatever the context. */
  abstract forTenant(tenant: string): EventStream<D>;
  /**
   * The same streams inside the caller's database transaction: what is appended is committed or
   * rolled back with it. `INVALID_OPTION` when the argument is not an open transaction,
   * `STORAGE_UNSUPPORTED` when the provider has no transactions.
   */
  abstract within(transaction: object): EventStream<D>;
}

export interface SessionOptions extends CallOptions {
  /**
   * Milliseconds that the lock is valid after each write or renewal; below 2^31. @default 60_000
   */
  readonly sessionTimeoutMs?: number | undefined;
  /** Milliseconds to wait for another session to end. 0: fail at once. @default 5_000 */
  readonly openTimeoutMs?: number | undefined;
  /**
   * 'auto': renews the lock each third of `sessionTimeoutMs`, while it is open. @default 'manual'
   */
  readonly renewal?: 'manual' | 'auto' | undefined;
  /**
   * Milliseconds from the opening on for which 'auto' renews the lock. Afterwards only writes and
   * `renew` restart its time. Below 2^31. @default 3_600_000
   */
  readonly renewalTimeoutMs?: number | undefined;
}

/**
 * A locked stream. Calls run one at a time. Each write checks the lock in its own batch, so a
 * holder that paused past its expiry cannot write: `SESSION_EXPIRED`, or `SESSION_LOST` when
 * another writer has taken the stream since. After `close`, calls are `SESSION_NOT_OPEN`.
 */
export abstract class StreamSession<D extends AnyStream> implements AsyncDisposable {
  abstract readonly id: string;
  abstract readonly state: StateOf<D>;
  abstract readonly version: number;
  /**
   * Larger for each later holder, so that other systems can reject an earlier one. The tokens of a
   * new stream begin with the provider's time in milliseconds.
   */
  abstract readonly fencingToken: bigint;
  abstract readonly expiresAt: Date;
  /** Aborted when the lock is lost, and shortly before it expires. */
  abstract readonly signal: AbortSignal;
  /** Appends all events or none, and renews the lock. */
  abstract append(
    events: readonly EventInputOf<D>[],
    options?: WriteEventsOptions &
      SameCommit<StateOf<D>, EventOf<D>> & {
        /** Closes the session in the same commit. @default false */
        readonly close?: boolean;
      },
  ): Promise<AppendResult>;
  /** An append of the session that takes part in a larger commit. */
  abstract appending(events: readonly EventInputOf<D>[]): CommitParticipant;
  /** Makes the lock valid for `sessionTimeoutMs` from now; returns when it expires. */
  abstract renew(options?: CallOptions): Promise<Date>;
  /**
   * Unlocks the stream. Closing twice, or after expiry, has no effect on the lock of another
   * session.
   */
  abstract close(): Promise<void>;
  /** Closes, and never rejects: where closing fails, the lock expires after its time. */
  abstract [Symbol.asyncDispose](): Promise<void>;
}

export interface EventStoreSettings {
  /** Metadata added to every event: correlation, user … */
  readonly metadata?: (() => EventMetadata) | undefined;
  readonly session?:
    | Pick<SessionOptions, 'sessionTimeoutMs' | 'openTimeoutMs' | 'renewal' | 'renewalTimeoutMs'>
    | undefined;
  /** Milliseconds that an idempotency key is kept. @default 86_400_000 */
  readonly idempotencyRetentionMs?: number | undefined;
}

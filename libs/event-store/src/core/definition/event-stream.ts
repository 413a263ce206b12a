/**
 * What users inject and call. Abstract classes, not interfaces: they stand in decorated signatures,
 * where a type alone dies at start-up; and without private members, so that a stub of the right
 * shape is a stream too. `stored-stream.ts` is what they get.
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
import type { AnyStream, EventOf, StateOf } from './stream-definition.js';

type Awaitable<T> = T | Promise<T>;

/** Travels with an event, beside its data; at most 16 KB. */
export interface EventMetadata {
  readonly correlationId?: string;
  readonly causationId?: string;
  readonly userId?: string;
  /** Whatever else; texts. */
  readonly extensions?: Readonly<Record<string, string>>;
}
/**
 * An event as it is in its stream. `recordedAt` never decreases within a stream; `id` is unique and
 * opaque.
 */
export type Recorded<E> = E & {
  readonly id: string;
  readonly stream: string;
  /** Whose stream it is; left out where streams have no tenants. */
  readonly tenant?: string;
  /** 1, 2, 3 … without gap. */
  readonly version: number;
  readonly recordedAt: Date;
  readonly metadata: EventMetadata & {
    /** The same as the event's own `tenant`. */
    readonly tenant?: string;
    /** The event type's `schemaVersion` that it was written with. */
    readonly schemaVersion: number;
  };
};
/**
 * A stream as it was read. Over HTTP, with `EtagInterceptor`, it is its state with an `ETag` of
 * version, stream and `snapshot.schemaVersion`; `ifMatch` takes that.
 */
export interface Loaded<S> {
  readonly id: string;
  readonly state: S;
  /** 0: there is no such stream */
  readonly version: number;
}
export interface Appended<S, E> extends Loaded<S> {
  readonly events: readonly Recorded<E>[];
  /** true: this is the first answer, given again */
  readonly replayed: boolean;
}
/** At a version, or at a time; not both. */
export type PointInTime =
  | { readonly atVersion?: number; readonly atTime?: never }
  | { readonly atTime?: Date; readonly atVersion?: never };
/**
 * A number: exactly this version, 0 is 'absent'. 'present': any but none. 'any': whatever is there,
 * no check.
 */
export type ExpectedVersion = number | 'absent' | 'present' | 'any';

export interface WriteEventsOptions extends CallOptions {
  /**
   * The same key and content again: the first answer again. Another content:
   * `IDEMPOTENCY_CONFLICT`.
   */
  readonly idempotencyKey?: string | IdempotentCall | undefined;
  /** Over what the store adds by itself. */
  readonly metadata?: EventMetadata | undefined;
}
/** Required on purpose: no check is a decision, and is written 'any'. */
export type AppendOptions = WriteEventsOptions &
  (
    | { readonly expectedVersion: ExpectedVersion; readonly ifMatch?: never }
    | { readonly ifMatch: EtagLike | Precondition | '*'; readonly expectedVersion?: never }
  );
/** What the events led to. */
export interface Outcome<S, E> extends Loaded<S> {
  readonly events: readonly E[];
}
export interface SameCommit<S, E> {
  /**
   * Writes other states, or other streams, in the same commit, from what the events led to. Not
   * called for no events.
   */
  readonly sameCommit?: ((batch: AtomicChanges, result: Outcome<S, E>) => void) | undefined;
}
export interface TransactOptions<S, E> extends WriteEventsOptions, SameCommit<S, E> {
  readonly retry?: RetryOptions | undefined;
  /** What the client saw: never retried. */
  readonly expectedVersion?: number;
  /** The etag that the client saw: never retried, and a 412 over HTTP. */
  readonly ifMatch?: EtagLike | Precondition | '*';
  /** Milliseconds to wait for a session to end. @default 0 */
  readonly lockTimeoutMs?: number | undefined;
}
/**
 * `batch`: what is put into it goes into the same commit, and is forgotten when the decision runs
 * again.
 */
export interface DecisionContext {
  readonly id: string;
  readonly version: number;
  readonly batch: AtomicChanges;
}
export interface EventRange {
  /** The first version of the slice. @default 1 */
  readonly from?: number;
  /** Its last version, inclusive. @default the stream's own */
  readonly to?: number;
  /** From the last to the first. @default false */
  readonly reverse?: boolean;
  /** Events at most. @default all of the slice */
  readonly limit?: number;
}
export interface StreamPageRequest {
  readonly prefix?: string;
  /** Items at most, up to 1,000. @default 100 */
  readonly limit?: number;
  /** What the page before answered as `next`. */
  readonly cursor?: string | undefined;
}
export interface StreamPage {
  readonly items: readonly { readonly id: string; readonly version: number; readonly updatedAt: Date }[];
  readonly next: string | undefined;
}
/**
 * Which versions an idempotency key led to; `to` is one less than `from` where the decision was to
 * do nothing.
 */
export interface VersionRange {
  readonly from: number;
  readonly to: number;
}

/**
 * All streams of one type, of one tenant. A stream id is a text that is not empty, up to 512
 * encoded bytes. Every method rejects with `INVALID_OPTION`, `INVALID_KEY` or `LIMIT_EXCEEDED`
 * before any I/O when what it was given is not allowed; with `TENANT_MISSING` outside a tenant; and
 * with `STORAGE_UNAVAILABLE`, `STORAGE_OUTCOME_UNKNOWN`, `STORAGE_CORRUPT` or `STORAGE_NOT_OPEN` as
 * the storage is. Reading rejects with `EVENT_UNKNOWN_TYPE` or `EVENT_UNREADABLE`, naming stream
 * and version, for an event that cannot be what it was. After `delete`, everything but `load`,
 * `version`, `page` and `delete` is `STREAM_DELETED`.
 */
export abstract class EventStream<D extends AnyStream> {
  /**
   * The state, from the newest snapshot and what came after; an unknown stream is `initial` at
   * version 0. `STREAM_VERSION_NOT_FOUND` for a version that it has not reached.
   */
  abstract load(id: string, options?: CallOptions & PointInTime): Promise<Loaded<StateOf<D>>>;
  /** The same; `STREAM_NOT_FOUND` for an unknown stream, and for a time before its first event. */
  abstract loadOrThrow(id: string, options?: CallOptions & PointInTime): Promise<Loaded<StateOf<D>>>;
  /**
   * The everyday verb: loads, decides, appends, and decides anew on fresh state if someone was
   * faster (50 attempts within 5 s by default, then `STREAM_VERSION_MISMATCH` with `attempts`). No
   * events: nothing is written. `STREAM_LOCKED` while a session holds the stream. `decide` may run
   * several times.
   */
  abstract transact(
    id: string,
    decide: (state: StateOf<D>, deciding: DecisionContext) => Awaitable<readonly EventOf<D>[]>,
    options?: TransactOptions<StateOf<D>, EventOf<D>>,
  ): Promise<Appended<StateOf<D>, EventOf<D>>>;
  /**
   * Appends all of the events, or none: `STREAM_VERSION_MISMATCH`, `STREAM_LOCKED`. No events: the
   * version as it is, and nothing is written or checked.
   */
  abstract append(
    id: string,
    events: readonly EventOf<D>[],
    options: AppendOptions,
  ): Promise<{ readonly version: number; readonly replayed: boolean }>;
  /**
   * An append as a part of a larger commit: `storage.atomic().include(orders.appending(…)).set(…)`.
   */
  abstract appending(
    id: string,
    events: readonly EventOf<D>[],
    options: { readonly expectedVersion: ExpectedVersion },
  ): CommitParticipant;
  /** At the version that was loaded: a conflict is retried together with the reading. */
  abstract appending(loaded: Loaded<StateOf<D>>, events: readonly EventOf<D>[]): CommitParticipant;
  /**
   * The events in order, page by page: memory stays flat, and a slice touches only its rows. What
   * is appended meanwhile is left out.
   */
  abstract read(id: string, range?: CallOptions & EventRange): AsyncIterable<Recorded<EventOf<D>>>;
  /**
   * Its number of events; the cost does not grow with it. 0 for an unknown and for a deleted
   * stream.
   */
  abstract version(id: string, options?: CallOptions): Promise<number>;
  abstract findByIdempotencyKey(
    id: string,
    key: string,
    options?: CallOptions,
  ): Promise<VersionRange | undefined>;
  /** The same; `IDEMPOTENCY_KEY_NOT_FOUND`. */
  abstract findByIdempotencyKeyOrThrow(id: string, key: string, options?: CallOptions): Promise<VersionRange>;
  /** The streams of this type that hold events, in the order of their ids. */
  abstract page(request?: StreamPageRequest, options?: CallOptions): Promise<StreamPage>;
  /**
   * Final: the stream's rows go, its versions never restart. false: it was not there. An error on
   * the way says `done`; calling again finishes.
   */
  abstract delete(
    id: string,
    options?: CallOptions & { readonly expectedVersion?: number },
  ): Promise<boolean>;

  // ─── sessions

  /** Runs work that holds the stream, and lets it go afterwards, also when the work throws. */
  abstract session<R>(
    id: string,
    work: (session: StreamSession<D>) => Promise<R>,
    options?: SessionOptions,
  ): Promise<R>;
  /**
   * Holds the stream: until the session ends, no append from outside lands, in this process or in
   * another (`STREAM_LOCKED`). `SESSION_OPEN_FAILED` while somebody else holds it and
   * `openTimeoutMs` is over.
   */
  abstract openSession(id: string, options?: SessionOptions): Promise<StreamSession<D>>;

  // ─── snapshots

  /**
   * Keeps the state at a version, so that loads start there; answers the version.
   * `STREAM_NOT_FOUND`, `STREAM_VERSION_NOT_FOUND`.
   */
  abstract snapshot(id: string, options?: CallOptions & { readonly atVersion?: number }): Promise<number>;
  /** Snapshots at k, 2k, 3k … in one pass; answers their versions. */
  abstract snapshotAll(
    id: string,
    options: CallOptions & { readonly every: number },
  ): Promise<readonly number[]>;
  /** Of this program's snapshot schemaVersion, in order. */
  abstract snapshotVersions(id: string, options?: CallOptions): Promise<readonly number[]>;
  /**
   * Removes one snapshot (`SNAPSHOT_NOT_FOUND`), or all of them, and answers how many. Loads replay
   * what is missing.
   */
  abstract clearSnapshots(id: string, options?: CallOptions & { readonly version?: number }): Promise<number>;

  /** The same streams of this tenant, whatever the context. */
  abstract forTenant(tenant: string): EventStream<D>;
  /**
   * The same streams, of the same tenant and with the same settings, inside the caller's own
   * database transaction: what is appended is committed or rolled back with it. `INVALID_OPTION`
   * for what is no open transaction, `STORAGE_UNSUPPORTED` where the provider has none.
   */
  abstract within(transaction: object): EventStream<D>;
}

export interface SessionOptions extends CallOptions {
  /** Milliseconds that the lock lives after each write or renewal; below 2^31. @default 60_000 */
  readonly sessionTimeoutMs?: number | undefined;
  /** Milliseconds to wait for whoever holds it. 0: fail at once. @default 5_000 */
  readonly openTimeoutMs?: number | undefined;
  /**
   * 'auto': renewed by itself, each third of its time, for as long as it is open. @default 'manual'
   */
  readonly renewal?: 'manual' | 'auto' | undefined;
}

/**
 * A locked stream in use. It does one thing at a time. Every write carries the lock in its own
 * batch, so a holder that slept through its expiry is refused: `SESSION_EXPIRED` when nobody took
 * the stream meanwhile, `SESSION_LOST` when somebody did; after `close`, `SESSION_NOT_OPEN`.
 */
export abstract class StreamSession<D extends AnyStream> implements AsyncDisposable {
  abstract readonly id: string;
  abstract readonly state: StateOf<D>;
  abstract readonly version: number;
  /** Larger for every later holder: hand it to what must refuse an earlier one. */
  abstract readonly fencingToken: bigint;
  abstract readonly expiresAt: Date;
  /**
   * Aborted when the lock is lost, or about to be: pass it to whatever must not go on without it.
   */
  abstract readonly signal: AbortSignal;
  /** Appends all of the events, or none, and renews the lock. */
  abstract append(
    events: readonly EventOf<D>[],
    options?: WriteEventsOptions &
      SameCommit<StateOf<D>, EventOf<D>> & {
        /** In the same commit. @default false */ readonly close?: boolean;
      },
  ): Promise<{ readonly version: number; readonly replayed: boolean }>;
  /** The session's append as a part of a larger commit. */
  abstract appending(events: readonly EventOf<D>[]): CommitParticipant;
  /** A full `sessionTimeoutMs` from now; answers when it ends. */
  abstract renew(options?: CallOptions): Promise<Date>;
  /** Lets the stream go. Late, or twice: nothing happens, and nobody else's lock is touched. */
  abstract close(): Promise<void>;
  /** Closes. When that fails, the lock ends by itself after its time, so it does not throw. */
  abstract [Symbol.asyncDispose](): Promise<void>;
}

/** Added to the events of a store; how its sessions and idempotency keys live. */
export interface EventStoreSettings {
  /** Added to every event: correlation, user … */
  readonly metadata?: (() => EventMetadata) | undefined;
  readonly session?: Pick<SessionOptions, 'sessionTimeoutMs' | 'openTimeoutMs' | 'renewal'> | undefined;
  /** Milliseconds that an idempotency key is remembered. @default 86_400_000 */
  readonly idempotencyRetentionMs?: number | undefined;
}

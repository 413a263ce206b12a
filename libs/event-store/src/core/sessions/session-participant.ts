/** An append of a session as a participant of a commit. */
import type { Address, Row } from '@kvent/key-value-storage/provider';
import {
  isPromise,
  Participant,
  rowNameOf,
  type CommittedBatch,
  type Contribution,
  type ObservedRows,
  type OptionalChange,
  type StorageAccess,
  type Verdict,
} from '@kvent/key-value-storage/internal';
import type { StreamContext } from '../context/stream-context.js';
import type { VersionRange } from '../definition/event-stream.js';
import type { EncodedEvent, EncodedEvents } from '../events/event-codec.js';
import { evolveAll } from '../events/fold.js';
import { headIn, type Head } from '../rows/head.js';
import { closeBatch, sessionAppendBatch, type HeldStream } from '../rows/stream-batches.js';
import { mismatchError } from '../rows/stream-conflicts.js';
import type { StreamRows } from '../rows/stream-rows.js';
import { crossesInterval, snapshotBesideEvents } from '../snapshots/snapshot-rows.js';

/** A session after an append of it. */
interface SessionAppend {
  /** The stream that the batch was made for. */
  readonly before: HeldStream;
  readonly after: HeldStream;
  readonly state: unknown;
  readonly commit: CommittedBatch;
  /** The monotonic time from before the request. */
  readonly startedAt: number;
  readonly close: boolean;
}

/** What a participant uses of its session. */
export interface SessionHandle {
  readonly context: StreamContext;
  readonly rows: StreamRows;
  readonly sessionTimeoutMs: number;
  held(): HeldStream;
  state(): unknown;
  /** Rejects when the session cannot write any more. */
  prepare(): Promise<void>;
  /** Why a batch for `held` cannot be sent again, by the rows as they are. */
  failureBy(held: HeldStream, head: Head, lease: Row | undefined): Error | undefined;
  committed(append: SessionAppend): void;
  /** A commit was sent, and has failed. `close`: whether it would have closed the session. */
  failed(error: unknown, close: boolean): void;
}

/** A stream before the events, and the version and the state after them. */
interface Folded {
  readonly before: HeldStream;
  readonly version: number;
  readonly state: unknown;
}

export class SessionParticipant extends Participant {
  readonly access: StorageAccess;
  readonly database: string;
  readonly what: string;
  readonly subject: string;
  readonly reads: readonly Address[];
  readonly #handle: SessionHandle;
  readonly #encoding: EncodedEvents;
  readonly #close: boolean;
  readonly #content: unknown;
  #events: readonly EncodedEvent[] = [];
  #startedAt = 0;
  #folded: Folded | undefined;
  /** What the batch was made for. Its answer may be late: the session may have gone on since. */
  #sent: Folded | undefined;
  /** Whether the caller has written by `fixOutcome`, so that no other version is right. */
  #isFixed = false;

  constructor(handle: SessionHandle, encoding: EncodedEvents, close: boolean, content: unknown) {
    super();
    const { rows } = handle;
    this.access = rows.access;
    this.database = rows.database;
    this.what = rows.name;
    this.subject = rowNameOf(rows.head);
    this.reads = [rows.head, rows.lease];
    this.#handle = handle;
    this.#encoding = encoding;
    this.#close = close;
    this.#content = content;
    // handled by `prepare`
    if (isPromise(encoding)) encoding.then(undefined, () => undefined);
  }

  async prepare(): Promise<void> {
    await this.#handle.prepare();
    this.#events = await this.#encoding;
  }

  content(): unknown {
    return this.#content;
  }

  get versions(): VersionRange {
    const { version } = this.#before;
    return { from: version + 1, to: version + this.#events.length };
  }

  /** The stream after the events, which are appended at this version from now on, or not at all. */
  fixOutcome() {
    const events = this.#events.map(({ event }) => event);
    const { id } = this.#handle.rows;
    const { state, version } = this.#fold();
    this.#isFixed = true;
    return Object.freeze({ id, state, version, events });
  }

  /** The stream that the events are appended to. */
  get #before(): HeldStream {
    return this.#isFixed && this.#folded !== undefined ? this.#folded.before : this.#handle.held();
  }

  /** Folded once, so that `evolve` is called once for each event. */
  #fold(): Folded {
    const before = this.#before;
    if (this.#folded?.before !== before) {
      const events = this.#events.map(({ event }) => event);
      const state = evolveAll(this.#handle.rows, this.#handle.state(), before.version, events);
      this.#folded = { before, version: before.version + events.length, state };
    }
    return this.#folded;
  }

  contribution(): Contribution {
    const { context, rows, sessionTimeoutMs } = this.#handle;
    // folded before anything is sent: events that cannot be folded are not appended
    const { before } = (this.#sent = this.#fold());
    const stored = this.#events.map((event) => event.stored);
    this.#startedAt = context.clock.monotonic();
    return this.#close
      ? closeBatch(rows, before, stored)
      : sessionAppendBatch(rows, before, stored, sessionTimeoutMs);
  }

  override optionalChange(): OptionalChange | undefined {
    const { context, rows } = this.#handle;
    const { before, version, state } = this.#sent as Folded;
    return crossesInterval(rows.definition.snapshot.every, before.version, version)
      ? snapshotBesideEvents(rows, { version, state }, context.observer)
      : undefined;
  }

  evaluate({ rows: [headRow, lease], conflict }: ObservedRows): Verdict {
    const { rows } = this.#handle;
    const head = headIn(rows.head, headRow);
    const error = this.#handle.failureBy(this.#before, head, lease);
    if (error !== undefined) return { outcome: 'reject', error };
    if (conflict === undefined) return { outcome: 'proceed' };
    const { version } = head;
    return { outcome: 'retry', error: mismatchError(rows, { expected: version, by: 'loaded' }, version) };
  }

  override sending(): (() => void) | undefined {
    const { context, rows } = this.#handle;
    return this.#events.length === 0 ? undefined : context.onSending(rows, this.versions.from - 1);
  }

  override committed(commit: CommittedBatch): void {
    const { context, rows } = this.#handle;
    const { before, version, state } = this.#sent as Folded;
    const events = this.#events;
    const close = this.#close;
    if (events.length > 0)
      context.onAppended(rows, { before: before.version, events, commit }, before.session);
    const head = events.length > 0 || close ? commit.version : before.head;
    const after = { ...before, version, head };
    this.#handle.committed({ before, after, state, commit, startedAt: this.#startedAt, close });
  }

  override failed(error: unknown): void {
    this.#handle.failed(error, this.#close);
  }
}

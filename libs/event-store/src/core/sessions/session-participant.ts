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

/** What a participant uses of its session. */
export interface SessionHandle {
  readonly context: StreamContext;
  readonly rows: StreamRows;
  readonly sessionTimeoutMs: number;
  held(): HeldStream;
  state(): unknown;
  /** Rejects when the session cannot write any more. */
  prepare(): Promise<void>;
  /** Why the session cannot continue, by its rows as they are. */
  failureBy(head: Head, lease: Row | undefined): Error | undefined;
  committed(
    held: HeldStream,
    state: unknown,
    commit: CommittedBatch,
    startedAt: number,
    close: boolean,
  ): void;
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
  #folded: { readonly from: HeldStream; readonly state: unknown } | undefined;

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
    const { version } = this.#handle.held();
    return { from: version + 1, to: version + this.#events.length };
  }

  /** The stream after the events. */
  get outcome() {
    const events = this.#events.map(({ event }) => event);
    const { id } = this.#handle.rows;
    return Object.freeze({ id, state: this.#stateAfter, version: this.versions.to, events });
  }

  /** Folded once, so that `evolve` is called once for each event. */
  get #stateAfter(): unknown {
    const from = this.#handle.held();
    if (this.#folded?.from !== from) {
      const events = this.#events.map(({ event }) => event);
      const state = evolveAll(this.#handle.rows, this.#handle.state(), from.version, events);
      this.#folded = { from, state };
    }
    return this.#folded.state;
  }

  contribution(): Contribution {
    const { context, rows, sessionTimeoutMs } = this.#handle;
    const held = this.#handle.held();
    const stored = this.#events.map((event) => event.stored);
    this.#startedAt = context.clock.monotonic();
    const batch = this.#close
      ? closeBatch(rows, held, stored)
      : sessionAppendBatch(rows, held, stored, sessionTimeoutMs);
    // folded before anything is sent: events that cannot be folded are not appended
    void this.#stateAfter;
    return batch;
  }

  override optionalChange(): OptionalChange | undefined {
    const { context, rows } = this.#handle;
    const { to: version } = this.versions;
    return crossesInterval(rows.definition.snapshot.every, this.#handle.held().version, version)
      ? snapshotBesideEvents(rows, { version, state: this.#stateAfter }, context.observer)
      : undefined;
  }

  evaluate({ rows: [headRow, lease], conflict }: ObservedRows): Verdict {
    const { rows } = this.#handle;
    const head = headIn(rows.head, headRow);
    const error = this.#handle.failureBy(head, lease);
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
    const held = this.#handle.held();
    const version = this.versions.to;
    const state = this.#stateAfter;
    const events = this.#events;
    if (events.length > 0) context.onAppended(rows, { before: held.version, events, commit }, held.session);
    const head = events.length > 0 || this.#close ? commit.version : held.head;
    this.#handle.committed({ ...held, version, head }, state, commit, this.#startedAt, this.#close);
  }
}

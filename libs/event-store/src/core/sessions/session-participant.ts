/** A session's append, as a part of a commit. */
import type { Address, Row } from '@kvent/key-value-storage/provider';
import {
  rowNameOf,
  Participant,
  type Contribution,
  type StorageAccess,
  type CommittedBatch,
  type ObservedRows,
  type Verdict,
} from '@kvent/key-value-storage/internal';
import type { EncodedEvent } from '../events/event-codec.js';
import type { VersionRange } from '../definition/event-stream.js';
import { evolvedBy } from '../events/fold.js';
import { headIn, type Head } from '../rows/head.js';
import { crossesInterval, snapshotBesideEvents } from '../snapshots/snapshot-rows.js';
import { closeBatch, sessionAppendBatch, type HeldStream } from '../rows/stream-batches.js';
import { mismatchError } from '../rows/stream-conflicts.js';
import type { StreamContext } from '../context/stream-context.js';
import type { StreamRows } from '../rows/stream-rows.js';

/** What a part of a commit may do with its session. */
export interface SessionHandle {
  readonly context: StreamContext;
  readonly rows: StreamRows;
  readonly sessionTimeoutMs: number;
  held(): HeldStream;
  state(): unknown;
  /** Rejects when the session cannot write any more. */
  prepare(): Promise<void>;
  /** Why the session cannot go on. */
  refusal(head: Head, lease: Row | undefined): Error | undefined;
  committed(held: HeldStream, state: unknown, landed: CommittedBatch, begun: number, close: boolean): void;
}

export class SessionParticipant extends Participant {
  readonly access: StorageAccess;
  readonly database: string;
  readonly what: string;
  readonly subject: string;
  readonly reads: readonly Address[];
  readonly #hands: SessionHandle;
  readonly #encoding: Promise<readonly EncodedEvent[]>;
  readonly #close: boolean;
  readonly #content: unknown;
  #events: readonly EncodedEvent[] = [];
  #begun = 0;
  #snapshots = 0;
  #folded: { readonly from: HeldStream; readonly state: unknown } | undefined;

  constructor(
    handle: SessionHandle,
    encoding: Promise<readonly EncodedEvent[]>,
    close: boolean,
    content: unknown,
  ) {
    super();
    const { rows } = handle;
    this.access = rows.access;
    this.database = rows.database;
    this.what = rows.name;
    this.subject = rowNameOf(rows.head);
    this.reads = [rows.head, rows.lease];
    this.#hands = handle;
    this.#encoding = encoding;
    this.#close = close;
    this.#content = content;
    encoding.catch(() => undefined);
  }

  async prepare(): Promise<void> {
    await this.#hands.prepare();
    this.#events = await this.#encoding;
  }

  content(): unknown {
    return this.#content;
  }

  get versions(): VersionRange {
    const { version } = this.#hands.held();
    return { from: version + 1, to: version + this.#events.length };
  }

  /** What the events lead to. */
  get outcome() {
    const { rows } = this.#hands;
    return Object.freeze({
      id: rows.id,
      state: this.#stateAfter,
      version: this.versions.to,
      events: this.#events.map(({ event }) => event),
    });
  }

  /** Folded once: `evolve` is asked for each event one time, whoever wants to know the state. */
  get #stateAfter(): unknown {
    const from = this.#hands.held();
    if (this.#folded?.from !== from) {
      const events = this.#events.map(({ event }) => event);
      const state = evolvedBy(this.#hands.rows, this.#hands.state(), from.version, events);
      this.#folded = { from, state };
    }
    return this.#folded.state;
  }

  contribution(): Contribution {
    const { context, rows, sessionTimeoutMs } = this.#hands;
    const held = this.#hands.held();
    const stored = this.#events.map((each) => each.stored);
    this.#begun = context.clock.monotonic();
    const batch = this.#close
      ? closeBatch(rows, held, stored)
      : sessionAppendBatch(rows, held, stored, sessionTimeoutMs);
    const { to } = this.versions;
    // before anything is sent: what cannot be folded is not appended
    const state = this.#stateAfter;
    const riding = crossesInterval(rows.definition.snapshot.every, held.version, to);
    const snapshots = riding
      ? snapshotBesideEvents(rows, { version: to, state }, batch, context.observer)
      : [];
    this.#snapshots = snapshots.length;
    return { checks: batch.checks, changes: [...batch.changes, ...snapshots] };
  }

  evaluate({ rows: [headRow, lease], conflict }: ObservedRows): Verdict {
    const { rows } = this.#hands;
    const head = headIn(rows.head, headRow);
    const error = this.#hands.refusal(head, lease);
    if (error !== undefined) return { outcome: 'reject', error };
    if (conflict === undefined) return { outcome: 'proceed' };
    return {
      outcome: 'retry',
      error: mismatchError(rows, { expected: head.version, by: 'loaded' }, head.version),
    };
  }

  override committed(landed: CommittedBatch): void {
    const { context, rows } = this.#hands;
    const held = this.#hands.held();
    const { from, to } = this.versions;
    const state = this.#stateAfter;
    if (to >= from)
      context.onAppended(rows, {
        before: from - 1,
        events: this.#events,
        commit: landed,
        session: held.session,
      });
    if (this.#snapshots > 0) context.emit(rows, { event: 'snapshot created', version: to });
    const head = to >= from || this.#close ? landed.version : held.head;
    this.#hands.committed({ ...held, version: to, head }, state, landed, this.#begun, this.#close);
  }
}

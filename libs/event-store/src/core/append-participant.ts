/**
 * An append as a participant of a commit: what it adds by the rows it has read, and what a conflict
 * means.
 */
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
import type { VersionRange } from './definition/event-stream.js';
import type { AppendedEvents, EncodedEvent, EncodedEvents } from './events/event-codec.js';
import { uncountedEventError } from './events/event-rows.js';
import { isMet, type Expectation } from './rows/expectations.js';
import { headIn, type Head } from './rows/head.js';
import { appendBatch, takeOverBatch } from './rows/stream-batches.js';
import { deletedError, lockedError, mismatchError } from './rows/stream-conflicts.js';
import type { StreamRows } from './rows/stream-rows.js';

interface AppendParticipantOptions {
  readonly rows: StreamRows;
  readonly events: EncodedEvents;
  readonly expectation: Expectation;
  /** The head, and the lease where it exists, as they were read with the state. */
  readonly read?: { readonly head: Head; readonly lease: Row | undefined } | undefined;
  /** A further change for the same batch, where it has room: a snapshot. */
  readonly optionalChange?: (() => OptionalChange | undefined) | undefined;
  readonly content: unknown;
  /** Called when the events are sent, with the version before them; see `Participant.sending`. */
  readonly sending: (before: number) => (() => void) | undefined;
  readonly committed?: ((append: AppendedEvents) => void) | undefined;
}

export class AppendParticipant extends Participant {
  readonly access: StorageAccess;
  readonly database: string;
  override readonly restsOnReading: boolean;
  readonly #options: AppendParticipantOptions;
  #events: readonly EncodedEvent[] = [];
  #before = 0;
  #contribution: Contribution | undefined;
  #locked: Error | undefined;
  /** What the contribution is made for; equal bases have equal checks. */
  #basis = '';

  constructor(options: AppendParticipantOptions) {
    super();
    const { rows, expectation, events } = options;
    this.access = rows.access;
    this.database = rows.database;
    this.restsOnReading = expectation.by === 'loaded';
    this.#options = options;
    // handled by `prepare`
    if (isPromise(events)) events.then(undefined, () => undefined);
  }

  get what(): string {
    return this.#options.rows.name;
  }

  get reads(): readonly Address[] {
    const { rows } = this.#options;
    return [rows.head, rows.lease];
  }

  get subject(): string {
    return rowNameOf(this.#options.rows.head);
  }

  prepare(): Promise<void> | undefined {
    const { events } = this.#options;
    if (isPromise(events)) return events.then((encoded) => this.#start(encoded));
    this.#start(events);
    return undefined;
  }

  #start(events: readonly EncodedEvent[]): void {
    const { expectation, read } = this.#options;
    this.#events = events;
    const { expected } = expectation;
    if (read !== undefined) this.#contribute(read.head, read.lease);
    else if (typeof expected === 'number') this.#append(expected, false);
    else if (expected === 'absent') this.#append(0, false);
  }

  contribution(): Contribution | undefined {
    return this.#contribution;
  }

  override optionalChange(): OptionalChange | undefined {
    return this.#options.optionalChange?.();
  }

  content(): unknown {
    return this.#options.content;
  }

  /** The error of its rejection, where a session holds the stream. */
  get locked(): Error | undefined {
    return this.#locked;
  }

  /** The versions of the appended events; the result that an idempotency record keeps. */
  get versions(): VersionRange {
    return { from: this.#before + 1, to: this.#before + this.#events.length };
  }

  evaluate({ rows: [headRow, lease], conflict }: ObservedRows): Verdict {
    const { rows, expectation } = this.#options;
    const head = headIn(rows.head, headRow);
    const error = this.#refusal(head, lease, conflict);
    if (error !== undefined) return { outcome: 'reject', error };
    const basis = this.#basis;
    this.#contribute(head, lease);
    if (basis === this.#basis && conflict === undefined) return { outcome: 'proceed' };
    const { expected } = expectation;
    return { outcome: 'retry', error: mismatchError(rows, { expected, by: 'loaded' }, head.version) };
  }

  override sending(): (() => void) | undefined {
    return this.#events.length === 0 ? undefined : this.#options.sending(this.#before);
  }

  override committed(commit: CommittedBatch): void {
    this.#options.committed?.({ before: this.#before, events: this.#events, commit });
  }

  /** Why the append is impossible by the rows as they are; `undefined` if it is possible. */
  #refusal(head: Head, lease: Row | undefined, conflict: ObservedRows['conflict']): Error | undefined {
    const { rows, expectation } = this.#options;
    if (head.kind === 'deleted') return deletedError(rows);
    if (!isMet(expectation.expected, head.version)) return mismatchError(rows, expectation, head.version);
    if (head.kind === 'held' && lease !== undefined) return (this.#locked = lockedError(rows, lease));
    // the check of the head comes first and was met, so there is an event beyond the head
    if (conflict !== undefined && conflict.address.container === rows.rangeOf('event').container)
      return uncountedEventError(rows, conflict.address);
    return undefined;
  }

  #contribute(head: Head, lease: Row | undefined): void {
    if (head.kind !== 'held' || lease !== undefined)
      return this.#append(head.version, head.row !== undefined);
    const stored = this.#events.map((event) => event.stored);
    this.#set(head.version, `held ${head.row.version}`, takeOverBatch(this.#options.rows, head, stored));
  }

  #append(version: number, hasHead: boolean): void {
    const stored = this.#events.map((event) => event.stored);
    const isNew = version === 0 && !hasHead;
    this.#set(
      version,
      isNew ? 'new' : `free ${version}`,
      appendBatch(this.#options.rows, version, hasHead, stored),
    );
  }

  #set(before: number, basis: string, batch: Contribution): void {
    this.#before = before;
    this.#basis = basis;
    this.#contribution = batch;
  }
}

/**
 * An append, as a part of a commit: what it adds by the rows it has seen, and what a conflict means
 * to it.
 */
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
import type { EncodedEvent } from './events/event-codec.js';
import { isMet, type Expectation } from './rows/expectations.js';
import { headIn, type Head } from './rows/head.js';
import { appendBatch, takeOverBatch } from './rows/stream-batches.js';
import { deletedError, lockedError, mismatchError } from './rows/stream-conflicts.js';
import { corrupt, type StreamRows } from './rows/stream-rows.js';

interface AppendParticipantOptions {
  readonly rows: StreamRows;
  readonly events: Promise<readonly EncodedEvent[]>;
  readonly expectation: Expectation;
  /** The head, and the lease where it was alive, as they were seen with what was loaded. */
  readonly seen?: { readonly head: Head; readonly lease: Row | undefined } | undefined;
  /** More changes of the same batch, made of what it is going to be: a snapshot. */
  readonly extraChanges?: ((from: number, contribution: Contribution) => Contribution['changes']) | undefined;
  readonly content: unknown;
  readonly committed?: ((landing: CommittedAppend) => void) | undefined;
}
export interface CommittedAppend {
  /** The version before, and after. */
  readonly before: number;
  readonly after: number;
  readonly events: readonly EncodedEvent[];
  readonly commit: CommittedBatch;
}

export class AppendParticipant extends Participant {
  readonly access: StorageAccess;
  readonly database: string;
  readonly what: string;
  readonly subject: string;
  override readonly restsOnReading: boolean;
  readonly reads: readonly Address[];
  readonly #options: AppendParticipantOptions;
  #events: readonly EncodedEvent[] = [];
  #before: number | undefined;
  #contribution: Contribution | undefined;

  constructor(options: AppendParticipantOptions) {
    super();
    const { rows } = options;
    this.access = rows.access;
    this.database = rows.database;
    this.what = rows.name;
    this.subject = rowNameOf(rows.head);
    this.restsOnReading = options.expectation.by === 'loaded';
    this.reads = [rows.head, rows.lease];
    this.#options = options;
    // an error waits for the commit
    options.events.catch(() => undefined);
  }

  async prepare(): Promise<void> {
    this.#events = await this.#options.events;
    const { expectation, seen } = this.#options;
    const { expected } = expectation;
    if (seen !== undefined) this.#settle(seen.head, seen.lease);
    else if (typeof expected === 'number') this.#append(expected, false);
    else if (expected === 'absent') this.#append(0, false);
  }

  contribution(): Contribution | undefined {
    return this.#contribution;
  }

  content(): unknown {
    return this.#options.content;
  }

  /** The versions that the append goes from and to; an answer for its mark. */
  get versions(): { readonly from: number; readonly to: number } {
    const before = this.#before ?? 0;
    return { from: before + 1, to: before + this.#events.length };
  }

  evaluate({ rows: [headRow, lease], conflict }: ObservedRows): Verdict {
    const { rows, expectation } = this.#options;
    const head = headIn(rows.head, headRow);
    const error = this.#refusal(head, lease, conflict);
    if (error !== undefined) return { outcome: 'reject', error };
    const before = this.#checks;
    this.#settle(head, lease);
    if (before === this.#checks && conflict === undefined) return { outcome: 'proceed' };
    // what was expected is there: who lost a race may run again
    return {
      outcome: 'retry',
      error: mismatchError(rows, { expected: expectation.expected, by: 'loaded' }, head.version),
    };
  }

  override committed(landed: CommittedBatch): void {
    const { from, to } = this.versions;
    this.#options.committed?.({ before: from - 1, after: to, events: this.#events, commit: landed });
  }

  /** Why the append cannot be, by the rows as they are; `undefined` where it can. */
  #refusal(head: Head, lease: Row | undefined, conflict: ObservedRows['conflict']): Error | undefined {
    const { rows, expectation } = this.#options;
    if (head.kind === 'deleted') return deletedError(rows);
    if (!isMet(expectation.expected, head.version)) return mismatchError(rows, expectation, head.version);
    if (head.kind === 'held' && lease !== undefined) return lockedError(rows, lease);
    // the head's check stands in front: it was met, and an event is there that must not be
    const event = conflict === undefined ? undefined : rows.rangeOf('event').container;
    if (conflict?.address.container === event && conflict !== undefined)
      return corrupt(
        { ...conflict.address, database: rows.database },
        'an event is there that the head does not know',
      );
    return undefined;
  }

  #settle(head: Head, lease: Row | undefined): void {
    if (head.kind === 'held' && lease === undefined) {
      this.#before = head.version;
      this.#set(takeOverBatch(this.#options.rows, head, this.#stored));
    } else this.#append(head.version, head.row !== undefined);
  }

  #append(version: number, numbered: boolean): void {
    this.#before = version;
    this.#set(appendBatch(this.#options.rows, version, numbered, this.#stored));
  }

  get #checks(): string {
    return JSON.stringify(this.#contribution?.checks, (_name, value: unknown) =>
      typeof value === 'bigint' ? `${value}n` : value,
    );
  }

  get #stored() {
    return this.#events.map(({ stored }) => stored);
  }

  #set(contribution: Contribution): void {
    const more = this.#options.extraChanges?.(this.#before ?? 0, contribution) ?? [];
    this.#contribution = { checks: contribution.checks, changes: [...contribution.changes, ...more] };
  }
}

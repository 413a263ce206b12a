/**
 * What the verbs of one stream type share: where its streams are, what tells of them, and the time.
 */
import {
  isStorageError,
  type AtomicBatch,
  type Clock,
  type IdempotentCall,
} from '@kvent/key-value-storage/core';
import type { Row } from '@kvent/key-value-storage/provider';
import {
  atomicOn,
  idempotencyOf,
  IdempotencyRecord,
  idempotencyRecordKey,
  type StorageAccess,
  type CommittedBatch,
} from '@kvent/key-value-storage/internal';
import { recorded, type EncodedEvent } from '../events/event-codec.js';
import type { EventMetadata } from '../definition/event-stream.js';
import type { SessionRegistry } from './session-registry.js';
import type { ResolvedStream } from '../definition/stream-definition.js';
import type {
  CommittedEvents,
  StreamCall,
  StreamLogEntry,
  StreamObserver,
} from '../definition/stream-observer.js';
import { StreamRows } from '../rows/stream-rows.js';

export interface StreamSettings {
  readonly metadata: (() => EventMetadata) | undefined;
  readonly session: {
    readonly sessionTimeoutMs: number;
    readonly openTimeoutMs: number;
    readonly renewal: 'manual' | 'auto';
  };
  readonly idempotencyRetentionMs: number;
}

/** What a verb met on its way, for its span. */
export interface CallCounters {
  attempts: number;
  conflicts: number;
  events?: number;
  snapshot?: 'hit' | 'miss';
}

/** Events that are there by now. */
interface AppendedEvents {
  /** The version before them. */
  readonly before: number;
  readonly events: readonly EncodedEvent[];
  readonly commit: CommittedBatch;
  readonly session?: string;
}

type StreamLogFields = StreamLogEntry extends infer N
  ? N extends StreamLogEntry
    ? Omit<N, 'type' | 'id' | 'database'>
    : never
  : never;

export class StreamContext {
  readonly access: StorageAccess;
  readonly definition: ResolvedStream;
  readonly settings: StreamSettings;
  readonly observer: StreamObserver;
  readonly clock: Clock;
  readonly atomic: () => AtomicBatch;
  /** Work off the request path, that closing waits for. */
  readonly background: Set<Promise<void>>;
  /** Those of the whole event store. */
  readonly sessions: SessionRegistry;
  readonly #committed: CommittedEvents | undefined;

  constructor(
    given: Pick<
      StreamContext,
      'access' | 'definition' | 'settings' | 'observer' | 'clock' | 'atomic' | 'background' | 'sessions'
    > & {
      readonly committed: CommittedEvents | undefined;
    },
  ) {
    this.access = given.access;
    this.definition = given.definition;
    this.settings = given.settings;
    this.observer = given.observer;
    this.clock = given.clock;
    this.atomic = given.atomic;
    this.background = given.background;
    this.sessions = given.sessions;
    this.#committed = given.committed;
  }

  rows(database: string, id: string): StreamRows {
    return new StreamRows(this.access, this.definition, database, id);
  }

  emit({ id, database }: StreamRows, notice: StreamLogFields): void {
    this.observer.observe({ ...notice, type: this.definition.type, id, database });
  }

  /**
   * Tells that events have landed, and hands them on: not in a transaction, which may still be
   * rolled back.
   */
  onAppended(rows: StreamRows, { before, events, commit: landed, session }: AppendedEvents): void {
    const range = { from: before + 1, to: before + events.length };
    const { inTransaction } = this.access;
    this.emit(rows, {
      event: 'events appended',
      ...range,
      ...(session !== undefined && { session }),
      ...(inTransaction && { inTransaction }),
    });
    const committed = this.#committed;
    if (committed === undefined || inTransaction) return;
    const at = { rowVersion: landed.version, recordedAt: landed.time };
    const { id, database } = rows;
    const handOn = async (): Promise<void> => {
      try {
        const stream = { type: this.definition.type, id, database };
        const made = events.map((each, index) =>
          recorded(each, rows, { ...at, version: before + index + 1 }),
        );
        await committed(stream, made, this.definition);
      } catch (cause) {
        this.emit(rows, { event: 'listener failed', ...range, cause });
      }
    };
    // never in the context of whoever made the commit: it may be another tenant's
    void this.access.detached(database, handOn);
  }

  /** The same inside a transaction of the caller's. */
  within(transaction: object): StreamContext {
    const access = this.access.within(transaction);
    const { definition, settings, observer, clock, background, sessions } = this;
    const atomic = (): AtomicBatch => atomicOn(access);
    return new StreamContext({
      access,
      definition,
      settings,
      observer,
      clock,
      atomic,
      background,
      sessions,
      committed: this.#committed,
    });
  }

  /** The mark of one append; its scope is the stream. */
  idempotencyRecord(
    rows: StreamRows,
    given: string | IdempotentCall | undefined,
    own: unknown,
    answer: () => unknown,
  ): IdempotencyRecord | undefined {
    const idempotency = idempotencyOf(given, own);
    if (idempotency === undefined) return undefined;
    const address = rows.idempotencyRecord(idempotencyRecordKey(idempotency.key));
    return new IdempotencyRecord({
      access: this.access,
      address,
      idempotency,
      retentionMs: this.settings.idempotencyRetentionMs,
      answer,
    });
  }

  /**
   * The mark's row where this call was answered before. `IDEMPOTENCY_CONFLICT` where the key was
   * used for something else.
   */
  async findReplay(
    mark: IdempotencyRecord | undefined,
    signal: AbortSignal | undefined,
  ): Promise<Row | undefined> {
    if (mark === undefined) return undefined;
    await mark.prepare();
    const { rows, time } = await this.access.read(mark.reads, { signal });
    const verdict = mark.evaluate({ rows, time, conflict: undefined });
    if (verdict.outcome === 'reject') throw verdict.error;
    return verdict.outcome === 'replayed' ? verdict.row : undefined;
  }

  /** Runs a verb, and tells how it went. */
  async observeCall<R>(
    operation: StreamCall['operation'],
    rows: StreamRows,
    work: (counters: CallCounters) => Promise<R>,
  ): Promise<R> {
    const { id, database } = rows;
    const begun = this.clock.monotonic();
    const end = this.observer.begin?.({ operation, type: this.definition.type, id, database });
    const counters: CallCounters = { attempts: 0, conflicts: 0 };
    const ended = (error?: string): void => {
      const { attempts, ...met } = counters;
      end?.({
        ...met,
        retries: Math.max(0, attempts - 1),
        durationMs: this.clock.monotonic() - begun,
        ...(error !== undefined && { error }),
      });
    };
    try {
      const answer = await work(counters);
      ended();
      return answer;
    } catch (error) {
      if (isStorageError(error, 'STREAM_VERSION_MISMATCH'))
        this.emit(rows, {
          event: 'version mismatch',
          expected: typeof error.expected === 'object' ? error.expected.join(' or ') : error.expected,
          actual: error.actual,
        });
      ended(isStorageError(error) ? error.code : 'UNKNOWN');
      throw error;
    }
  }
}

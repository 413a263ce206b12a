/**
 * What the methods of all streams of one type share: the storage, the settings, the observer and
 * the clock.
 */
import {
  isConflict,
  isStorageError,
  type AtomicBatch,
  type Clock,
  type IdempotentCall,
} from '@kvent/key-value-storage/core';
import type { FeedPosition, Row } from '@kvent/key-value-storage/provider';
import {
  atomicOn,
  IdempotencyRecord,
  idempotencyOf,
  idempotencyRecordKey,
  type PendingWork,
  type StorageAccess,
} from '@kvent/key-value-storage/internal';
import type { EventMetadata } from '../definition/event-stream.js';
import type { AnyEvent, ResolvedStream } from '../definition/stream-definition.js';
import {
  silentObserver,
  type CommittedEvents,
  type StreamCall,
  type StreamLogEntry,
  type StreamObserver,
} from '../definition/stream-observer.js';
import {
  encodeEvents,
  metadataOf,
  recordedEvents,
  type AppendedEvents,
  type EncodedEvents,
} from '../events/event-codec.js';
import { StreamRows } from '../rows/stream-rows.js';
import type { NotificationOrder } from './notification-order.js';
import type { SessionRegistry } from './session-registry.js';

export interface StreamSettings {
  readonly metadata: (() => EventMetadata) | undefined;
  readonly session: {
    readonly sessionTimeoutMs: number;
    readonly openTimeoutMs: number;
    readonly renewal: 'manual' | 'auto';
    readonly renewalTimeoutMs: number;
  };
  readonly idempotencyRetentionMs: number;
}

/** What a call counts, for its span. */
export interface CallCounters {
  attempts: number;
  /** @default the attempts that failed with a conflict */
  conflicts?: number;
  events?: number;
  snapshot?: 'hit' | 'miss';
}

type StreamLogFields = StreamLogEntry extends infer Entry
  ? Entry extends StreamLogEntry
    ? Omit<Entry, 'type' | 'id' | 'database'>
    : never
  : never;

interface StreamContextOptions {
  readonly access: StorageAccess;
  readonly definition: ResolvedStream;
  readonly settings: StreamSettings;
  readonly observer: StreamObserver;
  readonly clock: Clock;
  readonly atomic: () => AtomicBatch;
  /** Background work that `close` waits for. */
  readonly pending: PendingWork;
  /** The open sessions of the whole event store. */
  readonly sessions: SessionRegistry;
  /** Of the whole event store. */
  readonly notifications: NotificationOrder;
  readonly committed: CommittedEvents | undefined;
}

export class StreamContext implements Omit<StreamContextOptions, 'committed'> {
  readonly access: StorageAccess;
  readonly definition: ResolvedStream;
  readonly settings: StreamSettings;
  readonly observer: StreamObserver;
  readonly clock: Clock;
  readonly atomic: () => AtomicBatch;
  readonly pending: PendingWork;
  readonly sessions: SessionRegistry;
  readonly notifications: NotificationOrder;
  readonly #committed: CommittedEvents | undefined;

  constructor(options: StreamContextOptions) {
    this.access = options.access;
    this.definition = options.definition;
    this.settings = options.settings;
    this.observer = options.observer;
    this.clock = options.clock;
    this.atomic = options.atomic;
    this.pending = options.pending;
    this.sessions = options.sessions;
    this.notifications = options.notifications;
    this.#committed = options.committed;
  }

  rows(database: string, id: string): StreamRows {
    return new StreamRows(this.access, this.definition, database, id);
  }

  encode(events: readonly AnyEvent[], metadata: EventMetadata | undefined): EncodedEvents {
    const { definition, settings } = this;
    return encodeEvents(definition, events, metadataOf(settings.metadata?.(), metadata));
  }

  emit({ id, database }: StreamRows, fields: StreamLogFields): void {
    if (this.observer === silentObserver) return;
    this.observer.observe({ ...fields, type: this.definition.type, id, database });
  }

  /**
   * Events are sent, so that listeners get later ones after them. Returns what must be called once
   * the result is known. In a transaction there is none before its end, which may be a rollback.
   */
  onSending({ lockName }: StreamRows, before: number): (() => void) | undefined {
    if (this.#committed === undefined || this.access.inTransaction) return undefined;
    return this.notifications.begin(lockName, before);
  }

  /**
   * Logs committed events, and passes them to the listener, in the order of versions. A transaction
   * may still be rolled back, so its events are passed on after its commit.
   */
  onAppended(rows: StreamRows, append: AppendedEvents, session?: string): void {
    const { before, events } = append;
    const { access, definition } = this;
    const { inTransaction } = access;
    const range = { from: before + 1, to: before + events.length };
    this.emit(rows, {
      event: 'events appended',
      ...range,
      ...(session !== undefined && { session }),
      ...(inTransaction && { inTransaction }),
    });
    this.reportPosition(rows, append.commit.position);
    const committed = this.#committed;
    if (committed === undefined) return;
    const { id, database } = rows;
    const notify = async (): Promise<void> => {
      try {
        await committed({ type: definition.type, id, database }, recordedEvents(rows, append), definition);
      } catch (cause) {
        this.emit(rows, { event: 'listener failed', ...range, cause });
      }
    };
    // outside the async context of the caller, which may be another tenant's
    const detached = (): void => void access.detached(database, notify);
    const inOrder = (): void => this.notifications.notify(rows.lockName, before, detached);
    if (inTransaction) access.afterCommit(inOrder);
    else inOrder();
  }

  /** Of an append of this call, or of the first call that it repeats. */
  reportPosition({ id, database }: StreamRows, position: FeedPosition | undefined): void {
    if (position === undefined || this.observer === silentObserver) return;
    const { type, provider } = this.definition;
    this.observer.appended?.({ type, id, database, provider, position });
  }

  /** Runs work in the background, which `close` waits for. `work` must not reject. */
  runDetached({ database }: StreamRows, work: () => Promise<void>): void {
    void this.pending.track(this.access.detached(database, work));
  }

  /** The same inside a transaction of the caller. */
  within(transaction: object): StreamContext {
    const access = this.access.within(transaction);
    const atomic = (): AtomicBatch => atomicOn(access);
    return new StreamContext({ ...this, access, atomic, committed: this.#committed });
  }

  /**
   * The idempotency record of one call; its keys are those of the stream. `json`: the content as
   * JSON text, where it need not be encoded.
   */
  idempotencyRecord(
    rows: StreamRows,
    key: string | IdempotentCall | undefined,
    content: unknown,
    result: () => unknown,
    json?: () => string | undefined,
  ): IdempotencyRecord | undefined {
    const idempotency = idempotencyOf(key, content);
    if (idempotency === undefined) return undefined;
    return new IdempotencyRecord({
      access: this.access,
      address: rows.idempotencyRecord(idempotencyRecordKey(idempotency.key)),
      idempotency,
      json: typeof key === 'string' ? json?.() : undefined,
      retentionMs: this.settings.idempotencyRetentionMs,
      result,
    });
  }

  /**
   * The row of the record when the call was done before. `IDEMPOTENCY_CONFLICT` when the key was
   * used with other content.
   */
  async findReplay(
    record: IdempotencyRecord | undefined,
    signal: AbortSignal | undefined,
  ): Promise<Row | undefined> {
    if (record === undefined) return undefined;
    await record.prepare();
    const { rows } = await this.access.read(record.reads, { signal });
    return replayIn(record, rows[0]);
  }

  /** Runs a call, and reports its end to the observer. Without one, the call is all there is. */
  observeCall<R>(
    operation: StreamCall['operation'],
    rows: StreamRows,
    work: (counters: CallCounters) => Promise<R>,
  ): Promise<R> {
    return this.observer === silentObserver
      ? work({ attempts: 0 })
      : this.#observeCall(operation, rows, work);
  }

  async #observeCall<R>(
    operation: StreamCall['operation'],
    rows: StreamRows,
    work: (counters: CallCounters) => Promise<R>,
  ): Promise<R> {
    const { id, database } = rows;
    const startedAt = this.clock.monotonic();
    const onEnd = this.observer.begin?.({ operation, type: this.definition.type, id, database });
    const counters: CallCounters = { attempts: 0 };
    const end = (failed: number, error?: string): void => {
      const { attempts, ...counted } = counters;
      const retries = Math.max(0, attempts - 1);
      const durationMs = this.clock.monotonic() - startedAt;
      onEnd?.({
        conflicts: retries + failed,
        ...counted,
        retries,
        durationMs,
        ...(error !== undefined && { error }),
      });
    };
    try {
      const result = await work(counters);
      end(0);
      return result;
    } catch (error) {
      if (isStorageError(error, 'STREAM_VERSION_MISMATCH')) {
        const { expected, actual } = error;
        const text = typeof expected === 'object' ? expected.join(' or ') : expected;
        this.emit(rows, { event: 'version mismatch', expected: text, actual });
      }
      end(isConflict(error) ? 1 : 0, isStorageError(error) ? error.code : 'UNKNOWN');
      throw error;
    }
  }
}

/** The row of the record when the call was done before; see `findReplay`. */
export function replayIn(record: IdempotencyRecord, row: Row | undefined): Row | undefined {
  const verdict = record.evaluate({ rows: [row], time: 0, conflict: undefined });
  if (verdict.outcome === 'reject') throw verdict.error;
  return verdict.outcome === 'replayed' ? verdict.row : undefined;
}

/**
 * A session holds a lease: a row that expires by the provider's clock, so it holds across
 * processes. Each write checks the lease in the batch of its events, so that a holder that paused
 * past its expiry cannot write, and a late close never frees the lock of the next holder. The
 * session counts its own deadline on the monotonic clock from before the request was sent: it may
 * end earlier than by the provider's clock, never later.
 */
import { isStorageError, type CallOptions, type CommitParticipant } from '@kvent/key-value-storage/core';
import { throwIfAborted, untilAborted, type Row } from '@kvent/key-value-storage/provider';
import {
  assertOptions,
  commitAtomic,
  idempotencyRecordIn,
  isPromise,
  refusedPromise,
  SerialQueue,
} from '@kvent/key-value-storage/internal';
import { appendResult } from '../events/append-result.js';
import type { StreamContext } from '../context/stream-context.js';
import {
  StreamSession,
  type AppendResult,
  type SameCommit,
  type VersionRange,
  type WriteEventsOptions,
} from '../definition/event-stream.js';
import type { AnyEvent, AnyStream } from '../definition/stream-definition.js';
import { streamError } from '../definition/stream-errors.js';
import type { EncodedEvent } from '../events/event-codec.js';
import { positionOf } from '../events/event-rows.js';
import { catchUp } from '../events/load-stream.js';
import { headIn, type Head } from '../rows/head.js';
import { closeBatch, renewBatch, type HeldStream } from '../rows/stream-batches.js';
import { deletedError, mismatchError } from '../rows/stream-conflicts.js';
import type { StreamRows } from '../rows/stream-rows.js';
import { SessionParticipant, type SessionHandle } from './session-participant.js';

/** A lease as it was taken; `expiresAt` is by the provider's clock. */
export interface Lease {
  /** The version of its row. */
  readonly version: string;
  readonly fencingToken: bigint;
  readonly expiresAt: number;
}

interface LeasedSessionOptions {
  readonly context: StreamContext;
  readonly rows: StreamRows;
  readonly session: string;
  readonly sessionTimeoutMs: number;
  readonly version: number;
  readonly state: unknown;
  readonly lease: Lease;
  /** The monotonic time from before the request. */
  readonly startedAt: number;
}

type AppendOptions = WriteEventsOptions & SameCommit<unknown, AnyEvent> & { readonly close?: boolean };
const appendNames = ['signal', 'idempotencyKey', 'metadata', 'sameCommit', 'close'];
/** The signal is aborted this part of the timeout before the end, at most `warningMsMax`. */
const warningPart = 10;
const warningMsMax = 1_000;
/** Automatic renewal after this part of the timeout; after a failure, the same part of that. */
const renewalPart = 3;
const closeAttempts = 3;

export class LeasedSession extends StreamSession<AnyStream> {
  readonly id: string;
  readonly fencingToken: bigint;
  readonly #context: StreamContext;
  readonly #rows: StreamRows;
  readonly #sessionTimeoutMs: number;
  /** Aborted when the lock is lost, or about to expire. */
  readonly #lockLost = new AbortController();
  /** Ends the timers of the session. */
  readonly #ended = new AbortController();
  readonly #queue = new SerialQueue();
  #held: HeldStream;
  #state: unknown;
  #expiresAt: number;
  #deadline: number;
  /** Why the session cannot be used any more. */
  #failure: Error | undefined;
  #closed = false;
  /** Whether it is one of the open sessions: not after its time, by the session's own clock. */
  #isOpen = false;
  /** The outcome of a commit is unknown: the rows are read before the next write. */
  #outcomeUnknown = false;
  /** That commit would have closed the session. */
  #closeUnknown = false;

  constructor({
    context,
    rows,
    session,
    sessionTimeoutMs,
    version,
    state,
    lease,
    startedAt,
  }: LeasedSessionOptions) {
    super();
    this.id = rows.id;
    this.fencingToken = lease.fencingToken;
    this.#context = context;
    this.#rows = rows;
    this.#sessionTimeoutMs = sessionTimeoutMs;
    this.#held = { session, version, head: lease.version, lease: lease.version };
    this.#state = state;
    this.#expiresAt = lease.expiresAt;
    this.#deadline = startedAt + sessionTimeoutMs;
    this.#enter();
  }

  get state(): unknown {
    return this.#state;
  }
  get version(): number {
    return this.#held.version;
  }
  get expiresAt(): Date {
    return new Date(this.#expiresAt);
  }
  get signal(): AbortSignal {
    return this.#lockLost.signal;
  }

  async append(events: readonly AnyEvent[], options: AppendOptions = {}): Promise<AppendResult> {
    assertOptions('append', options, appendNames);
    const { signal, metadata } = options;
    throwIfAborted('append', signal);
    return await this.#context.observeCall('append', this.#rows, async (counters) => {
      // encoded before the call waits for others: what the caller changes later is not stored
      const encoding = this.#encode(events, metadata);
      encoding.catch(() => undefined);
      return await this.#queue.runUntil('append', signal, async () => {
        const encoded = await untilAborted('append', 'none', signal, encoding);
        counters.attempts += 1;
        try {
          return await this.#append(events, encoded, options);
        } catch (error) {
          // an earlier commit was done whose answer is lost or late: append after its events
          if (!this.#outcomeUnknown || !isStorageError(error, 'STREAM_VERSION_MISMATCH')) throw error;
          counters.attempts += 1;
          return await this.#append(events, encoded, options);
        }
      });
    });
  }

  appending(events: readonly AnyEvent[]): CommitParticipant {
    this.#assertOpen();
    const prepare = async (): Promise<void> => await this.#queue.run(() => this.#resolveOutcome(undefined));
    return new SessionParticipant({ ...this.#handle, prepare }, this.#encode(events, undefined), false, [
      events,
    ]);
  }

  async renew(options?: CallOptions): Promise<Date> {
    assertOptions('renew', options, ['signal']);
    return await this.#queue.runUntil('renew', options?.signal, async () => {
      this.#assertOpen();
      const { access, database } = this.#rows;
      const startedAt = this.#context.clock.monotonic();
      const content = renewBatch(this.#rows, this.#held, this.#sessionTimeoutMs);
      const result = await access.commit(database, content, options);
      if (result.outcome === 'conflict') throw await this.#readFailure(options?.signal);
      this.#prolong(startedAt, result.rows[0]?.expiresAt ?? result.time + this.#sessionTimeoutMs);
      return this.expiresAt;
    });
  }

  async close(): Promise<void> {
    await this.#queue.run(() => this.#close());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // the work was done: an error of the close would make the caller repeat it
    await this.close().catch(() => undefined);
    this.#end();
  }

  /** For the end of the event store. */
  async terminate(reason: Error): Promise<void> {
    this.#lockLost.abort(reason);
    await this[Symbol.asyncDispose]();
  }

  /**
   * Renews until the session ends, or until a monotonic time. A failed renewal is repeated while
   * there is time.
   */
  startRenewal(until: number): void {
    const { clock } = this.#context;
    const intervalMs = this.#sessionTimeoutMs / renewalPart;
    const run = async (): Promise<void> => {
      for (let ms = intervalMs; !this.#isEnded && this.#remainingMs() > 0;) {
        await clock.wait(ms, this.#ended.signal);
        if (clock.monotonic() >= until) return;
        ms = await this.renew().then(
          () => intervalMs,
          () => intervalMs / renewalPart,
        );
      }
    };
    const { access, database } = this.#rows;
    // outside the request that opened the session, whose context would be kept for as long
    access.detached(database, () => void run().catch(() => undefined));
  }

  // ─── internals

  async #append(
    events: readonly AnyEvent[],
    encoded: readonly EncodedEvent[],
    { signal, idempotencyKey, sameCommit, close = false }: AppendOptions,
  ): Promise<AppendResult> {
    const context = this.#context;
    const participant = new SessionParticipant(this.#handle, encoded, close, [events]);
    const versions = () => participant.versions;
    const record = context.idempotencyRecord(this.#rows, idempotencyKey, [events], versions);
    const replay = async (row: Row): Promise<AppendResult> => {
      if (close) await this.#close();
      else await this.#resolveOutcome(signal);
      const { from, to: version } = idempotencyRecordIn(row).result as VersionRange;
      const position = version < from ? undefined : await positionOf(this.#rows, version, signal);
      context.reportPosition(this.#rows, position);
      return appendResult(version, true, position);
    };
    this.#assertOpen();
    const earlier = this.#outcomeUnknown ? await context.findReplay(record, signal) : undefined;
    if (earlier !== undefined) return await replay(earlier);
    await this.#resolveOutcome(signal);
    if (encoded.length === 0 && !close) return appendResult(this.version, false, undefined);
    await participant.prepare();
    const batch = context.atomic();
    if (encoded.length > 0) {
      const added: unknown = sameCommit?.(batch, participant.fixOutcome());
      if (isPromise(added)) throw refusedPromise('append: sameCommit', added);
    }
    batch.include(participant);
    const outcome = await commitAtomic(batch, record, signal);
    if (outcome?.outcome === 'replayed') return await replay(outcome.row);
    return appendResult(this.version, false, encoded.length > 0 ? outcome?.position : undefined);
  }

  #noteUnknown(error: unknown, closing: boolean): void {
    if (!isStorageError(error) || error.effect !== 'unknown') return;
    this.#outcomeUnknown = true;
    this.#closeUnknown ||= closing;
  }

  get #isEnded(): boolean {
    return this.#closed || this.#failure !== undefined;
  }

  async #encode(events: readonly AnyEvent[], metadata: WriteEventsOptions['metadata']) {
    return await this.#context.encode(events, metadata);
  }

  #assertOpen(): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#closed) throw this.#notOpenError();
  }

  #notOpenError(): Error {
    const { name, path } = this.#rows;
    return streamError('SESSION_NOT_OPEN', `The session on the ${name} is closed.`, { stream: path });
  }

  /** After an unknown outcome: reads what was committed, and continues from there. */
  async #resolveOutcome(signal: AbortSignal | undefined): Promise<void> {
    this.#assertOpen();
    const { observer } = this.#context;
    while (this.#outcomeUnknown) {
      const held = this.#held;
      const from = { version: held.version, state: this.#state };
      const loaded = await catchUp(this.#rows, from, { observer, signal, extraReads: [this.#rows.lease] });
      const failure = this.#failureBy(loaded.head, loaded.extraRows[0]);
      if (failure !== undefined) throw this.#fail(failure);
      // a late answer has come during the reading, which may be older
      if (this.#held !== held) continue;
      this.#held = { ...held, version: loaded.version, head: (loaded.head.row as Row).version };
      this.#state = loaded.state;
      this.#outcomeUnknown = false;
    }
  }

  async #readRows(signal?: AbortSignal): Promise<{ readonly head: Head; readonly lease: Row | undefined }> {
    const { access, head, lease } = this.#rows;
    const { rows } = await access.read([head, lease], { signal });
    return { head: headIn(head, rows[0]), lease: rows[1] };
  }

  async #readFailure(signal: AbortSignal | undefined): Promise<Error> {
    const { head, lease } = await this.#readRows(signal);
    return this.#fail(this.#failureBy(head, lease) ?? this.#expiredError());
  }

  /** Why the session cannot continue, by its rows as they are; `undefined` if it can. */
  #failureBy(head: Head, lease: Row | undefined): Error | undefined {
    const rows = this.#rows;
    const { session, lease: own } = this.#held;
    if (head.kind === 'deleted') return deletedError(rows);
    if (head.kind !== 'held' && this.#closeUnknown) return this.#notOpenError();
    if (head.kind !== 'held' || head.session !== session || (lease !== undefined && lease.version !== own)) {
      const message = `The session on the ${rows.name} has lost its lock: another writer took the stream after it expired, or an operator unlocked the stream.`;
      return streamError('SESSION_LOST', message, { stream: rows.path });
    }
    return lease === undefined ? this.#expiredError() : undefined;
  }

  #expiredError(): Error {
    const expiredAt = this.expiresAt;
    const message = `The session on the ${this.#rows.name} expired at ${expiredAt.toISOString()}: renew it in time, or raise sessionTimeoutMs, or renewalTimeoutMs where it renews itself.`;
    return streamError('SESSION_EXPIRED', message, { stream: this.#rows.path, expiredAt });
  }

  #fail(failure: Error): Error {
    if (this.#failure !== undefined) return failure;
    this.#failure = failure;
    // a lost session has expired too
    if (isStorageError(failure, 'SESSION_EXPIRED') || isStorageError(failure, 'SESSION_LOST')) {
      const { session } = this.#held;
      this.#context.emit(this.#rows, { event: 'session expired', session, expiredAt: this.expiresAt });
    }
    this.#lockLost.abort(failure);
    this.#end();
    return failure;
  }

  #end(): void {
    this.#closed = true;
    this.#ended.abort();
    this.#context.sessions.delete(this);
  }

  #prolong(startedAt: number, expiresAt: number): void {
    this.#deadline = Math.max(this.#deadline, startedAt + this.#sessionTimeoutMs);
    this.#expiresAt = Math.max(this.#expiresAt, expiresAt);
    if (!this.#isOpen && !this.#isEnded) this.#enter();
  }

  #enter(): void {
    const { access, database } = this.#rows;
    this.#isOpen = true;
    this.#context.sessions.add(this);
    access.detached(database, () => void this.#watchExpiry());
  }

  /**
   * Aborts the signal shortly before the lock expires, unless it is renewed. Once it has expired,
   * nothing is left to close at the end of the event store.
   */
  async #watchExpiry(): Promise<void> {
    try {
      await this.#waitUntilLeft(Math.min(this.#sessionTimeoutMs / warningPart, warningMsMax));
      this.#lockLost.abort(this.#expiredError());
      await this.#waitUntilLeft(0);
      this.#isOpen = false;
      this.#context.sessions.delete(this);
    } catch {
      // the session ended first
    }
  }

  /** Rejects when the session ends. */
  async #waitUntilLeft(leftMs: number): Promise<void> {
    const { clock } = this.#context;
    for (let ms = this.#remainingMs() - leftMs; ms > 0; ms = this.#remainingMs() - leftMs)
      await clock.wait(ms, this.#ended.signal);
    this.#ended.signal.throwIfAborted();
  }

  #remainingMs(): number {
    return this.#deadline - this.#context.clock.monotonic();
  }

  async #close(): Promise<void> {
    if (!this.#isEnded) this.#onClosed(await this.#free());
  }

  #onClosed(freed: boolean): void {
    const { session, version } = this.#held;
    this.#end();
    this.#context.emit(this.#rows, { event: 'session closed', session, version, freed });
  }

  /** Returns whether the session still had the lock. */
  async #free(): Promise<boolean> {
    const { access, database } = this.#rows;
    for (let attempt = 1; attempt <= closeAttempts; attempt += 1) {
      const content = closeBatch(this.#rows, this.#held);
      const result = await access.commit(database, content).catch((error: unknown) => {
        this.#noteUnknown(error, true);
        throw error;
      });
      if (result.outcome === 'committed') return true;
      const { head, lease } = await this.#readRows();
      if (this.#failureBy(head, lease) !== undefined) return false;
      // an append with an unknown outcome was committed
      this.#held = { ...this.#held, version: head.version, head: (head.row as Row).version };
    }
    return false;
  }

  get #handle(): SessionHandle {
    return {
      context: this.#context,
      rows: this.#rows,
      sessionTimeoutMs: this.#sessionTimeoutMs,
      held: () => this.#held,
      state: () => this.#state,
      prepare: async () => this.#assertOpen(),
      failureBy: (held, head, lease) => {
        const failure = this.#failureBy(head, lease);
        if (failure !== undefined) return this.#fail(failure);
        if (head.row?.version === held.head) return undefined;
        // another commit was done: its outcome is unknown, or its answer is late
        this.#outcomeUnknown = true;
        return mismatchError(this.#rows, { expected: held.version, by: 'version' }, head.version);
      },
      committed: ({ before, after, state, commit, startedAt, close }) => {
        // a late answer: the session has read these events already, and has gone on from there
        if (this.#held.head === before.head) {
          this.#held = after;
          this.#state = state;
        }
        if (close) this.#onClosed(true);
        else this.#prolong(startedAt, commit.time + this.#sessionTimeoutMs);
      },
      failed: (error, close) => this.#noteUnknown(error, close),
    };
  }
}

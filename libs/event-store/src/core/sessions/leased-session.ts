/**
 * A session: a lease in the store, judged by the provider's clock, so it holds across processes.
 * Each write checks the lease in the same batch as the events: a holder that slept through its
 * expiry is refused, and closing late never frees the next holder's lock. Its own deadline counts
 * on the monotonic clock from before the request was sent, so it gives up earlier than the provider
 * does, never later.
 */
import { isStorageError, type CommitParticipant, type CallOptions } from '@kvent/key-value-storage/core';
import { throwIfAborted, type Row } from '@kvent/key-value-storage/provider';
import { assertOptions, commitAtomic, idempotencyRecordIn } from '@kvent/key-value-storage/internal';
import { encodeEvents, metadataOf, type EncodedEvent } from '../events/event-codec.js';
import { SessionParticipant, type SessionHandle } from './session-participant.js';
import {
  StreamSession,
  type SameCommit,
  type VersionRange,
  type WriteEventsOptions,
} from '../definition/event-stream.js';
import { headIn, type Head } from '../rows/head.js';
import { catchUp } from '../events/load-stream.js';
import { closeBatch, renewBatch, type HeldStream } from '../rows/stream-batches.js';
import { deletedError, mismatchError } from '../rows/stream-conflicts.js';
import type { StreamContext } from '../context/stream-context.js';
import type { AnyEvent, AnyStream } from '../definition/stream-definition.js';
import { streamError } from '../definition/stream-errors.js';
import type { StreamRows } from '../rows/stream-rows.js';

/**
 * A lease as it was taken: the version of its row, the token, and when it ends by the provider's
 * clock.
 */
export interface Lease {
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
  readonly begun: number;
}

type AppendOptions = WriteEventsOptions & SameCommit<unknown, AnyEvent> & { readonly close?: boolean };
const appendNames = ['signal', 'idempotencyKey', 'metadata', 'sameCommit', 'close'];
/** The signal is given this part of the session's time before its end, and at most a second. */
const warningPart = 10;
const warningMsMax = 1_000;
/** Renewed by itself when this part of its time is over. */
const renewalPart = 3;
/** How often closing looks again after a conflict. */
const closingAttempts = 3;

export class LeasedSession extends StreamSession<AnyStream> {
  readonly id: string;
  readonly fencingToken: bigint;
  readonly #context: StreamContext;
  readonly #rows: StreamRows;
  readonly #sessionTimeoutMs: number;
  readonly #losing = new AbortController();
  /** Ends what waits beside the session. */
  readonly #ended = new AbortController();
  #held: HeldStream;
  #state: unknown;
  #expiresAt: number;
  #deadline: number;
  #queue: Promise<unknown> = Promise.resolve();
  /** Why nothing more can be done with it. */
  #over: Error | undefined;
  #closed = false;
  /** An answer was lost: what landed is looked at before anything else. */
  #inDoubt = false;
  /** … of a commit that would have let the stream go. */
  #closingInDoubt = false;

  constructor({
    context,
    rows,
    session,
    sessionTimeoutMs,
    version,
    state,
    lease,
    begun,
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
    this.#deadline = begun + sessionTimeoutMs;
    rows.access.detached(rows.database, () => void this.#watch());
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
    return this.#losing.signal;
  }

  async append(
    events: readonly AnyEvent[],
    options: AppendOptions = {},
  ): Promise<{ readonly version: number; readonly replayed: boolean }> {
    assertOptions('append', options, appendNames);
    const { signal, metadata } = options;
    throwIfAborted('append', signal);
    const encoding = this.#encode(events, metadata);
    encoding.catch(() => undefined);
    return await this.#context.observeCall('append', this.#rows, async (counters) => {
      const attempt = async (encoded: readonly EncodedEvent[]) => {
        counters.attempts += 1;
        return await this.#append(events, encoded, options);
      };
      return await this.#oneAtATime(async () => {
        const encoded = await encoding;
        try {
          return await attempt(encoded);
        } catch (error) {
          // a commit of mine has landed whose answer was lost: behind it there is room
          if (!this.#inDoubt || !isStorageError(error, 'STREAM_VERSION_MISMATCH')) throw error;
          return await attempt(encoded);
        }
      });
    });
  }

  appending(events: readonly AnyEvent[]): CommitParticipant {
    this.#assertOpen();
    const settle = async (): Promise<void> =>
      await this.#oneAtATime(async () => await this.#settle(undefined));
    return new SessionParticipant(
      { ...this.#hands, prepare: settle },
      this.#encode(events, undefined),
      false,
      [events],
    );
  }

  async renew(options?: CallOptions): Promise<Date> {
    assertOptions('renew', options, ['signal']);
    return await this.#oneAtATime(async () => {
      this.#assertOpen();
      const { access, database } = this.#rows;
      const begun = this.#context.clock.monotonic();
      const content = renewBatch(this.#rows, this.#held, this.#sessionTimeoutMs);
      const result = await access.commit(database, content, options);
      if (result.outcome === 'conflict') throw await this.#lookWhy(options?.signal);
      this.#prolong(begun, result.rows[0]?.expiresAt ?? result.time + this.#sessionTimeoutMs);
      return this.expiresAt;
    });
  }

  async close(): Promise<void> {
    await this.#oneAtATime(async () => await this.#release());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // what was done is done: the lock ends by itself after its time, and a repeat of the work would
    // do harm
    await this.close().catch(() => undefined);
    this.#end();
  }

  /** For the shutdown of its event store. */
  async terminate(why: Error): Promise<void> {
    this.#losing.abort(why);
    await this[Symbol.asyncDispose]();
  }

  /** Renews until the session ends. A renewal that fails is tried again, while there is time. */
  renewByItself(): void {
    const { clock } = this.#context;
    const rest = this.#sessionTimeoutMs / renewalPart;
    const renewing = async (): Promise<void> => {
      for (let ms = rest; !this.#isEnded && this.#left(0) > 0;) {
        await clock.wait(ms, this.#ended.signal);
        ms = await this.renew().then(
          () => rest,
          () => rest / renewalPart,
        );
      }
    };
    const { access, database } = this.#rows;
    // not in the request that opened the session: its context would go on for as long as the
    // session does
    access.detached(database, () => void renewing().catch(() => undefined));
  }

  // ─── parts

  async #append(
    events: readonly AnyEvent[],
    encoded: readonly EncodedEvent[],
    { signal, idempotencyKey, sameCommit, close = false }: AppendOptions,
  ): Promise<{ readonly version: number; readonly replayed: boolean }> {
    const rows = this.#rows;
    const replayed = async (row: Row) => {
      if (close) await this.#release();
      else await this.#settle(signal);
      return { version: (idempotencyRecordIn(row).answer as VersionRange).to, replayed: true };
    };
    const participant = new SessionParticipant(this.#hands, Promise.resolve(encoded), close, [events]);
    const mark = this.#context.idempotencyRecord(rows, idempotencyKey, [events], () => participant.versions);
    this.#assertOpen();
    const first = this.#inDoubt ? await this.#context.findReplay(mark, signal) : undefined;
    if (first !== undefined) return await replayed(first);
    await this.#settle(signal);
    if (encoded.length === 0 && !close) return { version: this.version, replayed: false };
    await participant.prepare();
    const batch = this.#context.atomic();
    if (encoded.length > 0) sameCommit?.(batch, participant.outcome);
    batch.include(participant);
    try {
      const outcome = await commitAtomic(batch, mark, signal);
      return outcome?.outcome === 'replayed'
        ? await replayed(outcome.row)
        : { version: this.version, replayed: false };
    } catch (error) {
      this.#doubt(error, close);
      throw error;
    }
  }

  /** Notes that nobody knows whether a commit has landed. */
  #doubt(error: unknown, closing: boolean): void {
    if (!isStorageError(error) || error.effect !== 'unknown') return;
    this.#inDoubt = true;
    this.#closingInDoubt ||= closing;
  }

  get #isEnded(): boolean {
    return this.#closed || this.#over !== undefined;
  }

  #encode(events: readonly AnyEvent[], metadata: WriteEventsOptions['metadata']) {
    const { definition, settings } = this.#context;
    return (async () =>
      await encodeEvents(definition, events, metadataOf(settings.metadata?.(), metadata)))();
  }

  /** A session does one thing at a time: calls wait for those before them. */
  async #oneAtATime<R>(work: () => Promise<R>): Promise<R> {
    const turn = this.#queue.then(work, work);
    this.#queue = turn.catch(() => undefined);
    return await turn;
  }

  #assertOpen(): void {
    if (this.#over !== undefined) throw this.#over;
    if (this.#closed) throw this.#notOpen();
  }

  #notOpen(): Error {
    return streamError('SESSION_NOT_OPEN', `The session at the ${this.#rows.name} is closed.`, {
      stream: this.#rows.path,
    });
  }

  /** After an answer was lost: reads what landed, and goes on from there. */
  async #settle(signal: AbortSignal | undefined): Promise<void> {
    this.#assertOpen();
    if (!this.#inDoubt) return;
    const { observer } = this.#context;
    const found = await catchUp(
      this.#rows,
      { version: this.version, state: this.#state },
      { observer, signal, extraReads: [this.#rows.lease] },
    );
    const why = this.#refusal(found.head, found.extraRows[0]);
    if (why !== undefined) throw this.#stop(why);
    this.#held = { ...this.#held, version: found.version, head: (found.head.row as Row).version };
    this.#state = found.state;
    this.#inDoubt = false;
  }

  async #lookWhy(signal: AbortSignal | undefined): Promise<Error> {
    const rows = this.#rows;
    const {
      rows: [head, lease],
    } = await rows.access.read([rows.head, rows.lease], { signal });
    return this.#stop(this.#refusal(headIn(rows.head, head), lease) ?? this.#expired());
  }

  /** Why the session cannot go on, by its rows as they are; `undefined` where it can. */
  #refusal(head: Head, lease: Row | undefined): Error | undefined {
    const rows = this.#rows;
    const { session, lease: mine } = this.#held;
    if (head.kind === 'deleted') return deletedError(rows);
    if (head.kind !== 'held' && this.#closingInDoubt) return this.#notOpen();
    if (head.kind !== 'held' || head.session !== session || (lease !== undefined && lease.version !== mine)) {
      const message = `The session at the ${rows.name} has lost its lock: somebody else took the stream after it had expired.`;
      return streamError('SESSION_LOST', message, { stream: rows.path });
    }
    return lease === undefined ? this.#expired() : undefined;
  }

  #expired(): Error {
    const expiredAt = this.expiresAt;
    const message = `The session at the ${this.#rows.name} expired at ${expiredAt.toISOString()}: renew it in time, or give it more.`;
    return streamError('SESSION_EXPIRED', message, { stream: this.#rows.path, expiredAt });
  }

  /** Nothing more can be done with it. */
  #stop(why: Error): Error {
    if (this.#over === undefined) {
      this.#over = why;
      // who lost the stream to somebody else had slept through their time, too
      if (isStorageError(why, 'SESSION_EXPIRED') || isStorageError(why, 'SESSION_LOST'))
        this.#context.emit(this.#rows, {
          event: 'session expired',
          session: this.#held.session,
          expiredAt: this.expiresAt,
        });
      this.#losing.abort(why);
      this.#end();
    }
    return why;
  }

  #end(): void {
    this.#closed = true;
    this.#ended.abort();
    this.#context.sessions.delete(this);
  }

  #prolong(begun: number, expiresAt: number): void {
    this.#deadline = Math.max(this.#deadline, begun + this.#sessionTimeoutMs);
    this.#expiresAt = Math.max(this.#expiresAt, expiresAt);
  }

  /** Aborts the signal shortly before the time is over, unless it was given more meanwhile. */
  async #watch(): Promise<void> {
    const { clock } = this.#context;
    const warningMs = Math.min(this.#sessionTimeoutMs / warningPart, warningMsMax);
    try {
      for (let left = this.#left(warningMs); left > 0; left = this.#left(warningMs))
        await clock.wait(left, this.#ended.signal);
      if (!this.#isEnded) this.#losing.abort(this.#expired());
    } catch {
      // the session ended first
    }
  }

  #left(warningMs: number): number {
    return this.#deadline - warningMs - this.#context.clock.monotonic();
  }

  async #release(): Promise<void> {
    if (this.#isEnded) return;
    const freed = await this.#free();
    const { session, version } = this.#held;
    this.#end();
    this.#context.emit(this.#rows, { event: 'session closed', session, version, freed });
  }

  /** Answers whether the lock was still there to be freed. */
  async #free(): Promise<boolean> {
    const rows = this.#rows;
    for (let attempt = 1; attempt <= closingAttempts; attempt += 1) {
      const content = closeBatch(rows, this.#held);
      const result = await rows.access.commit(rows.database, content).catch((error: unknown) => {
        this.#doubt(error, true);
        throw error;
      });
      if (result.outcome === 'committed') return true;
      const {
        rows: [headRow, lease],
      } = await rows.access.read([rows.head, rows.lease]);
      const head = headIn(rows.head, headRow);
      if (this.#refusal(head, lease) !== undefined) return false;
      // an append whose answer was lost has landed after all
      this.#held = { ...this.#held, version: head.version, head: (head.row as Row).version };
    }
    return false;
  }

  /** What a part of a commit may do with the session. */
  get #hands(): SessionHandle {
    return {
      context: this.#context,
      rows: this.#rows,
      sessionTimeoutMs: this.#sessionTimeoutMs,
      held: () => this.#held,
      state: () => this.#state,
      prepare: async () => this.#assertOpen(),
      refusal: (head, lease) => {
        const why = this.#refusal(head, lease);
        if (why !== undefined) return this.#stop(why);
        if (head.row?.version === this.#held.head) return undefined;
        // a commit of mine has landed whose answer was lost
        this.#inDoubt = true;
        return mismatchError(this.#rows, { expected: this.#held.version, by: 'version' }, head.version);
      },
      committed: (held, state, landed, begun, close) => {
        this.#held = held;
        this.#state = state;
        if (close) {
          this.#end();
          this.#context.emit(this.#rows, {
            event: 'session closed',
            session: held.session,
            version: held.version,
            freed: true,
          });
        } else this.#prolong(begun, landed.time + this.#sessionTimeoutMs);
      },
    };
  }
}

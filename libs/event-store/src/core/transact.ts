/**
 * `transact`: loads the state, calls the decision, and appends its events. After a conflict all of
 * it runs again, so that each decision is made on the state that its events are appended to.
 */
import { isStorageError, type AtomicBatch } from '@kvent/key-value-storage/core';
import {
  invalidOption,
  throwIfAborted,
  untilAborted,
  type Address,
  type FeedPosition,
  type Row,
} from '@kvent/key-value-storage/provider';
import {
  assertOptions,
  commitAtomic,
  idempotencyRecordIn,
  inspect,
  isEmptyBatch,
  isPromise,
  refusedPromise,
  resolveRetry,
  type IdempotencyRecord,
  type OnConflict,
} from '@kvent/key-value-storage/internal';
import { AppendParticipant } from './append-participant.js';
import { replayIn, type CallCounters, type StreamContext } from './context/stream-context.js';
import type {
  Appended,
  DecisionContext,
  Recorded,
  TransactOptions,
  VersionRange,
} from './definition/event-stream.js';
import type { AnyEvent } from './definition/stream-definition.js';
import { recordedEvents, type EncodedEvent } from './events/event-codec.js';
import { positionOf } from './events/event-rows.js';
import { evolveAll } from './events/fold.js';
import { loadStream, type LoadResult } from './events/load-stream.js';
import { loadedOf } from './events/loaded-stream.js';
import { readAllEvents } from './events/read-events.js';
import { conditionOf, isMet, type Expectation } from './rows/expectations.js';
import { deletedError, lockedError, mismatchError } from './rows/stream-conflicts.js';
import type { StreamRows } from './rows/stream-rows.js';
import { waitForSession } from './sessions/wait-for-session.js';
import { crossesInterval, snapshotBesideEvents } from './snapshots/snapshot-rows.js';

export type AnyDecide = (
  state: unknown,
  context: DecisionContext,
) => readonly AnyEvent[] | Promise<readonly AnyEvent[]>;
type Options = TransactOptions<unknown, AnyEvent>;
type Result = Appended<unknown, AnyEvent>;

const names = [
  'signal',
  'idempotencyKey',
  'metadata',
  'sameCommit',
  'retry',
  'expectedVersion',
  'ifMatch',
  'lockTimeoutMs',
];

export async function transact(
  context: StreamContext,
  rows: StreamRows,
  decide: AnyDecide,
  options: Options = {},
): Promise<Result> {
  assertOptions('transact', options, names);
  if (typeof decide !== 'function')
    throw invalidOption(`transact: decide must be a function; got ${inspect(decide)}.`);
  const { lockTimeoutMs = 0, signal } = options;
  if (!(typeof lockTimeoutMs === 'number' && lockTimeoutMs >= 0))
    throw invalidOption(
      `transact: lockTimeoutMs must be a number of milliseconds from 0; got ${inspect(lockTimeoutMs)}.`,
    );
  const condition = conditionOf('transact', options, rows);
  const policy = {
    ...resolveRetry(options.retry, rows.access.retry),
    ...(signal !== undefined && { signal }),
  };
  return await context.observeCall('transact', rows, async (counters) => {
    const deadline = context.clock.monotonic() + lockTimeoutMs;
    while (true) {
      const outcome = await rows.access.retryWithLock(rows.lockName, policy, async (onConflict) => {
        throwIfAborted('transact', signal);
        counters.attempts += 1;
        const attempt = new TransactAttempt(context, rows, decide, options, condition, onConflict);
        return await attempt.run(counters);
      });
      if (!('locked' in outcome)) return outcome;
      const { locked, reads } = outcome;
      await waitForSession(context, rows, locked, { deadline, reads, signal });
    }
  });
}

/** A session holds the stream. */
interface Locked {
  readonly locked: Error;
  /** The idempotency record: once it exists, the call is not needed. */
  readonly reads: readonly Address[];
}

class TransactAttempt {
  readonly #context: StreamContext;
  readonly #rows: StreamRows;
  readonly #decide: AnyDecide;
  readonly #options: Options;
  readonly #condition: Expectation | undefined;
  readonly #onConflict: OnConflict;
  readonly #record: IdempotencyRecord | undefined;
  /** The result that the idempotency record keeps. */
  #versions: VersionRange = { from: 1, to: 0 };

  constructor(
    context: StreamContext,
    rows: StreamRows,
    decide: AnyDecide,
    options: Options,
    condition: Expectation | undefined,
    onConflict: OnConflict,
  ) {
    this.#context = context;
    this.#rows = rows;
    this.#decide = decide;
    this.#options = options;
    this.#condition = condition;
    this.#onConflict = onConflict;
    this.#record = context.idempotencyRecord(rows, options.idempotencyKey, undefined, () => this.#versions);
  }

  async run(counters: CallCounters): Promise<Result | Locked> {
    await this.#record?.prepare();
    const loaded = await this.#load();
    const [lease, record] = loaded.extraRows;
    if (loaded.head.kind === 'held' && lease !== undefined && record === undefined) {
      // nothing was decided
      counters.attempts -= 1;
      return this.#locked(lockedError(this.#rows, lease));
    }
    counters.events = loaded.replayed;
    counters.snapshot = loaded.snapshotVersion > 0 ? 'hit' : 'miss';
    const earlier = this.#record && replayIn(this.#record, record);
    if (earlier !== undefined) return await this.#replay(earlier);
    const condition = this.#condition;
    if (condition !== undefined && !isMet(condition.expected, loaded.version))
      throw mismatchError(this.#rows, condition, loaded.version);
    const batch = this.#context.atomic();
    const events = await this.#decideOn(loaded, batch);
    return Array.isArray(events) ? await this.#commit(loaded, batch, events) : (events as Result);
  }

  /** Reads the stream, the lease and the idempotency record in one round trip. */
  async #load(): Promise<LoadResult> {
    const rows = this.#rows;
    const { observer } = this.#context;
    const extraReads = [rows.lease, ...(this.#record?.reads ?? [])];
    const loaded = await loadStream(rows, { observer, signal: this.#options.signal, extraReads });
    if (loaded.head.kind === 'deleted') throw deletedError(rows);
    return loaded;
  }

  #locked(locked: Error): Locked {
    return { locked, reads: this.#record?.reads ?? [] };
  }

  /**
   * Calls the decision. When it throws or returns no events, a concurrent call with the same
   * idempotency key may have been committed since the load: then its result is returned.
   */
  async #decideOn(loaded: LoadResult, batch: AtomicBatch): Promise<readonly AnyEvent[] | Result> {
    const { id, name } = this.#rows;
    try {
      const events: unknown = await this.#decide(loaded.state, { id, version: loaded.version, batch });
      if (!Array.isArray(events))
        throw invalidOption(
          `The decision on the ${name} must return an array of events; got ${inspect(events)}${events === undefined ? ' (is a return missing?)' : ''}.`,
        );
      if (events.length > 0 || this.#record === undefined) return events as readonly AnyEvent[];
      return (await this.#replayConcurrent()) ?? (events as readonly AnyEvent[]);
    } catch (error) {
      const result = await this.#replayConcurrent();
      if (result !== undefined) return result;
      throw error;
    }
  }

  async #replayConcurrent(): Promise<Result | undefined> {
    const row = await this.#context.findReplay(this.#record, this.#options.signal);
    return row === undefined ? undefined : await this.#replay(row);
  }

  async #commit(
    loaded: LoadResult,
    batch: AtomicBatch,
    events: readonly AnyEvent[],
  ): Promise<Result | Locked> {
    const rows = this.#rows;
    const { sameCommit, signal, metadata } = this.#options;
    const encoding = events.length === 0 ? [] : this.#context.encode(events, metadata);
    const encoded = isPromise(encoding) ? await untilAborted('transact', 'none', signal, encoding) : encoding;
    const folded = encoded.map(({ event }) => event);
    const state = evolveAll(rows, loaded.state, loaded.version, folded);
    const version = loaded.version + encoded.length;
    this.#versions = { from: loaded.version + 1, to: version };
    if (encoded.length > 0) {
      const added: unknown = sameCommit?.(
        batch,
        Object.freeze({ id: rows.id, state, version, events: folded }),
      );
      if (isPromise(added)) throw refusedPromise('transact: sameCommit', added);
    }
    let appended: Pick<Result, 'events' | 'position'> = { events: [], position: undefined };
    // without events, writes that the decision put into the batch still check the version
    const participant =
      encoded.length === 0 && isEmptyBatch(batch)
        ? undefined
        : this.#participant(loaded, encoded, state, (recorded, position) => {
            appended = { events: recorded, position };
          });
    if (participant !== undefined) batch.include(participant);
    try {
      const outcome = await commitAtomic(batch, this.#record, signal, this.#onConflict);
      if (outcome?.outcome === 'replayed') return await this.#replay(outcome.row);
    } catch (error) {
      // a session was opened since the load
      const locked = participant?.locked;
      if (locked !== undefined && locked === error) return this.#locked(locked);
      throw error;
    }
    return resultOf(rows, state, version, appended, false);
  }

  #participant(
    loaded: LoadResult,
    encoded: readonly EncodedEvent[],
    state: unknown,
    onRecorded: (events: readonly Recorded<AnyEvent>[], position: FeedPosition | undefined) => void,
  ): AppendParticipant {
    const context = this.#context;
    const rows = this.#rows;
    const version = loaded.version + encoded.length;
    const keeps = crossesInterval(rows.definition.snapshot.every, loaded.version, version);
    return new AppendParticipant({
      rows,
      events: encoded,
      expectation: { expected: loaded.version, by: 'loaded' },
      read: { head: loaded.head, lease: loaded.extraRows[0] },
      content: undefined,
      sending: (before) => context.onSending(rows, before),
      optionalChange: () =>
        keeps ? snapshotBesideEvents(rows, { version, state }, context.observer) : undefined,
      committed: (append) => {
        if (encoded.length > 0) context.onAppended(rows, append);
        onRecorded(recordedEvents(rows, append), encoded.length > 0 ? append.commit.position : undefined);
      },
    });
  }

  /** The result of the first call: state and events as they were then. */
  async #replay(record: Row): Promise<Result> {
    const context = this.#context;
    const { observer } = context;
    const rows = this.#rows;
    const { signal } = this.#options;
    const { from, to } = idempotencyRecordIn(record).result as VersionRange;
    try {
      const loaded = await loadStream(rows, { observer, signal, atVersion: to });
      if (loaded.head.kind === 'deleted') throw deletedError(rows);
      const events = to < from ? [] : await readAllEvents(rows, { from, to, signal });
      const position = to < from ? undefined : await positionOf(rows, to, signal);
      context.reportPosition(rows, position);
      return resultOf(rows, loaded.state, to, { events, position }, true);
    } catch (error) {
      // only a deleted stream is shorter than it was
      throw isStorageError(error, 'STREAM_VERSION_NOT_FOUND') ? deletedError(rows) : error;
    }
  }
}

const resultOf = (
  rows: StreamRows,
  state: unknown,
  version: number,
  { events, position }: Pick<Result, 'events' | 'position'>,
  replayed: boolean,
): Result =>
  loadedOf(rows, {
    id: rows.id,
    state,
    version,
    events,
    replayed,
    ...(position !== undefined && { position }),
  });

/**
 * The everyday verb: loads, decides, appends; decides anew on fresh state when somebody was faster.
 * It never sends stale events again.
 */
import { isConflict, isStorageError, type AtomicBatch } from '@kvent/key-value-storage/core';
import { invalidOption, throwIfAborted, type Row } from '@kvent/key-value-storage/provider';
import {
  assertOptions,
  commitAtomic,
  inspect,
  isEmptyBatch,
  idempotencyRecordIn,
  resolveRetry,
  type IdempotencyRecord,
  type OnConflict,
} from '@kvent/key-value-storage/internal';
import { AppendParticipant, type CommittedAppend } from './append-participant.js';
import { encodeEvents, metadataOf, recorded } from './events/event-codec.js';
import { evolvedBy } from './events/fold.js';
import { conditionOf, isMet, type Expectation } from './rows/expectations.js';
import type {
  Appended,
  DecisionContext,
  Recorded,
  TransactOptions,
  VersionRange,
} from './definition/event-stream.js';
import { loadStream, type LoadResult } from './events/load-stream.js';
import { loadedOf } from './events/loaded-stream.js';
import { allEvents } from './events/read-events.js';
import { crossesInterval, snapshotBesideEvents } from './snapshots/snapshot-rows.js';
import { deletedError, lockedError, mismatchError } from './rows/stream-conflicts.js';
import type { StreamContext, CallCounters } from './context/stream-context.js';
import type { AnyEvent } from './definition/stream-definition.js';
import type { StreamRows } from './rows/stream-rows.js';

export type AnyDecide = (
  state: unknown,
  deciding: DecisionContext,
) => readonly AnyEvent[] | Promise<readonly AnyEvent[]>;
type Options = TransactOptions<unknown, AnyEvent>;
type Answer = Appended<unknown, AnyEvent>;

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
/** Milliseconds between two looks at a lock, at most. */
const lookAgainMs = 100;

export async function transact(
  context: StreamContext,
  rows: StreamRows,
  decide: AnyDecide,
  options: Options = {},
): Promise<Answer> {
  assertOptions('transact', options, names);
  if (typeof decide !== 'function')
    throw invalidOption(`transact takes a function that decides; given was ${inspect(decide)}.`);
  const { lockTimeoutMs = 0, signal } = options;
  if (!(typeof lockTimeoutMs === 'number' && lockTimeoutMs >= 0))
    throw invalidOption(
      `transact: lockTimeoutMs is a number of milliseconds from 0; given was ${inspect(lockTimeoutMs)}.`,
    );
  const condition = conditionOf('transact', options, rows);
  const policy = {
    ...resolveRetry(options.retry, rows.access.retry),
    ...(signal !== undefined && { signal }),
  };
  return await context.observeCall('transact', rows, async (counters) => {
    const deadline = context.clock.monotonic() + lockTimeoutMs;
    return await rows.access.retryWithLock(rows.lockName, policy, async (onConflict) => {
      throwIfAborted('transact', signal);
      counters.attempts += 1;
      try {
        return await new Transaction(context, rows, decide, options, condition, onConflict).run(
          deadline,
          counters,
        );
      } catch (error) {
        if (isConflict(error)) counters.conflicts += 1;
        throw error;
      }
    });
  });
}

/** One attempt. */
class Transaction {
  readonly #context: StreamContext;
  readonly #rows: StreamRows;
  readonly #decide: AnyDecide;
  readonly #options: Options;
  readonly #condition: Expectation | undefined;
  readonly #mark: IdempotencyRecord | undefined;
  readonly #onConflict: OnConflict;
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
    this.#mark = context.idempotencyRecord(rows, options.idempotencyKey, undefined, () => this.#versions);
  }

  async run(deadline: number, counters: CallCounters): Promise<Answer> {
    await this.#mark?.prepare();
    const found = await this.#loadFree(deadline);
    Object.assign(counters, { events: found.replayed, snapshot: found.snapshotVersion > 0 ? 'hit' : 'miss' });
    const first = this.#firstAnswer(found.extraRows[1]);
    if (first !== undefined) return await this.#replay(first);
    this.#assertCondition(found);
    const batch = this.#context.atomic();
    const events = await this.#decideOn(found, batch);
    if (!Array.isArray(events)) return events as Answer;
    if (events.length > 0) return await this.#append(found, batch, events);
    this.#versions = { from: found.version + 1, to: found.version };
    // what was put into the batch rests on this version, too
    if (!isEmptyBatch(batch)) batch.include(this.#part(found, []));
    const outcome = await commitAtomic(batch, this.#mark, this.#options.signal, this.#onConflict);
    if (outcome?.outcome === 'replayed') return await this.#replay(outcome.row);
    return appended(this.#rows, found.state, found.version, [], false);
  }

  /**
   * The stream, the lease and the mark in one turn; while a session holds the stream, again until
   * the deadline: then `STREAM_LOCKED`.
   */
  async #loadFree(deadline: number): Promise<LoadResult> {
    const { clock, observer } = this.#context;
    const rows = this.#rows;
    const { signal } = this.#options;
    const beside = [rows.lease, ...(this.#mark?.reads ?? [])];
    while (true) {
      const found = await loadStream(rows, { observer, signal, extraReads: beside });
      const [lease, mark] = found.extraRows;
      if (found.head.kind === 'deleted') throw deletedError(rows);
      if (found.head.kind !== 'held' || lease === undefined || mark !== undefined) return found;
      const left = Math.min(
        deadline - clock.monotonic(),
        (lease.expiresAt ?? 0) - found.time,
        Math.random() * lookAgainMs + 1,
      );
      if (deadline <= clock.monotonic()) throw lockedError(rows, lease);
      await clock.wait(Math.max(1, left), signal).catch((error: unknown) => {
        throwIfAborted('transact', signal);
        throw error;
      });
    }
  }

  #assertCondition({ version }: LoadResult): void {
    const condition = this.#condition;
    if (condition !== undefined && !isMet(condition.expected, version))
      throw mismatchError(this.#rows, condition, version);
  }

  /**
   * The mark's row where this call was answered before; `IDEMPOTENCY_CONFLICT` where the key was
   * used for something else.
   */
  #firstAnswer(row: Row | undefined): Row | undefined {
    const verdict = this.#mark?.evaluate({ rows: [row], time: 0, conflict: undefined });
    if (verdict?.outcome === 'reject') throw verdict.error;
    return verdict?.outcome === 'replayed' ? verdict.row : undefined;
  }

  /**
   * The events; or the first answer, where a twin of this call has won while it decided, so that it
   * threw or found nothing left to do.
   */
  async #decideOn(found: LoadResult, batch: AtomicBatch): Promise<readonly AnyEvent[] | Answer> {
    const { id, name } = this.#rows;
    try {
      const events: unknown = await this.#decide(found.state, { id, version: found.version, batch });
      if (!Array.isArray(events))
        throw invalidOption(
          `The decision on the ${name} is a list of events; given was ${inspect(events)}${events === undefined ? ' (is a return missing?)' : ''}.`,
        );
      if (events.length > 0 || this.#mark === undefined) return events as readonly AnyEvent[];
      return (await this.#twin()) ?? (events as readonly AnyEvent[]);
    } catch (error) {
      const twin = await this.#twin();
      if (twin !== undefined) return twin;
      throw error;
    }
  }

  async #twin(): Promise<Answer | undefined> {
    const first = await this.#context.findReplay(this.#mark, this.#options.signal);
    return first === undefined ? undefined : await this.#replay(first);
  }

  async #append(found: LoadResult, batch: AtomicBatch, events: readonly AnyEvent[]): Promise<Answer> {
    const { definition, id } = this.#rows;
    const { sameCommit, signal, metadata } = this.#options;
    const encoded = await encodeEvents(
      definition,
      events,
      metadataOf(this.#context.settings.metadata?.(), metadata),
    );
    const folded = encoded.map(({ event }) => event);
    const state = evolvedBy(this.#rows, found.state, found.version, folded);
    const version = found.version + encoded.length;
    this.#versions = { from: found.version + 1, to: version };
    sameCommit?.(batch, Object.freeze({ id, state, version, events: folded }));
    let recordedEvents: readonly Recorded<AnyEvent>[] = [];
    batch.include(
      this.#part(found, encoded, state, ({ commit: landed }) => {
        const at = { rowVersion: landed.version, recordedAt: landed.time };
        recordedEvents = encoded.map((each, index) =>
          recorded(each, this.#rows, { ...at, version: found.version + index + 1 }),
        );
      }),
    );
    const outcome = await commitAtomic(batch, this.#mark, signal, this.#onConflict);
    if (outcome?.outcome === 'replayed') return await this.#replay(outcome.row);
    return appended(this.#rows, state, version, recordedEvents, false);
  }

  #part(
    found: LoadResult,
    encoded: Awaited<ReturnType<typeof encodeEvents>>,
    state?: unknown,
    landed?: (landing: CommittedAppend) => void,
  ): AppendParticipant {
    const context = this.#context;
    const rows = this.#rows;
    const version = found.version + encoded.length;
    const riding =
      encoded.length > 0 && crossesInterval(rows.definition.snapshot.every, found.version, version);
    let snapshots = 0;
    return new AppendParticipant({
      rows,
      events: Promise.resolve(encoded),
      expectation: { expected: found.version, by: 'loaded' },
      seen: { head: found.head, lease: found.extraRows[0] },
      content: undefined,
      extraChanges: (_from, contribution) => {
        const changes = riding
          ? snapshotBesideEvents(rows, { version, state }, contribution, context.observer)
          : [];
        snapshots = changes.length;
        return changes;
      },
      committed: (landing) => {
        if (encoded.length > 0) context.onAppended(rows, landing);
        if (snapshots > 0) context.emit(rows, { event: 'snapshot created', version });
        landed?.(landing);
      },
    });
  }

  /** The first answer again: the state and the events as they were then. */
  async #replay(mark: Row): Promise<Answer> {
    const { observer } = this.#context;
    const { signal } = this.#options;
    const { from, to } = idempotencyRecordIn(mark).answer as VersionRange;
    try {
      const found = await loadStream(this.#rows, { observer, signal, atVersion: to });
      if (found.head.kind === 'deleted') throw deletedError(this.#rows);
      const events = to < from ? [] : await allEvents(this.#rows, { from, to, signal });
      return appended(this.#rows, found.state, to, events, true);
    } catch (error) {
      // what is shorter than it was is deleted
      throw isStorageError(error, 'STREAM_VERSION_NOT_FOUND') ? deletedError(this.#rows) : error;
    }
  }
}

const appended = (
  rows: StreamRows,
  state: unknown,
  version: number,
  events: readonly Recorded<AnyEvent>[],
  replayed: boolean,
): Answer => loadedOf(rows, { id: rows.id, state, version, events, replayed });

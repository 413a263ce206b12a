/**
 * Opens a session: loads the stream with head and lease, and takes the lease if nothing has changed
 * since; otherwise loads again.
 */
import { isStorageError } from '@kvent/key-value-storage/core';
import { resolveOptions, storageError, systemClock, throwIfAborted } from '@kvent/key-value-storage/provider';
import { assertOptions, backoffMs, type CommittedBatch } from '@kvent/key-value-storage/internal';
import type { CallCounters, StreamContext, StreamSettings } from '../context/stream-context.js';
import type { SessionOptions } from '../definition/event-stream.js';
import { streamError } from '../definition/stream-errors.js';
import { catchUp, loadStream, type LoadOptions, type LoadResult } from '../events/load-stream.js';
import { fenceIn } from '../rows/fence.js';
import { closeBatch, openBatch } from '../rows/stream-batches.js';
import { deletedError } from '../rows/stream-conflicts.js';
import type { StreamRows } from '../rows/stream-rows.js';
import { LeasedSession, type Lease } from './leased-session.js';
import { assertSessionOptions, sessionOptionNames } from './session-options.js';

const names = ['signal', ...sessionOptionNames];
/** Waits while the stream is locked, and after lost races. */
const backoff = { delayMs: 10, delayMsMax: 200 };
/** Milliseconds that a batch without an answer may be under way. */
const inFlightMsMax = 5_000;
/** Lost races that are repeated although `openTimeoutMs` is over: the stream was not locked. */
const racesMax = 10;
/** Lost races that are repeated without a wait: the lock of the winner is then read at once. */
const racesAtOnce = 2;

export async function openSession(
  context: StreamContext,
  rows: StreamRows,
  options: SessionOptions | undefined,
): Promise<LeasedSession> {
  assertOptions('openSession', options, names);
  assertSessionOptions('openSession', options, names);
  if (rows.access.inTransaction)
    throw storageError(
      'STORAGE_UNSUPPORTED',
      'A session cannot be opened inside a transaction: its lock would be invisible to others.',
      {},
    );
  const { signal, ...given } = options ?? {};
  const settings = resolveOptions('openSession', given, context.settings.session);
  throwIfAborted('openSession', signal);
  context.sessions.assertAccepting(rows.name);
  return await context.observeCall('openSession', rows, async (counters) => {
    try {
      return await new SessionOpening(context, rows, settings, signal).run(counters);
    } catch (error) {
      if (isStorageError(error, 'SESSION_OPEN_FAILED'))
        context.emit(rows, { event: 'open failed', openTimeoutMs: error.openTimeoutMs, until: error.until });
      throw error;
    }
  });
}

class SessionOpening {
  readonly #context: StreamContext;
  readonly #rows: StreamRows;
  readonly #settings: StreamSettings['session'];
  readonly #signal: AbortSignal | undefined;
  readonly #session = crypto.randomUUID();

  constructor(
    context: StreamContext,
    rows: StreamRows,
    settings: StreamSettings['session'],
    signal: AbortSignal | undefined,
  ) {
    this.#context = context;
    this.#rows = rows;
    this.#settings = settings;
    this.#signal = signal;
  }

  async run(counters: CallCounters): Promise<LeasedSession> {
    const { clock, observer, sessions } = this.#context;
    const rows = this.#rows;
    const load: LoadOptions = { observer, signal: this.#signal, extraReads: [rows.lease, rows.fence] };
    const deadline = clock.monotonic() + this.#settings.openTimeoutMs;
    let loaded = await loadStream(rows, load);
    counters.conflicts = 0;
    for (let waits = 1, races = 0; ;) {
      const [lease] = loaded.extraRows;
      sessions.assertAccepting(rows.name);
      if (loaded.head.kind === 'deleted') throw deletedError(rows);
      if (loaded.head.kind === 'held' && lease !== undefined) {
        const until = lease.expiresAt ?? 0;
        const left = deadline - clock.monotonic();
        if (left <= 0) throw this.#openFailed(new Date(until));
        await this.#wait(Math.min(left, until - loaded.time, backoffMs(waits, backoff)));
        waits += 1;
      } else {
        counters.attempts += 1;
        const startedAt = clock.monotonic();
        const taken = await this.#takeLease(loaded);
        if (taken !== undefined) return this.#start(loaded, taken, startedAt);
        counters.conflicts += 1;
        races += 1;
        if (races > racesMax && clock.monotonic() >= deadline) throw this.#openFailed(undefined);
        if (races > racesAtOnce) await this.#wait(backoffMs(races + 1, backoff));
      }
      loaded = await catchUp(rows, loaded, load);
    }
  }

  /** Returns `undefined` after a conflict. */
  async #takeLease(loaded: LoadResult): Promise<Lease | undefined> {
    const rows = this.#rows;
    const { access, database } = rows;
    const { sessionTimeoutMs } = this.#settings;
    const { head, extraRows, time } = loaded;
    const fence = fenceIn(rows.fence, extraRows[1], time);
    const version = access.nextVersion(database);
    try {
      const content = openBatch(rows, { head, fence }, this.#session, sessionTimeoutMs);
      const result = await access.commit(database, content, { version, signal: this.#signal });
      return result.outcome === 'committed' ? leaseOf(result, fence.next, sessionTimeoutMs) : undefined;
    } catch (error) {
      if (!isStorageError(error) || error.effect !== 'unknown') throw error;
      const lease = await this.#findOwnLease(version);
      if (lease !== undefined) return lease;
      this.#context.runDetached(rows, async () => await this.#freeOnceTaken(loaded, version));
      throw error;
    }
  }

  /**
   * No session is returned, but the batch may still be under way: frees the lock once it was taken.
   * Where that takes longer than `inFlightMsMax`, the lock expires.
   */
  async #freeOnceTaken(loaded: LoadResult, version: string): Promise<void> {
    const end = systemClock.monotonic() + inFlightMsMax;
    for (let waits = 1; systemClock.monotonic() < end; waits += 1) {
      // a storage that cannot be reached is asked again
      if (await this.#freeIfTaken(loaded, version).catch(isClosed)) return;
      await systemClock.wait(backoffMs(waits, backoff));
    }
  }

  /** Returns whether the lock was freed, or cannot be taken any more. */
  async #freeIfTaken({ head, version: at, extraRows }: LoadResult, version: string): Promise<boolean> {
    const rows = this.#rows;
    const { access, database } = rows;
    const {
      rows: [headNow, lease, fence],
    } = await access.read([rows.head, rows.lease, rows.fence]);
    if (lease?.version !== version)
      return headNow?.version !== head.row?.version || fence?.version !== extraRows[1]?.version;
    const held = { session: this.#session, version: at, head: version, lease: version };
    await access.commit(database, closeBatch(rows, held));
    return true;
  }

  /** After an unknown outcome: the rows say whether the lease was taken. */
  async #findOwnLease(version: string): Promise<Lease | undefined> {
    if (this.#signal?.aborted === true) return undefined;
    const rows = this.#rows;
    try {
      const {
        rows: [head, lease, fence],
      } = await rows.access.read([rows.head, rows.lease, rows.fence]);
      if (head?.version !== version || lease?.version !== version || fence?.value.kind !== 'number')
        return undefined;
      return { version, fencingToken: fence.value.number, expiresAt: lease.expiresAt ?? 0 };
    } catch {
      return undefined; // the error of the commit is thrown
    }
  }

  #start({ version, state }: LoadResult, lease: Lease, startedAt: number): LeasedSession {
    const [context, rows, session] = [this.#context, this.#rows, this.#session];
    const { sessionTimeoutMs, renewal, renewalTimeoutMs } = this.#settings;
    const started = new LeasedSession({
      context,
      rows,
      session,
      sessionTimeoutMs,
      version,
      state,
      lease,
      startedAt,
    });
    if (renewal === 'auto') started.startRenewal(startedAt + renewalTimeoutMs);
    context.emit(rows, { event: 'session opened', session, fencingToken: lease.fencingToken, version });
    return started;
  }

  #openFailed(until: Date | undefined) {
    const { openTimeoutMs } = this.#settings;
    const { name, path } = this.#rows;
    const reason =
      until === undefined
        ? 'other writers were faster each time'
        : `another session holds it until ${until.toISOString()}`;
    const message = `No session could be opened on the ${name} within ${openTimeoutMs} ms: ${reason}.`;
    return streamError('SESSION_OPEN_FAILED', message, { stream: path, openTimeoutMs, until });
  }

  async #wait(ms: number): Promise<void> {
    try {
      await this.#context.clock.wait(Math.max(1, ms), this.#signal);
    } catch (error) {
      throwIfAborted('openSession', this.#signal);
      throw error;
    }
  }
}

const isClosed = (error: unknown): boolean => isStorageError(error, 'STORAGE_NOT_OPEN');

/** The lease is the last change of the batch. */
function leaseOf(
  { rows, version, time }: CommittedBatch,
  fencingToken: bigint,
  sessionTimeoutMs: number,
): Lease {
  return {
    version,
    fencingToken,
    expiresAt: rows.at(-1)?.expiresAt ?? time + sessionTimeoutMs,
  };
}

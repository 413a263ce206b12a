/**
 * Opening a session: looks at head and lease and loads in one turn, then takes the lease, if
 * nothing has landed since; else looks again.
 */
import { isStorageError } from '@kvent/key-value-storage/core';
import { resolveOptions, storageError, throwIfAborted } from '@kvent/key-value-storage/provider';
import { assertOptions, backoffMs, type CommittedBatch } from '@kvent/key-value-storage/internal';
import type { SessionOptions } from '../definition/event-stream.js';
import { LeasedSession, type Lease } from './leased-session.js';
import { catchUp, loadStream, type LoadResult, type LoadOptions } from '../events/load-stream.js';
import { assertSessionOptions } from './session-options.js';
import { closeBatch, openBatch, type HeldStream } from '../rows/stream-batches.js';
import { deletedError } from '../rows/stream-conflicts.js';
import type { StreamContext } from '../context/stream-context.js';
import { streamError } from '../definition/stream-errors.js';
import type { StreamRows } from '../rows/stream-rows.js';

const names = ['signal', 'sessionTimeoutMs', 'openTimeoutMs', 'renewal'];
/** Waits while the stream is locked. */
const waits = { delayMs: 10, delayMsMax: 200 };
/**
 * A race that is lost is run again, also with an `openTimeoutMs` of 0: the stream was not locked.
 */
const racesMax = 10;
const racesAtOnce = 2;

export async function openSession(
  context: StreamContext,
  rows: StreamRows,
  given: SessionOptions | undefined,
): Promise<LeasedSession> {
  assertOptions('openSession', given, names);
  assertSessionOptions('openSession', given, names);
  if (rows.access.inTransaction)
    throw storageError(
      'STORAGE_UNSUPPORTED',
      'A session cannot be opened inside a transaction: nobody would see its lock.',
      {},
    );
  const { signal, ...own } = given ?? {};
  const options = resolveOptions('openSession', own, context.settings.session);
  throwIfAborted('openSession', signal);
  context.sessions.assertAccepting(rows.name);
  return await context.observeCall('openSession', rows, async (counters) => {
    try {
      return await new SessionOpening(context, rows, options, signal).run(counters);
    } catch (error) {
      if (isStorageError(error, 'SESSION_OPEN_FAILED'))
        context.emit(rows, { event: 'open failed', openTimeoutMs: error.openTimeoutMs, until: error.until });
      throw error;
    }
  });
}

type Resolved = StreamContext['settings']['session'];

class SessionOpening {
  readonly #context: StreamContext;
  readonly #rows: StreamRows;
  readonly #options: Resolved;
  readonly #signal: AbortSignal | undefined;
  readonly #session = crypto.randomUUID();

  constructor(context: StreamContext, rows: StreamRows, options: Resolved, signal: AbortSignal | undefined) {
    this.#context = context;
    this.#rows = rows;
    this.#options = options;
    this.#signal = signal;
  }

  async run(tally: { attempts: number; conflicts: number }): Promise<LeasedSession> {
    const { clock } = this.#context;
    const deadline = clock.monotonic() + this.#options.openTimeoutMs;
    let found = await loadStream(this.#rows, this.#looking);
    for (let looks = 1, races = 0; ;) {
      const [lease] = found.extraRows;
      this.#context.sessions.assertAccepting(this.#rows.name);
      if (found.head.kind === 'deleted') throw deletedError(this.#rows);
      if (found.head.kind === 'held' && lease !== undefined) {
        const until = lease.expiresAt ?? 0;
        if (clock.monotonic() >= deadline) throw this.#failed(new Date(until));
        await this.#wait(Math.min(deadline - clock.monotonic(), until - found.time, backoffMs(looks, waits)));
        looks += 1;
      } else {
        tally.attempts += 1;
        const begun = clock.monotonic();
        const opened = await this.#take(found);
        if (opened !== undefined) return this.#begin(found, opened, begun);
        tally.conflicts += 1;
        races += 1;
        if (races > racesMax && clock.monotonic() >= deadline) throw this.#failed(undefined);
        // the first races are lost to somebody who holds the stream now: that is seen at once
        if (races > racesAtOnce) await this.#wait(backoffMs(races + 1, waits));
      }
      found = await catchUp(this.#rows, found, this.#looking);
    }
  }

  get #looking(): LoadOptions {
    return { observer: this.#context.observer, signal: this.#signal, extraReads: [this.#rows.lease] };
  }

  /** Takes the lease; `undefined` when somebody was faster. */
  async #take(found: LoadResult): Promise<Lease | undefined> {
    const rows = this.#rows;
    const { access } = rows;
    const { sessionTimeoutMs } = this.#options;
    const content = openBatch(rows, found.head, this.#session, sessionTimeoutMs);
    const version = access.nextVersion(rows.database);
    try {
      const result = await access.commit(rows.database, content, { version, signal: this.#signal });
      return result.outcome === 'committed' ? leaseOf(result, sessionTimeoutMs) : undefined;
    } catch (error) {
      if (!isStorageError(error) || error.effect !== 'unknown') throw error;
      if (this.#signal?.aborted === true)
        this.#letGo({
          session: this.#session,
          version: found.version,
          head: version,
          lease: version,
        });
      const lease = await this.#lookForMine(version);
      if (lease === undefined) throw error;
      return lease;
    }
  }

  /** The caller has given up: the lock is freed, if it was taken after all. */
  #letGo(held: HeldStream): void {
    const { background } = this.#context;
    const { access, database } = this.#rows;
    const content = closeBatch(this.#rows, held);
    const free = async (): Promise<void> => {
      // where this fails, it ends by itself, after its time
      await access.commit(database, content).catch(() => undefined);
    };
    const work = access.detached(database, free);
    background.add(work);
    void work.then(() => background.delete(work));
  }

  /** The answer was lost: the rows tell whether the lease is mine. */
  async #lookForMine(version: string): Promise<Lease | undefined> {
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
      return undefined; // the first error says more
    }
  }

  #begin({ version, state }: LoadResult, lease: Lease, begun: number): LeasedSession {
    const session = new LeasedSession({
      context: this.#context,
      rows: this.#rows,
      session: this.#session,
      sessionTimeoutMs: this.#options.sessionTimeoutMs,
      version,
      state,
      lease,
      begun,
    });
    this.#context.sessions.add(session);
    if (this.#options.renewal === 'auto') session.renewByItself();
    this.#context.emit(this.#rows, {
      event: 'session opened',
      session: this.#session,
      fencingToken: lease.fencingToken,
      version,
    });
    return session;
  }

  #failed(until: Date | undefined) {
    const { openTimeoutMs } = this.#options;
    const held =
      until === undefined
        ? 'others are always faster'
        : `another session holds it until ${until.toISOString()}`;
    const message = `No session at the ${this.#rows.name} within ${openTimeoutMs} ms: ${held}.`;
    return streamError('SESSION_OPEN_FAILED', message, { stream: this.#rows.path, openTimeoutMs, until });
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

/** The fence is the first change of the batch, the lease the last. */
function leaseOf({ rows, version, time }: CommittedBatch, sessionTimeoutMs: number): Lease {
  const [fence] = rows;
  return {
    version,
    fencingToken: fence?.number ?? 0n,
    expiresAt: rows.at(-1)?.expiresAt ?? time + sessionTimeoutMs,
  };
}

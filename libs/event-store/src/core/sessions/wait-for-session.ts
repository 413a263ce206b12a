import { throwIfAborted, type Address } from '@kvent/key-value-storage/provider';
import type { StreamContext } from '../context/stream-context.js';
import { headIn } from '../rows/head.js';
import { lockedError } from '../rows/stream-conflicts.js';
import type { StreamRows } from '../rows/stream-rows.js';

/** The maximum of milliseconds between two reads of a held stream. */
const pollMsMax = 100;

interface SessionWait {
  /** When the wait ends in any case, by the monotonic clock. */
  readonly deadline: number;
  /** Rows that end the wait when they exist. */
  readonly reads: readonly Address[];
  readonly signal: AbortSignal | undefined;
}

/**
 * Waits until no session holds a stream. `locked`: the error of the session that holds it; at the
 * deadline `STREAM_LOCKED` is thrown. A session may take minutes, so the caller must not hold a
 * lock that others wait for.
 */
export async function waitForSession(
  { clock }: StreamContext,
  rows: StreamRows,
  locked: Error,
  { deadline, reads, signal }: SessionWait,
): Promise<void> {
  for (let error = locked; ;) {
    const left = deadline - clock.monotonic();
    if (left <= 0) throw error;
    const ms = Math.max(1, Math.min(left, Math.random() * pollMsMax));
    await clock.wait(ms, signal).catch((cause: unknown) => {
      throwIfAborted('transact', signal);
      throw cause;
    });
    const {
      rows: [headRow, lease, ...others],
    } = await rows.access.read([rows.head, rows.lease, ...reads], { signal });
    if (headIn(rows.head, headRow).kind !== 'held' || lease === undefined) return;
    if (others.some((row) => row !== undefined)) return;
    error = lockedError(rows, lease);
  }
}

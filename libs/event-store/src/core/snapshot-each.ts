/** Stores snapshots at `every`, 2 × `every` … in one pass over the events. */
import { isStorageError, type CallOptions } from '@kvent/key-value-storage/core';
import { stoppedAfter } from '@kvent/key-value-storage/internal';
import type { StreamContext } from './context/stream-context.js';
import { evolve, initialOf } from './events/fold.js';
import { readEvents } from './events/read-events.js';
import { readHead } from './rows/head.js';
import { deletedError, notFoundError } from './rows/stream-conflicts.js';
import type { StreamRows } from './rows/stream-rows.js';
import { putSnapshot } from './snapshots/snapshot-rows.js';

/**
 * Returns the versions. `STREAM_NOT_FOUND` for a stream without events; an error after a snapshot
 * was stored has their number (`done`).
 */
export async function snapshotEach(
  context: StreamContext,
  rows: StreamRows,
  { every, signal }: CallOptions & { readonly every: number },
): Promise<readonly number[]> {
  const head = await readHead(rows, signal);
  if (head.kind !== 'deleted' && head.version === 0) throw notFoundError(rows);
  const versions: number[] = [];
  let state = initialOf(rows);
  try {
    for await (const event of readEvents(rows, { signal })) {
      const { version } = event;
      state = evolve(rows, state, event, { version, stored: true });
      if (version % every !== 0) continue;
      if (!(await putSnapshot(rows, { version, state }, signal))) throw deletedError(rows);
      context.emit(rows, { event: 'snapshot created', version });
      versions.push(version);
    }
  } catch (error) {
    const done = versions.length;
    // that of an event says what its cause is; the snapshots before the event stay valid
    const isOfEvent =
      isStorageError(error, 'EVENT_UNREADABLE') || isStorageError(error, 'EVENT_UNKNOWN_TYPE');
    throw isStorageError(error) && !isOfEvent
      ? stoppedAfter(error, done, `It ended after ${done} snapshots, which are stored: ${error.message}`)
      : error;
  }
  return versions;
}

/** Snapshots at k, 2k, 3k … of a stream that has none, in one pass over its events. */
import type { CallOptions } from '@kvent/key-value-storage/core';
import { evolved, initialOf } from './events/fold.js';
import { headIn } from './rows/head.js';
import { readEvents } from './events/read-events.js';
import { putSnapshot } from './snapshots/snapshot-rows.js';
import { deletedError, notFoundError } from './rows/stream-conflicts.js';
import type { StreamContext } from './context/stream-context.js';
import type { StreamRows } from './rows/stream-rows.js';

/** Answers the versions. `STREAM_NOT_FOUND` where there is nothing to keep. */
export async function snapshotEach(
  context: StreamContext,
  rows: StreamRows,
  { every, signal }: CallOptions & { readonly every: number },
): Promise<readonly number[]> {
  const { row } = await rows.access.readOne(rows.head, { signal });
  const head = headIn(rows.head, row);
  if (head.kind !== 'deleted' && head.version === 0) throw notFoundError(rows);
  const versions: number[] = [];
  let state = initialOf(rows);
  for await (const event of readEvents(rows, { signal })) {
    state = evolved(rows, state, event, { version: event.version, stored: true });
    if (event.version % every !== 0) continue;
    if (!(await putSnapshot(rows, { version: event.version, state }, signal))) throw deletedError(rows);
    context.emit(rows, { event: 'snapshot created', version: event.version });
    versions.push(event.version);
  }
  return versions;
}

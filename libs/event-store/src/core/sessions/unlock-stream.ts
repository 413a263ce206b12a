/** Ends the session of a stream without its holder. The holder can write no more. */
import { retryOnConflict, type CallOptions } from '@kvent/key-value-storage/core';
import { assertOptions } from '@kvent/key-value-storage/internal';
import type { StreamContext } from '../context/stream-context.js';
import { headIn } from '../rows/head.js';
import { unlockBatch } from '../rows/stream-batches.js';
import { deletedError, mismatchError } from '../rows/stream-conflicts.js';
import type { StreamRows } from '../rows/stream-rows.js';

/** Returns whether a session held the stream. */
export async function unlockStream(
  context: StreamContext,
  rows: StreamRows,
  options: CallOptions | undefined,
): Promise<boolean> {
  assertOptions('unlock', options, ['signal']);
  const signal = options?.signal;
  const { access, database } = rows;
  // the session may append in between; it holds no lock of the process
  return await retryOnConflict(
    async () => {
      const {
        rows: [headRow, lease],
      } = await access.read([rows.head, rows.lease], { signal });
      const head = headIn(rows.head, headRow);
      if (head.kind === 'deleted') throw deletedError(rows);
      if (head.kind === 'free' || lease === undefined) return false;
      const result = await access.commit(database, unlockBatch(rows, head), { signal });
      if (result.outcome === 'conflict')
        throw mismatchError(rows, { expected: head.version, by: 'loaded' }, head.version);
      context.emit(rows, { event: 'session unlocked', session: head.session, version: head.version });
      return true;
    },
    { ...access.retry, signal },
  );
}

/**
 * Deletes a stream: one batch marks it as deleted, for good. Then its events and snapshots are
 * removed page by page; a later call removes what an interrupted one has left.
 */
import { isStorageError, limits, type CallOptions } from '@kvent/key-value-storage/core';
import { assertOptions, partlyDone } from '@kvent/key-value-storage/internal';
import { conditionOf, isMet } from './rows/expectations.js';
import { headIn, type Head } from './rows/head.js';
import { deleteBatch, forgetBatch } from './rows/stream-batches.js';
import { lockedError, mismatchError } from './rows/stream-conflicts.js';
import type { StreamRows } from './rows/stream-rows.js';

type Options = CallOptions & { readonly expectedVersion?: number };

/**
 * Returns whether there was anything to delete. `STREAM_LOCKED`, `STREAM_VERSION_MISMATCH`; an
 * error after the stream was marked has the number of removed rows (`done`).
 */
export async function deleteStream(rows: StreamRows, options: Options | undefined): Promise<boolean> {
  assertOptions('delete', options, ['signal', 'expectedVersion']);
  const condition = conditionOf('delete', options, rows);
  const signal = options?.signal;
  const { access, database } = rows;
  const before = await access.retryWithLock(
    rows.lockName,
    { ...access.retry, signal },
    async (): Promise<Head> => {
      const {
        rows: [headRow, lease],
      } = await access.read([rows.head, rows.lease], { signal });
      const head = headIn(rows.head, headRow);
      if (head.kind === 'deleted') return head;
      if (condition !== undefined && !isMet(condition.expected, head.version))
        throw mismatchError(rows, condition, head.version);
      if (head.kind === 'held' && lease !== undefined) throw lockedError(rows, lease);
      if (head.row === undefined) return head;
      const content = head.version === 0 ? forgetBatch(rows, head) : deleteBatch(rows, head);
      const result = await access.commit(database, content, { signal });
      if (result.outcome === 'conflict')
        throw mismatchError(rows, { expected: head.version, by: 'loaded' }, head.version);
      return head;
    },
  );
  if (before.version > 0) await removeRows(rows, signal);
  return before.kind !== 'deleted' && before.version > 0;
}

async function removeRows(rows: StreamRows, signal: AbortSignal | undefined): Promise<void> {
  const { access, database } = rows;
  let done = 0;
  try {
    for (const kind of ['snapshot', 'event'] as const) {
      const container = rows.rangeOf(kind);
      const range = { ...container, limit: limits.batchEntriesMax, values: 'omit' } as const;
      for await (const page of access.scanPages(range, { signal })) {
        const changes = page.rows.map(
          ({ key }) => ({ kind: 'delete', address: { ...container, key } }) as const,
        );
        if (changes.length > 0) await access.commit(database, { checks: [], changes }, { signal });
        done += changes.length;
      }
    }
  } catch (error) {
    // the batch that marked the stream counts too
    throw isStorageError(error) ? partlyDone(error, done + 1) : error;
  }
}

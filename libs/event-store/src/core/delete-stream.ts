/**
 * Deleting: one batch makes the stream gone, for good; then its rows go page by page. Whoever comes
 * later may finish what was left.
 */
import { isStorageError, limits, type CallOptions } from '@kvent/key-value-storage/core';
import { assertOptions, partlyDone, type RetryPolicy } from '@kvent/key-value-storage/internal';
import { conditionOf, isMet } from './rows/expectations.js';
import { headIn, type Head } from './rows/head.js';
import { deleteBatch } from './rows/stream-batches.js';
import { lockedError, mismatchError } from './rows/stream-conflicts.js';
import type { StreamRows } from './rows/stream-rows.js';

type Options = CallOptions & { readonly expectedVersion?: number };

/**
 * Answers whether it was there. `STREAM_LOCKED`, `STREAM_VERSION_MISMATCH`; an error of the pages
 * says how many rows are gone (`done`).
 */
export async function deleteStream(rows: StreamRows, options: Options | undefined): Promise<boolean> {
  assertOptions('delete', options, ['signal', 'expectedVersion']);
  const condition = conditionOf('delete', options, rows);
  const signal = options?.signal;
  const { access } = rows;
  const policy: RetryPolicy = { ...access.retry, signal };
  const before = await access.retryWithLock(rows.lockName, policy, async (): Promise<Head> => {
    const { rows: found } = await access.read([rows.head, rows.lease], { signal });
    const head = headIn(rows.head, found[0]);
    const lease = found[1];
    if (head.kind === 'deleted') return head;
    if (condition !== undefined && !isMet(condition.expected, head.version))
      throw mismatchError(rows, condition, head.version);
    if (head.kind === 'held' && lease !== undefined) throw lockedError(rows, lease);
    if (head.version === 0) return head;
    const result = await access.commit(rows.database, deleteBatch(rows, head), { signal });
    if (result.outcome === 'conflict')
      throw mismatchError(rows, { expected: head.version, by: 'loaded' }, head.version);
    return head;
  });
  if (before.version > 0) await removeRows(rows, signal);
  return before.kind !== 'deleted' && before.version > 0;
}

async function removeRows(rows: StreamRows, signal: AbortSignal | undefined): Promise<void> {
  const { access } = rows;
  let done = 0;
  try {
    for (const kind of ['snapshot', 'event'] as const) {
      const space = rows.rangeOf(kind);
      const range = { ...space, limit: limits.batchEntriesMax, values: 'omit' } as const;
      for await (const page of access.scanPages(range, { signal })) {
        const changes = page.rows.map(({ key }) => ({ kind: 'delete', address: { ...space, key } }) as const);
        if (changes.length > 0) await access.commit(rows.database, { checks: [], changes }, { signal });
        done += changes.length;
      }
    }
  } catch (error) {
    // the stream itself is gone by now
    throw isStorageError(error) ? partlyDone(error, done + 1) : error;
  }
}

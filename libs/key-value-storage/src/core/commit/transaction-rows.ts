/**
 * The rows that stores and streams have locked in transactions of the application. A call outside
 * such a transaction, by the same caller, would wait for a row that is free only when the caller
 * goes on.
 */
import { footprintOf } from '../port/footprint.js';
import { lockNameOf } from '../port/row-name.js';
import type { Batch, RowAddress } from '../port/storage-provider.js';

/** Of one transaction and provider. Rows beyond it are waited for until the lock timeout. */
const rowsMax = 10_000;

/**
 * By the identity of a transaction, then by the name of the provider: two providers of one table
 * have the same name, and lock the same rows.
 */
const rowsOf = new WeakMap<object, Map<string, Set<string>>>();

/** Records that a transaction locks the rows of a batch. */
export function recordLocks(transaction: object, provider: string, batch: Batch): void {
  const byProvider = rowsOf.get(transaction) ?? new Map<string, Set<string>>();
  rowsOf.set(transaction, byProvider);
  const rows = byProvider.get(provider) ?? new Set();
  byProvider.set(provider, rows);
  for (const row of footprintOf(batch).rows) if (rows.size < rowsMax) rows.add(row);
}

/**
 * The first row of a batch that one of the transactions has locked. A savepoint that was rolled
 * back may have released it since: the provider decides whether it is still locked.
 */
export function rowLockedBy(
  transactions: readonly object[],
  provider: string,
  batch: Batch,
): RowAddress | undefined {
  const rows = transactions
    .map((transaction) => rowsOf.get(transaction)?.get(provider))
    .filter((each) => each !== undefined);
  if (rows.length === 0) return undefined;
  const { database, checks, changes } = batch;
  return [...checks, ...changes]
    .map(({ address }) => address)
    .find((address) => rows.some((locked) => locked.has(lockNameOf(database, address))));
}

/**
 * The rows that stores and streams have locked in transactions of the application. A call outside
 * such a transaction, by the same caller, would wait for a row that is free only when the caller
 * goes on.
 */
import { footprintOf } from '../port/footprint.js';
import { lockNameOf } from '../port/row-name.js';
import type { Batch, RowAddress } from '../port/storage-provider.js';

/** Of one transaction. Rows beyond it are waited for until the lock timeout. */
const rowsMax = 10_000;

const rowsOf = new WeakMap<object, Set<string>>();

/** Records that a transaction locks the rows of a batch. */
export function recordLocks(transaction: object, batch: Batch): void {
  let rows = rowsOf.get(transaction);
  if (rows === undefined) rowsOf.set(transaction, (rows = new Set()));
  for (const row of footprintOf(batch).rows) if (rows.size < rowsMax) rows.add(row);
}

/**
 * The first row of a batch that one of the transactions has locked. A savepoint that was rolled
 * back may have released it since: the provider decides whether it is still locked.
 */
export function rowLockedBy(transactions: readonly object[], batch: Batch): RowAddress | undefined {
  const rows = transactions
    .map((transaction) => rowsOf.get(transaction))
    .filter((each) => each !== undefined);
  if (rows.length === 0) return undefined;
  const { database, checks, changes } = batch;
  return [...checks, ...changes]
    .map(({ address }) => address)
    .find((address) => rows.some((locked) => locked.has(lockNameOf(database, address))));
}

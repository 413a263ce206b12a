/** The limit of the bytes of one result: pages end early, reads of several rows are refused. */
import { storageError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import type { Row, ScannedRow } from './storage-provider.js';
import { sizeOfValue } from './footprint.js';

/**
 * A page as a provider found it: cut where its values are over `pageBytesMax` together. One row is
 * always left, and `more` says that rows were cut off.
 */
export function withinPageBytes<P extends { readonly rows: readonly ScannedRow[]; readonly more: boolean }>(
  page: P,
): P {
  const over = firstOver(page.rows);
  return over === undefined
    ? page
    : { ...page, rows: page.rows.slice(0, Math.max(1, over)), more: over < page.rows.length || page.more };
}

/**
 * `LIMIT_EXCEEDED` when the values of a read of several rows are over `pageBytesMax` together. One
 * row alone may always be read.
 */
export function assertReadBytes(rows: readonly (Row | undefined)[]): void {
  if (rows.length < 2) return;
  const found = rows.flatMap((row) => (row === undefined ? [] : [{ row }]));
  const over = firstOver(found);
  if (over === undefined || over === 0) return;
  const given = found.slice(0, over + 1).reduce((sum, { row }) => sum + sizeOfValue(row.value), 0);
  const allowed = limits.pageBytesMax;
  throw storageError(
    'LIMIT_EXCEEDED',
    `The values of a read of ${rows.length} rows are ${given} bytes or more; the limit pageBytesMax is ${allowed}: read fewer at once.`,
    { limit: 'pageBytesMax', given, allowed },
  );
}

/** The place of the first row with which the values are over the limit. */
function firstOver(rows: readonly { readonly row: Row }[]): number | undefined {
  // far below it no byte has to be counted: a character takes three at most
  let most = 0;
  for (const { row } of rows)
    most += row.value.kind === 'json' ? row.value.text.length * 3 : sizeOfValue(row.value);
  if (most <= limits.pageBytesMax) return undefined;
  let bytes = 0;
  const over = rows.findIndex(({ row }) => (bytes += sizeOfValue(row.value)) > limits.pageBytesMax);
  return over === -1 ? undefined : over;
}

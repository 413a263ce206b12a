/**
 * Batches that each create one row, as what `createRow` and `createRows` take, and their answers as
 * theirs.
 */
import type { CommitResult } from '@kvent/key-value-storage/provider';
import type { Columns } from '../sql/decode-row.js';
import { createRow, createRows } from '../sql/fast-path-statements.js';
import type { Dialect } from '../sql/statement.js';
import { texts } from '../sql/text-array.js';
import { addressColumns, orNone } from './columns.js';
import type { Attempt } from './fast-path.js';
import type { Placed } from './row-order.js';

interface NewRow {
  readonly ttlMs: number | null;
  readonly text: string | null;
  readonly number: string | null;
}

interface Creation<T> {
  readonly row: (item: T) => NewRow;
  readonly result: (
    time: string | null | undefined,
    expires: string | null | undefined,
    item: T,
  ) => CommitResult;
  readonly suits?: (item: T) => boolean;
}

export function creating<T extends Placed & { readonly version: string }>(
  dialect: Dialect,
  creation: Creation<T>,
): Attempt<T> {
  const { row, result, suits } = creation;
  return {
    ...(suits !== undefined && { suits }),
    alone: {
      suits: () => true,
      statement: createRow(dialect),
      parameters: (item) => {
        const { ttlMs, text, number } = row(item);
        return [
          item.database,
          item.address.container,
          item.address.entity,
          item.address.key,
          item.version,
          ttlMs,
          text,
          number,
        ];
      },
      result: ([, time, expires], item) => result(time, expires, item),
    },
    many: createRows(dialect),
    manyParameters: (items) => [
      ...addressColumns(items),
      items.map(({ version }) => version),
      orNone(items.map((item) => row(item).ttlMs)),
      texts(items.map((item) => row(item).text)),
      orNone(items.map((item) => row(item).number)),
    ],
    suitMany: (items) => new Set(items.map(({ version }) => version)).size === items.length,
    manyResult: answerOf(result),
  };
}

/** An insert returns nothing but what it wrote: whose a line is, its version says. */
const answerOf =
  <T extends { readonly version: string }>(result: Creation<T>['result']) =>
  ([version, time, expires]: Columns, items: readonly T[]): readonly [T, CommitResult] | undefined => {
    const item = items.find((each) => each.version === version);
    return item === undefined ? undefined : [item, result(time, expires, item)];
  };

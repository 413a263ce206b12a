/**
 * How batches of one shape become statements. A plan parses a batch once, into an item; the item is
 * carried along until its result is known, through the fast path, the plan's own statement and
 * retries.
 */
import type { Address, Batch, CommitResult } from '@kvent/key-value-storage/provider';
import type { Purpose } from '../connections/session.js';
import type { Columns } from '../sql/decode-row.js';
import { milliseconds, type Statement } from '../sql/statement.js';

/** A parsed batch. */
export interface Item {
  readonly batch: Batch;
  /** Set once it is known. */
  result: CommitResult | undefined;
}

/** A parsed batch that begins with one row. */
export interface RowItem extends Item, Address {}

export interface Plan<T extends Item = Item> {
  /** Undefined for a batch of another shape. */
  parse(batch: Batch): T | undefined;
  /** What is tried first. Items with the same fast path are sent together. */
  fastPath?(item: T): FastPath;
  /**
   * The statement that decides every item. `lockMs`: how long it waits for a row; null leaves that
   * to the transaction.
   */
  request(items: readonly T[], lockMs: number | null): Request;
}

/** A cheaper statement, which decides only the items for which an assumption holds. */
export interface FastPath {
  /** Undefined when none of the items is worth an attempt. */
  request(items: readonly Item[], lockMs: number): Request | undefined;
  /** Learns from what became of all that was sent together. */
  observe(items: readonly Item[]): void;
}

/** A statement for some items. */
export interface Request {
  readonly statement: Statement;
  readonly parameters: readonly unknown[];
  /** @default 'write' */
  readonly purpose?: Purpose;
  /** Sets the results of the items that were decided. */
  readonly accept: (lines: readonly Columns[]) => void;
}

type Column = string | null | undefined;

/** The result of a batch that wrote one row. */
export function committedRow(existed: boolean, time: Column, expires: Column, number: Column): CommitResult {
  const row = {
    existed,
    ...(typeof number === 'string' && { number: BigInt(number) }),
    ...(typeof expires === 'string' && { expiresAt: milliseconds(expires) }),
  };
  return { outcome: 'committed', time: milliseconds(time as string), rows: [row] };
}

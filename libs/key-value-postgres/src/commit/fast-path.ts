/**
 * Most writes meet what the writes before them met: a row, or none. A fast path assumes that and
 * uses a cheaper statement (`sql/fast-path-statements.ts`), which decides only the items for which
 * it holds. The rest falls back to the statement of the plan, one more round trip; so the path is
 * skipped while most writes fall back.
 */
import type { CommitResult } from '@kvent/key-value-storage/provider';
import type { Columns } from '../sql/decode-row.js';
import type { Statement } from '../sql/statement.js';
import type { FastPath, Item, Request, RowItem } from './plan.js';
import { inRowOrder } from './row-order.js';

/** What a fast path does under one assumption. */
export interface Attempt<T extends RowItem> {
  /** @default always */
  appliesTo?(item: T): boolean;
  /** A cheaper statement for one item. Undefined where none is for this item. */
  single?(item: T): Single | undefined;
  /**
   * With the lock timeout as its first parameter. Its lines begin with a column that names the
   * item.
   */
  readonly statement: Statement;
  parameters(items: readonly T[]): readonly unknown[];
  /** Whether `itemOf` can distinguish them. @default always */
  distinguishable?(items: readonly T[]): boolean;
  /** @default by the item's number, from 1 */
  itemOf?(name: string, items: readonly T[]): T | undefined;
  /** From the columns behind the name. */
  result(columns: Columns, item: T): CommitResult;
}

interface Single {
  readonly statement: Statement;
  /** Without the last one, the lock timeout. */
  readonly parameters: readonly unknown[];
}

export class AdaptiveFastPath<T extends RowItem> implements FastPath {
  readonly #attempts: Partial<Record<'present' | 'absent', Attempt<T>>>;
  /** The attempt whose assumption held lately. */
  #current: Attempt<T> | undefined;

  /** By what a write may meet. */
  constructor(attempts: Partial<Record<'present' | 'absent', Attempt<T>>>) {
    this.#attempts = attempts;
    this.#current = attempts.present ?? attempts.absent;
  }

  request(items: readonly T[], lockMs: number): Request | undefined {
    const attempt = this.#current;
    const applicable = items.filter((item) => attempt?.appliesTo?.(item) ?? true);
    const [item] = applicable;
    if (attempt === undefined || item === undefined) return undefined;
    const single = applicable.length === 1 ? attempt.single?.(item) : undefined;
    if (single !== undefined)
      return {
        statement: single.statement,
        parameters: [...single.parameters, String(lockMs)],
        accept: ([line]) => {
          if (line !== undefined) item.result = attempt.result(line, item);
        },
      };
    return attempt.distinguishable?.(applicable) === false
      ? undefined
      : requestForMany(attempt, inRowOrder(applicable), lockMs);
  }

  observe(items: readonly Item[]): void {
    const { present, absent } = this.#attempts;
    const mostly = (met: (result: CommitResult | undefined) => boolean): boolean =>
      items.filter(({ result }) => met(result)).length * 2 >= items.length;
    this.#current = mostly(metRow) ? present : mostly(metNone) ? absent : undefined;
  }
}

function requestForMany<T extends RowItem>(
  attempt: Attempt<T>,
  items: readonly T[],
  lockMs: number,
): Request {
  return {
    statement: attempt.statement,
    parameters: [String(lockMs), ...attempt.parameters(items)],
    accept: (lines) => {
      for (const [name, ...columns] of lines as readonly (readonly [string, ...Columns])[]) {
        const item = attempt.itemOf === undefined ? items[Number(name) - 1] : attempt.itemOf(name, items);
        if (item !== undefined) item.result = attempt.result(columns, item);
      }
    },
  };
}

/** The statements leave alone what expires within a minute, and within a long lock wait. */
function metRow(result: CommitResult | undefined): boolean {
  if (result?.outcome !== 'committed') return false;
  const { existed = false, expiresAt = Number.POSITIVE_INFINITY } = result.rows[0] ?? {};
  return existed && expiresAt > result.time + 60_000;
}

const metNone = (result: CommitResult | undefined): boolean =>
  result?.outcome === 'committed' && result.rows[0]?.existed === false;

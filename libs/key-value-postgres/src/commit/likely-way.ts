/**
 * Most writes meet what the ones before them met: a row that lives, or none. The statements for that (`likely-rows.ts`) are tried first, and what
 * they leave goes the long way: a second round trip, so nothing is tried while writes mostly turn out otherwise.
 */
import type { CommitResult } from '@kvent/key-value-storage/core';
import type { Columns } from '../sql/decode-row.js';
import type { Statement } from '../sql/statement.js';
import { inRowOrder, type Placed } from './row-order.js';

export type Run = (statement: Statement, parameters: readonly unknown[]) => Promise<readonly Columns[]>;

/** What can be done with one statement: that for one batch, and that for many. */
export interface Attempt<T> {
  /** Others are left alone. */
  readonly suits: (item: T) => boolean;
  /** Which of them can be done alone by the statement for one. */
  readonly suitsOne: (item: T) => boolean;
  readonly one: Statement;
  readonly oneParameters: (item: T) => readonly unknown[];
  readonly oneResult: (line: Columns, item: T) => CommitResult;
  readonly many: Statement;
  readonly manyParameters: (items: readonly T[]) => readonly unknown[];
  /** Which can be told apart in the answer of the statement for many. */
  readonly suitMany: (items: readonly T[]) => boolean;
  /** Of one line: whose it is, and what it says. */
  readonly manyResult: (line: Columns, items: readonly T[]) => readonly [T, CommitResult] | undefined;
}

/** What a write may meet, and the attempt that rests on it. */
export type Attempts<T> = Partial<Record<'living' | 'absent', Attempt<T>>>;

export class LikelyWay<T extends Placed> {
  readonly #attempts: Attempts<T>;
  #likely: Attempt<T> | undefined;

  constructor(attempts: Attempts<T>) {
    this.#attempts = attempts;
    this.#likely = attempts.living ?? attempts.absent;
  }

  /** What could be answered; the rest is as it was. */
  async go(items: readonly T[], lockMs: number, run: Run): Promise<ReadonlyMap<T, CommitResult>> {
    const attempt = this.#likely;
    const suited = attempt === undefined ? [] : inRowOrder(items.filter(attempt.suits));
    const [lone] = suited;
    if (attempt === undefined || lone === undefined) return new Map();
    if (suited.length === 1 && attempt.suitsOne(lone)) {
      const [line] = await run(attempt.one, [...attempt.oneParameters(lone), String(lockMs)]);
      return line === undefined ? new Map() : new Map([[lone, attempt.oneResult(line, lone)]]);
    }
    if (!attempt.suitMany(suited)) return new Map();
    const lines = await run(attempt.many, [String(lockMs), ...attempt.manyParameters(suited)]);
    return new Map(lines.flatMap((line) => [attempt.manyResult(line, suited)].filter((answer) => answer !== undefined)));
  }

  /** Told what became of all that travelled together: the next ones are likely to meet the same. */
  heard(results: readonly CommitResult[]): void {
    const { living, absent } = this.#attempts;
    const mostly = (met: (result: CommitResult) => boolean): boolean => results.filter(met).length * 2 >= results.length;
    this.#likely = mostly(metLiving) ? living : mostly(metNone) ? absent : undefined;
  }
}

/** What ends within a minute is left alone. */
function metLiving(result: CommitResult): boolean {
  if (result.outcome !== 'committed') return false;
  const { existed = false, expiresAt = Number.POSITIVE_INFINITY } = result.rows[0] ?? {};
  return existed && expiresAt > result.time + 60_000;
}

const metNone = (result: CommitResult): boolean => result.outcome === 'committed' && result.rows[0]?.existed === false;

/**
 * Most writes meet what the ones before them met: a row that lives, or none. The statements for
 * that (`likely-rows.ts`) are tried first, and what they leave goes the long way: a second round
 * trip, so nothing is tried while writes mostly turn out otherwise.
 */
import type { CommitResult } from '@kvent/key-value-storage/provider';
import { isUnlikely } from '../connections/failure.js';
import type { Columns } from '../sql/decode-row.js';
import type { Statement } from '../sql/statement.js';
import { inRowOrder, type Placed } from './row-order.js';

type Run = (statement: Statement, parameters: readonly unknown[]) => Promise<readonly Columns[]>;

/** What can be done with one statement. */
export interface Attempt<T> {
  /** Others are left alone. @default all suit */
  readonly suits?: (item: T) => boolean;
  /** A cheaper statement for one alone. */
  readonly alone?: Alone<T>;
  readonly many: Statement;
  readonly manyParameters: (items: readonly T[]) => readonly unknown[];
  /** Which can be told apart in the answer of the statement for many. @default all can */
  readonly suitMany?: (items: readonly T[]) => boolean;
  /** Of one line: whose it is, and what it says. */
  readonly manyResult: (line: Columns, items: readonly T[]) => readonly [T, CommitResult] | undefined;
}

interface Alone<T> {
  readonly suits: (item: T) => boolean;
  readonly statement: Statement;
  readonly parameters: (item: T) => readonly unknown[];
  readonly result: (line: Columns, item: T) => CommitResult;
}

/** What a write may meet, and the attempt that rests on it. */
type Attempts<T> = Partial<Record<'living' | 'absent', Attempt<T>>>;

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
    const suited = attempt === undefined ? [] : inRowOrder(items.filter(attempt.suits ?? everything));
    if (attempt === undefined || suited.length === 0) return new Map();
    try {
      return await ask(attempt, suited, String(lockMs), run);
    } catch (error) {
      if (isUnlikely(error)) return new Map();
      throw error;
    }
  }

  /** Told what became of all that travelled together: the next ones are likely to meet the same. */
  heard(results: readonly CommitResult[]): void {
    const { living, absent } = this.#attempts;
    const mostly = (met: (result: CommitResult) => boolean): boolean =>
      results.filter(met).length * 2 >= results.length;
    this.#likely = mostly(metLiving) ? living : mostly(metNone) ? absent : undefined;
  }
}

async function ask<T>(
  { alone, many, ...attempt }: Attempt<T>,
  items: readonly T[],
  lockMs: string,
  run: Run,
): Promise<ReadonlyMap<T, CommitResult>> {
  const [lone] = items;
  if (lone !== undefined && items.length === 1 && alone?.suits(lone) === true) {
    const [line] = await run(alone.statement, [...alone.parameters(lone), lockMs]);
    return line === undefined ? new Map() : new Map([[lone, alone.result(line, lone)]]);
  }
  if (attempt.suitMany?.(items) === false) return new Map();
  const lines = await run(many, [lockMs, ...attempt.manyParameters(items)]);
  return new Map(
    lines.flatMap((line) => [attempt.manyResult(line, items)].filter((answer) => answer !== undefined)),
  );
}

const everything = (): boolean => true;

/** What ends within a minute is left alone. */
function metLiving(result: CommitResult): boolean {
  if (result.outcome !== 'committed') return false;
  const { existed = false, expiresAt = Number.POSITIVE_INFINITY } = result.rows[0] ?? {};
  return existed && expiresAt > result.time + 60_000;
}

const metNone = (result: CommitResult): boolean =>
  result.outcome === 'committed' && result.rows[0]?.existed === false;

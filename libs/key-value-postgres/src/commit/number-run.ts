/**
 * Batches of one call that change the same number. They take effect one after the other, in one
 * statement.
 */
import { numberChangeOf, type Batch, type NumericChange } from '@kvent/key-value-storage/provider';
import { lockNameOf } from '@kvent/key-value-storage/internal';
import { sparse } from '../sql/array-parameters.js';
import { changeNumber } from '../sql/change-number-statement.js';
import { actCode } from '../sql/general-statement.js';
import type { Dialect } from '../sql/statement.js';
import { committedRow, type Item, type Request } from './plan.js';

/** The indexes of the batches that change a number which others change too, by its row. */
export function numberRuns(batches: readonly Batch[]): readonly (readonly number[])[] {
  const byRow = new Map<string, number[]>();
  for (const [index, batch] of batches.entries()) {
    const change = numberChangeOf(batch);
    if (change === undefined) continue;
    const row = lockNameOf(batch.database, change.address);
    const run = byRow.get(row);
    if (run === undefined) byRow.set(row, [index]);
    else run.push(index);
  }
  return [...byRow.values()].filter(({ length }) => length > 1);
}

export class NumberRuns {
  readonly #statement: ReturnType<typeof changeNumber>;

  constructor(dialect: Dialect) {
    this.#statement = changeNumber(dialect);
  }

  /** Decides all items of a run, or none: the row may be absent, or no number. */
  request(items: readonly Item[], lockMs: number): Request {
    const changes = items.map(({ batch }) => numberChangeOf(batch) as NumericChange);
    const { database } = (items[0] as Item).batch;
    const { container, entity, key } = (changes[0] as NumericChange).address;
    return {
      statement: this.#statement,
      parameters: [
        String(lockMs),
        database,
        container,
        entity,
        key,
        changes.map(({ kind }) => actCode[kind]),
        changes.map(({ operand }) => operand.toString()),
        sparse(changes.map(({ floor }) => floor?.toString() ?? null)),
        sparse(changes.map(({ ceiling }) => ceiling?.toString() ?? null)),
        items.map(({ batch }) => batch.version),
      ],
      accept: (lines) => {
        for (const [i, ok, number, time, expires] of lines) {
          const place = Number(i) - 1;
          const { address } = changes[place] as NumericChange;
          (items[place] as Item).result =
            ok === 't'
              ? committedRow(true, time, expires, number)
              : { outcome: 'refused', address, reason: 'range' };
        }
      },
    };
  }
}

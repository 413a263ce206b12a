/**
 * Counters of a commit with an idempotency key. Its record keeps the numbers after the commit, so
 * that a repeat returns them. The record is written in the same batch, so the numbers must be known
 * before: the counters are read, and the batch checks the numbers that were read.
 */
import { Participant, type ObservedRows, type Verdict } from '../commit/participant.js';
import type { Contribution } from '../commit/commit.js';
import type { StorageAccess } from '../commit/storage-access.js';
import { calculateNumber } from '../port/evaluate-batch.js';
import { rowNameOf } from '../port/row-name.js';
import type { Address, Check } from '../port/storage-provider.js';
import type { CounterChange, CounterRows } from './counter-rows.js';

/** A counter, its change, and its number after the change once that is known. */
export interface CountedRow {
  readonly rows: Pick<CounterRows<number | bigint>, 'refusal' | 'valueOf'>;
  readonly change: CounterChange;
  number: bigint | undefined;
}

export class CounterParticipant extends Participant {
  readonly access: StorageAccess;
  readonly database: string;
  readonly what = 'counter';
  readonly subject: string;
  readonly reads: readonly Address[];
  readonly #counted: readonly CountedRow[];
  #checks: readonly Check[] | undefined;

  constructor(access: StorageAccess, database: string, counted: readonly CountedRow[]) {
    super();
    this.access = access;
    this.database = database;
    this.reads = counted.map(({ change }) => change.address);
    this.subject = `counters ${this.reads.map(rowNameOf).join(' ')}`;
    this.#counted = counted;
  }

  prepare(): undefined {
    // the operands are known
  }

  contribution(): Contribution | undefined {
    const checks = this.#checks;
    return checks === undefined ? undefined : { checks, changes: this.#counted.map(({ change }) => change) };
  }

  content(): unknown {
    return this.subject;
  }

  evaluate({ rows }: ObservedRows): Verdict {
    const checks: Check[] = [];
    for (const [index, counted] of this.#counted.entries()) {
      const { change } = counted;
      const row = rows[index];
      const number = calculateNumber(change, row);
      if (typeof number === 'string')
        return { outcome: 'reject', error: counted.rows.refusal(change.address, number) };
      counted.number = number;
      const before = row?.value.kind === 'number' ? row.value.number : undefined;
      checks.push({
        address: change.address,
        expected: before === undefined ? 'absent' : { number: before },
      });
    }
    this.#checks = checks;
    return { outcome: 'proceed' };
  }
}

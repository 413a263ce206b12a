/**
 * Commits batches inside the caller's transaction, one after the other, each whole or not at all. A
 * statement that the server refuses is undone, and the transaction goes on: when another session
 * has created a row first, the statement runs again.
 */
import {
  decodeKey,
  describeExpected,
  storageError,
  type Batch,
  type CommitResult,
  type StorageError,
} from '@kvent/key-value-storage/provider';
import {
  commitErrorOf,
  hasFormerBase,
  isRace,
  mayRunAgain,
  refusalOf,
  standsBefore,
  unavailable,
} from '../connections/failure.js';
import type { Framing } from '../connections/scope.js';
import { addressColumns } from '../sql/array-parameters.js';
import type { Columns } from '../sql/decode-row.js';
import { refuseLaterRows } from '../sql/feed-statements.js';
import { findHeldRows } from '../sql/lock-wait-statements.js';
import type { Dialect, Statement } from '../sql/statement.js';
import { generalPlan, isInFeed } from './general-plan.js';
import type { Item, Plan } from './plan.js';
import { renewPlan } from './renew-plan.js';

const attemptsMax = 10;

interface TransactionCommitterOptions {
  readonly name: string;
  /** Undoes what the server refuses. `checks`: statements that undo it too, by failing. */
  readonly run: (
    statement: Statement,
    parameters: readonly unknown[],
    checks?: readonly Framing[],
  ) => Promise<readonly Columns[]>;
  readonly dialect: Dialect;
  /** The committer with the base that the feed has now. */
  readonly present: () => Promise<TransactionCommitter>;
  /** The time of a given clock, as the last parameter of a statement. */
  readonly time: () => readonly number[];
}

export class TransactionCommitter {
  readonly #options: TransactionCommitterOptions;
  readonly #general: Plan;
  readonly #renew: Plan;
  readonly #findHeld: Statement;
  readonly #refuseLater: Statement;

  constructor(options: TransactionCommitterOptions) {
    this.#options = options;
    this.#general = generalPlan(options.dialect);
    this.#findHeld = findHeldRows(options.dialect);
    this.#refuseLater = refuseLaterRows(options.dialect);
    this.#renew = renewPlan(options.dialect, options.name);
  }

  async commit(batches: readonly Batch[]): Promise<readonly CommitResult[]> {
    const results: CommitResult[] = [];
    for (const batch of batches) results.push(await this.#commit(batch));
    return results;
  }

  async #commit(batch: Batch): Promise<CommitResult> {
    try {
      if (batch.noWait === true && this.#renew.parse(batch) === undefined) await this.#assertFree(batch);
      let send = async (): Promise<CommitResult> => await this.#send(batch);
      for (let attempt = 1; ; attempt += 1)
        try {
          return await send();
        } catch (error) {
          const isFormer = hasFormerBase(error);
          if ((!isFormer && !isRace(error)) || attempt === attemptsMax) throw error;
          if (!isFormer) continue;
          const present = await this.#options.present();
          send = async () => await present.#send(batch);
        }
    } catch (error) {
      return { outcome: 'failed', error: this.#failure(error, batch) };
    }
  }

  async #send(batch: Batch): Promise<CommitResult> {
    const renewal = this.#renew.parse(batch);
    const item: Item = renewal ?? { batch, result: undefined };
    const { statement, parameters, accept } = (renewal ? this.#renew : this.#general).request([item], null);
    const { run, time } = this.#options;
    accept(await run(statement, [...parameters, ...time()], this.#checksOf(batch)));
    return item.result as CommitResult;
  }

  /** Rejects when a row of the batch is held, or absent: another transaction may be creating it. */
  async #assertFree({ database, checks, changes }: Batch): Promise<void> {
    const addresses = [...checks, ...changes].map(({ address }) => ({ database, ...address }));
    const held = await this.#options.run(this.#findHeld, addressColumns(addresses));
    if (held.length > 0) throw unavailable(`${this.#options.name}: a row is held by another transaction`);
  }

  /**
   * That no row of the batch stands in the feed before one that it follows: this transaction may
   * have begun before the one that wrote that.
   */
  #checksOf({ database, version, changes }: Batch): readonly Framing[] {
    const written = new Map(
      changes
        .filter(isInFeed)
        .map(({ address }) => [`${address.container}\0${address.entity}`, { database, ...address }]),
    );
    if (written.size === 0) return [];
    const versions = [...written].map(() => version);
    return [[this.#refuseLater, [...addressColumns([...written.values()]), versions]]];
  }

  /**
   * Nothing takes effect before the caller's commit. A serialization failure or a deadlock has
   * ended the transaction: run again, it may succeed.
   */
  #failure(error: unknown, batch: Batch): StorageError {
    const isLate = standsBefore(error);
    if (!isLate && !mayRunAgain(error)) return commitErrorOf(error, this.#options.name, 'read');
    const [check] = batch.checks;
    const address = check?.address ?? batch.changes[0]?.address;
    const reason = isLate
      ? 'another transaction that began later has written what this one would follow'
      : `another session changed rows of this transaction (SQLSTATE ${refusalOf(error) ?? ''})`;
    const message = `${this.#options.name}: ${reason}; roll back, and run it again.`;
    const expected = check === undefined ? 'unchanged' : describeExpected(check.expected);
    return storageError('STORAGE_CONFLICT', message, {
      key: address === undefined ? '' : (decodeKey(address.key) ?? address.key),
      expected,
      actual: undefined,
      check: 'own',
    });
  }
}

/**
 * Batches inside the caller's transaction, one after the other, each whole or not at all. What may
 * create a row runs behind a savepoint: when a rival creates it meanwhile, the statement is undone
 * and judges again, and the transaction goes on.
 */
import {
  decodeKey,
  describeExpected,
  storageError,
  type Batch,
  type CommitResult,
  type StorageError,
} from '@kvent/key-value-storage/provider';
import type { Session } from '../connections/session.js';
import { errorOf, mayRunAgain, refusalOf } from '../connections/failure.js';
import { changeRows } from '../sql/general-statement.js';
import { statement, type Dialect, type Statement } from '../sql/statement.js';
import { renewRows } from '../sql/renew-rows.js';
import { changeParameters, changeResults, elementsOf } from './change-parameters.js';
import { renewalOf, renewalParameters, renewalResults } from './renew-parameters.js';
import { rowOf } from './row-order.js';

const attemptsMax = 10;
const savepoint = statement('savepoint', 'savepoint kvent');
const release = statement('release', 'release savepoint kvent');
const undo = statement('undo', 'rollback to savepoint kvent');

interface TransactionCommitterOptions {
  readonly name: string;
  readonly session: Session;
  readonly dialect: Dialect;
  readonly time: () => readonly number[];
}

export class TransactionCommitter {
  readonly #options: TransactionCommitterOptions;
  readonly #change: Statement;
  readonly #renew: Statement;

  constructor(options: TransactionCommitterOptions) {
    this.#options = options;
    this.#change = changeRows(options.dialect);
    this.#renew = renewRows(options.dialect);
  }

  async commit(batches: readonly Batch[]): Promise<readonly CommitResult[]> {
    const results: CommitResult[] = [];
    for (const batch of batches) results.push(await this.#commit(batch));
    return results;
  }

  async #commit(batch: Batch): Promise<CommitResult> {
    try {
      if (!mayCreate(batch)) return await this.#send(batch);
      for (let attempt = 1; ; attempt += 1) {
        await this.#run(savepoint, []);
        try {
          const result = await this.#send(batch);
          await this.#run(release, []);
          return result;
        } catch (error) {
          if (!isRace(error) || attempt === attemptsMax) throw error;
          await this.#run(undo, []);
        }
      }
    } catch (error) {
      return { outcome: 'failed', error: this.#failure(error, batch) };
    }
  }

  async #send(batch: Batch): Promise<CommitResult> {
    const renewal = renewalOf(batch, 0);
    if (renewal !== undefined) {
      const lines = await this.#run(this.#renew, [...renewalParameters([renewal]), ...this.#options.time()]);
      return renewalResults(lines, [renewal], this.#options.name).get(renewal) as CommitResult;
    }
    const elements = elementsOf([batch]);
    const lines = await this.#run(this.#change, [
      null,
      ...changeParameters(elements, [batch]),
      ...this.#options.time(),
    ]);
    return changeResults(lines, elements, [batch])[0] as CommitResult;
  }

  async #run(given: Statement, parameters: readonly unknown[]) {
    return await this.#options.session.run(given, parameters, 'read');
  }

  /**
   * Nothing takes effect before the caller's commit. A serialization failure or a deadlock has
   * ended the transaction: who runs it again may succeed.
   */
  #failure(error: unknown, batch: Batch): StorageError {
    if (!mayRunAgain(error)) return errorOf(error, this.#options.name, 'read');
    const [check] = batch.checks;
    const address = check?.address ?? batch.changes[0]?.address;
    const message = `${this.#options.name}: another session changed rows of this transaction (SQLSTATE ${refusalOf(error) ?? ''}); roll back, and run it again.`;
    const expected = check === undefined ? 'unchanged' : describeExpected(check.expected);
    return storageError('STORAGE_CONFLICT', message, {
      key: address === undefined ? '' : (decodeKey(address.key) ?? address.key),
      expected,
      actual: undefined,
      check: 'own',
    });
  }
}

/** A rival created a row; serialization failures say the same of the whole transaction. */
const isRace = (error: unknown): boolean => mayRunAgain(error) && refusalOf(error) === '22P02';

/** Whether a row that is absent may be created, or its absence be held. */
function mayCreate({ checks, changes }: Batch): boolean {
  const present = new Set(
    checks.filter(({ expected }) => expected !== 'absent').map(({ address }) => rowOf(address)),
  );
  return (
    checks.some(({ expected }) => expected === 'absent') ||
    changes.some(({ kind, address }) => kind !== 'delete' && kind !== 'renew' && !present.has(rowOf(address)))
  );
}

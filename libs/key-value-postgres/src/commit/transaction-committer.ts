/**
 * Commits batches inside the caller's transaction, one after the other, each whole or not at all. A
 * batch that may create a row runs behind a savepoint: when another session creates that row first,
 * the statement is undone and runs again, and the transaction goes on.
 */
import { rowNameOf } from '@kvent/key-value-storage/internal';
import {
  decodeKey,
  describeExpected,
  storageError,
  type Batch,
  type CommitResult,
  type StorageError,
} from '@kvent/key-value-storage/provider';
import { errorOf, mayRunAgain, refusalOf, unavailable } from '../connections/failure.js';
import type { Session } from '../connections/session.js';
import { addressColumns } from '../sql/array-parameters.js';
import { findLaterRows } from '../sql/feed-statements.js';
import { findHeldRows } from '../sql/lock-wait-statements.js';
import { statement, type Dialect, type Statement } from '../sql/statement.js';
import { generalPlan, isInFeed } from './general-plan.js';
import type { Item, Plan } from './plan.js';
import { renewPlan } from './renew-plan.js';

const attemptsMax = 10;
const savepoint = statement('savepoint', 'savepoint kvent');
const release = statement('release', 'release savepoint kvent');
const undo = statement('undo', 'rollback to savepoint kvent');

interface TransactionCommitterOptions {
  readonly name: string;
  readonly session: Session;
  readonly dialect: Dialect;
  /** The time of a given clock, as the last parameter of a statement. */
  readonly time: () => readonly number[];
}

export class TransactionCommitter {
  readonly #options: TransactionCommitterOptions;
  readonly #general: Plan;
  readonly #renew: Plan;
  readonly #findHeld: Statement;
  readonly #findLater: Statement;

  constructor(options: TransactionCommitterOptions) {
    this.#options = options;
    this.#general = generalPlan(options.dialect);
    this.#findHeld = findHeldRows(options.dialect);
    this.#findLater = findLaterRows(options.dialect);
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
      if (!mayCreate(batch)) return await this.#send(batch);
      for (let attempt = 1; ; attempt += 1) {
        await this.#run(savepoint, []);
        try {
          const result = await this.#send(batch);
          if (result.outcome === 'committed') await this.#assertBehind(batch);
          await this.#run(release, []);
          return result;
        } catch (error) {
          const isLate = error instanceof StandsBefore;
          if (!isLate && (!isRace(error) || attempt === attemptsMax)) throw error;
          await this.#run(undo, []);
          if (isLate) throw error;
        }
      }
    } catch (error) {
      return { outcome: 'failed', error: this.#failure(error, batch) };
    }
  }

  async #send(batch: Batch): Promise<CommitResult> {
    const renewal = this.#renew.parse(batch);
    const item: Item = renewal ?? { batch, result: undefined };
    const { statement, parameters, accept } = (renewal ? this.#renew : this.#general).request([item], null);
    accept(await this.#run(statement, [...parameters, ...this.#options.time()]));
    return item.result as CommitResult;
  }

  /** Rejects when a row of the batch is held, or absent: another transaction may be creating it. */
  async #assertFree({ database, checks, changes }: Batch): Promise<void> {
    const addresses = [...checks, ...changes].map(({ address }) => ({ database, ...address }));
    const held = await this.#run(this.#findHeld, addressColumns(addresses));
    if (held.length > 0) throw unavailable(`${this.#options.name}: a row is held by another transaction`);
  }

  /**
   * Rejects when a row of the batch stands in the feed before one that it follows: this transaction
   * began before the one that wrote that. Asked after the write, with the rows of the batch held.
   */
  async #assertBehind({ database, changes }: Batch): Promise<void> {
    const spaces = new Map(
      changes
        .filter(isInFeed)
        .map(({ address: { container, entity } }) => [
          `${container}\0${entity}`,
          { database, container, entity, key: '' },
        ]),
    );
    if (spaces.size === 0) return;
    const [databases, containers, entities] = addressColumns([...spaces.values()]);
    const later = await this.#run(this.#findLater, [databases, containers, entities]);
    if (later.length > 0) throw new StandsBefore();
  }

  async #run(statement: Statement, parameters: readonly unknown[]) {
    return await this.#options.session.run(statement, parameters, 'read');
  }

  /**
   * Nothing takes effect before the caller's commit. A serialization failure or a deadlock has
   * ended the transaction: run again, it may succeed.
   */
  #failure(error: unknown, batch: Batch): StorageError {
    const isLate = error instanceof StandsBefore;
    if (!isLate && !mayRunAgain(error)) return errorOf(error, this.#options.name, 'read');
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

/** A row would stand in the feed before one that it follows. */
class StandsBefore extends Error {}

/** Another session created a row. Serialization failures end the whole transaction. */
const isRace = (error: unknown): boolean => mayRunAgain(error) && refusalOf(error) === '22P02';

/** Whether a row that is absent may be created, or its absence be held. */
function mayCreate({ checks, changes }: Batch): boolean {
  const present = new Set(
    checks.filter(({ expected }) => expected !== 'absent').map(({ address }) => rowNameOf(address)),
  );
  return (
    checks.some(({ expected }) => expected === 'absent') ||
    changes.some(
      ({ kind, address }) => kind !== 'delete' && kind !== 'renew' && !present.has(rowNameOf(address)),
    )
  );
}

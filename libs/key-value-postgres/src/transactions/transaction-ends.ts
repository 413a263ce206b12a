/**
 * Work that waits for the commit of a transaction. TypeORM reports the end of each transaction, and
 * of each savepoint that it made, to the subscribers of the data source. It reports no savepoint
 * that the application made by SQL.
 */
import type { DataSource, EntitySubscriberInterface, QueryRunner } from 'typeorm';
import { beginTransaction, trackTransactions } from './open-transactions.js';

interface Waiting {
  /** Of nested transactions: 1 for the outermost. */
  depth: number;
  readonly work: () => void;
}

export class TransactionEnds {
  readonly #source: DataSource;
  readonly #waiting = new WeakMap<QueryRunner, readonly Waiting[]>();
  readonly #subscriber: EntitySubscriberInterface;

  constructor(source: DataSource) {
    trackTransactions();
    this.#source = source;
    this.#subscriber = {
      beforeTransactionStart: ({ queryRunner }) => {
        if (depthOf(queryRunner) > 0) return;
        this.#waiting.delete(queryRunner);
        beginTransaction(queryRunner);
      },
      afterTransactionCommit: ({ queryRunner }) => this.#committed(queryRunner),
      afterTransactionRollback: ({ queryRunner }) => this.#rolledBack(queryRunner),
    };
    this.#subscribers.push(this.#subscriber);
  }

  /** Runs the work after the commit of the current transaction of the runner. */
  afterCommit(runner: QueryRunner, work: () => void): void {
    const waiting = this.#waiting.get(runner) ?? [];
    this.#waiting.set(runner, [...waiting, { depth: depthOf(runner), work }]);
  }

  close(): void {
    const index = this.#subscribers.indexOf(this.#subscriber);
    if (index >= 0) this.#subscribers.splice(index, 1);
  }

  #committed(runner: QueryRunner): void {
    const waiting = this.#waiting.get(runner);
    if (waiting === undefined) return;
    const depth = depthOf(runner);
    if (depth > 0) {
      // the work of a released savepoint belongs to the transaction around it
      for (const each of waiting) each.depth = Math.min(each.depth, depth);
      return;
    }
    this.#waiting.delete(runner);
    for (const { work } of waiting) work();
  }

  #rolledBack(runner: QueryRunner): void {
    const waiting = this.#waiting.get(runner);
    const depth = depthOf(runner);
    if (depth === 0) this.#waiting.delete(runner);
    else if (waiting !== undefined)
      this.#waiting.set(
        runner,
        waiting.filter((each) => each.depth <= depth),
      );
  }

  get #subscribers(): EntitySubscriberInterface[] {
    return this.#source.subscribers;
  }
}

/** After the end of a transaction, that of the one around it. */
const depthOf = (runner: QueryRunner): number =>
  runner.isTransactionActive
    ? (runner as QueryRunner & { readonly transactionDepth: number }).transactionDepth
    : 0;

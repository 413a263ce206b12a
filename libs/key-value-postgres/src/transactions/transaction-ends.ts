/**
 * Work that waits for the commit of a transaction, and calls that must not outlive their own.
 * TypeORM reports the beginning and the end of each transaction, and of each savepoint that it
 * makes, to the subscribers of the data source: before it sends them, which it does once they have
 * resolved, and after. It reports no savepoint that the application made by SQL.
 */
import { storageError } from '@kvent/key-value-storage/provider';
import type { DataSource, EntitySubscriberInterface, QueryRunner } from 'typeorm';
import type { Client } from '../connections/connection.js';
import { hasFailed } from '../connections/failed-transaction.js';
import { beginTransaction, trackTransactions } from './open-transactions.js';
import { TransactionCalls } from './transaction-calls.js';

interface Waiting {
  /** Of nested transactions: 1 for the outermost. */
  depth: number;
  readonly work: () => void;
}

/** Work with a name is dropped while so much waits: a transaction may read any number of rows. */
const waitingMax = 10_000;

export class TransactionEnds {
  readonly #source: DataSource;
  /** By the name of the work, in the order of the calls. */
  readonly #waiting = new WeakMap<QueryRunner, Map<string | symbol, Waiting>>();
  readonly #subscriber: EntitySubscriberInterface;

  constructor(source: DataSource) {
    trackTransactions();
    this.#source = source;
    this.#subscriber = {
      beforeTransactionStart: async ({ queryRunner }) => {
        const isNested = depthOf(queryRunner) > 0;
        if (!isNested) {
          this.#waiting.delete(queryRunner);
          beginTransaction(queryRunner);
        }
        await TransactionCalls.of(queryRunner).begins(isNested);
      },
      afterTransactionStart: ({ queryRunner }) => TransactionCalls.of(queryRunner).changed(),
      beforeTransactionCommit: async ({ queryRunner }) => {
        const calls = TransactionCalls.of(queryRunner);
        await calls.commits();
        if (calls.isJoined && (await hasFailed((await queryRunner.connect()) as Client)))
          throw failedEarlier();
      },
      afterTransactionCommit: ({ queryRunner }) => this.#committed(queryRunner),
      beforeTransactionRollback: ({ queryRunner }) => TransactionCalls.of(queryRunner).rollsBack(),
      afterTransactionRollback: ({ queryRunner }) => {
        TransactionCalls.of(queryRunner).changed();
        this.#rolledBack(queryRunner);
      },
    };
    // first, so that calls of the application's own subscribers find what they follow
    this.#subscribers.unshift(this.#subscriber);
  }

  /**
   * Runs the work after the commit of the current transaction of the runner. Work with a name is
   * dropped where work of this name waits, and where 10,000 wait.
   */
  afterCommit(runner: QueryRunner, work: () => void, name?: string): void {
    const waiting = this.#waiting.get(runner) ?? new Map<string | symbol, Waiting>();
    this.#waiting.set(runner, waiting);
    if (name !== undefined && (waiting.has(name) || waiting.size >= waitingMax)) return;
    waiting.set(name ?? Symbol('unnamed'), { depth: depthOf(runner), work });
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
      for (const each of waiting.values()) each.depth = Math.min(each.depth, depth);
      return;
    }
    this.#waiting.delete(runner);
    for (const { work } of waiting.values()) work();
  }

  #rolledBack(runner: QueryRunner): void {
    const waiting = this.#waiting.get(runner);
    const depth = depthOf(runner);
    if (depth === 0) this.#waiting.delete(runner);
    else for (const [name, each] of waiting ?? []) if (each.depth > depth) waiting?.delete(name);
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

/** TypeORM throws it on: its commit would have been a rollback without an error. */
const failedEarlier = (): Error =>
  storageError(
    'STORAGE_CONFLICT',
    'The transaction cannot be committed: one of its statements has failed, and ended it. Roll back, and run it again as a whole.',
    { key: '', expected: 'unchanged', actual: undefined, check: 'own' },
  );

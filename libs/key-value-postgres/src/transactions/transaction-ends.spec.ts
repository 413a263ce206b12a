import { describe, expect, it } from '@jest/globals';
import type { DataSource, EntitySubscriberInterface, QueryRunner } from 'typeorm';
import { TransactionEnds } from './transaction-ends.js';

/** A runner, whose transactions and savepoints end as TypeORM reports it. */
function openTransaction() {
  const subscribers: EntitySubscriberInterface[] = [];
  const ends = new TransactionEnds({ subscribers } as unknown as DataSource);
  const runner = { isTransactionActive: true, transactionDepth: 1 };
  const queryRunner = runner as unknown as QueryRunner;
  const end = (how: 'Commit' | 'Rollback'): void => {
    runner.transactionDepth -= 1;
    runner.isTransactionActive = runner.transactionDepth > 0;
    for (const subscriber of subscribers)
      void subscriber[`afterTransaction${how}`]?.({ queryRunner } as never);
  };
  const done: string[] = [];
  const after = (what: string, name?: string): void =>
    ends.afterCommit(queryRunner, () => void done.push(what), name);
  return { runner, end, done, after };
}

describe('Work after the commit of a transaction', () => {
  it('is kept once for each name, and runs in the order of the calls', () => {
    const { end, done, after } = openTransaction();
    after('first', 'a');
    after('unnamed');
    after('again', 'a');
    after('unnamed');
    after('second', 'b');
    expect(done).toEqual([]);
    end('Commit');
    expect(done).toEqual(['first', 'unnamed', 'unnamed', 'second']);
  });

  it('waits again when a savepoint that had it is rolled back, not when it is released', () => {
    const { runner, end, done, after } = openTransaction();
    runner.transactionDepth = 2;
    after('rolled back', 'a');
    end('Rollback');
    runner.transactionDepth = 2;
    after('released', 'a');
    end('Commit');
    after('too late', 'a');
    end('Commit');
    expect(done).toEqual(['released']);
  });

  it('is dropped where 10,000 wait, if it has a name', () => {
    const { end, done, after } = openTransaction();
    for (let n = 0; n < 10_001; n += 1) after('named', `${n}`);
    after('unnamed');
    end('Commit');
    expect([done.length, done.at(-1)]).toEqual([10_001, 'unnamed']);
  });
});

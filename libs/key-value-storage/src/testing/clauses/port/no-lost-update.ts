/**
 * Law 3, no lost update: of several concurrent writes that check the same version exactly one
 * succeeds. The check and the write must be one step of the engine: a row lock, a conditional
 * statement or a compare-and-set. A read followed by a write fails here.
 */
import assert from 'node:assert/strict';
import type { Address, CommitResult } from '../../../provider.js';
import { calculatesOutside, changesBatches, commitOne, replacesCommit } from '../../kit/broken-providers.js';
import type { Clause } from '../../kit/clause.js';
import type { Subject } from '../../kit/subject.js';
import { outcomes, concurrently } from '../../kit/assertions.js';
import { check, max, min, number, put, remove, sum } from '../../kit/batches.js';

const law = 3;

/** Evaluates the checks in a read before the commit, so a write in between is lost. */
const checksFirst = (fault: string) =>
  replacesCommit(fault, async (batch, provider) => {
    const { rows } = await provider.read(
      batch.checks.map(({ address }) => ({ ...address, database: batch.database })),
    );
    const failed = batch.checks.findIndex(({ expected }, index) => {
      const row = rows[index];
      if (expected === 'absent') return row !== undefined;
      if (expected === 'present' || row === undefined) return row === undefined;
      return 'version' in expected
        ? row.version !== expected.version
        : row.value.kind !== 'number' || row.value.number !== expected.number;
    });
    const missed = batch.checks[failed];
    if (missed !== undefined) return { outcome: 'conflict', ...missed, actual: rows[failed]?.version };
    return await commitOne(provider, { ...batch, checks: [] });
  });

/** Reads, increments and writes one number, again after each conflict. */
async function increment(subject: Subject, key: string): Promise<void> {
  const address = subject.address(key);
  for (let attempt = 0; ; attempt += 1) {
    assert.ok(attempt <= 100, 'no writer makes progress');
    const row = await subject.readRow(address);
    const old = row?.value.kind === 'json' ? Number(row.value.text) : 0;
    const result = await subject.commit({
      checks: [check(address, row?.version ?? 'absent')],
      changes: [put(address, String(old + 1))],
    });
    if (result.outcome === 'committed') return;
    assert.equal(result.outcome, 'conflict', 'a late write must be a conflict');
  }
}

export const noLostUpdateClauses: readonly Clause[] = [
  {
    name: 'Of 50 concurrent creations of one row, exactly one succeeds, and every other is a conflict with its version.',
    law,
    broken: checksFirst('checks before the commit whether a row is absent'),
    async run(subject) {
      const address = subject.address('one');
      const versions = Array.from({ length: 50 }, () => subject.nextVersion());
      const results = await concurrently(50, (index) =>
        subject.commit({
          version: versions[index] as string,
          checks: [check(address, 'absent')],
          changes: [put(address, String(index))],
        }),
      );
      await assertOneCommitted(subject, results, versions);
    },
  },
  {
    name: 'Of 100 concurrent writes that check the same version, exactly one succeeds, and every other is a conflict with the new version.',
    law,
    broken: checksFirst('compares versions before the commit'),
    async run(subject) {
      const address = subject.address('one');
      const seen = await subject.putRow(address, '"seen by all"');
      const versions = Array.from({ length: 100 }, () => subject.nextVersion());
      const results = await concurrently(100, (index) =>
        subject.commit({
          version: versions[index] as string,
          checks: [check(address, seen)],
          changes: [put(address, String(index))],
        }),
      );
      await assertOneCommitted(subject, results, versions);
    },
  },
  {
    name: 'Of 50 concurrent writes that check the same number, exactly one succeeds.',
    law,
    broken: checksFirst('compares numbers before the commit'),
    async run(subject) {
      const address = subject.address('one');
      await subject.putRow(address, number(7));
      const results = await concurrently(50, () =>
        subject.commit({ checks: [check(address, 7n)], changes: [sum(address, 1)] }),
      );
      assert.deepEqual(outcomes(results), { committed: 1, conflict: 49 });
      assert.equal(await subject.readNumber(address), 8n);
    },
  },
  {
    name: 'Of 50 concurrent deletes that check the same version, exactly one succeeds.',
    law,
    broken: checksFirst('checks before the commit whether a deleted row is present'),
    async run(subject) {
      const address = subject.address('one');
      await subject.putRow(address, '"one"');
      const results = await concurrently(50, () =>
        subject.commit({ checks: [check(address, 'present')], changes: [remove(address)] }),
      );
      assert.deepEqual(outcomes(results), { committed: 1, conflict: 49 });
      assert.equal(await subject.readRow(address), undefined);
    },
  },
  {
    name: 'After a delete, exactly one of 50 concurrent creations of the row succeeds.',
    law,
    broken: checksFirst('creates a row twice after it was deleted'),
    async run(subject) {
      const address = subject.address('one');
      await subject.putRow(address, '"old"');
      await subject.mustCommit({ changes: [remove(address)] });
      const results = await concurrently(50, (index) =>
        subject.commit({ checks: [check(address, 'absent')], changes: [put(address, String(index))] }),
      );
      assert.deepEqual(outcomes(results), { committed: 1, conflict: 49 });
    },
  },
  {
    name: 'A hundred concurrent increments add exactly a hundred, and each returns a different number.',
    law,
    broken: calculatesOutside('reads a number, adds to it and writes it back'),
    async run(subject) {
      const address = subject.address('count');
      const results = await concurrently(100, () => subject.mustCommit({ changes: [sum(address, 1)] }));
      assert.equal(await subject.readNumber(address), 100n);
      const numbers = results.map(({ rows }) => Number(rows[0]?.number)).sort((a, b) => a - b);
      assert.deepEqual(
        numbers,
        Array.from({ length: 100 }, (_, index) => index + 1),
      );
    },
  },
  {
    name: 'Fifty concurrent maxima of one number leave the highest, and fifty minima the lowest.',
    law,
    broken: calculatesOutside('compares a number with an earlier value'),
    async run(subject) {
      const [high, low] = [subject.address('high'), subject.address('low')];
      // the extremes come first, so that a decision by an old number overwrites them
      await concurrently(50, (index) =>
        subject.mustCommit({ changes: [max(high, 50 - index), min(low, index - 50)] }),
      );
      assert.deepEqual([await subject.readNumber(high), await subject.readNumber(low)], [50n, -50n]);
    },
  },
  {
    name: 'Ten concurrent writers that read, change and write one row ten times each, with retries after conflicts, lose no update.',
    law,
    broken: changesBatches('does not compare versions', (batch) => ({
      ...batch,
      checks: batch.checks.filter(({ expected }) => typeof expected === 'string'),
    })),
    async run(subject) {
      await concurrently(10, async () => {
        for (let round = 0; round < 10; round += 1) await increment(subject, 'shared');
      });
      assert.equal(await subject.readText(subject.address('shared')), '100');
    },
  },
  {
    name: 'A hundred concurrent transfers between ten accounts keep the sum of all, and each account above zero.',
    law,
    broken: changesBatches('compares the version of the first row only', (batch) => ({
      ...batch,
      checks: batch.checks.slice(0, 1),
    })),
    async run(subject) {
      const accounts = Array.from({ length: 10 }, (_, index) => subject.address(`account-${index}`));
      await subject.mustCommit({ changes: accounts.map((account) => put(account, '100')) });
      await concurrently(100, (index) =>
        transfer(subject, accounts[index % 10] as Address, accounts[(index * 7 + 3) % 10] as Address, 30),
      );
      const { rows } = await subject.provider.read(accounts);
      const balances = rows.map((row) => (row?.value.kind === 'json' ? Number(row.value.text) : Number.NaN));
      assert.equal(
        balances.reduce((total, balance) => total + balance, 0),
        1_000,
      );
      assert.ok(balances.every((balance) => balance >= 0));
    },
  },
  {
    name: 'Of two concurrent batches that each change one row and check the other’s version, one conflicts.',
    law,
    broken: changesBatches('ignores the checks of rows that a batch does not change', (batch) => ({
      ...batch,
      checks: batch.checks.filter(({ address }) =>
        batch.changes.some((change) => change.address.key === address.key),
      ),
    })),
    async run(subject) {
      for (let round = 0; round < 10; round += 1) {
        const [left, right] = [subject.address(`left-${round}`), subject.address(`right-${round}`)];
        const [seenLeft, seenRight] = [
          await subject.putRow(left, '"on duty"'),
          await subject.putRow(right, '"on duty"'),
        ];
        const results = await Promise.all([
          subject.commit({ checks: [check(right, seenRight)], changes: [put(left, '"off"')] }),
          subject.commit({ checks: [check(left, seenLeft)], changes: [put(right, '"off"')] }),
        ]);
        assert.deepEqual(outcomes(results), { committed: 1, conflict: 1 });
      }
    },
  },
  {
    name: 'Of two concurrent batches that each create one row and check that the other is absent, one conflicts.',
    law,
    broken: changesBatches('ignores the checks of absent rows', (batch) => ({
      ...batch,
      checks: batch.checks.filter(({ expected }) => expected !== 'absent'),
    })),
    async run(subject) {
      for (let round = 0; round < 10; round += 1) {
        const [left, right] = [subject.address(`left-${round}`), subject.address(`right-${round}`)];
        const results = await Promise.all([
          subject.commit({ checks: [check(right, 'absent')], changes: [put(left, '1')] }),
          subject.commit({ checks: [check(left, 'absent')], changes: [put(right, '1')] }),
        ]);
        assert.deepEqual(outcomes(results), { committed: 1, conflict: 1 });
      }
    },
  },
];

/** One transfer, again after each conflict; nothing when the balance is too low. */
async function transfer(subject: Subject, from: Address, to: Address, amount: number): Promise<void> {
  for (let attempt = 0; ; attempt += 1) {
    assert.ok(attempt <= 100, 'no writer makes progress');
    const { rows } = await subject.provider.read([from, to]);
    const [source, target] = rows.map((row) =>
      row?.value.kind === 'json' ? { version: row.version, balance: Number(row.value.text) } : undefined,
    );
    if (source === undefined || target === undefined) return assert.fail('an account is missing');
    if (source.balance < amount || from.key === to.key) return;
    const result = await subject.commit({
      checks: [check(from, source.version), check(to, target.version)],
      changes: [put(from, String(source.balance - amount)), put(to, String(target.balance + amount))],
    });
    if (result.outcome === 'committed') return;
  }
}

async function assertOneCommitted(
  subject: Subject,
  results: readonly CommitResult[],
  versions: readonly string[],
): Promise<void> {
  assert.deepEqual(outcomes(results), { committed: 1, conflict: results.length - 1 });
  const committed = results.findIndex(({ outcome }) => outcome === 'committed');
  const row = await subject.readRow(subject.address('one'));
  assert.equal(row?.version, versions[committed], 'the row must have the version of the committed batch');
  for (const result of results)
    if (result.outcome === 'conflict') assert.equal(result.actual, versions[committed]);
}

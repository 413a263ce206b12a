/**
 * Law 4, etags: each kind of check, when it is met, and what a conflict reports. All optimistic
 * concurrency is built from these checks. A conflict must carry the current version, so that the
 * caller knows what it lost against without another read.
 */
import assert from 'node:assert/strict';
import type { Check } from '../../../provider.js';
import { breaks, changesResults, changesBatches, commitOne } from '../../kit/broken-providers.js';
import type { Clause } from '../../kit/clause.js';
import { bytes, check, number, put, remove, sum } from '../../kit/batches.js';

const law = 4;

/** Evaluates changed checks. */
const changesChecks = (fault: string, change: (check: Check) => Check | undefined) =>
  changesBatches(fault, (batch) => ({
    ...batch,
    checks: batch.checks.flatMap((each) => change(each) ?? []),
  }));

export const checkClauses: readonly Clause[] = [
  {
    name: 'A check for another version is a conflict that names the current version, and changes nothing.',
    law,
    broken: changesResults('swaps the expected and the actual version', (result) =>
      result.outcome === 'conflict' && typeof result.expected === 'object' && 'version' in result.expected
        ? { ...result, actual: result.expected.version, expected: { version: result.actual ?? '' } }
        : result,
    ),
    async run(subject) {
      const address = subject.address('one');
      const old = await subject.putRow(address, '1');
      const now = await subject.putRow(address, '2');
      for (const change of [put(address, '3'), remove(address)]) {
        const result = await subject.commit({ checks: [check(address, old)], changes: [change] });
        assert.deepEqual(result, { outcome: 'conflict', ...check(address, old), actual: now });
      }
      const row = await subject.readRow(address);
      assert.deepEqual([row?.version, row?.value], [now, { kind: 'json', text: '2' }]);
    },
  },
  {
    name: 'A check for a version of an absent row is a conflict.',
    law,
    broken: breaks('creates an absent row whose version is checked', (provider) => ({
      commit: async (batches, options) => {
        const results = await provider.commit(batches, options);
        return await Promise.all(
          results.map(async (result, index) => {
            if (
              result.outcome !== 'conflict' ||
              result.actual !== undefined ||
              typeof result.expected === 'string'
            )
              return result;
            return await commitOne(provider, { ...(batches[index] as (typeof batches)[number]), checks: [] });
          }),
        );
      },
    })),
    async run(subject) {
      const address = subject.address('never');
      const version = subject.nextVersion();
      const result = await subject.commit({
        checks: [check(address, version)],
        changes: [put(address, '1')],
      });
      assert.deepEqual(result, { outcome: 'conflict', ...check(address, version), actual: undefined });
      assert.equal(await subject.readRow(address), undefined);
    },
  },
  {
    name: 'A delete with a version check deletes that version only.',
    law,
    broken: changesBatches('deletes without the checks', (batch) =>
      batch.changes.some(({ kind }) => kind === 'delete') ? { ...batch, checks: [] } : batch,
    ),
    async run(subject) {
      const address = subject.address('one');
      const old = await subject.putRow(address, '1');
      const now = await subject.putRow(address, '2');
      assert.equal(
        (await subject.commit({ checks: [check(address, old)], changes: [remove(address)] })).outcome,
        'conflict',
      );
      assert.equal(await subject.readText(address), '2');
      const { rows } = await subject.mustCommit({
        checks: [check(address, now)],
        changes: [remove(address)],
      });
      assert.deepEqual(rows, [{ existed: true }]);
      assert.equal(await subject.readRow(address), undefined);
    },
  },
  {
    name: "'absent' is met if no row exists or it was deleted; an existing row is a conflict that names its version.",
    law,
    broken: changesChecks("ignores 'absent'", (each) => (each.expected === 'absent' ? undefined : each)),
    async run(subject) {
      const address = subject.address('one');
      const version = subject.nextVersion();
      await subject.mustCommit({ version, checks: [check(address, 'absent')], changes: [put(address, '1')] });
      const again = await subject.commit({
        checks: [check(address, 'absent')],
        changes: [put(address, '2')],
      });
      assert.deepEqual(again, { outcome: 'conflict', ...check(address, 'absent'), actual: version });
      assert.equal(await subject.readText(address), '1');
      await subject.mustCommit({ changes: [remove(address)] });
      await subject.mustCommit({ checks: [check(address, 'absent')], changes: [put(address, '3')] });
    },
  },
  {
    name: "'present' is met by a row of any kind, and not by an absent one.",
    law,
    broken: changesChecks("ignores 'present'", (each) => (each.expected === 'present' ? undefined : each)),
    async run(subject) {
      const address = subject.address('one');
      const result = await subject.commit({
        checks: [check(address, 'present')],
        changes: [put(address, '1')],
      });
      assert.deepEqual(result, { outcome: 'conflict', ...check(address, 'present'), actual: undefined });
      for (const value of ['null', number(0), bytes()]) {
        await subject.putRow(address, value);
        await subject.mustCommit({ checks: [check(address, 'present')] });
      }
    },
  },
  {
    name: 'A check for a number is met by a row with this number; another number, text, bytes or no row is a conflict, not a refusal.',
    law,
    broken: changesChecks('compares numbers as text', (each) =>
      typeof each.expected === 'object' && 'number' in each.expected
        ? { ...each, expected: 'present' }
        : each,
    ),
    async run(subject) {
      const address = subject.address('one');
      const absent = await subject.commit({ checks: [check(address, 0n)], changes: [put(address, '1')] });
      assert.deepEqual(absent, { outcome: 'conflict', ...check(address, 0n), actual: undefined });
      const large = 2n ** 53n;
      await subject.putRow(address, number(large));
      await subject.mustCommit({ checks: [check(address, large)] });
      for (const value of [number(large), '9007199254740993', '"9007199254740993"', bytes(57)]) {
        const version = await subject.putRow(address, value);
        const result = await subject.commit({
          checks: [check(address, large + 1n)],
          changes: [sum(address, 1)],
        });
        assert.deepEqual(result, { outcome: 'conflict', ...check(address, large + 1n), actual: version });
      }
    },
  },
  {
    name: 'One row may have several checks, and each of them counts.',
    law,
    broken: changesBatches('evaluates one check for each row', (batch) => ({
      ...batch,
      checks: [...new Map(batch.checks.map((each) => [each.address.key, each])).values()],
    })),
    async run(subject) {
      const address = subject.address('one');
      const version = await subject.putRow(address, number(3));
      await subject.mustCommit({
        checks: [check(address, 'present'), check(address, version), check(address, 3n)],
      });
      for (const wrong of [
        check(address, 4n),
        check(address, 'absent'),
        check(address, subject.nextVersion()),
      ]) {
        const result = await subject.commit({
          checks: [wrong, check(address, version), check(address, 'present')],
        });
        assert.equal(result.outcome, 'conflict');
      }
    },
  },
];

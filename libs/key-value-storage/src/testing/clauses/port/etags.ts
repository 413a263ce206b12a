/**
 * Law 4, etags: the version of a row changes with every write and is never reused; reads and
 * renewals keep it. Versions are made above the port: a provider stores them exactly as given, and
 * compares them only for equality.
 */
import assert from 'node:assert/strict';
import type { Check, Row } from '../../../provider.js';
import {
  breaks,
  changesBatches,
  changesChanges,
  changesPages,
  changesRows,
  replacesCommit,
  commitOne,
} from '../../kit/broken-providers.js';
import type { Clause } from '../../kit/clause.js';
import { check, max, min, number, put, remove, renew, sum } from '../../kit/batches.js';

const law = 4;

/** Evaluates changed checks. */
const changesChecks = (fault: string, change: (check: Check) => Check | undefined) =>
  changesBatches(fault, (batch) => ({
    ...batch,
    checks: batch.checks.flatMap((each) => change(each) ?? []),
  }));

export const etagClauses: readonly Clause[] = [
  {
    name: 'Every kind of write gives the row the version of its batch.',
    law,
    broken: changesBatches('writes nothing for a sum of 0', (batch) => ({
      ...batch,
      changes: batch.changes.filter((change) => change.kind !== 'sum' || change.operand !== 0n),
    })),
    async run(subject) {
      const address = subject.address('one');
      for (const change of [
        put(address, number(1)),
        sum(address, 1),
        max(address, 10),
        min(address, -1),
        sum(address, 0),
        put(address, '"text"'),
      ]) {
        const version = subject.nextVersion();
        await subject.mustCommit({ version, changes: [change] });
        assert.equal((await subject.readRow(address))?.version, version, `after a ${change.kind}`);
      }
    },
  },
  {
    name: 'Writing the same value again gives a new version.',
    law,
    broken: replacesCommit('writes nothing if the value is the same', async (batch, provider) => {
      const [change] = batch.changes;
      if (change?.kind !== 'put') return await commitOne(provider, batch);
      const { rows, time } = await provider.read([{ ...change.address, database: batch.database }]);
      const same = JSON.stringify(rows[0]?.value) === JSON.stringify(change.value);
      return same
        ? { outcome: 'committed', time, rows: [{ existed: true }] }
        : await commitOne(provider, batch);
    }),
    async run(subject) {
      const address = subject.address('one');
      const [first, second] = [
        await subject.putRow(address, '{"a":1}'),
        await subject.putRow(address, '{"a":1}'),
      ];
      assert.equal((await subject.readRow(address))?.version, second);
      assert.equal((await subject.commit({ checks: [check(address, first)] })).outcome, 'conflict');
    },
  },
  {
    name: 'Reading does not change a version, and a page returns the same version as a read.',
    law,
    broken: changesPages('returns other versions in pages', (page) => ({
      ...page,
      rows: page.rows.map(({ key, row }) => ({ key, row: { ...row, version: '1' } })),
    })),
    async run(subject) {
      const address = subject.address('one');
      const version = await subject.putRow(address, '1');
      for (let round = 0; round < 3; round += 1) {
        assert.equal((await subject.readRow(address))?.version, version);
        assert.equal((await subject.scanPage()).rows[0]?.row.version, version);
      }
    },
  },
  {
    name: 'A row that changed and changed back has a new version.',
    law,
    broken: changesChecks('compares by value', (each) =>
      typeof each.expected === 'object' && 'version' in each.expected
        ? { ...each, expected: 'present' }
        : each,
    ),
    async run(subject) {
      const address = subject.address('one');
      const seen = await subject.putRow(address, '"A"');
      await subject.putRow(address, '"B"');
      await subject.putRow(address, '"A"');
      assert.equal(
        (await subject.commit({ checks: [check(address, seen)], changes: [put(address, '"C"')] })).outcome,
        'conflict',
      );
      assert.equal(await subject.readText(address), '"A"');
    },
  },
  {
    name: 'The version of a deleted row is not reused by a new row of the same key.',
    law,
    broken: replacesCommit('counts versions for each row from 1', countingForEachRow()),
    async run(subject) {
      const address = subject.address('one');
      await subject.putRow(address, '"first"');
      const seen = (await subject.readRow(address))?.version as string;
      await subject.mustCommit({ changes: [remove(address)] });
      await subject.putRow(address, '"second"');
      assert.notEqual((await subject.readRow(address))?.version, seen);
      assert.equal(
        (await subject.commit({ checks: [check(address, seen)], changes: [remove(address)] })).outcome,
        'conflict',
      );
    },
  },
  {
    name: 'Versions are compared exactly: two that are equal as floating-point numbers are different.',
    law,
    broken: breaks('keeps versions as floating-point numbers', (provider) => ({
      commit: (batches, options) =>
        provider.commit(
          batches.map((batch) => ({
            ...batch,
            version: rounded(batch.version),
            checks: batch.checks.map((each) =>
              typeof each.expected === 'object' && 'version' in each.expected
                ? { ...each, expected: { version: rounded(each.expected.version) } }
                : each,
            ),
          })),
          options,
        ),
    })),
    async run(subject) {
      const address = subject.address('one');
      const [version, neighbour] = ['9007199254740992', '9007199254740993'];
      await subject.mustCommit({ version, changes: [put(address, '1')] });
      assert.equal((await subject.commit({ checks: [check(address, neighbour)] })).outcome, 'conflict');
      for (const largest of ['9223372036854775807', '9223372036854775806', '1']) {
        await subject.mustCommit({ version: largest, changes: [put(address, '1')] });
        assert.equal((await subject.readRow(address))?.version, largest);
        await subject.mustCommit({ checks: [check(address, largest)] });
      }
    },
  },
  {
    name: 'Ten writes that each check the version of the previous one succeed in order; a write without a check overwrites any version.',
    law,
    broken: changesChecks("treats the check of a version as 'absent'", (each) =>
      each.expected === 'absent' ? each : { ...each, expected: 'absent' },
    ),
    async run(subject) {
      const address = subject.address('one');
      let seen = await subject.putRow(address, '0');
      const versions = new Set([seen]);
      for (let step = 1; step <= 10; step += 1) {
        const version = subject.nextVersion();
        await subject.mustCommit({
          version,
          checks: [check(address, seen)],
          changes: [put(address, String(step))],
        });
        versions.add((seen = version));
      }
      assert.equal(versions.size, 11);
      await subject.putRow(address, '"whatever"');
      assert.equal(await subject.readText(address), '"whatever"');
    },
  },
  {
    name: 'A row that is renewed keeps its version, its value and the time of its last change.',
    law,
    broken: changesChanges('writes a row to renew it', (change) =>
      change.kind === 'renew' ? put(change.address, '"v"', change.ttlMs) : change,
    ),
    async run(subject) {
      const address = subject.address('one');
      const version = await subject.putRow(address, '"v"', 60_000);
      const before = (await subject.readRow(address)) as Row;
      await subject.mustCommit({ checks: [check(address, version)], changes: [renew(address, 120_000)] });
      const after = (await subject.readRow(address)) as Row;
      assert.deepEqual(
        [after.version, after.value, after.updatedAt],
        [before.version, before.value, before.updatedAt],
      );
      await subject.mustCommit({ checks: [check(address, version)], changes: [put(address, '"next"')] });
    },
  },
  {
    name: 'A version is kept by export and import.',
    law,
    broken: breaks('gives imported rows new versions', (provider) => ({
      administration: {
        ...provider.administration,
        import: async (database, rows) => {
          const fresh = [];
          let version = 1;
          for await (const raw of rows)
            fresh.push({ ...raw, row: { ...raw.row, version: String((version += 1)) } });
          return await provider.administration.import(database, fresh);
        },
      },
    })),
    async run(subject) {
      const address = subject.address('one');
      const version = await subject.putRow(address, '1');
      const elsewhere = subject.database('elsewhere');
      await subject.provider.administration.import(
        elsewhere,
        subject.provider.administration.export(address.database),
      );
      await subject.mustCommit({
        database: elsewhere,
        checks: [check(address, version)],
        changes: [put(address, '2')],
      });
    },
  },
  {
    name: 'Rows are returned without additional fields.',
    law,
    broken: changesRows(
      'returns `expiresAt: undefined` for a row without an expiry',
      (row) => ({ expiresAt: undefined, ...row }) as unknown as Row,
    ),
    async run(subject) {
      const address = subject.address('one');
      const version = await subject.putRow(address, '1');
      const row = (await subject.readRow(address)) as Row;
      assert.deepEqual(Object.keys(row).sort(), ['updatedAt', 'value', 'version']);
      assert.deepEqual(
        { version: row.version, value: row.value },
        { version, value: { kind: 'json', text: '1' } },
      );
      assert.ok(Number.isFinite(row.updatedAt));
    },
  },
];

const rounded = (version: string): string => String(BigInt(Number(version)));

/** Versions 1, 2, 3 … of each row. */
function countingForEachRow(): Parameters<typeof replacesCommit>[1] {
  return async (batch, provider) => {
    const [change] = batch.changes;
    if (change === undefined) return await commitOne(provider, batch);
    const { rows } = await provider.read([{ ...change.address, database: batch.database }]);
    return await commitOne(provider, { ...batch, version: String(BigInt(rows[0]?.version ?? '0') + 1n) });
  };
}

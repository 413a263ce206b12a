/**
 * Law 1, atomic: what a commit returns for each batch and each change. Stores build entries, etags
 * and errors from these results alone, without another read, so they must be exact and in the order
 * of the request. `evaluateBatch` computes them for every provider that uses it.
 */
import assert from 'node:assert/strict';
import type { Address, Change, CommitResult } from '../../../provider.js';
import {
  breaks,
  changesResults,
  changesBatches,
  changesChanges,
  commitOne,
  replacesCommit,
} from '../../kit/broken-providers.js';
import type { Clause } from '../../kit/clause.js';
import { comparable } from '../../kit/assertions.js';
import { check, max, min, number, put, remove, rowAddress, sum } from '../../kit/batches.js';

const law = 1;

export const batchAnswerClauses: readonly Clause[] = [
  {
    name: 'A conflict names the first unmet check, in the given order, with the expected and the actual version.',
    law,
    broken: changesBatches('evaluates checks in the order of their keys', (batch) => ({
      ...batch,
      checks: batch.checks.toSorted((a, b) => (a.address.key < b.address.key ? -1 : 1)),
    })),
    async run(subject) {
      const [a, b, c] = [subject.address('a'), subject.address('b'), subject.address('c')];
      const version = await subject.putRow(c, '1');
      const checks = [
        check(c, version),
        check(c, 'absent'),
        check(a, 'present'),
        check(b, subject.nextVersion()),
      ];
      const results = [
        await subject.commit({ checks }),
        await subject.commit({ checks: checks.slice(2) }),
        await subject.commit({ checks: checks.slice(3) }),
      ];
      assert.deepEqual(results, [
        { outcome: 'conflict', ...check(c, 'absent'), actual: version },
        { outcome: 'conflict', ...check(a, 'present'), actual: undefined },
        { outcome: 'conflict', ...checks[3], actual: undefined },
      ]);
    },
  },
  {
    name: 'A refusal names the first refused number, in the given order.',
    law,
    broken: changesResults('names the last number of a refused batch', (result, { changes }) =>
      result.outcome === 'refused' ? { ...result, address: (changes.at(-1) as Change).address } : result,
    ),
    async run(subject) {
      const [fine, first, second] = [
        subject.address('fine'),
        subject.address('z-first'),
        subject.address('a-second'),
      ];
      await subject.putRow(first, '"text"');
      const result = await subject.commit({
        changes: [sum(fine, 1), sum(first, 1), sum(second, 5, { ceiling: 4n })],
      });
      assert.deepEqual(result, { outcome: 'refused', address: rowAddress(first), reason: 'type' });
    },
  },
  {
    name: 'A conflict comes before a refusal: numbers are not evaluated if a check is not met.',
    law,
    broken: replacesCommit('evaluates numbers before checks', async (batch, provider) => {
      const tried = await commitOne(provider, {
        ...batch,
        checks: [check({ container: 'state:kit', entity: 'thing', key: 'x' }, 'absent')],
      });
      return tried.outcome === 'refused' ? tried : await commitOne(provider, batch);
    }),
    async run(subject) {
      const text = subject.address('text');
      await subject.putRow(text, '"text"');
      const result = await subject.commit({
        checks: [check(subject.address('other'), 'present')],
        changes: [sum(text, 1)],
      });
      assert.equal(result.outcome, 'conflict');
    },
  },
  {
    name: 'A committed batch returns one result for each change, in order: whether the row existed, and its number now.',
    law,
    broken: changesResults('returns results in the order of the keys', (result, { changes }) => {
      if (result.outcome !== 'committed') return result;
      const order = changes
        .map((change, index) => ({ key: change.address.key, index }))
        .sort((a, b) => (a.key < b.key ? -1 : 1));
      return { ...result, rows: order.map(({ index }) => result.rows[index] ?? { existed: false }) };
    }),
    async run(subject) {
      const [text, count, gone, fresh] = ['d-text', 'c-count', 'b-gone', 'a-fresh'].map((key) =>
        subject.address(key),
      ) as Addresses;
      await subject.mustCommit({ changes: [put(text, '1'), put(count, number(5)), put(gone, '1')] });
      const { rows } = await subject.mustCommit({
        changes: [
          put(text, '2'),
          sum(count, 3),
          remove(gone),
          put(fresh, '1'),
          max(subject.address('0-new'), 4),
          min(subject.address('1-new'), 4),
        ],
      });
      assert.deepEqual(rows, [
        { existed: true },
        { existed: true, number: 8n },
        { existed: true },
        { existed: false },
        { existed: false, number: 4n },
        { existed: false, number: 0n },
      ]);
    },
  },
  {
    name: 'Every row that a batch writes has the version of the batch and the time of the commit.',
    law,
    broken: replacesCommit('gives each row a different version', async (batch, provider) => {
      const changes = await Promise.all(
        batch.changes.map((change, index) =>
          commitOne(provider, {
            ...batch,
            version: String(BigInt(batch.version) + BigInt(index)),
            checks: [],
            changes: [change],
          }),
        ),
      );
      return changes.at(-1) as CommitResult;
    }),
    async run(subject) {
      const version = subject.nextVersion();
      const keys = ['text', 'number', 'bytes'].map((key) => subject.address(key)) as Addresses;
      const other = { ...keys[0], entity: 'other' };
      const { time } = await subject.mustCommit({
        version,
        changes: [put(keys[0], '1'), sum(keys[1], 1), put(other, '1'), max(keys[2], 1)],
      });
      const { rows } = await subject.provider.read([...keys.slice(0, 3), other]);
      for (const row of rows) assert.deepEqual([row?.version, row?.updatedAt], [version, time]);
    },
  },
  {
    name: 'A batch of checks alone changes nothing, and reports whether all are met.',
    law,
    broken: breaks('ignores a batch without changes', (provider) => ({
      commit: async (batches, options) =>
        await Promise.all(
          batches.map(async (batch): Promise<CommitResult> => {
            if (batch.changes.length === 0) return { outcome: 'committed', time: 0, rows: [] };
            const [result] = await provider.commit([batch], options);
            return result as CommitResult;
          }),
        ),
    })),
    async run(subject) {
      const address = subject.address('one');
      const version = await subject.putRow(address, '1');
      const { rows } = await subject.mustCommit({
        checks: [check(address, version), check(subject.address('other'), 'absent')],
      });
      assert.deepEqual(rows, []);
      assert.equal((await subject.commit({ checks: [check(address, 'absent')] })).outcome, 'conflict');
      assert.equal((await subject.readRow(address))?.version, version);
    },
  },
  {
    name: 'A call without batches, addresses or ranges returns an empty result.',
    law,
    broken: breaks('returns one result for a call without batches', (provider) => ({
      commit: async (batches, options) =>
        batches.length === 0
          ? [{ outcome: 'committed', time: 0, rows: [] }]
          : await provider.commit(batches, options),
    })),
    async run(subject) {
      assert.deepEqual(await subject.provider.commit([]), []);
      assert.deepEqual((await subject.provider.read([])).rows, []);
      assert.deepEqual(await subject.provider.scan([]), []);
      assert.deepEqual((await subject.mustCommit({})).rows, []);
    },
  },
  {
    name: 'A put may change the kind of a value: text to number to bytes.',
    law,
    broken: changesChanges('keeps the kind of the first value of a row', (change) =>
      change.kind === 'put' && change.value.kind === 'bytes'
        ? { ...change, value: { kind: 'json', text: 'null' } }
        : change,
    ),
    async run(subject) {
      const address = subject.address('one');
      for (const value of [
        { kind: 'json', text: '"1"' },
        { kind: 'number', number: 1n },
        { kind: 'bytes', bytes: Uint8Array.of(1) },
      ] as const) {
        await subject.putRow(address, value);
        assert.deepEqual(comparable((await subject.readRow(address))?.value), comparable(value));
      }
    },
  },
];

type Addresses = [Address, Address, Address, Address];

/**
 * Law 1, atomic: a batch is applied completely or not at all, and no reader sees a part of it.
 * Streams, transfers and indexes store facts that are spread over several rows; half a batch would
 * be a wrong fact. Lock all rows of a batch before the first write, or write them in one
 * compare-and-set.
 */
import assert from 'node:assert/strict';
import type { StorageProvider } from '../../../core.js';
import type { Address, Batch, CommitResult } from '../../../provider.js';
import { breaks, changesBatches, commitOne, replacesCommit } from '../../kit/broken-providers.js';
import type { Clause } from '../../kit/clause.js';
import { outcomes, concurrently } from '../../kit/assertions.js';
import { check, number, put, remove, rowAddress, sum } from '../../kit/batches.js';

const law = 1;

/**
 * Commits one change after the other, each as a batch, up to the first that is not committed.
 */
async function oneByOne(batch: Batch, provider: StorageProvider): Promise<CommitResult> {
  const rows = [];
  let time = 0;
  const checked = await commitOne(provider, { ...batch, changes: [] });
  if (checked.outcome !== 'committed') return checked;
  for (const change of batch.changes) {
    const result = await commitOne(provider, { ...batch, checks: [], changes: [change] });
    if (result.outcome !== 'committed') return result;
    rows.push(...result.rows);
    time = result.time;
  }
  return { outcome: 'committed', time, rows };
}

export const atomicClauses: readonly Clause[] = [
  {
    name: 'A batch with an unmet check changes nothing, wherever that check is in the list.',
    law,
    broken: changesBatches('evaluates the first check only', (batch) => ({
      ...batch,
      checks: batch.checks.slice(0, 1),
    })),
    async run(subject) {
      const [there, other, absent] = [
        subject.address('there'),
        subject.address('other'),
        subject.address('absent'),
      ];
      const version = await subject.putRow(there, '1');
      const met = [check(there, version), check(there, 'present'), check(other, 'absent')];
      for (let at = 0; at <= met.length; at += 1) {
        const checks = [...met.slice(0, at), check(absent, 'present'), ...met.slice(at)];
        const result = await subject.commit({
          checks,
          changes: [put(other, '2'), remove(there), sum(absent, 1)],
        });
        assert.equal(result.outcome, 'conflict');
        assert.deepEqual(
          [await subject.readText(there), await subject.readText(other), await subject.readRow(absent)],
          ['1', undefined, undefined],
        );
      }
    },
  },
  {
    name: 'A batch with one refused numeric change changes nothing.',
    law,
    broken: replacesCommit('applies the changes before a refused number', oneByOne),
    async run(subject) {
      const [before, text, after] = [
        subject.address('before'),
        subject.address('text'),
        subject.address('after'),
      ];
      await subject.putRow(text, '"no number"');
      const result = await subject.commit({ changes: [put(before, '1'), sum(text, 1), put(after, '2')] });
      assert.deepEqual(result, { outcome: 'refused', address: rowAddress(text), reason: 'type' });
      assert.deepEqual([await subject.readRow(before), await subject.readRow(after)], [undefined, undefined]);
      assert.equal(await subject.readText(text), '"no number"');
    },
  },
  {
    name: 'Checks see the state before the batch, not the result of its own changes.',
    law,
    broken: replacesCommit('evaluates checks after the changes', async (batch, provider) => {
      const changed = await commitOne(provider, { ...batch, checks: [] });
      const checked = await commitOne(provider, { ...batch, changes: [] });
      return checked.outcome === 'committed' ? changed : checked;
    }),
    async run(subject) {
      const [fresh, going, counted] = [
        subject.address('fresh'),
        subject.address('going'),
        subject.address('counted'),
      ];
      const version = await subject.putRow(going, '1');
      await subject.putRow(counted, number(1));
      await subject.mustCommit({
        checks: [check(fresh, 'absent'), check(going, version), check(going, 'present'), check(counted, 1n)],
        changes: [put(fresh, '1'), remove(going), sum(counted, 1)],
      });
      assert.deepEqual(
        [await subject.readText(fresh), await subject.readRow(going), await subject.readNumber(counted)],
        ['1', undefined, 2n],
      );
    },
  },
  {
    name: 'A batch changes rows of several containers and entities, all or none of them.',
    law,
    broken: changesBatches('writes only one entity of a batch', (batch) => ({
      ...batch,
      changes: batch.changes.filter(({ address }) => address.entity === batch.changes[0]?.address.entity),
    })),
    async run(subject) {
      const rows = [
        subject.address('k'),
        subject.address('k', { entity: 'other' }),
        subject.address('k', { container: 'counter:kit' }),
        subject.address('k', { container: 'event:kit', entity: '' }),
      ];
      await subject.mustCommit({ changes: rows.map((row) => put(row, '1')) });
      assert.deepEqual(
        (await subject.provider.read(rows)).rows.map((row) => row?.value),
        rows.map(() => ({ kind: 'json', text: '1' })),
      );
      const last = rows.at(-1) as (typeof rows)[number];
      const result = await subject.commit({
        checks: [check(last, 'absent')],
        changes: rows.map((row) => put(row, '2')),
      });
      assert.equal(result.outcome, 'conflict');
      for (const row of rows) assert.equal(await subject.readText(row), '1');
    },
  },
  {
    name: 'Each batch of one call has its own result, in order; a conflict or a refusal does not affect the other batches.',
    law,
    broken: breaks('commits all batches of a call or none', (provider) => ({
      commit: async (batches, options) => {
        const trial = await provider.commit(
          batches.map((batch) => ({ ...batch, changes: [] })),
          options,
        );
        return trial.find(({ outcome }) => outcome === 'conflict') === undefined
          ? await provider.commit(batches, options)
          : batches.map((_, index) => trial[index] ?? { outcome: 'committed', time: 0, rows: [] });
      },
    })),
    async run(subject) {
      const addresses = ['a', 'b', 'c', 'd', 'e'].map((key) => subject.address(key)) as Addresses;
      const [a, b, c, d] = addresses;
      await subject.putRow(d, '"text"');
      const results = await subject.provider.commit([
        subject.batch({ changes: [put(a, '1')] }),
        subject.batch({ checks: [check(b, 'present')], changes: [put(b, '1')] }),
        subject.batch({ changes: [put(c, '1')] }),
        subject.batch({ changes: [sum(d, 1)] }),
        subject.batch({
          checks: [check(subject.address('e'), 'absent')],
          changes: [sum(subject.address('e'), 7)],
        }),
      ]);
      assert.deepEqual(
        results.map(({ outcome }) => outcome),
        ['committed', 'conflict', 'committed', 'refused', 'committed'],
      );
      assert.deepEqual(
        [await subject.readText(a), await subject.readRow(b), await subject.readText(c)],
        ['1', undefined, '1'],
      );
      assert.equal(await subject.readNumber(subject.address('e')), 7n);
    },
  },
  {
    name: 'Readers see all rows of a batch or none, while a hundred batches write the same rows.',
    law,
    broken: replacesCommit('writes row by row', oneByOne),
    async run(subject) {
      const rows = Array.from({ length: 5 }, (_, index) => subject.address(`part-${index}`));
      const write = subject.inBackground(
        concurrently(100, (index) =>
          subject.mustCommit({ changes: rows.map((row) => put(row, String(index))) }),
        ),
      );
      const seen: unknown[][] = [];
      await concurrently(5, async () => {
        for (let round = 0; round < 30; round += 1)
          seen.push((await subject.provider.read(rows)).rows.map((row) => row?.version));
      });
      await write;
      for (const versions of seen) assert.equal(new Set(versions).size, 1, 'a reader saw half a batch');
    },
  },
  {
    name: 'A read of many addresses is one consistent view, also while rows move from one key to another.',
    law,
    broken: breaks('reads address by address', (provider) => ({
      read: async (addresses, options) => {
        const results = [];
        for (const address of addresses) results.push(await provider.read([address], options));
        return { time: results.at(-1)?.time ?? 0, rows: results.flatMap(({ rows }) => rows) };
      },
    })),
    async run(subject) {
      const places = Array.from({ length: 6 }, (_, index) => subject.address(`place-${index}`)) as Addresses;
      await subject.putRow(places[0], '"token"');
      const moving = async (): Promise<void> => {
        for (let step = 0; step < 60; step += 1) {
          const [from, to] = [places[step % 6] as Address, places[(step + 1) % 6] as Address];
          await subject.mustCommit({
            checks: [check(from, 'present')],
            changes: [remove(from), put(to, '"token"')],
          });
        }
      };
      const move = subject.inBackground(moving());
      for (let round = 0; round < 40; round += 1) {
        const { rows } = await subject.provider.read(places);
        assert.equal(rows.filter((row) => row !== undefined).length, 1, 'the token is in exactly one place');
      }
      await move;
    },
  },
  {
    name: 'Of a hundred concurrent batches over overlapping rows, the committed ones are complete and the others changed nothing.',
    law,
    broken: replacesCommit('undoes a failed batch only in part', async (batch, provider) => {
      const result = await commitOne(provider, batch);
      const [first] = batch.changes;
      if (result.outcome === 'conflict' && first !== undefined)
        await commitOne(provider, { ...batch, checks: [], changes: [first] });
      return result;
    }),
    async run(subject) {
      const rows = Array.from({ length: 20 }, (_, index) => subject.address(`row-${index}`));
      const chosen = Array.from({ length: 100 }, (_, index) =>
        [0, 7, 11].map((step) => rows[(index + step) % 20] as Address),
      );
      const versions = chosen.map(() => subject.nextVersion());
      const results = await concurrently(100, (index) => {
        const mine = chosen[index] as Address[];
        return subject.commit({
          version: versions[index] as string,
          checks: mine.map((row) => check(row, 'absent')),
          changes: mine.map((row) => put(row, String(index))),
        });
      });
      const stored = new Map((await subject.scanPage()).rows.map(({ key, row }) => [key, row.version]));
      for (const [index, { outcome }] of results.entries()) {
        const mine = (chosen[index] as Address[]).filter(
          ({ key }) => stored.get(key) === versions[index],
        ).length;
        assert.equal(mine, outcome === 'committed' ? 3 : 0);
      }
      assert.ok((outcomes(results).committed ?? 0) > 0);
    },
  },
];

type Addresses = [Address, Address, Address, Address];

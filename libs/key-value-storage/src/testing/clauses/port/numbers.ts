/**
 * Law 3, no lost update, for numbers: the engine calculates, exactly, within 64 bits and the given
 * bounds. Counters and stock change without a read and a retry, so the bound must be evaluated in
 * the step that writes.
 */
import assert from 'node:assert/strict';
import {
  breaks,
  changesResults,
  changesChanges,
  commitOne,
  replacesCommit,
} from '../../kit/broken-providers.js';
import type { Clause } from '../../kit/clause.js';
import { bytes, max, min, number, put, rowAddress, sum } from '../../kit/batches.js';

const law = 3;
const largest = 2n ** 63n - 1n;
const smallest = -(2n ** 63n);

export const numberClauses: readonly Clause[] = [
  {
    name: 'A sum adds to the number, an absent row counts as 0, and amounts may be negative.',
    law,
    broken: changesChanges('treats every amount as positive', (change) =>
      change.kind === 'sum' && change.operand < 0n ? { ...change, operand: -change.operand } : change,
    ),
    async run(subject) {
      const address = subject.address('count');
      const results = [];
      for (const amount of [5, -7, 0, 2n ** 40n, -(2n ** 41n)])
        results.push((await subject.mustCommit({ changes: [sum(address, amount)] })).rows[0]?.number);
      assert.deepEqual(results, [5n, -2n, -2n, 2n ** 40n - 2n, -(2n ** 40n) - 2n]);
      assert.equal(await subject.readNumber(address), -(2n ** 40n) - 2n);
    },
  },
  {
    name: 'A maximum only raises a number, a minimum only lowers it; an absent row counts as 0.',
    law,
    broken: replacesCommit('treats the operand as the value of an absent row', async (batch, provider) => {
      const [change] = batch.changes;
      if (change === undefined || (change.kind !== 'min' && change.kind !== 'max'))
        return await commitOne(provider, batch);
      const { rows } = await provider.read([{ ...change.address, database: batch.database }]);
      return await commitOne(
        provider,
        rows[0] === undefined ? { ...batch, changes: [put(change.address, number(change.operand))] } : batch,
      );
    }),
    async run(subject) {
      const results = [];
      const steps = [
        max(subject.address('max'), -3),
        max(subject.address('max'), 9),
        max(subject.address('max'), 4),
      ];
      const down = [
        min(subject.address('min'), 3),
        min(subject.address('min'), -9),
        min(subject.address('min'), -4),
      ];
      for (const change of [...steps, ...down])
        results.push((await subject.mustCommit({ changes: [change] })).rows[0]?.number);
      assert.deepEqual(results, [0n, 9n, 9n, 0n, -9n, -9n]);
      assert.deepEqual(
        [await subject.readNumber(subject.address('max')), await subject.readNumber(subject.address('min'))],
        [9n, -9n],
      );
    },
  },
  {
    name: 'A sum beyond 64 bits is refused at either end, and the number is unchanged; it never wraps around.',
    law,
    broken: replacesCommit('wraps around', async (batch, provider) => {
      const result = await commitOne(provider, batch);
      const [change] = batch.changes;
      if (result.outcome !== 'refused' || change?.kind !== 'sum') return result;
      const { rows } = await provider.read([{ ...change.address, database: batch.database }]);
      const old = rows[0]?.value.kind === 'number' ? rows[0].value.number : 0n;
      return await commitOne(provider, {
        ...batch,
        changes: [put(change.address, number(BigInt.asIntN(64, old + change.operand)))],
      });
    }),
    async run(subject) {
      const address = subject.address('edge');
      for (const [start, step] of [
        [largest, 1n],
        [smallest, -1n],
        [largest - 5n, largest],
        [smallest + 5n, smallest],
      ] as const) {
        const version = await subject.putRow(address, number(start));
        const result = await subject.commit({ changes: [sum(address, step)] });
        assert.deepEqual(result, { outcome: 'refused', address: rowAddress(address), reason: 'range' });
        const row = await subject.readRow(address);
        assert.deepEqual([row?.value, row?.version], [number(start), version]);
      }
      await subject.putRow(address, number(largest - 1n));
      await subject.mustCommit({ changes: [sum(address, 1)] });
      assert.equal(await subject.readNumber(address), largest);
      await subject.mustCommit({ changes: [sum(address, smallest)] });
      assert.equal(await subject.readNumber(address), -1n);
    },
  },
  {
    name: 'Sums, maxima and minima may reach a floor or a ceiling but not pass it; a refusal changes nothing.',
    law,
    broken: changesChanges('ignores the floor', (change) => {
      if (change.kind !== 'sum' && change.kind !== 'min' && change.kind !== 'max') return change;
      const { floor: _floor, ...others } = change;
      return others;
    }),
    async run(subject) {
      const address = subject.address('stock');
      await subject.mustCommit({ changes: [sum(address, 10, { ceiling: 10n })] });
      for (const change of [
        sum(address, 1, { ceiling: 10n }),
        sum(address, -11, { floor: 0n }),
        max(address, 11, { ceiling: 10n }),
        min(address, -1, { floor: 0n }),
      ]) {
        assert.deepEqual(await subject.commit({ changes: [change] }), {
          outcome: 'refused',
          address: rowAddress(address),
          reason: 'range',
        });
        assert.equal(await subject.readNumber(address), 10n);
      }
      await subject.mustCommit({ changes: [sum(address, -10, { floor: 0n, ceiling: 10n })] });
      assert.equal(await subject.readNumber(address), 0n);
    },
  },
  {
    name: 'A number that is already out of bounds may stay or move back towards them, but not further away.',
    law,
    broken: changesResults('refuses every number outside the bounds', (result, { changes }) => {
      const [change] = changes;
      if (result.outcome !== 'committed' || change?.kind !== 'sum' || change.floor === undefined)
        return result;
      const now = result.rows[0]?.number ?? 0n;
      return now < change.floor ? { outcome: 'refused', address: change.address, reason: 'range' } : result;
    }),
    async run(subject) {
      const address = subject.address('debt');
      await subject.putRow(address, number(-10));
      for (const amount of [3, 0, 3])
        await subject.mustCommit({ changes: [sum(address, amount, { floor: 0n })] });
      assert.equal(await subject.readNumber(address), -4n);
      assert.equal((await subject.commit({ changes: [sum(address, -1, { floor: 0n })] })).outcome, 'refused');
      await subject.putRow(address, number(20));
      await subject.mustCommit({ changes: [sum(address, -5, { ceiling: 10n })] });
      assert.equal(
        (await subject.commit({ changes: [sum(address, 1, { ceiling: 10n })] })).outcome,
        'refused',
      );
      assert.equal(await subject.readNumber(address), 15n);
    },
  },
  {
    name: 'Of fifty concurrent decrements of 10 with a floor of 0, ten succeed and forty are refused.',
    law,
    broken: breaks('checks the floor before the commit', (provider) => ({
      commit: async (batches, options) => {
        const [batch] = batches;
        const change = batch?.changes[0];
        if (batch === undefined || change?.kind !== 'sum' || change.floor === undefined)
          return await provider.commit(batches, options);
        const { rows } = await provider.read([{ ...change.address, database: batch.database }]);
        const old = rows[0]?.value.kind === 'number' ? rows[0].value.number : 0n;
        if (old + change.operand < change.floor)
          return [{ outcome: 'refused', address: change.address, reason: 'range' }];
        return await provider.commit([{ ...batch, changes: [sum(change.address, change.operand)] }], options);
      },
    })),
    async run(subject) {
      const address = subject.address('stock');
      await subject.putRow(address, number(10));
      const results = await Promise.all(
        Array.from({ length: 50 }, () => subject.commit({ changes: [sum(address, -1, { floor: 0n })] })),
      );
      assert.deepEqual(
        [
          results.filter(({ outcome }) => outcome === 'committed').length,
          results.filter(({ outcome }) => outcome === 'refused').length,
        ],
        [10, 40],
      );
      assert.equal(await subject.readNumber(address), 0n);
    },
  },
  {
    name: 'Changes of one number in one call take effect one after the other, each within its own bounds, and each returns its own number.',
    law,
    broken: breaks('returns the last number to every change of a call', (provider) => ({
      commit: async (batches, options) => {
        const results = await provider.commit(batches, options);
        const last = results.findLast(({ outcome }) => outcome === 'committed');
        return results.map((result) => (result.outcome === 'committed' && last ? last : result));
      },
    })),
    async run(subject) {
      const [address, created] = [subject.address('run'), subject.address('created')];
      const text = subject.address('text');
      await subject.putRow(address, number(5));
      await subject.putRow(text, '"5"');
      const run = [
        sum(address, 3),
        sum(address, -9, { floor: 0n }),
        max(address, 20, { ceiling: 20n }),
        sum(address, largest),
        sum(address, 1, { ceiling: 20n }),
        min(address, 7),
        sum(address, -7, { floor: 0n }),
        min(address, -1, { floor: 0n }),
        sum(created, 2, { ttlMs: 60_000 }),
        sum(text, 1),
        sum(created, 3, { ttlMs: 5_000 }),
        sum(text, 1),
      ].map((change) => subject.batch({ changes: [change] }));
      const results = await subject.provider.commit(run);
      assert.deepEqual(
        results.map((result) => (result.outcome === 'committed' ? result.rows[0]?.number : result.outcome)),
        [8n, 'refused', 20n, 'refused', 'refused', 7n, 0n, 'refused', 2n, 'refused', 5n, 'refused'],
      );
      const [first, second] = [results[8], results[10]].map((result) =>
        result?.outcome === 'committed' ? result.rows[0] : undefined,
      );
      assert.deepEqual([first?.existed, second?.existed], [false, true]);
      assert.equal(second?.expiresAt, first?.expiresAt);
      const row = await subject.readRow(address);
      assert.deepEqual([row?.value, row?.version], [number(0), run[6]?.version]);
      assert.equal(await subject.readNumber(created), 5n);
    },
  },
  {
    name: 'A sum, a maximum and a minimum of a row that is no number are refused and change nothing, also for text that looks like a number.',
    law,
    broken: replacesCommit('treats text as a number', async (batch, provider) => {
      const result = await commitOne(provider, batch);
      const [change] = batch.changes;
      if (result.outcome !== 'refused' || result.reason !== 'type' || change === undefined) return result;
      return await commitOne(provider, { ...batch, changes: [put(change.address, number(6))] });
    }),
    async run(subject) {
      const address = subject.address('text');
      for (const value of ['5', '"5"', 'null', bytes(5)]) {
        const version = await subject.putRow(address, value);
        for (const change of [sum(address, 1), max(address, 1), min(address, 1)]) {
          const result = await subject.commit({ changes: [change] });
          assert.deepEqual(result, { outcome: 'refused', address: rowAddress(address), reason: 'type' });
        }
        assert.equal((await subject.readRow(address))?.version, version);
      }
    },
  },
];

/**
 * Law 6, expiry: at `expiresAt` a row is absent for every operation, whether or not it was removed
 * already. The time of the commit decides, so that checks, reads and pages of one moment agree.
 * Compare with the time of the provider in the read itself, never with the progress of a sweep.
 */
import assert from 'node:assert/strict';
import { systemClock, type ScannedRow } from '../../../provider.js';
import {
  breaks,
  changesBatches,
  changesChanges,
  changesClock,
  changesPages,
  changesRanges,
  changesRows,
  commitOne,
  replacesCommit,
} from '../../kit/broken-providers.js';
import type { Clause } from '../../kit/clause.js';
import { outcomes, concurrently } from '../../kit/assertions.js';
import { check, number, put, remove, renew, sum } from '../../kit/batches.js';

const law = 6;
const hour = 3_600_000;

/** Adds `byMs` to each time to live. */
const expiresLate = (fault: string, byMs: number) =>
  changesChanges(fault, (change) =>
    change.kind === 'put' && typeof change.ttl === 'number' ? { ...change, ttl: change.ttl + byMs } : change,
  );

/** Treats an expired row as present, in the results of the selected batches. */
const keepsExpired = (
  fault: string,
  isSelected: (batch: Parameters<typeof commitOne>[1]) => boolean,
  effect: 'conflict' | 'existed',
) =>
  breaks(fault, (provider) => {
    const written = new Set<string>();
    return {
      commit: async (batches, options) => {
        const results = await provider.commit(batches, options);
        return results.map((result, index) => {
          const batch = batches[index] as (typeof batches)[number];
          const [first] = batch.checks;
          const known = batch.changes.some(({ address }) => written.has(address.key));
          for (const change of batch.changes)
            if (change.kind === 'put' && typeof change.ttl === 'number') written.add(change.address.key);
          if (!known || !isSelected(batch) || result.outcome !== 'committed') return result;
          if (effect === 'conflict' && first !== undefined)
            return { outcome: 'conflict', ...first, actual: '1' };
          return { ...result, rows: result.rows.map((row) => ({ ...row, existed: true })) };
        });
      },
    };
  });

export const expiryClauses: readonly Clause[] = [
  {
    name: 'A provider with a replaceable clock uses the given clock.',
    law,
    capability: 'clock',
    broken: changesClock('uses the clock of the machine', () => systemClock),
    async run(subject) {
      const address = subject.address('one');
      for (let round = 0; round < 3; round += 1) {
        const now = subject.clock.now();
        assert.equal((await subject.provider.read([])).time, now);
        assert.equal((await subject.scanPage()).time, now);
        assert.equal((await subject.mustCommit({ changes: [put(address, '1')] })).time, now);
        assert.equal((await subject.readRow(address))?.updatedAt, now);
        await subject.clock.advance(1_234);
      }
    },
  },
  {
    name: 'A row is present one millisecond before it expires, and absent at `expiresAt`, in reads and in pages.',
    law,
    capability: 'clock',
    broken: expiresLate('expires rows one millisecond late', 1),
    async run(subject) {
      for (const ttl of [1, 1_000, 60_000, 24 * hour]) {
        const address = subject.address(`ttl-${ttl}`);
        await subject.putRow(address, '1', ttl);
        await subject.clock.advance(ttl - 1);
        assert.notEqual(
          await subject.readRow(address),
          undefined,
          'the row must be present before its expiry',
        );
        assert.deepEqual(await subject.scanKeys(), [address.key]);
        await subject.clock.advance(1);
        assert.equal(await subject.readRow(address), undefined, 'the row must be absent at its expiry');
        assert.deepEqual(await subject.scanKeys(), []);
      }
    },
  },
  {
    name: 'A row has its expiry and the TTL it was written with, and so does the result of the commit.',
    law,
    capability: 'clock',
    broken: changesRows('omits the TTL of a row', ({ ttlMs: _, ...row }) => row),
    async run(subject) {
      const [address, forever] = [subject.address('one'), subject.address('forever')];
      const { time, rows } = await subject.mustCommit({
        changes: [put(address, '1', 1_500), put(forever, '1')],
      });
      assert.deepEqual(rows, [{ existed: false, expiresAt: time + 1_500 }, { existed: false }]);
      const [row, other] = (await subject.provider.read([address, forever])).rows;
      assert.deepEqual([row?.expiresAt, row?.ttlMs, row?.updatedAt], [time + 1_500, 1_500, time]);
      assert.ok(other !== undefined && !('expiresAt' in other) && !('ttlMs' in other));
      assert.deepEqual(
        (await subject.scanPage()).rows.map((each: ScannedRow) => each.row),
        [other, row],
      );
    },
  },
  {
    name: 'For checks an expired row is absent: ‘absent’ is met; its old version and ‘present’ are not.',
    law,
    capability: 'exact expiry',
    broken: keepsExpired(
      "fails 'absent' for expired rows",
      ({ checks }) => checks.some(({ expected }) => expected === 'absent'),
      'conflict',
    ),
    async run(subject) {
      const { address, version } = await subject.putExpiredRow();
      for (const wrong of [check(address, version), check(address, 'present')]) {
        const result = await subject.commit({ checks: [wrong], changes: [put(address, '"late"')] });
        assert.deepEqual(result, { outcome: 'conflict', ...wrong, actual: undefined });
      }
      const { rows } = await subject.mustCommit({
        checks: [check(address, 'absent')],
        changes: [put(address, '"new"')],
      });
      assert.deepEqual(rows, [{ existed: false }]);
      assert.equal(await subject.readText(address), '"new"');
    },
  },
  {
    name: 'An expired number is absent: a check for it conflicts, and a sum begins at 0.',
    law,
    capability: 'exact expiry',
    broken: replacesCommit('adds to numbers that have expired', addsToExpired()),
    async run(subject) {
      const { address } = await subject.putExpiredRow('count', number(41));
      assert.equal((await subject.commit({ checks: [check(address, 41n)] })).outcome, 'conflict');
      const { rows } = await subject.mustCommit({ changes: [sum(address, 1, { ttlMs: 500 })] });
      assert.deepEqual(rows, [{ existed: false, number: 1n, expiresAt: subject.clock.now() + 500 }]);
      const text = await subject.putExpiredRow('text');
      assert.deepEqual((await subject.mustCommit({ changes: [sum(text.address, 1)] })).rows, [
        { existed: false, number: 1n },
      ]);
    },
  },
  {
    name: 'A delete or an overwrite of an expired row reports that no row existed.',
    law,
    capability: 'exact expiry',
    broken: keepsExpired(
      'reports an expired row as existing',
      ({ checks }) => checks.length === 0,
      'existed',
    ),
    async run(subject) {
      const first = await subject.putExpiredRow('deleted');
      assert.deepEqual((await subject.mustCommit({ changes: [remove(first.address)] })).rows, [
        { existed: false },
      ]);
      const second = await subject.putExpiredRow('overwritten');
      assert.deepEqual((await subject.mustCommit({ changes: [put(second.address, '1')] })).rows, [
        { existed: false },
      ]);
    },
  },
  {
    name: 'An expired row cannot be renewed.',
    law,
    capability: 'exact expiry',
    broken: breaks('renews rows that have just expired', (provider) => ({
      commit: async (batches, options) => {
        const [batch] = batches;
        const [first] = batch?.changes ?? [];
        if (batch === undefined || first?.kind !== 'renew') return await provider.commit(batches, options);
        const [result] = await provider.commit([batch], options);
        if (result?.outcome !== 'conflict') return result === undefined ? [] : [result];
        return await provider.commit([
          { ...batch, checks: [], changes: [put(first.address, '"old"', first.ttlMs)] },
        ]);
      },
    })),
    async run(subject) {
      const { address, version } = await subject.putExpiredRow();
      assert.equal(
        (await subject.commit({ checks: [check(address, version)], changes: [renew(address, hour)] }))
          .outcome,
        'conflict',
      );
      assert.equal(await subject.readRow(address), undefined);
    },
  },
  {
    name: 'The expiry of one row removes no other row.',
    law,
    capability: 'clock',
    broken: breaks('expires all rows of a space together', (provider) => {
      let ttl: number | undefined;
      return {
        commit: (batches, options) =>
          provider.commit(
            batches.map((batch) => ({
              ...batch,
              changes: batch.changes.map((change) => {
                if (change.kind !== 'put') return change;
                if (typeof change.ttl === 'number') ttl ??= change.ttl;
                return { ...change, ttl: ttl ?? change.ttl };
              }),
            })),
            options,
          ),
      };
    }),
    async run(subject) {
      const addresses = Array.from({ length: 10 }, (_, index) => subject.address(`key-${index}`));
      for (const [index, address] of addresses.entries())
        await subject.putRow(address, '1', (index + 1) * 100);
      for (let gone = 1; gone <= 10; gone += 1) {
        await subject.clock.advance(100);
        assert.deepEqual(
          await subject.scanKeys(),
          addresses.slice(gone).map(({ key }) => key),
        );
      }
    },
  },
  {
    name: 'Expired rows do not count for a page, nor for whether more rows follow.',
    law,
    capability: 'clock',
    broken: changesPages('counts expired rows in pages', (page, range) => ({
      ...page,
      rows: page.rows.slice(0, Math.max(0, range.limit - 1)),
    })),
    async run(subject) {
      const keys = Array.from({ length: 60 }, (_, index) => `key-${String(index).padStart(2, '0')}`);
      await subject.mustCommit({
        changes: keys.map((key, index) => put(subject.address(key), '1', index % 3 === 0 ? 'never' : 1_000)),
      });
      await subject.clock.advance(1_000);
      const left = keys.filter((_, index) => index % 3 === 0);
      for (const reverse of [false, true]) {
        const page = await subject.scanPage({ limit: 5, reverse });
        assert.deepEqual([page.rows.length, page.more], [5, true]);
        assert.deepEqual(await subject.scanKeys({ limit: 5, reverse }), reverse ? left.toReversed() : left);
        assert.equal((await subject.scanPage({ limit: 20, reverse })).more, false);
      }
    },
  },
  {
    name: 'Of fifty concurrent creations of an expired row, exactly one succeeds.',
    law,
    capability: 'exact expiry',
    broken: changesBatches('lets several writers create an expired row', (batch) => ({
      ...batch,
      checks: [],
    })),
    async run(subject) {
      const { address } = await subject.putExpiredRow();
      const results = await concurrently(50, (index) =>
        subject.commit({ checks: [check(address, 'absent')], changes: [put(address, String(index))] }),
      );
      assert.deepEqual(outcomes(results), { committed: 1, conflict: 49 });
    },
  },
  {
    name: 'A range with an end finds live rows after many expired ones.',
    law,
    capability: 'clock',
    broken: changesRanges('reads the first hundred rows of a range only', (range) => ({
      ...range,
      end: `key-0100`,
    })),
    async run(subject) {
      const keys = Array.from({ length: 400 }, (_, index) => `key-${String(index).padStart(4, '0')}`);
      await subject.mustCommit({
        changes: keys.map((key, index) => put(subject.address(key), '1', index < 390 ? 1_000 : 'never')),
      });
      await subject.clock.advance(1_000);
      const page = await subject.scanPage({ limit: 3, end: 'key-9999' });
      assert.deepEqual([page.rows.map(({ key }) => key), page.more], [keys.slice(390, 393), true]);
    },
  },
];

/** Adds to the last written number, also when it has expired. */
function addsToExpired(): Parameters<typeof replacesCommit>[1] {
  const numbers = new Map<string, bigint>();
  return async (batch, provider) => {
    const [change] = batch.changes;
    if (change?.kind === 'put' && change.value.kind === 'number')
      numbers.set(batch.database, change.value.number);
    const known = numbers.get(batch.database);
    if (change?.kind !== 'sum' || known === undefined) return await commitOne(provider, batch);
    return await commitOne(provider, {
      ...batch,
      changes: [put(change.address, number(known + change.operand), change.ttlMs ?? 'never')],
    });
  };
}

/**
 * Laws 1 and 3 inside a transaction of the application: batches take effect together with its other
 * statements, or not at all. A conflict is a result and must leave the transaction usable: use a
 * savepoint, or check before writing.
 */
import assert from 'node:assert/strict';
import type { StorageProvider } from '../../../core.js';
import { delegating } from '../../../core/providers/delegating.js';
import { breaks } from '../../kit/broken-providers.js';
import type { Clause } from '../../kit/clause.js';
import { assertRejects, assertThrows } from '../../kit/assertions.js';
import { check, json, put, remove, renew, sum } from '../../kit/batches.js';

const capability = 'transactions' as const;

/** A provider with a defect in `within`. */
const breaksWithin = (
  fault: string,
  change: (within: StorageProvider, outside: StorageProvider) => Partial<StorageProvider>,
) =>
  breaks(fault, (provider) => ({
    within: (transaction) => {
      const within = (provider.within as NonNullable<StorageProvider['within']>)(transaction);
      return { ...delegating(within), ...change(within, provider) };
    },
  }));

export const withinClauses: readonly Clause[] = [
  {
    name: 'A batch within the caller’s transaction is visible there at once, and to others after the transaction commits.',
    law: 1,
    capability,
    broken: breaksWithin('writes outside the transaction', (_, outside) => ({
      commit: (batches, options) => outside.commit(batches, options),
    })),
    async run(subject) {
      const [one, two] = [subject.address('one'), subject.address('two')];
      await subject.putRow(two, '2');
      const { within, commit } = await subject.transaction();
      await subject.mustCommit({ changes: [put(one, '1'), remove(two)] }, within);
      assert.equal(await subject.readText(one, within), '1');
      assert.equal(await subject.readRow(two, within), undefined);
      assert.deepEqual(
        (await subject.scanPage({}, within)).rows.map(({ key }) => key),
        ['one'],
      );
      assert.equal(
        await subject.readRow(one),
        undefined,
        'the row is visible outside before the transaction commits',
      );
      assert.deepEqual(await subject.scanKeys(), ['two']);
      await commit();
      assert.equal(await subject.readText(one), '1');
      assert.deepEqual(await subject.scanKeys(), ['one']);
    },
  },
  {
    name: 'A rollback undoes every batch of the transaction: rows, numbers and deletions.',
    law: 1,
    capability,
    broken: breaksWithin('writes outside the transaction too', (within, outside) => ({
      commit: async (batches) => {
        await outside.commit(batches);
        return await within.commit(batches);
      },
    })),
    async run(subject) {
      const [kept, created, counter] = [
        subject.address('kept'),
        subject.address('created'),
        subject.address('counter'),
      ];
      await subject.putRow(kept, '1');
      const { within, rollback } = await subject.transaction();
      await subject.mustCommit({ changes: [put(created, '1'), remove(kept), sum(counter, 5)] }, within);
      await rollback();
      assert.equal(await subject.readText(kept), '1');
      assert.deepEqual(await subject.scanKeys(), ['kept']);
    },
  },
  {
    name: 'A conflict within a transaction is a result: the batch changes nothing, earlier batches stay, and the transaction remains usable.',
    law: 3,
    capability,
    broken: breaksWithin('applies the changes of a batch that conflicts', (within) => ({
      commit: async (batches) => {
        const results = await within.commit(batches);
        if (results[0]?.outcome === 'conflict')
          await within.commit(batches.map((batch) => ({ ...batch, checks: [] })));
        return results;
      },
    })),
    async run(subject) {
      const [one, two, three] = [subject.address('one'), subject.address('two'), subject.address('three')];
      const version = await subject.putRow(one, '1');
      const { within, commit } = await subject.transaction();
      await subject.mustCommit({ changes: [put(two, '2')] }, within);
      const conflict = await subject.commit(
        { checks: [check(one, '17')], changes: [put(one, '9'), put(three, '9')] },
        within,
      );
      assert.deepEqual(
        [conflict.outcome, conflict.outcome === 'conflict' && conflict.actual],
        ['conflict', version],
      );
      const secondCreation = await subject.commit(
        { checks: [check(two, 'absent')], changes: [put(two, '9')] },
        within,
      );
      assert.equal(secondCreation.outcome, 'conflict', 'the transaction must see its own rows');
      await subject.mustCommit({ checks: [check(one, version)], changes: [put(one, '3')] }, within);
      await commit();
      assert.deepEqual(
        [await subject.readText(one), await subject.readText(two), await subject.readRow(three)],
        ['3', '2', undefined],
      );
    },
  },
  {
    name: 'Of a transaction and a write outside it that check the same version, exactly one succeeds.',
    law: 3,
    capability,
    broken: breaksWithin('does not check within a transaction', (within) => ({
      commit: (batches) => within.commit(batches.map((batch) => ({ ...batch, checks: [] }))),
    })),
    async run(subject) {
      const address = subject.address('one');
      for (const first of ['inside', 'outside']) {
        const version = await subject.putRow(address, '0');
        const { within, commit } = await subject.transaction();
        const write = (text: string, provider = subject.provider) =>
          subject.commit({ checks: [check(address, version)], changes: [put(address, text)] }, provider);
        if (first === 'outside') assert.equal((await write('"outside"')).outcome, 'committed');
        const inside = (await write('"inside"', within)).outcome === 'committed';
        const concurrent = first === 'inside' ? subject.inBackground(write('"outside"')) : undefined;
        const committedInside =
          inside &&
          (await commit().then(
            () => true,
            () => false,
          ));
        if (!inside) await commit();
        const committedOutside = concurrent === undefined || (await concurrent).outcome === 'committed';
        assert.notEqual(committedInside, committedOutside, 'exactly one write must be committed');
        assert.equal(await subject.readText(address), committedInside ? '"inside"' : '"outside"');
      }
    },
  },
  {
    name: 'A renewal with `noWait` never waits for an open transaction: it is committed, or fails with effect none.',
    law: 6,
    capability,
    broken: breaks('waits for a row although the batch has `noWait`', (provider) => ({
      commit: (batches, options) => {
        for (const [index, { noWait, changes }] of batches.entries())
          if (noWait === true && changes[0] !== undefined) options?.waiting?.(index, changes[0].address);
        return provider.commit(batches, options);
      },
    })),
    async run(subject) {
      const address = subject.address('one');
      const version = await subject.putRow(address, '1', 60_000);
      const { within, rollback } = await subject.transaction();
      await subject.mustCommit({ changes: [put(address, '2', 60_000)] }, within);
      const renewal = subject.batch({ checks: [check(address, version)], changes: [renew(address, 90_000)] });
      let hasWaited = false;
      const [result] = await subject.provider.commit([{ ...renewal, noWait: true }], {
        waiting: () => (hasWaited = true),
      });
      assert.equal(hasWaited, false, 'the renewal has waited');
      if (result?.outcome === 'failed')
        assert.deepEqual([result.error.code, result.error.effect], ['STORAGE_UNAVAILABLE', 'none']);
      else assert.equal(result?.outcome, 'committed');
      await rollback();
      assert.equal(await subject.readText(address), '1');
    },
  },
  {
    name: 'Within a transaction a batch returns the same results as outside: what existed, numbers, expiries, one time.',
    law: 1,
    capability,
    broken: breaksWithin('returns fewer results within a transaction', (within) => ({
      commit: async (batches) =>
        (await within.commit(batches)).map((result) =>
          result.outcome === 'committed' ? { ...result, rows: [] } : result,
        ),
    })),
    async run(subject) {
      const [one, two, counter] = [
        subject.address('one'),
        subject.address('two'),
        subject.address('counter'),
      ];
      const version = await subject.putRow(two, '1', 60_000);
      const { within, commit } = await subject.transaction();
      const { rows, time } = await subject.mustCommit(
        {
          checks: [check(two, version)],
          changes: [put(one, json('{"a":1}'), 1_000), renew(two, 90_000), sum(counter, 5, { ttlMs: 1_000 })],
        },
        within,
      );
      assert.deepEqual(
        rows.map(({ existed, number }) => ({ existed, number })),
        [
          { existed: false, number: undefined },
          { existed: true, number: undefined },
          { existed: false, number: 5n },
        ],
      );
      assert.deepEqual(
        rows.map(({ expiresAt }) => (expiresAt ?? Number.NaN) - (rows[0]?.expiresAt ?? Number.NaN)),
        [0, 89_000, 0],
      );
      const seen = (await within.read([one, counter])).rows;
      assert.deepEqual(
        seen.map((row) => row?.updatedAt),
        [time, time],
      );
      await commit();
      assert.deepEqual((await subject.provider.read([one, counter])).rows, seen);
    },
  },
  {
    name: 'An object that is no transaction is INVALID_OPTION at once; a transaction that has ended is INVALID_OPTION at the next call.',
    law: 1,
    capability,
    broken: breaksWithin('returns results for a transaction that has ended', (within, outside) => ({
      read: async (addresses) =>
        await within.read(addresses).catch(async () => await outside.read(addresses)),
      commit: async (batches) =>
        await within.commit(batches).catch(async () => await outside.commit(batches)),
    })),
    async run(subject) {
      const address = subject.address('one');
      const join = subject.provider.within?.bind(subject.provider) as NonNullable<StorageProvider['within']>;
      for (const other of [{}, subject, new Map()])
        assertThrows('INVALID_OPTION', 'within', () => join(other));
      for (const end of ['commit', 'rollback'] as const) {
        const transaction = await subject.transaction();
        await transaction[end]();
        await assertRejects('INVALID_OPTION', 'read', () => transaction.within.read([address]));
        await assertRejects('INVALID_OPTION', 'commit', () =>
          subject.commit({ changes: [put(address, '1')] }, transaction.within),
        );
      }
      assert.equal(await subject.readRow(address), undefined);
    },
  },
];

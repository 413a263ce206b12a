/**
 * Law 6, expiry: expired rows are removed by sweeps and left out of exports and listings of
 * databases and spaces. They are absent already; removal only frees space, so its moment must not
 * be observable.
 */
import assert from 'node:assert/strict';
import { breaks, changesBatches } from '../../kit/broken-providers.js';
import type { Clause } from '../../kit/clause.js';
import { json, remove } from '../../kit/batches.js';

const law = 6;

export const clearedExpiryClauses: readonly Clause[] = [
  {
    name: 'A sweep removes expired rows, up to the given limit, returns how many, and removes no live one.',
    law,
    capability: 'clock',
    broken: breaks('returns the limit of a sweep as its result', (provider) => ({
      sweep: async (limit) => {
        await provider.sweep(limit);
        return limit;
      },
    })),
    async run(subject) {
      assert.equal(await subject.provider.sweep(10), 0);
      const rows = Array.from({ length: 10 }, (_, index) =>
        subject.address(`key-${index}`, { database: subject.database(index % 2 === 0 ? 'even' : 'odd') }),
      );
      for (const address of rows) await subject.putRow(address, '1', 1_000);
      await subject.putRow(rows[0] as (typeof rows)[number], '"kept"');
      await subject.putRow(rows[1] as (typeof rows)[number], '"longer"', 2_000);
      await subject.putRow(subject.address('other'), '1');
      assert.equal(await subject.provider.sweep(10), 0);
      await subject.clock.advance(1_000);
      assert.deepEqual(
        [
          await subject.provider.sweep(3),
          await subject.provider.sweep(100),
          await subject.provider.sweep(100),
        ],
        [3, 5, 0],
      );
      assert.deepEqual(
        (await subject.provider.read(rows)).rows.map((row) => row !== undefined),
        rows.map((_, index) => index < 2),
      );
      assert.equal(await subject.readText(subject.address('other')), '1');
    },
  },
  {
    name: 'Deleting an expired row removes it: a sweep finds no more.',
    law,
    capability: 'clock',
    broken: changesBatches('does not delete expired rows', (batch) => ({
      ...batch,
      changes: batch.changes.filter(({ kind }) => kind !== 'delete'),
    })),
    async run(subject) {
      const { address } = await subject.putExpiredRow();
      await subject.mustCommit({ changes: [remove(address)] });
      assert.equal(await subject.provider.sweep(10), 0);
    },
  },
  {
    name: 'Expired rows are not exported, and do not count for databases and spaces.',
    law,
    capability: 'clock',
    broken: breaks('lists databases of expired rows', (provider) => {
      const ever = new Set<string>();
      return {
        commit: (batches, options) => {
          for (const { database } of batches) ever.add(database);
          return provider.commit(batches, options);
        },
        administration: { ...provider.administration, databases: async () => [...ever].sort() },
      };
    }),
    async run(subject) {
      const { address } = await subject.putExpiredRow();
      const { administration } = subject.provider;
      assert.ok(!(await administration.databases()).includes(address.database));
      assert.deepEqual(await administration.spaces(address.database), []);
      for await (const raw of administration.export(address.database))
        assert.fail(`an expired row was exported: ${raw.key}`);
      assert.equal(await administration.drop(address.database), false);
    },
  },
  {
    name: 'A row that was imported with an expiry expires at that time.',
    law,
    capability: 'clock',
    broken: breaks('ignores the expiry of imported rows', (provider) => ({
      administration: {
        ...provider.administration,
        import: async (database, rows) => {
          const permanent = [];
          for await (const { row, ...address } of rows) {
            const { expiresAt: _, ...others } = row;
            permanent.push({ ...address, row: others });
          }
          return await provider.administration.import(database, permanent);
        },
      },
    })),
    async run(subject) {
      const now = subject.clock.now();
      const { database, ...address } = subject.address('one');
      await subject.provider.administration.import(database, [
        {
          ...address,
          row: { version: '5', value: json('1'), updatedAt: now - 10, expiresAt: now + 100, ttlMs: 110 },
        },
        {
          ...address,
          key: 'past',
          row: { version: '5', value: json('1'), updatedAt: now - 10, expiresAt: now },
        },
      ]);
      assert.deepEqual(await subject.scanKeys(), ['one']);
      await subject.clock.advance(100);
      assert.deepEqual(await subject.scanKeys(), []);
    },
  },
];

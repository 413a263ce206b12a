/**
 * Law 2, durable: an acknowledged write is there after the provider is opened again. These clauses
 * close and reopen; they cannot see a missing sync, because the operating system still holds the
 * data. The fault tests of each provider cut the power.
 */
import assert from 'node:assert/strict';
import type { StorageProvider } from '../../../core.js';
import type { Address, Batch, RawRow } from '../../../provider.js';
import { MemoryProvider } from '../../../providers/memory/memory-provider.js';
import { delegating } from '../../../core/providers/delegating.js';
import { breaks, type BrokenProvider } from '../../kit/broken-providers.js';
import type { Clause } from '../../kit/clause.js';
import { concurrently } from '../../kit/assertions.js';
import { bytes, check, json, number, put, remove, renew, sum } from '../../kit/batches.js';

const law = 2;
const hour = 3_600_000;

/** Keeps everything in memory, although its features claim more. */
const forgets: BrokenProvider = breaks(
  'keeps everything in memory, and loses it when it closes',
  (provider) => {
    const { features: _, ...memory } = delegating(new MemoryProvider());
    return { ...memory, name: provider.name };
  },
);

/** Does not write certain batches down: they are visible until it is closed. */
const losesAtClose = (fault: string, isLost: (batch: Batch) => boolean): BrokenProvider =>
  breaks(fault, (provider) => {
    const before: { readonly database: string; readonly rows: readonly RawRow[] }[] = [];
    return {
      commit: async (batches, options) => {
        for (const batch of batches) {
          if (isLost(batch))
            before.push({ database: batch.database, rows: await exported(provider, batch.database) });
        }
        return await provider.commit(batches, options);
      },
      close: async () => {
        for (const { database, rows } of before.splice(0).reverse()) {
          await provider.administration.drop(database);
          await provider.administration.import(database, rows);
        }
        await provider.close();
      },
    };
  });

/** Changes the rows of every database whenever it is opened. */
const changesAtOpen = (fault: string, change: (raw: RawRow) => RawRow['row']): BrokenProvider =>
  breaks(fault, (provider) => ({
    open: async () => {
      await provider.open();
      for (const database of await provider.administration.databases()) {
        const rows = await exported(provider, database);
        await provider.administration.import(
          database,
          rows.map((raw) => ({ ...raw, row: change(raw) })),
        );
      }
    },
  }));

async function exported(provider: StorageProvider, database: string): Promise<readonly RawRow[]> {
  const rows: RawRow[] = [];
  for await (const raw of provider.administration.export(database)) rows.push(raw);
  return rows;
}

export const durableClauses: readonly Clause[] = [
  {
    name: 'Rows of every kind are there after reopening, with their values, versions and times.',
    law,
    capability: 'durable',
    broken: forgets,
    async run(subject) {
      const values = [
        json(' {"a": 1.0}'),
        json('null'),
        json('"\\u0000😀"'),
        number(2n ** 63n - 1n),
        number(-1n),
        bytes(0, 255, 10),
        bytes(),
      ];
      const addresses = values.map((_, index) =>
        subject.address(`value-${index}`, { entity: index % 2 === 0 ? 'thing' : '' }),
      );
      for (const [index, value] of values.entries())
        await subject.putRow(addresses[index] as Address, value, index % 2 === 0 ? 'never' : hour);
      const before = (await subject.provider.read(addresses)).rows;
      await subject.reopen();
      assert.deepEqual((await subject.provider.read(addresses)).rows, before);
      assert.deepEqual(await subject.scanKeys({ entity: '' }), ['value-1', 'value-3', 'value-5']);
    },
  },
  {
    name: 'Deleted rows stay deleted after reopening.',
    law,
    capability: 'durable',
    broken: losesAtClose('does not store deletes', ({ changes }) =>
      changes.some(({ kind }) => kind === 'delete'),
    ),
    async run(subject) {
      const [gone, left] = [subject.address('gone'), subject.address('left')];
      await subject.mustCommit({ changes: [put(gone, '1'), put(left, '1')] });
      await subject.mustCommit({ changes: [remove(gone)] });
      await subject.reopen();
      assert.deepEqual(await subject.scanKeys(), ['left']);
      await subject.mustCommit({ checks: [check(gone, 'absent')], changes: [put(gone, '2')] });
    },
  },
  {
    name: 'A hundred concurrent batches that were acknowledged are all there, each complete, after reopening.',
    law,
    capability: 'durable',
    broken: losesAtClose('acknowledges the last batch of a group before it is stored', lastOf(100)),
    async run(subject) {
      const rows = Array.from(
        { length: 100 },
        (_, index) => [subject.address(`a-${index}`), subject.address(`b-${index}`)] as const,
      );
      await concurrently(100, (index) =>
        subject.mustCommit({ changes: (rows[index] ?? []).map((row) => put(row, String(index))) }),
      );
      await subject.reopen();
      const stored = await subject.provider.read(rows.flat());
      assert.deepEqual(
        stored.rows.map((row) => row?.value),
        rows.flatMap((_, index) => [json(String(index)), json(String(index))]),
      );
    },
  },
  {
    name: 'Numbers keep their values after reopening.',
    law,
    capability: 'durable',
    broken: losesAtClose('does not store sums', ({ changes }) => changes.some(({ kind }) => kind === 'sum')),
    async run(subject) {
      const address = subject.address('count');
      for (let round = 1; round <= 3; round += 1) {
        await concurrently(10, () => subject.mustCommit({ changes: [sum(address, 1)] }));
        await subject.reopen();
        assert.equal(await subject.readNumber(address), BigInt(round * 10));
      }
    },
  },
  {
    name: 'A check of a version that was read before reopening is met, and a check of an older one is not.',
    law,
    capability: 'durable',
    broken: changesAtOpen('gives rows new versions when it opens', ({ row }) => ({
      ...row,
      version: String(BigInt(row.version) + 1n),
    })),
    async run(subject) {
      const address = subject.address('one');
      const old = await subject.putRow(address, '1');
      const now = await subject.putRow(address, '2');
      await subject.reopen();
      assert.equal(
        (await subject.commit({ checks: [check(address, old)], changes: [put(address, '3')] })).outcome,
        'conflict',
      );
      await subject.mustCommit({ checks: [check(address, now)], changes: [put(address, '3')] });
    },
  },
  {
    name: 'Rows expire also while the provider is closed.',
    law,
    capability: 'durable, clock',
    broken: changesAtOpen('restarts expiries when it opens', ({ row }) =>
      row.ttlMs === undefined ? row : { ...row, expiresAt: row.updatedAt + 2 * row.ttlMs },
    ),
    async run(subject) {
      const [short, long] = [subject.address('short'), subject.address('long')];
      await subject.putRow(short, '1', 1_000);
      await subject.putRow(long, '1', 10_000);
      await subject.reopen(() => subject.clock.advance(999));
      assert.deepEqual(await subject.scanKeys(), ['long', 'short']);
      await subject.reopen(() => subject.clock.advance(1));
      assert.deepEqual(await subject.scanKeys(), ['long']);
      assert.equal((await subject.readRow(long))?.ttlMs, 10_000);
    },
  },
  {
    name: 'A renewal is there after reopening.',
    law,
    capability: 'durable, clock',
    broken: losesAtClose('does not store renewals', ({ changes }) =>
      changes.some(({ kind }) => kind === 'renew'),
    ),
    async run(subject) {
      const address = subject.address('one');
      const version = await subject.putRow(address, '1', 1_000);
      await subject.mustCommit({ checks: [check(address, version)], changes: [renew(address, 5_000)] });
      await subject.reopen(() => subject.clock.advance(3_000));
      assert.equal((await subject.readRow(address))?.version, version);
    },
  },
  {
    name: 'An expired row stays expired if the time of day steps back before reopening.',
    law,
    capability: 'durable, clock',
    broken: breaks('returns expired rows again when the time of day steps back', (provider) => {
      const expiring: { readonly database: string; readonly raw: RawRow }[] = [];
      return {
        commit: async (batches, options) => {
          const results = await provider.commit(batches, options);
          for (const { database } of batches) {
            for (const raw of await exported(provider, database))
              if (raw.row.ttlMs !== undefined) expiring.push({ database, raw });
          }
          return results;
        },
        close: async () => {
          for (const { database, raw } of expiring) {
            await provider.administration.import(database, [
              { ...raw, row: { ...raw.row, expiresAt: raw.row.updatedAt + 24 * hour } },
            ]);
          }
          await provider.close();
        },
      };
    }),
    async run(subject) {
      const [address, other] = [subject.address('one'), subject.address('other')];
      await subject.putRow(address, '1', 1_000);
      await subject.clock.advance(1_000);
      await subject.putRow(other, '1');
      await subject.reopen(() => subject.clock.setNow(subject.clock.now() - 24 * hour));
      assert.equal(await subject.readRow(address), undefined);
      assert.notEqual(await subject.readRow(other), undefined);
      const { time } = await subject.mustCommit({ changes: [put(other, '2')] });
      assert.ok(time >= ((await subject.readRow(other))?.updatedAt ?? Number.NaN));
    },
  },
  {
    name: 'Databases, spaces and exports are the same after reopening.',
    law,
    capability: 'durable',
    broken: changesAtOpen('loses the times of rows when it opens', ({ row }) => ({
      ...row,
      updatedAt: 0,
    })),
    async run(subject) {
      const [kept, dropped] = [subject.database('kept'), subject.database('dropped')];
      for (const database of [kept, dropped]) {
        await subject.putRow(subject.address('a', { database }), '1');
        await subject.putRow(subject.address('b', { database, container: 'counter:kit' }), number(1));
      }
      assert.equal(await subject.provider.administration.drop(dropped), true);
      const before = [
        await subject.provider.administration.spaces(kept),
        await exported(subject.provider, kept),
      ];
      await subject.reopen();
      assert.deepEqual(
        [await subject.provider.administration.spaces(kept), await exported(subject.provider, kept)],
        before,
      );
      const databases = await subject.provider.administration.databases();
      assert.deepEqual([databases.includes(kept), databases.includes(dropped)], [true, false]);
    },
  },
  {
    name: 'Imported rows are there after reopening.',
    law,
    capability: 'durable',
    broken: breaks('does not store imports', (provider) => {
      const imported = new Set<string>();
      return {
        administration: {
          ...provider.administration,
          import: async (database, rows) => {
            imported.add(database);
            return await provider.administration.import(database, rows);
          },
        },
        close: async () => {
          for (const database of imported) await provider.administration.drop(database);
          await provider.close();
        },
      };
    }),
    async run(subject) {
      const database = subject.database();
      const rows: RawRow[] = Array.from({ length: 50 }, (_, index) => ({
        container: 'state:kit',
        entity: 'thing',
        key: `key-${index}`,
        row: { version: subject.nextVersion(), value: json(String(index)), updatedAt: 1_000 + index },
      }));
      assert.equal(await subject.provider.administration.import(database, rows), 50);
      await subject.reopen();
      assert.deepEqual(
        await exported(subject.provider, database),
        rows.toSorted((a, b) => (a.key < b.key ? -1 : 1)),
      );
    },
  },
];

/** True for every so-many-th batch. */
function lastOf(group: number): () => boolean {
  let count = 0;
  return () => (count += 1) % group === 0;
}

/**
 * Law 3, no lost update: a committed write is visible to every later read, in this instance and in
 * others over the same data. A cache in a provider must be invalidated before the commit returns,
 * or not exist.
 */
import assert from 'node:assert/strict';
import type { StorageProvider } from '../../../core.js';
import type { Batch, CommitResult } from '../../../provider.js';
import { calculatesOutside, breaks, changesResults } from '../../kit/broken-providers.js';
import type { Clause } from '../../kit/clause.js';
import { outcomes, concurrently } from '../../kit/assertions.js';
import { check, put, sum } from '../../kit/batches.js';

const law = 3;

export const oneTruthClauses: readonly Clause[] = [
  {
    name: 'A read after a commit returns what was written.',
    law,
    broken: breaks('returns before the commit is done', (provider) => ({
      commit: async (batches, options) => {
        void later(() => provider.commit(batches, options)).catch(() => undefined);
        return batches.map(({ changes }) => ({
          outcome: 'committed',
          time: 0,
          rows: changes.map(() => ({ existed: false })),
        }));
      },
    })),
    async run(subject) {
      await concurrently(50, async (index) => {
        const address = subject.address(`mine-${index}`);
        await subject.putRow(address, String(index));
        assert.equal(await subject.readText(address), String(index));
        const page = await subject.scanPage({ start: address.key, end: `${address.key}~`, limit: 1 });
        assert.equal(page.rows[0]?.key, address.key);
      });
    },
  },
  {
    name: 'A check that is met never conflicts, however many concurrent writes change other rows.',
    law,
    broken: changesResults(
      'returns a conflict for every seventh batch, as an engine with page locks does',
      everySeventhConflicts(),
    ),
    async run(subject) {
      const results = await concurrently(100, async (index) => {
        const address = subject.address(`own-${index}`);
        const version = await subject.putRow(address, '1');
        return await subject.commit({ checks: [check(address, version)], changes: [put(address, '2')] });
      });
      assert.deepEqual(outcomes(results), { committed: 100 });
    },
  },
  {
    name: 'Two instances over the same data that concurrently increment one number lose no increment.',
    law,
    capability: 'shared',
    broken: calculatesOutside('locks within its own process only'),
    async run(subject) {
      const second = await subject.openSecond();
      const address = subject.address('count');
      await concurrently(100, (index) =>
        subject.mustCommit({ changes: [sum(address, 1)] }, index % 2 === 0 ? second : subject.provider),
      );
      assert.equal(await subject.readNumber(address, second), 100n);
    },
  },
  {
    name: 'A second instance over the same data reads what the first one committed.',
    law,
    capability: 'shared',
    broken: breaks('reads from its own cache', (provider) => {
      const seen = new Map<string, Awaited<ReturnType<StorageProvider['read']>>>();
      return {
        read: async (addresses, options) => {
          const name = JSON.stringify(addresses);
          const result = seen.get(name) ?? (await provider.read(addresses, options));
          seen.set(name, result);
          return result;
        },
      };
    }),
    async run(subject) {
      const second = await subject.openSecond();
      const address = subject.address('common');
      for (let round = 0; round < 5; round += 1) {
        await subject.putRow(address, String(round));
        assert.equal(await subject.readText(address, second), String(round));
      }
    },
  },
  {
    name: 'Without `staleReads`, a read that permits stale data returns the current data.',
    law,
    capability: 'current reads',
    broken: breaks('returns the result of an earlier read for stale reads', (provider) => {
      const seen = new Map<string, Awaited<ReturnType<StorageProvider['read']>>>();
      return {
        read: async (addresses, options) => {
          const name = JSON.stringify(addresses);
          const result =
            (options?.consistency === 'stale' ? seen.get(name) : undefined) ??
            (await provider.read(addresses, options));
          seen.set(name, result);
          return result;
        },
      };
    }),
    async run(subject) {
      const address = subject.address('one');
      for (let round = 0; round < 3; round += 1) {
        const version = await subject.putRow(address, String(round));
        const { rows } = await subject.provider.read([address], { consistency: 'stale' });
        assert.equal(rows[0]?.version, version);
        const page = await subject.scanPage({ consistency: 'stale' });
        assert.equal(page.rows[0]?.row.version, version);
      }
    },
  },
];

const later = async <R>(work: () => Promise<R>): Promise<R> => {
  await new Promise<void>((resolve) => void setTimeout(resolve, 5));
  return await work();
};

function everySeventhConflicts(): (result: CommitResult, batch: Batch) => CommitResult {
  let count = 0;
  return (result, { checks }) => {
    const [first] = checks;
    if (first === undefined || result.outcome !== 'committed') return result;
    count += 1;
    return count % 7 === 0 ? { outcome: 'conflict', ...first, actual: undefined } : result;
  };
}

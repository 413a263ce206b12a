/**
 * Law 14, damage is loud: data that cannot be read is an error with its location. A provider that
 * skips it, or treats it as absent, turns a repairable fault into a loss of data: the next write
 * overwrites what was there.
 */
import assert from 'node:assert/strict';
import { isStorageError } from '../../../core.js';
import { MemoryProvider } from '../../../providers/memory/memory-provider.js';
import { delegating } from '../../../core/providers/delegating.js';
import { breaks } from '../../kit/broken-providers.js';
import type { Clause } from '../../kit/clause.js';
import { concurrently } from '../../kit/assertions.js';
import { put } from '../../kit/batches.js';

export const damageClauses: readonly Clause[] = [
  {
    name: 'Damaged data is STORAGE_CORRUPT with its location, on opening or reading; it is never treated as absent.',
    law: 14,
    capability: 'damage',
    broken: breaks('treats unreadable data as empty', (provider) => {
      let now = provider;
      const current = (): ReturnType<typeof delegating> => delegating(now);
      return {
        open: async () => {
          try {
            await provider.open();
          } catch {
            now = new MemoryProvider();
            await now.open();
          }
        },
        close: () => now.close(),
        read: (addresses, options) => current().read(addresses, options),
        scan: (ranges, options) => current().scan(ranges, options),
        commit: (batches, options) => current().commit(batches, options),
      };
    }),
    async run(subject) {
      const addresses = Array.from({ length: 100 }, (_, index) => subject.address(`key-${index}`));
      await concurrently(100, (index) =>
        subject.putRow(
          addresses[index] as (typeof addresses)[number],
          JSON.stringify('x'.repeat(100 + index)),
        ),
      );
      await subject.provider.close();
      await subject.damage();
      const provider = await subject.create();
      for (let round = 0; round < 2; round += 1) {
        try {
          await provider.open();
          await provider.read(addresses);
          await provider.commit([subject.batch({ changes: [put(subject.address('new'), '1')] })]);
          assert.fail('damaged data was read as if it were whole');
        } catch (error) {
          if (!isStorageError(error, 'STORAGE_CORRUPT')) throw error;
          assert.ok(error.place !== '', 'it names no place');
        } finally {
          await provider.close();
        }
      }
      subject.forgetDatabases();
    },
  },
];

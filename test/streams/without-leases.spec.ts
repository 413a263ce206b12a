/**
 * Leases make conflicts rare; the versions in each batch make results right. So even when all
 * leases are ignored, sessions and outsiders write each event once, in order.
 */
import { expect, test } from '@jest/globals';
import { defineStream, event, EventStore } from '@kvent/event-store/core';
import { isStorageError, openStorage, type StorageProvider } from '@kvent/key-value-storage/core';
import { MemoryProvider } from '@kvent/key-value-storage';
import { collect } from '@kvent/key-value-storage/testing';

const Counts = defineStream('count', {
  events: { counted: event<{ by: string }>() },
  initial: (): Readonly<Record<string, number>> => ({}),
  evolve: (counts, { data: { by } }) => ({ ...counts, [by]: (counts[by] ?? 0) + 1 }),
});

/** A provider for which every lease has expired, and which ignores checks of leases. */
function withoutLeases(): StorageProvider {
  const provider = new MemoryProvider();
  const isLease = ({ container }: { readonly container: string }): boolean => container.startsWith('lease:');
  const { read, commit } = provider;
  return Object.assign(provider, {
    read: async (...[addresses, options]: Parameters<typeof read>) => {
      const { time, rows } = await read.call(provider, addresses, options);
      return {
        time,
        rows: rows.map((row, index) =>
          isLease(addresses[index] as { container: string }) ? undefined : row,
        ),
      };
    },
    commit: async (...[batches, options]: Parameters<typeof commit>) => {
      const unchecked = batches.map((batch) => ({
        ...batch,
        checks: batch.checks.filter(({ address }) => !isLease(address)),
        changes: batch.changes.filter(({ kind }) => kind !== 'renew'),
      }));
      return await commit.call(provider, unchecked, options);
    },
  });
}

test('sessions and outsiders on one stream conflict with each other, and no event is lost', async () => {
  await using storage = await openStorage(withoutLeases());
  const counts = new EventStore(storage).stream(Counts);
  const done: Record<string, number> = {};
  const codes = new Set<string>();
  const counting = async (
    by: string,
    work: (events: readonly [{ type: 'counted'; data: { by: string } }]) => Promise<unknown>,
  ) => {
    for (let round = 0; round < 40; round += 1) {
      try {
        await work([{ type: 'counted', data: { by } }]);
        done[by] = (done[by] ?? 0) + 1;
      } catch (error) {
        if (!isStorageError(error)) throw error;
        codes.add(error.code);
      }
      await Promise.resolve();
    }
  };
  await Promise.all(
    [1, 2, 3, 4].flatMap((number) => [
      counting(
        `holder ${number}`,
        async (events) => await counts.session('a', async (session) => await session.append(events)),
      ),
      counting(`outsider ${number}`, async (events) => await counts.transact('a', () => events)),
      counting(
        `appender ${number}`,
        async (events) => await counts.append('a', events, { expectedVersion: 'any' }),
      ),
    ]),
  );
  const events = await collect(counts.read('a'));
  expect(events.map(({ version }) => version)).toEqual(events.map((_, index) => index + 1));
  expect((await counts.load('a')).state).toEqual(done);
  // without leases, sessions lose their streams
  expect(codes).toContain('SESSION_LOST');
  expect(
    [...codes].filter(
      (code) => !['SESSION_LOST', 'SESSION_OPEN_FAILED', 'STREAM_VERSION_MISMATCH'].includes(code),
    ),
  ).toEqual([]);
});

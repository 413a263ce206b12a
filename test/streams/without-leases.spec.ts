/**
 * Locks make conflicts rare; versions make results right. So with no lease looked at by anybody,
 * sessions and outsiders still write each event once, in order.
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

/** A provider to which every lease is over, and which takes no notice of checks of one. */
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
      const blind = batches.map((batch) => ({
        ...batch,
        checks: batch.checks.filter(({ address }) => !isLease(address)),
        changes: batch.changes.filter(({ kind }) => kind !== 'renew'),
      }));
      return await commit.call(provider, blind, options);
    },
  });
}

test('sessions and outsiders at one stream lose to each other, and never lose an event', async () => {
  await using storage = await openStorage(withoutLeases());
  const counts = new EventStore(storage).stream(Counts);
  const done: Record<string, number> = {};
  const lost = new Set<string>();
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
        lost.add(error.code);
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
        `stranger ${number}`,
        async (events) => await counts.append('a', events, { expectedVersion: 'any' }),
      ),
    ]),
  );
  const events = await collect(counts.read('a'));
  expect(events.map(({ version }) => version)).toEqual(events.map((_, index) => index + 1));
  expect((await counts.load('a')).state).toEqual(done);
  // the lock was missing, and it was noticed
  expect(lost).toContain('SESSION_LOST');
  expect(
    [...lost].filter(
      (code) => !['SESSION_LOST', 'SESSION_OPEN_FAILED', 'STREAM_VERSION_MISMATCH'].includes(code),
    ),
  ).toEqual([]);
});

/**
 * Law 6, expiry: one commit has one time, and time does not go back when the wall clock does.
 * Otherwise expired rows would be visible again, and events would be in the wrong order.
 * `SteadyTime` implements this for engines without a clock.
 */
import assert from 'node:assert/strict';
import type { Clock } from '../../../core.js';
import { breaks, changesResults, changesClock, changesRows } from '../../kit/broken-providers.js';
import type { Clause } from '../../kit/clause.js';
import { json, put, sum } from '../../kit/batches.js';

const law = 6;
const hour = 3_600_000;

/** A clock without a monotonic time. */
const withoutMonotonicTime = (clock: Clock): Clock => ({
  now: () => clock.now(),
  monotonic: () => 0,
  wait: (ms, signal) => clock.wait(ms, signal),
});

export const timeClauses: readonly Clause[] = [
  {
    name: 'The time of a commit is the time of the rows that it wrote.',
    law,
    broken: changesResults('returns a different time than it stores', (result) =>
      result.outcome === 'committed' ? { ...result, time: result.time + 1 } : result,
    ),
    async run(subject) {
      const [a, b] = [subject.address('a'), subject.address('b', { entity: 'other' })];
      const { time } = await subject.mustCommit({ changes: [put(a, '1'), sum(b, 1)] });
      assert.deepEqual(
        (await subject.provider.read([a, b])).rows.map((row) => row?.updatedAt),
        [time, time],
      );
    },
  },
  {
    name: 'The time of a read is not before the commits that it shows.',
    law,
    broken: breaks('returns the time at which it was opened', (provider) => ({
      read: async (addresses, options) => ({ ...(await provider.read(addresses, options)), time: 0 }),
    })),
    async run(subject) {
      const address = subject.address('one');
      for (let round = 0; round < 5; round += 1) {
        const { time } = await subject.mustCommit({ changes: [put(address, '1')] });
        assert.ok((await subject.provider.read([address])).time >= time);
        assert.ok((await subject.scanPage()).time >= time);
      }
    },
  },
  {
    name: 'An expired row stays expired if the wall clock steps back.',
    law,
    capability: 'clock',
    broken: changesClock('compares expiries with the time of day', withoutMonotonicTime),
    async run(subject) {
      const address = subject.address('one');
      await subject.putRow(address, '1', 1_000);
      await subject.clock.advance(999);
      assert.equal(await subject.readText(address), '1');
      await subject.clock.advance(1);
      assert.equal(await subject.readRow(address), undefined);
      for (const backMs of [1, 1_000, 24 * hour]) {
        subject.clock.setNow(subject.clock.now() - backMs);
        assert.equal(
          await subject.readRow(address),
          undefined,
          `the row must stay absent when the wall clock steps back by ${backMs} ms`,
        );
        assert.deepEqual(await subject.scanKeys(), []);
      }
    },
  },
  {
    name: 'A wall clock that stepped back does not stop expiries.',
    law,
    capability: 'clock',
    broken: changesClock('stops time until the wall clock has caught up', withoutMonotonicTime),
    async run(subject) {
      const address = subject.address('one');
      await subject.putRow(address, '1', 1_000);
      subject.clock.setNow(subject.clock.now() - hour);
      await subject.clock.advance(999);
      assert.equal(await subject.readText(address), '1');
      await subject.clock.advance(1);
      assert.equal(await subject.readRow(address), undefined);
    },
  },
  {
    name: 'The times of commits do not go back when the wall clock does.',
    law,
    capability: 'clock',
    broken: breaks('uses the time of day as the time of a commit', (provider) => {
      let step = 0;
      return {
        commit: async (batches, options) =>
          (await provider.commit(batches, options)).map((result) =>
            result.outcome === 'committed' ? { ...result, time: result.time - (step += 1) * hour } : result,
          ),
      };
    }),
    async run(subject) {
      let last = 0;
      for (let round = 0; round < 5; round += 1) {
        const { time } = await subject.mustCommit({ changes: [put(subject.address(`key-${round}`), '1')] });
        assert.ok(time >= last, `the time of a commit went back by ${last - time} ms`);
        last = time;
        subject.clock.setNow(subject.clock.now() - hour);
        await subject.clock.advance(10);
      }
    },
  },
  {
    name: 'A row is never older than the one it replaces, and its expiry still counts from the clock.',
    law,
    capability: 'clock',
    broken: changesRows('counts expiries from the time of the commit', (row) =>
      row.expiresAt === undefined ? row : { ...row, expiresAt: row.updatedAt + (row.ttlMs ?? 0) },
    ),
    async run(subject) {
      const [now, address] = [subject.clock.now(), subject.address('one')];
      const { database, ...place } = address;
      await subject.provider.administration.import(database, [
        { ...place, row: { version: '5', value: json('1'), updatedAt: now + hour } },
      ]);
      const { time, rows } = await subject.mustCommit({
        changes: [put(address, '2', 1_000), put(subject.address('other'), '1')],
      });
      assert.equal(time, now + hour);
      assert.equal(rows[0]?.expiresAt, now + 1_000);
      const row = await subject.readRow(address);
      assert.deepEqual([row?.updatedAt, row?.expiresAt], [now + hour, now + 1_000]);
      const later = await subject.mustCommit({ changes: [put(subject.address('third'), '1')] });
      assert.equal(later.time, now, 'a row with a wrong time must not affect later commits');
      await subject.clock.advance(1_000);
      assert.equal(await subject.readRow(address), undefined);
    },
  },
];

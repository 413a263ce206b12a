import { describe, expect, it } from '@jest/globals';
import type { Change } from '../../core/port/storage-provider.js';
import { ManualClock } from '../../testing/kit/manual-clock.js';
import type { JsonFileProvider } from './json-file-provider.js';
import { open, put, batch, commit, read } from './spec-support.js';

describe('a clock that was ten years ahead and was set back', () => {
  const hour = 3_600_000;
  const day = 24 * hour;
  const kept = (key: string): Change => ({ ...(put(key) as Change & { kind: 'put' }), ttl: hour });

  /** Opens the store on this clock; returns the provider and its warnings. */
  async function openAt(clock: ManualClock): Promise<readonly [JsonFileProvider, string[]]> {
    const warnings: string[] = [];
    return [await open({ clock, warn: (message) => warnings.push(message) }), warnings];
  }

  it.each(['the row is written before', 'the row is written after', 'another row is written after'])(
    'keeps a row no longer than its TTL of one hour when %s, and warns on open',
    async (order) => {
      const clock = new ManualClock();
      const [store] = await openAt(clock);
      const start = clock.now();
      clock.setNow(start + 3_650 * day);
      await commit(
        store,
        batch([order.startsWith('the row is written before') ? kept('row') : put('ahead')]),
      );
      clock.setNow(start);
      if (order === 'the row is written after') await commit(store, batch([kept('row')]));
      if (order.startsWith('another')) await commit(store, batch([kept('row'), put('other')]));
      await store.close();

      await clock.advance(hour / 2);
      const [soon, warnings] = await openAt(clock);
      expect(warnings).toEqual([expect.stringContaining('ahead of this machine')]);
      expect(await read(soon, 'row')).toBeDefined();
      await soon.close();

      await clock.advance(30 * day);
      const [later] = await openAt(clock);
      expect(await read(later, 'row')).toBeUndefined();
      await commit(later, batch([put('new')]));
      await later.close();
      await clock.advance(day);
      const [last] = await openAt(clock);
      expect((await read(last, 'new'))?.updatedAt).toBeGreaterThan(start + 3_680 * day);
    },
  );

  it('counts the time from the first opening after the change', async () => {
    const clock = new ManualClock();
    const start = clock.now();
    clock.setNow(start + 3_650 * day);
    const [store] = await openAt(clock);
    await commit(store, batch([kept('row')]));
    await store.close();
    clock.setNow(start);
    const [first, warnings] = await openAt(clock);
    expect(warnings).toHaveLength(1);
    await first.close();
    await clock.advance(30 * day);
    const [second] = await openAt(clock);
    expect(await read(second, 'row')).toBeUndefined();
  });

  it('does not warn of a clock that is only slightly behind', async () => {
    const clock = new ManualClock();
    const [store] = await openAt(clock);
    await commit(store, batch([put('a')]));
    await store.close();
    clock.setNow(clock.now() - 1_000);
    expect((await openAt(clock))[1]).toEqual([]);
  });
});

/** Indexes of stores, on the memory provider. */
import assert from 'node:assert/strict';
import { describe, test } from '@jest/globals';
import { defineState, openStorage, MemoryProvider, type IndexRange } from '../../index.js';

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const collected: T[] = [];
  for await (const item of items) collected.push(item);
  return collected;
}

interface Slot {
  readonly doctor: string;
  readonly day: number;
  readonly note?: string;
}
const indexes = {
  byDoctor: (slot: Slot) => [slot.doctor, slot.day] as const,
  byNote: { key: (slot: Slot) => slot.note, unique: true },
};
const Slots = defineState<Slot, string, typeof indexes>('slot', { indexes });

describe('Indexes', () => {
  test('list, page, count and get', async () => {
    await using storage = await openStorage(new MemoryProvider());
    const slots = storage.store(Slots);
    await slots.set('a', { doctor: 'x', day: 2 });
    await slots.set('b', { doctor: 'x', day: 1, note: 'n' });
    await slots.add('c', { doctor: 'y', day: 1 });
    const byDoctor = slots.index('byDoctor');
    const keys = async (range?: IndexRange<readonly [string, number]>) =>
      (await collect(byDoctor.list(range))).map(({ key }) => key);
    assert.deepEqual(await keys(), ['b', 'a', 'c']);
    assert.deepEqual(await keys({ prefix: ['x'] }), ['b', 'a']);
    assert.deepEqual(await keys({ key: ['x', 1] }), ['b']);
    assert.deepEqual(await keys({ start: ['x', 2] }), ['a', 'c']);
    assert.deepEqual(await keys({ end: ['x', 2], reverse: true }), ['b']);
    assert.equal(await byDoctor.count(), 3);
    assert.equal((await slots.index('byNote').get('n'))?.key, 'b');
    await assert.rejects(slots.set('a', { doctor: 'x', day: 2, note: 'n' }), { code: 'UNIQUE_TAKEN' });
    await slots.update('a', (slot) => ({ ...slot, doctor: 'z' }));
    assert.deepEqual(await keys(), ['b', 'c', 'a']);
    await storage
      .atomic()
      .set(slots, 'a', { doctor: 'x', day: 2, note: 'n' })
      .set(slots, 'b', { doctor: 'x', day: 2 })
      .commit();
    assert.equal((await slots.index('byNote').get('n'))?.key, 'a');
    const first = await byDoctor.page({ limit: 2 });
    assert.deepEqual(
      first.items.map(({ key }) => key),
      ['a', 'b'],
    );
    assert.deepEqual(
      (await byDoctor.page({ limit: 2, cursor: first.next })).items.map(({ key }) => key),
      ['c'],
    );
    await slots.clear();
    assert.deepEqual(await keys(), []);
  });
});

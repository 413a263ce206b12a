/**
 * Indexes of stores: they are rows of the same batch as the entry, so that they hold on every
 * provider, for every verb. Applications that look up entries in a second way rely on them.
 */
import assert from 'node:assert/strict';
import { defineState, type IndexedStore, type Key, type KeyValueStorage } from '../../../core.js';
import type { Batch, Change } from '../../../provider.js';
import { breaks, changesBatches, changesPages } from '../../kit/broken-providers.js';
import { throughProvider, type StoreClause } from '../../kit/store-clause.js';
import { collect, keysOf } from '../../kit/store-subject.js';
import { assertRejects, concurrently } from '../../kit/assertions.js';

interface Slot {
  readonly doctor: string;
  readonly day: number;
  readonly code?: string;
}
const indexes = {
  byDoctor: (slot: Slot) => [slot.doctor, slot.day] as const,
  byCode: { key: (slot: Slot) => slot.code, unique: true },
};
type Slots = IndexedStore<Slot, typeof indexes, string>;

const slotsIn = (storage: KeyValueStorage, options: { readonly ttlMs?: number } = {}): Slots =>
  storage.store(defineState<Slot, string, typeof indexes>('slot', { ...options, indexes }));

const isOfIndex = ({ address }: { readonly address: Change['address'] }): boolean =>
  address.container.startsWith('index:') && address.entity.includes('!');

/** Changes the batches that change rows of indexes. */
const changesIndexRows = (fault: string, change: (each: Change, batch: Batch) => Change | undefined) =>
  throughProvider(
    changesBatches(fault, (batch) => ({
      ...batch,
      changes: batch.changes.flatMap((each) => (isOfIndex(each) ? (change(each, batch) ?? []) : [each])),
    })),
  );

/** Asserts that the indexes hold exactly the entries of the store, as they are. */
async function assertIndexed(slots: Slots): Promise<void> {
  const entries = await collect(slots.list());
  const byDoctor = entries.toSorted(
    ({ value: a }, { value: b }) =>
      Number(a.doctor > b.doctor) - Number(a.doctor < b.doctor) || a.day - b.day,
  );
  const seen = (list: readonly object[]): readonly string[] => list.map((entry) => JSON.stringify(entry));
  const index = slots.index('byDoctor');
  assert.deepEqual(seen(await collect(index.list())), seen(byDoctor));
  assert.deepEqual(
    seen((await index.page({ reverse: true, limit: 1_000 })).items),
    seen(byDoctor).toReversed(),
  );
  assert.equal(await index.count(), entries.length);
  const byCode = entries.filter(({ value }) => value.code !== undefined);
  assert.equal(await slots.index('byCode').count(), byCode.length);
  for (const entry of byCode)
    assert.deepEqual(
      seen([(await slots.index('byCode').get(entry.value.code as string)) ?? {}]),
      seen([entry]),
    );
}

const doctorsOf = async (slots: Slots, doctor: string): Promise<readonly Key[]> =>
  keysOf(await collect(slots.index('byDoctor').list({ prefix: [doctor] })));

export const indexClauses: readonly StoreClause[] = [
  {
    name: 'An index lists the entries by its keys, by one key, by a prefix and between bounds, in both directions and in pages.',
    law: 8,
    broken: throughProvider(
      changesPages('returns the rows of an index in another order', (page, { container }) =>
        container.startsWith('index:') ? { ...page, rows: page.rows.toReversed() } : page,
      ),
    ),
    async run(subject) {
      const slots = slotsIn(subject.storage);
      for (const [n, doctor] of ['lin', 'ada', 'lin', 'bo', 'lin', 'line'].entries())
        await slots.add(`s-${n}`, { doctor, day: n % 4 });
      const index = slots.index('byDoctor');
      const keys = async (range: Parameters<typeof index.list>[0]): Promise<readonly Key[]> =>
        keysOf(await collect(index.list(range)));
      const all = ['s-1', 's-3', 's-0', 's-4', 's-2', 's-5'];
      assert.deepEqual(await keys({}), all);
      assert.deepEqual(await keys({ reverse: true }), all.toReversed());
      assert.deepEqual(await keys({ prefix: ['lin'] }), ['s-0', 's-4', 's-2']);
      assert.deepEqual(await keys({ key: ['lin', 0] }), ['s-0', 's-4']);
      assert.deepEqual(await keys({ prefix: ['lin'], start: ['lin', 1] }), ['s-2']);
      assert.deepEqual(await keys({ start: ['bo'], end: ['lin', 1] }), ['s-3', 's-0', 's-4']);
      assert.equal((await index.get(['lin', 0]))?.key, 's-0');
      assert.equal(await index.get(['lin', 9]), undefined);
      assert.equal(await index.count({ prefix: ['lin'] }), 3);
      const paged: Key[] = [];
      let cursor: string | undefined;
      do {
        const { items, next } = await index.page({ limit: 2, cursor });
        paged.push(...keysOf(items));
        cursor = next;
      } while (cursor !== undefined);
      assert.deepEqual(paged, all);
      const { next } = await index.page({ limit: 4 });
      const { previous } = await index.page({ limit: 4, cursor: next });
      assert.deepEqual(keysOf((await index.page({ limit: 2, cursor: previous })).items), ['s-0', 's-4']);
      assert.deepEqual(await keys({ cursor: previous }), all.slice(0, 4).toReversed());
      assert.deepEqual(await keys({ cursor: next }), all.slice(4));
      await assertRejects('INVALID_CURSOR', 'page', () => index.page({ cursor: 'abc.def' }));
      await assertIndexed(slots);
      const other = slots.forTenant(subject.otherTenant());
      await other.set('s-9', { doctor: 'lin', day: 0 });
      assert.deepEqual(await doctorsOf(slots, 'lin'), ['s-0', 's-4', 's-2']);
      assert.deepEqual(await doctorsOf(other, 'lin'), ['s-9']);
    },
  },
  {
    name: 'Every write changes the indexes of its state in the same commit: no old entry stays, and no new one is missing.',
    law: 1,
    broken: changesIndexRows('leaves the rows of an index where an entry was', (change) =>
      change.kind === 'delete' ? undefined : change,
    ),
    async run(subject) {
      const slots = slotsIn(subject.storage);
      const slot = (doctor: string, day = 1, code?: string): Slot => ({ doctor, day, ...(code && { code }) });
      const steps: readonly (() => Promise<unknown>)[] = [
        () => slots.add('a', slot('lin', 1, 'A')),
        () => slots.set('b', slot('bo')),
        () => slots.set('b', slot('ada', 1, 'B')),
        () => slots.replace('b', slot('bo', 2, 'B')),
        () => slots.getOrAdd('c', () => slot('lin', 3)),
        async () => await slots.save((await slots.getOrThrow('c')).with({ doctor: 'ada' })),
        () => slots.update('c', (value) => ({ ...value, day: 4 })),
        () => slots.update('d', (value) => ({ ...value, day: 4 }), { initial: () => slot('new') }),
        () => slots.setMany(['a', 'e', 'f'].map((key) => ({ key, value: slot('many', 1, key) }))),
        () => slots.take('e'),
        () => slots.delete('b'),
        () =>
          subject.storage
            .atomic()
            .set(slots, 'a', slot('batch', 1, 'f'))
            .replace(slots, 'f', slot('batch', 2, 'a'))
            .add(slots, 'g', slot('batch', 3))
            .delete(slots, 'd')
            .commit(),
        () => slots.deleteMany({ prefix: 'a' }),
        () => slots.clear(),
      ];
      for (const step of steps) {
        await step();
        await assertIndexed(slots);
      }
    },
  },
  {
    name: 'Concurrent writers of one entry leave one row of it in each index.',
    law: 3,
    broken: throughProvider(
      changesBatches('does not check the entries that a write replaces', (batch) => ({
        ...batch,
        checks: batch.changes.some(isOfIndex) ? [] : batch.checks,
      })),
    ),
    async run(subject) {
      const slots = slotsIn(subject.storage);
      await slots.set('a', { doctor: 'd', day: 0 });
      const commit = async (doctor: string): Promise<unknown> =>
        await subject.storage.atomic().set(slots, 'a', { doctor, day: 0 }).commit();
      await concurrently(8, async (n) => await commit(`c-${n}`));
      await assertIndexed(slots);
      await concurrently(8, async (n) => {
        await slots.set('a', { doctor: `d-${n}`, day: 0 });
        await slots.update('a', (slot) => ({ ...slot, day: slot.day + 1 }), {
          initial: () => ({ doctor: 'd', day: 0 }),
        });
        if (n % 4 === 0) await slots.delete('a');
        await commit(`e-${n}`);
      });
      assert.equal(await slots.index('byDoctor').count(), 1);
      await assertIndexed(slots);
    },
  },
  {
    name: 'Of concurrent writers of one unique key exactly one wins, the others are UNIQUE_TAKEN and write nothing; a key may move in one batch.',
    law: 3,
    broken: throughProvider(
      changesBatches('does not check that a unique key is free', (batch) => ({
        ...batch,
        checks: batch.checks.filter((check) => !isOfIndex(check)),
      })),
    ),
    async run(subject) {
      const slots = slotsIn(subject.storage);
      const results = await Promise.allSettled(
        Array.from(
          { length: 8 },
          async (_, n) => await slots.add(`s-${n}`, { doctor: 'd', day: n, code: 'one' }),
        ),
      );
      assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 1);
      for (const result of results)
        if (result.status === 'rejected')
          await assertRejects('UNIQUE_TAKEN', 'add', () => Promise.reject(result.reason as Error));
      assert.equal(await slots.count(), 1);
      const { key, value } = (await slots.index('byCode').get('one')) ?? assert.fail('the key has no entry');
      const error = await assertRejects('UNIQUE_TAKEN', 'set', () => slots.set('other', value));
      assert.deepEqual({ ...error, index: 'byCode', indexKey: 'one', effect: 'none' }, { ...error });
      await assertRejects('UNIQUE_TAKEN', 'a batch with one key twice', () =>
        subject.storage
          .atomic()
          .set(slots, 'x', { ...value, code: 'two' })
          .set(slots, 'y', { ...value, code: 'two' })
          .commit(),
      );
      await slots.set(key, { ...value, day: 7 });
      await subject.storage
        .atomic()
        .set(slots, key, { ...value, code: 'two' })
        .set(slots, 'other', { ...value, code: 'one' })
        .commit();
      assert.equal((await slots.index('byCode').get('one'))?.key, 'other');
      assert.equal((await slots.index('byCode').get('two'))?.key, key);
      await slots.delete('other');
      await slots.set('third', { ...value, code: 'one' });
      await assertIndexed(slots);
    },
  },
  {
    name: 'An entry leaves its indexes in the moment in which it expires, also after `update`, `touch` and a sliding renewal; it frees its unique keys.',
    law: 6,
    capability: 'exact expiry',
    broken: changesIndexRows('expires the rows of indexes later', (change) =>
      change.kind === 'put' && typeof change.ttl === 'number'
        ? { ...change, ttl: change.ttl + 1_000 }
        : change,
    ),
    async run(subject) {
      const slots = slotsIn(subject.storage);
      const write = async (key: string): Promise<unknown> =>
        await slots.set(key, { doctor: 'd', day: 1, code: key }, { ttlMs: 10_000 });
      for (const key of ['plain', 'updated', 'moved', 'touched', 'both']) await write(key);
      await subject.clock.advance(4_000);
      await slots.update('updated', (slot) => ({ ...slot, note: 1 }));
      await slots.update('moved', (slot) => ({ ...slot, day: 2, code: 'new' }));
      await slots.touch('touched', { ttlMs: 10_000 });
      await slots.update('both', (slot) => ({ ...slot, day: 3 }));
      await slots.touch('both', { ttlMs: 10_000 });
      await assertIndexed(slots);
      await subject.clock.advance(5_999);
      await assertIndexed(slots);
      assert.equal(await slots.index('byDoctor').count(), 5);
      await subject.clock.advance(1);
      assert.deepEqual(await doctorsOf(slots, 'd'), ['touched', 'both']);
      await assertIndexed(slots);
      for (const code of ['plain', 'updated', 'new'])
        await slots.add(`free ${code}`, { doctor: 'e', day: 1, code });
      await assertRejects('UNIQUE_TAKEN', 'add', () => slots.add('x', { doctor: 'e', day: 1, code: 'both' }));
      await subject.clock.advance(4_000);
      assert.deepEqual(await doctorsOf(slots, 'd'), []);
      await slots.add('updated', { doctor: 'again', day: 1 });
      await assertIndexed(slots);
      const state = defineState<Slot, string, typeof indexes>('sliding', {
        indexes,
        ttlMs: 10_000,
        expiry: 'sliding',
      });
      const sliding: Slots = subject.storage.store(state);
      await sliding.set('a', { doctor: 'd', day: 1, code: 'a' });
      await subject.clock.advance(6_000);
      await sliding.get('a');
      await subject.clock.advance(6_000);
      assert.equal((await sliding.index('byCode').get('a'))?.key, 'a');
      await assertIndexed(sliding);
      await subject.clock.advance(4_000);
      assert.equal(await sliding.index('byCode').get('a'), undefined);
    },
  },
  {
    name: 'A new index, and one whose definition has changed, holds the entries that were there before when it is first read.',
    law: 8,
    broken: changesIndexRows('forgets the rows of indexes that are built later', (change, { changes }) =>
      changes.every(isOfIndex) ? undefined : change,
    ),
    async run(subject) {
      const before = subject.storage.store(defineState<Slot, string>('slot'));
      for (let n = 0; n < 250; n += 1)
        await before.set(`s-${n}`, { doctor: `d-${n % 7}`, day: n, code: `c-${n}` });
      await before.set('expiring', { doctor: 'd', day: 0, code: 'x' }, { ttlMs: 600_000 });
      const slots = slotsIn(subject.storage);
      await assertIndexed(slots);
      await slots.update('s-7', (slot) => ({ ...slot, doctor: 'other' }));
      await slots.touch('expiring', { ttlMs: 900_000 });
      await slots.delete('s-8');
      await assertIndexed(slots);
      await before.set('s-9', { doctor: 'd', day: 0, code: 'c-10' });
      const twice = defineState<Slot, string, typeof byCode>('slot', { indexes: byCode });
      const error = await assertRejects('INDEX_NOT_READY', 'an index with one unique key twice', () =>
        subject.storage.store(twice).index('code').count(),
      );
      assert.match(error.message, /same unique key "c-10"/);
    },
  },
  {
    name: 'Within the caller’s transaction, an index changes with its entry, and is rolled back with it.',
    law: 1,
    capability: 'transactions',
    broken: throughProvider(
      breaks('writes outside the transaction', (provider) => ({
        within: () => provider,
      })),
    ),
    async run(subject) {
      const slots = slotsIn(subject.storage);
      await slots.set('a', { doctor: 'x', day: 1, code: 'a' });
      for (const commits of [false, true]) {
        const { transaction, commit, rollback } = await subject.transaction();
        const inside = slots.within(transaction);
        await inside.set('a', { doctor: 'y', day: 1, code: 'b' });
        await inside.set('b', { doctor: 'z', day: 1, code: 'a' });
        await assertIndexed(inside);
        assert.deepEqual(await doctorsOf(slots, 'x'), ['a']);
        await (commits ? commit() : rollback());
        assert.deepEqual(await doctorsOf(slots, 'y'), commits ? ['a'] : []);
        await assertIndexed(slots);
      }
    },
  },
];

const byCode = { code: { key: (slot: Slot) => slot.code, unique: true } };

/**
 * Laws 1, 8, 10 and 13 for writes and reads of many entries: a load of any length, with the items
 * that were refused, and an export of one moment.
 */
import assert from 'node:assert/strict';
import { defineState, type Key, type LoadFailure, type LoadItem, type LoadProgress } from '../../../core.js';
import { assertRejects, assertThrows } from '../../kit/assertions.js';
import { breaksStores, type StoreClause } from '../../kit/store-clause.js';
import { collect, keysOf, type StoreSubject, type Thing } from '../../kit/store-subject.js';
import { numbered } from './reading.js';

const slotOf = (subject: StoreSubject) =>
  subject.storage.store(
    defineState<{ doctor: string; room: string }>('slot', {
      indexes: {
        byDoctor: (slot: { doctor: string }) => slot.doctor,
        byRoom: { key: (slot: { room: string }) => slot.room, unique: true },
      },
    }),
  );

export const bulkClauses: readonly StoreClause[] = [
  {
    name: '`addMany` creates all entries or none: KEY_EXISTS names the key that exists.',
    law: 1,
    broken: breaksStores('adds the entries that do not exist', (store) => ({
      addMany: async (items) => {
        const added = [];
        for (const { key, value } of items) added.push(await store.getOrAdd(key, () => value as Thing));
        return added.map(({ entry }) => entry);
      },
    })),
    async run(subject) {
      const things = subject.store();
      await things.set('key-0002', { n: -1 });
      const error = await assertRejects('KEY_EXISTS', 'addMany', () => things.addMany(numbered(4)));
      assert.equal((error as { key?: unknown }).key, 'key-0002');
      assert.equal(await things.count(), 1);
      await things.delete('key-0002');
      const added = await things.addMany(numbered(4), { ttlMs: 60_000 });
      assert.deepEqual(keysOf(added), keysOf(await collect(things.list())));
      assert.deepEqual(await things.getMany(keysOf(added)), added);
      assert.deepEqual(await things.addMany([]), []);
    },
  },
  {
    name: '`deleteKeys` deletes the keys of a source of any length, and returns how many existed.',
    law: 8,
    broken: breaksStores('counts the keys that it is given', (store) => ({
      deleteKeys: async (keys) => {
        let count = 0;
        for await (const key of keys) {
          await store.delete(key);
          count += 1;
        }
        return count;
      },
    })),
    async run(subject) {
      const things = subject.store();
      await things.loadFrom(numbered(1_000));
      await things.set('other', { n: 1 });
      const keys = [...keysOf(numbered(1_000)), 'none', 'key-0000'];
      assert.equal(await things.deleteKeys(inTurn(keys)), 1_000);
      assert.deepEqual(await collect(things.keys()), ['other']);
      assert.equal(await things.deleteKeys([]), 0);
      for (const none of [undefined, null, 7, {}])
        await assertRejects('INVALID_OPTION', 'deleteKeys', () => things.deleteKeys(none as never));
    },
  },
  {
    name: '`loadFrom` stores every item of a source, over what is there; of several items with one key the last counts.',
    law: 8,
    broken: breaksStores('stores the first item of a key', (store) => ({
      loadFrom: async (source) => {
        const loaded = new Set<unknown>();
        for await (const { key, value } of source as AsyncIterable<LoadItem<Key, Thing>>) {
          if (!loaded.has(key)) await store.set(key, value);
          loaded.add(key);
        }
        return { loaded: loaded.size, failed: 0, failures: [] };
      },
    })),
    async run(subject) {
      const things = subject.store();
      await things.set('key-0003', { n: -1 });
      const items = [...numbered(40), { key: 'key-0001', value: { n: 100 } }, ...numbered(2, 'z-')];
      for (const source of [items, inTurn(items)]) {
        const steps: LoadProgress[] = [];
        const onProgress = (progress: LoadProgress): unknown => steps.push(progress);
        const result = await things.loadFrom(source, { chunk: 10, concurrency: 3, onProgress });
        assert.deepEqual(result, { loaded: 43, failed: 0, failures: [] });
        assert.deepEqual(steps.at(-1), { loaded: 43, failed: 0 });
        assert.ok(
          steps.length >= 4 && steps.every(({ loaded }, at) => loaded > (steps[at - 1]?.loaded ?? 0)),
        );
      }
      assert.equal(await things.count(), 42);
      assert.deepEqual(
        (await things.getMany(['key-0001', 'key-0003'])).map((entry) => entry?.value.n),
        [100, 3],
      );
      assert.deepEqual(await things.loadFrom([]), { loaded: 0, failed: 0, failures: [] });
      for (const none of [undefined, null, 'text', {}])
        await assertRejects('INVALID_OPTION', 'loadFrom', () => things.loadFrom(none as never));
      for (const bad of [{ chunk: 0 }, { chunk: 901 }, { concurrency: 17 }, { concurrency: 1.5 }])
        await assertRejects('INVALID_OPTION', JSON.stringify(bad), () => things.loadFrom([], bad));
      await assertRejects('INVALID_OPTION', 'onError', () =>
        things.loadFrom([], { onError: 'ignore' as never }),
      );
    },
  },
  {
    name: 'An item that is refused ends a load with its error, or with `onError: ‘continue’` is a failure with its index, and all others are stored.',
    law: 13,
    broken: breaksStores('drops the chunk of a refused item', (store) => ({
      loadFrom: async (source, options) => {
        const items: LoadItem<Key, Thing>[] = [];
        for await (const item of source as AsyncIterable<LoadItem<Key, Thing>>) items.push(item);
        return await store.loadFrom(items.slice(0, 2), options);
      },
    })),
    async run(subject) {
      const things = subject.store();
      const circle: Record<string, unknown> = {};
      circle['self'] = circle;
      const items = [
        ...numbered(3),
        { key: '', value: { n: 1 } },
        { key: 'circle', value: circle as never },
        { key: 'large', value: { n: 1, text: 'x'.repeat(1_000_000) } },
        { key: 'ttl', value: { n: 1 }, ttlMs: -1 },
        ...numbered(2, 'z-'),
      ];
      const { loaded, failed, failures } = await things.loadFrom(items, { onError: 'continue', chunk: 2 });
      assert.deepEqual([loaded, failed], [5, 4]);
      assert.deepEqual(
        failures.map(({ index, key, error }) => [index, key, error.code]),
        [
          [3, '', 'INVALID_KEY'],
          [4, 'circle', 'INVALID_VALUE'],
          [5, 'large', 'LIMIT_EXCEEDED'],
          [6, 'ttl', 'INVALID_OPTION'],
        ],
      );
      assert.deepEqual(await collect(things.keys()), keysOf([...numbered(3), ...numbered(2, 'z-')]));
      await things.clear();
      const error = await assertRejects('INVALID_KEY', 'loadFrom', () =>
        things.loadFrom(items, { chunk: 1 }),
      );
      assert.equal((error as { done?: number }).done, await things.count());
      const many = Array.from({ length: 150 }, () => ({ key: '', value: { n: 1 } }));
      const reported: number[] = [];
      const onFailure = ({ index }: LoadFailure): void => void reported.push(index);
      const all = await things.loadFrom(many, { onError: 'continue', onFailure, chunk: 40 });
      assert.deepEqual([all.loaded, all.failed, all.failures.length], [0, 150, 100]);
      assert.deepEqual(reported, [...many.keys()]);
    },
  },
  {
    name: 'A load keeps the indexes of its state; an item whose unique key is taken fails alone.',
    law: 1,
    broken: breaksStores('fails the items around one that is refused', (store) => ({
      loadFrom: async (source, options) => {
        const result = await store.loadFrom(source, options);
        for (const { key } of numbered(1, 's-')) await store.delete(key);
        return result;
      },
    })),
    async run(subject) {
      const slots = slotOf(subject);
      await slots.set('taken', { doctor: 'bo', room: 'r-3' });
      await slots.set('s-0001', { doctor: 'bo', room: 'r-old' });
      const items = numbered(6, 's-').map(({ key, value: { n } }) => ({
        key,
        value: { doctor: n % 2 === 0 ? 'ada' : 'lin', room: `r-${n}` },
      }));
      const { loaded, failures } = await slots.loadFrom(items, { onError: 'continue' });
      assert.deepEqual(
        [loaded, failures.map(({ key, error }) => [key, error.code])],
        [5, [['s-0003', 'UNIQUE_TAKEN']]],
      );
      const of = async (doctor: string) =>
        keysOf(await collect(slots.index('byDoctor').list({ key: doctor })));
      assert.deepEqual(
        [await of('ada'), await of('lin'), await of('bo')],
        [['s-0000', 's-0002', 's-0004'], ['s-0001', 's-0005'], ['taken']],
      );
      assert.equal(await slots.index('byRoom').get('r-old'), undefined);
      assert.equal(await slots.deleteKeys(['s-0000', 's-0001']), 2);
      assert.deepEqual([await of('ada'), await of('lin')], [['s-0002', 's-0004'], ['s-0005']]);
      assert.equal(await slots.deleteMany({ prefix: 's-' }), 3);
    },
  },
  {
    name: 'A source is read no faster than its items are stored, and is closed when a load ends early: by an error, or at once by its signal.',
    law: 12,
    broken: breaksStores('reads the whole source first', (store) => ({
      loadFrom: async (source, options) => {
        const items: LoadItem<Key, Thing>[] = [];
        for await (const item of source as AsyncIterable<LoadItem<Key, Thing>>) items.push(item);
        return await store.loadFrom(items, options);
      },
    })),
    async run(subject) {
      const things = subject.store();
      let read = 0;
      let isClosed = false;
      let stored = 0;
      let ahead = 0;
      async function* source(): AsyncGenerator<LoadItem<Key, Thing>> {
        try {
          for (const item of numbered(400)) {
            read += 1;
            ahead = Math.max(ahead, read - stored);
            yield await Promise.resolve(item);
          }
          yield { key: '', value: { n: 1 } };
        } finally {
          isClosed = true;
        }
      }
      const onProgress = ({ loaded }: LoadProgress): void => {
        stored = loaded;
      };
      const options = { chunk: 10, concurrency: 2, onProgress };
      await assertRejects('INVALID_KEY', 'loadFrom', () => things.loadFrom(source(), options));
      assert.ok(isClosed, 'the source is not closed');
      // the chunks in flight, the one that waits, and the one that is filled
      assert.ok(ahead <= 50, `it reads ${ahead} items ahead`);
      const aborting = new AbortController();
      const hanging = {
        [Symbol.asyncIterator]: () => ({
          next: async (): Promise<IteratorResult<LoadItem<Key, Thing>>> => {
            aborting.abort();
            return await new Promise<never>(() => undefined);
          },
        }),
      };
      await assertRejects('ABORTED', 'loadFrom', () => things.loadFrom(hanging, { signal: aborting.signal }));
    },
  },
  {
    name: 'An export returns the entries of one moment, in order, whatever is written while it is read.',
    law: 8,
    broken: breaksStores('exports page by page', (store) => ({
      export: (range, options) => store.list(range, options),
    })),
    async run(subject) {
      const things = subject.store();
      await things.loadFrom(numbered(1_300));
      await things.set('key-0001', { n: 1 }, { ttlMs: 3_600_000 });
      await subject.store('thing-2').set('key-0002', { n: -1 });
      const before = await things.getMany(keysOf(numbered(1_000)));
      const seen = [];
      for await (const entry of things.export()) {
        if (seen.push(entry) !== 1) continue;
        await things.set('key-0003', { n: -1 });
        await things.set('key-1200', { n: -1 });
        await things.delete('key-1201');
        await things.addMany(numbered(5, 'key-1202-'));
      }
      assert.deepEqual(
        seen.map(({ key, value }) => ({ key, value })),
        numbered(1_300),
      );
      assert.deepEqual(seen.slice(0, 1_000), before);
      assert.equal(await things.count(), 1_304);
      const some = await collect(things.export({ start: 'key-1202', end: 'key-1205' }));
      assert.equal(some.length, 8);
      assert.deepEqual(keysOf(await collect(things.export({ prefix: 'key-1202-' }))).length, 5);
      for await (const { key } of things.export()) {
        assert.equal(key, 'key-0000');
        break;
      }
      assert.deepEqual(await collect(subject.store('none').export()), []);
      assertThrows('INVALID_OPTION', 'export', () => things.export({ reverse: true } as never));
    },
  },
  {
    name: 'A load and an export belong to the tenant of the call.',
    law: 10,
    broken: breaksStores('exports the entries of the first tenant', (_, storage) => ({
      export: (range, options) => storage.store(defineState<Thing>('thing')).export(range, options),
    })),
    async run(subject) {
      const things = subject.store();
      const others = things.forTenant(subject.otherTenant());
      await things.loadFrom(numbered(3));
      assert.deepEqual(await others.loadFrom(inTurn(numbered(2, 'o-'))), {
        loaded: 2,
        failed: 0,
        failures: [],
      });
      assert.equal(await others.deleteKeys(['key-0000']), 0);
      assert.deepEqual(keysOf(await collect(things.export())), keysOf(numbered(3)));
      assert.deepEqual(keysOf(await collect(others.export())), keysOf(numbered(2, 'o-')));
    },
  },
];

async function* inTurn<Item>(items: readonly Item[]): AsyncGenerator<Item> {
  for (const item of items) yield await Promise.resolve(item);
}

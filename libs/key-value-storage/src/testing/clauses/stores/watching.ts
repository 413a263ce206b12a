/**
 * Law 9, watches of stores. The first item is the current state, and the last state always comes;
 * what is not committed, and what is not watched, never does. A watch that shows an outdated state
 * as the last one would be worse than none, because its reader does not read again.
 */
import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import type { Entry, KeyValueStore, RangeChange } from '../../../core.js';
import { breaks } from '../../kit/broken-providers.js';
import {
  breaksStores,
  throughProvider,
  type BrokenStorage,
  type StoreClause,
} from '../../kit/store-clause.js';
import type { StoreSubject, Thing } from '../../kit/store-subject.js';

const law = 9;
/** A safety net: a correct watch needs milliseconds. */
const itemWithinMs = 120_000;

type Items<T> = AsyncIterator<T, undefined>;
type Entries = AsyncIterable<Entry<unknown> | undefined>;

const begin = <T>(watch: AsyncIterable<T>) => watch[Symbol.asyncIterator]() as Items<T>;

/** The next item. The clock moves on to the next poll while the watch waits for one. */
async function next<T>(subject: StoreSubject, items: Items<T>, movesClock = true): Promise<T> {
  const deadline = performance.now() + itemWithinMs;
  let isSettled = false;
  const item = items.next().finally(() => (isSettled = true));
  // handled below
  item.catch(() => undefined);
  while (!isSettled) {
    assert.ok(performance.now() < deadline, 'the watch shows no further item');
    if (movesClock && subject.clock.waiting > 0) await subject.clock.advance(1_000);
    else await setImmediate();
  }
  const { done, value } = await item;
  assert.notEqual(done, true, 'the watch has ended');
  return value as T;
}

const nextNumber = async (subject: StoreSubject, items: Items<Entry<Thing> | undefined>) =>
  (await next(subject, items))?.value.n;

/** Asserts that watches end at once: without a result of the engine, or the time of a poll. */
async function assertEnd(what: string, pending: readonly Promise<IteratorResult<unknown>>[]): Promise<void> {
  const late = Symbol('late');
  const timeOut = async (): Promise<typeof late> => {
    for (let round = 0; round < 50; round += 1) await setImmediate();
    return late;
  };
  const ends = await Promise.race([Promise.all(pending), timeOut()]);
  assert.notEqual(ends, late, `a watch must end at once with ${what}`);
  for (const { done } of ends as readonly IteratorResult<unknown>[])
    assert.equal(done, true, `a watch must end with ${what}; got an item`);
}

/** Replaces `watch` of every store. */
const breaksWatch = (fault: string, change: (entries: Entries, store: KeyValueStore<unknown>) => Entries) =>
  breaksStores(fault, (store) => ({
    watch: (key, options) => change(store.watch(key, options), store as KeyValueStore<unknown>),
  }));

function repeatsEveryState(): BrokenStorage {
  return breaksWatch('keeps every state for a slow reader', (entries) => {
    const items: (Entry<unknown> | undefined)[] = [];
    const collect = async (): Promise<void> => {
      for await (const item of entries) items.push(item);
    };
    void collect().catch(() => undefined);
    return {
      async *[Symbol.asyncIterator]() {
        while (true) {
          if (items.length > 0) yield items.shift();
          else await setImmediate();
        }
      },
    };
  });
}

const changeOf = (change: RangeChange<Thing>): readonly unknown[] =>
  change.type === 'put'
    ? ['put', change.entry.key, change.entry.value.n]
    : change.type === 'delete'
      ? ['delete', change.key]
      : [change.type];

export const watchingClauses: readonly StoreClause[] = [
  {
    name: 'A watch shows the current entry first, then each change: written, overwritten, deleted, written again.',
    law,
    broken: breaksWatch('shows no deletion', async function* (entries) {
      let last: Entry<unknown> | undefined;
      for await (const entry of entries) yield (last = entry ?? last);
    }),
    async run(subject) {
      const things = subject.store();
      const items = begin(things.watch('k'));
      assert.equal(await next(subject, items), undefined);
      const first = await things.set('k', { n: 1 });
      const seen = await next(subject, items);
      assert.deepEqual([seen?.key, seen?.value, seen?.etag], ['k', { n: 1 }, first.etag]);
      await things.update('k', ({ n }) => ({ n: n + 1 }));
      assert.equal(await nextNumber(subject, items), 2);
      await things.delete('k');
      assert.equal(await next(subject, items), undefined);
      await subject.storage.atomic().set(things, 'other', { n: 0 }).set(things, 'k', { n: 3 }).commit();
      assert.equal(await nextNumber(subject, items), 3);
      const late = begin(things.watch('k'));
      assert.equal(await nextNumber(subject, late), 3);
      await Promise.all([items.return?.(), late.return?.()]);
    },
  },
  {
    name: 'A watch shows nothing of other keys, states and tenants.',
    law,
    broken: breaksStores('watches the same key of all tenants', (store) => ({
      forTenant: () => store,
    })),
    async run(subject) {
      const things = subject.store();
      const theirs = things.forTenant(subject.otherTenant());
      const [ours, other] = [begin(things.watch('k')), begin(theirs.watch('k'))];
      assert.deepEqual([await next(subject, ours), await next(subject, other)], [undefined, undefined]);
      const change = nextNumber(subject, ours);
      await theirs.set('k', { n: 1 });
      assert.equal(await nextNumber(subject, other), 1);
      await things.set('k2', { n: 2 });
      await subject.store('elsewhere').set('k', { n: 3 });
      await things.set('k', { n: 4 });
      assert.equal(await change, 4);
      await theirs.set('k', { n: 5 });
      assert.equal(await nextNumber(subject, other), 5);
      await Promise.all([ours.return?.(), other.return?.()]);
    },
  },
  {
    name: 'A reader that has stopped reading gets the last state alone when it reads again.',
    law,
    broken: repeatsEveryState(),
    async run(subject) {
      const things = subject.store();
      const items = begin(things.watch('k'));
      assert.equal(await next(subject, items), undefined);
      for (let n = 0; n < 20; n += 1) await things.set('k', { n });
      assert.equal(await nextNumber(subject, items), 19);
      await things.set('k', { n: 20 });
      assert.equal(await nextNumber(subject, items), 20);
      await items.return?.();
    },
  },
  {
    name: 'A watch of several keys shows all of them in their order, as one consistent read after each change.',
    law,
    broken: breaksStores(
      'watches each key alone',
      (store) =>
        ({
          async *watchMany(keys: readonly never[]) {
            for await (const entry of store.watch(keys[0] as never)) {
              await store.set(keys[1] as never, { n: -1 });
              yield [entry, await store.get(keys[1] as never)];
            }
          },
        }) as never,
    ),
    async run(subject) {
      const things = subject.store();
      const write = async (n: number): Promise<void> => {
        await subject.storage.atomic().set(things, 'a', { n }).set(things, 'b', { n: -n }).commit();
      };
      await write(1);
      const items = begin(things.watchMany(['a', 'b', 'absent', 'a']));
      const sums = async (): Promise<readonly unknown[]> =>
        (await next(subject, items)).map((entry) => entry?.value.n);
      assert.deepEqual(await sums(), [1, -1, undefined, 1]);
      for (let n = 2; n < 10; n += 1) {
        await write(n);
        assert.deepEqual(await sums(), [n, -n, undefined, n]);
      }
      await items.return?.();
    },
  },
  {
    name: 'A watch of a range shows every entry, the end of the listing, then each change and deletion in it.',
    law,
    broken: breaksStores(
      'shows deletions as unchanged entries',
      (store) =>
        ({
          async *watchRange(range: never, options: never) {
            for await (const change of store.watchRange(range, options))
              yield change.type === 'delete' ? { type: 'listed' as const } : change;
          },
        }) as never,
    ),
    async run(subject) {
      const things = subject.store();
      for (const [n, key] of ['a', 'b1', 'b2', 'c'].entries()) await things.set(key, { n });
      const items = begin(things.watchRange({ prefix: 'b' }));
      const change = async (): Promise<readonly unknown[]> => changeOf(await next(subject, items));
      assert.deepEqual(
        [await change(), await change(), await change()],
        [['put', 'b1', 1], ['put', 'b2', 2], ['listed']],
      );
      await things.set('a', { n: 10 });
      await things.set('b3', { n: 11 });
      assert.deepEqual(await change(), ['put', 'b3', 11]);
      await things.delete('c');
      await things.delete('b1');
      assert.deepEqual(await change(), ['delete', 'b1']);
      await things.set('b2', { n: 12 });
      assert.deepEqual(await change(), ['put', 'b2', 12]);
      await things.clear();
      assert.deepEqual([await change(), await change()].sort(), [
        ['delete', 'b2'],
        ['delete', 'b3'],
      ]);
      await items.return?.();
    },
  },
  {
    name: 'A watch ends at once with its signal, with `return`, and with the close of the storage, without an error.',
    law,
    broken: breaksStores('ends a watch only after its next change', (store) => ({
      watch: (key) => store.watch(key),
    })),
    async run(subject) {
      const things = subject.store();
      const controller = new AbortController();
      const start = async (signal?: AbortSignal) => {
        const one = begin(things.watch('k', { signal }));
        const many = begin(things.watchMany(['k'], { signal }));
        const range = begin(things.watchRange({}, { signal }));
        const all: readonly Items<unknown>[] = [one, many, range];
        for (const items of all) await next(subject, items);
        const pending = all.map((items) => items.next());
        // handled where their end is asserted
        for (const item of pending) item.catch(() => undefined);
        return { all, pending };
      };
      const [aborted, returned, closed] = [await start(controller.signal), await start(), await start()];
      controller.abort();
      await assertEnd('its signal', aborted.pending);
      await assertEnd(
        '`return`',
        returned.all.map((items) => items.return?.() as Promise<IteratorResult<unknown>>),
      );
      await assertEnd('`return`', returned.pending);
      const close = subject.storage.close();
      await assertEnd('the close of the storage', closed.pending);
      await close;
      await subject.reopen();
    },
  },
  {
    name: 'An entry that expires is a change, seen at its time and not before; a renewal is none.',
    law,
    capability: 'exact expiry',
    broken: breaksWatch('shows an expired entry until its next change', async function* (entries) {
      let last: Entry<unknown> | undefined;
      for await (const entry of entries) yield (last = entry ?? last);
    }),
    async run(subject) {
      const things = subject.store();
      await things.set('k', { n: 1 }, { ttlMs: 60_000 });
      const items = begin(things.watch('k'));
      const range = begin(things.watchRange());
      assert.equal((await next(subject, items, false))?.value.n, 1);
      assert.deepEqual(changeOf(await next(subject, range, false)), ['put', 'k', 1]);
      assert.deepEqual(changeOf(await next(subject, range, false)), ['listed']);
      const [gone, gap] = [next(subject, items, false), next(subject, range, false)];
      await subject.clock.advance(30_000);
      await things.touch('k', { ttlMs: 60_000 });
      await subject.clock.advance(59_999);
      assert.equal(await things.has('k'), true);
      await subject.clock.advance(1);
      assert.equal(await gone, undefined);
      assert.deepEqual(changeOf(await gap), ['delete', 'k']);
      await Promise.all([items.return?.(), range.return?.()]);
    },
  },
  {
    name: 'A watch shows what another instance over the same data commits.',
    law,
    capability: 'shared',
    broken: breaksWatch('shows the changes of its own instance only', async function* (entries) {
      for await (const entry of entries)
        yield entry?.value && (entry.value as Thing).n < 0 ? undefined : entry;
    }),
    async run(subject) {
      const theirs = (await subject.openSecond()).store(subject.definition());
      const things = subject.store();
      const [items, range] = [begin(things.watch('k')), begin(things.watchRange())];
      assert.equal(await next(subject, items), undefined);
      assert.deepEqual(changeOf(await next(subject, range)), ['listed']);
      for (const n of [-1, -2, -3]) {
        await theirs.set('k', { n });
        assert.equal(await nextNumber(subject, items), n);
        assert.deepEqual(changeOf(await next(subject, range)), ['put', 'k', n]);
      }
      await theirs.delete('k');
      assert.equal(await next(subject, items), undefined);
      assert.deepEqual(changeOf(await next(subject, range)), ['delete', 'k']);
      await Promise.all([items.return?.(), range.return?.()]);
    },
  },
  {
    name: 'A watch shows what a transaction of the caller wrote only after it was committed, and nothing of a rollback.',
    law,
    capability: 'transactions',
    broken: throughProvider(
      breaks('commits each batch of a transaction at once', (provider) => ({ within: () => provider })),
    ),
    async run(subject) {
      const things = subject.store();
      const items = begin(things.watchMany(['a', 'b']));
      const both = async (): Promise<readonly unknown[]> =>
        (await next(subject, items)).map((entry) => entry?.value.n);
      assert.deepEqual(await both(), [undefined, undefined]);
      const undone = await subject.transaction();
      await things.within(undone.transaction).set('a', { n: -1 });
      await things.set('b', { n: 1 });
      assert.deepEqual(await both(), [undefined, 1]);
      await undone.rollback();
      const kept = await subject.transaction();
      await things.within(kept.transaction).set('a', { n: 2 });
      await things.set('b', { n: 2 });
      assert.deepEqual(await both(), [undefined, 2]);
      await kept.commit();
      assert.deepEqual(await both(), [2, 2]);
      await items.return?.();
    },
  },
];

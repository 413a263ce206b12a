import { getEventListeners } from 'node:events';
import { setImmediate } from 'node:timers/promises';
import { afterEach, describe, expect, test } from '@jest/globals';
import type { KeyValueStorage } from '../store/key-value-store.js';
import { endWatches, openStorage } from '../store/open-storage.js';
import { defineState } from '../store/state-definition.js';
import { storageError } from '../base/errors.js';
import type { ProviderReadOptions, Address, StorageProvider } from '../port/storage-provider.js';
import { HintSource } from '../providers/hint-source.js';
import { MemoryProvider } from '../../providers/memory/memory-provider.js';
import type { PollOptions } from './poll-options.js';
import { delegating } from '../providers/delegating.js';
import { ManualClock } from '../../testing/kit/manual-clock.js';

interface Thing {
  readonly n: number;
}
const things = defineState<Thing>('thing');

const opened: KeyValueStorage[] = [];
afterEach(async () => {
  for (const storage of opened.splice(0)) await storage.close();
});

/** A storage in memory. `isPolled`: as an engine that other processes write to, without hints. */
async function openMemory({
  isPolled = false,
  hinted,
  poll,
}: { isPolled?: boolean; hinted?: HintSource; poll?: PollOptions } = {}) {
  const clock = new ManualClock();
  const memory = new MemoryProvider({ clock });
  const reads: { readonly addresses: readonly Address[]; readonly values: string }[] = [];
  const failure = { isActive: false };
  /** The result of a read of values waits for `late`. */
  const delay: { late?: Promise<unknown> } = {};
  const fail = (): void => {
    if (failure.isActive) throw storageError('STORAGE_UNAVAILABLE', 'The engine cannot be reached.', {});
  };
  const { hints, ...delegated } = delegating(memory);
  const provider: StorageProvider = {
    ...delegated,
    ...(!isPolled && hints !== undefined && { hints }),
    ...(hinted !== undefined && { hints: (targets, signal) => hinted.listen(targets, signal) }),
    features: { ...memory.features, shared: isPolled },
    read: async (addresses, options: ProviderReadOptions = {}) => {
      reads.push({ addresses, values: options.values ?? 'include' });
      fail();
      const result = await memory.read(addresses, options);
      if (options.values !== 'omit') await delay.late;
      return result;
    },
    scan: async (ranges, options) => {
      fail();
      return await memory.scan(ranges, options);
    },
  };
  const storage = await openStorage(provider, { poll });
  opened.push(storage);
  return { clock, reads, failure, delay, storage, store: storage.store(things) };
}

/** The items of a watch, as they come. */
function collectItems<T>(watch: AsyncIterable<T>) {
  const items: T[] = [];
  const end: { error?: unknown; isOver: boolean } = { isOver: false };
  const done = (async () => {
    try {
      for await (const item of watch) items.push(item);
    } catch (error) {
      end.error = error;
    } finally {
      end.isOver = true;
    }
  })();
  return { items, end, done };
}

const iteratorOf = <T>(watch: AsyncIterable<T>) =>
  watch[Symbol.asyncIterator]() as AsyncIterator<T, undefined>;

/** The next item; `undefined` at the end too. */
async function nextOf<T>(watch: AsyncIterator<T, undefined>): Promise<T | undefined> {
  const item = await watch.next();
  return item.value;
}

const numbers = (items: readonly ({ readonly value: Thing } | undefined)[]) =>
  items.map((entry) => entry?.value.n);

async function rounds(count = 20): Promise<void> {
  for (let round = 0; round < count; round += 1) await setImmediate();
}

test('a watch shows the current entry, then each change; other keys cost it no read', async () => {
  const { store, reads } = await openMemory();
  const { items } = collectItems(store.watch('k'));
  await rounds();
  await store.set('k', { n: 1 });
  await rounds();
  const before = reads.length;
  for (let n = 0; n < 10; n += 1) await store.set(`other ${n}`, { n });
  await rounds();
  expect(reads.length).toBe(before);
  await store.delete('k');
  await rounds();
  expect(numbers(items)).toStrictEqual([undefined, 1, undefined]);
});

test('a reader that stopped reading costs no read, and then gets the last state only', async () => {
  const { store, reads } = await openMemory();
  const watch = iteratorOf(store.watch('k'));
  await watch.next();
  const before = reads.length;
  for (let n = 0; n < 1_000; n += 1) await store.set('k', { n });
  expect(reads.length).toBe(before);
  expect(numbers([await nextOf(watch)])).toStrictEqual([999]);
  expect(reads.length).toBe(before + 1);
});

describe('polling', () => {
  test('1,000 watches of 1,000 keys are one read a poll, of versions only', async () => {
    const { store, reads, clock } = await openMemory({ isPolled: true });
    const keys = Array.from({ length: 1_000 }, (_, n) => `k${n}`);
    const watches = keys.map((key) => collectItems(store.watch(key)));
    await rounds();
    for (let poll = 0; poll < 3; poll += 1) {
      const before = reads.length;
      await clock.advance(1_000);
      expect(reads.slice(before).map(({ addresses, values }) => [addresses.length, values])).toEqual(
        Array.from({ length: reads.length - before }, () => [1_000, 'omit']),
      );
      expect(reads.length - before).toBeLessThanOrEqual(5);
    }
    const before = reads.length;
    await store.set('k7', { n: 7 });
    await clock.advance(1_000);
    // the poll, and one read of what has changed
    expect(reads.slice(before).filter(({ values }) => values === 'include')).toHaveLength(1);
    expect(numbers(watches[7]?.items ?? [])).toStrictEqual([undefined, 7]);
    expect(watches.filter(({ items }) => items.length === 2)).toHaveLength(1);
  });

  test('a hint that anything has changed is one read of versions for all watches', async () => {
    const hinted = new HintSource();
    const { store, reads } = await openMemory({ isPolled: true, hinted });
    const watches = Array.from({ length: 1_000 }, (_, n) => collectItems(store.watch(`k${n}`)));
    await rounds();
    let before = reads.length;
    hinted.changedAll();
    await rounds();
    expect(reads.slice(before).map(({ addresses, values }) => [addresses.length, values])).toEqual([
      [1_000, 'omit'],
    ]);
    await store.set('k7', { n: 7 });
    before = reads.length;
    hinted.changedAll();
    await rounds();
    expect(reads.slice(before).map(({ values }) => values)).toEqual(['omit', 'include']);
    expect(numbers(watches[7]?.items ?? [])).toStrictEqual([undefined, 7]);
  });

  test.each<[string, (number | undefined)[], number | undefined]>([
    ['the first read', [undefined, 1], undefined],
    ['the first read, of a deletion,', [1, undefined], 1],
    ['a later read', [undefined, 1, 2], undefined],
    ['a later read, of a deletion,', [undefined, 1, undefined], undefined],
  ])('a hint during %s is not lost', async (_, shown, first) => {
    const hinted = new HintSource();
    const { store, delay } = await openMemory({ isPolled: true, hinted });
    const change = async (n: number | undefined): Promise<unknown> =>
      n === undefined ? await store.delete('k') : await store.set('k', { n });
    if (first !== undefined) await change(first);
    const { items } = collectItems(store.watch('k'));
    const changes = shown.slice(1);
    if (changes.length > 1) await rounds();
    let release = (): void => undefined;
    delay.late = new Promise<void>((resolve) => (release = resolve));
    for (const n of changes) {
      await rounds();
      await change(n);
      hinted.changedAll();
    }
    await rounds();
    release();
    await rounds();
    expect(numbers(items)).toStrictEqual(shown);
  });

  test('comes each 200 ms after a change, and each second after some without one', async () => {
    const { store, reads, clock } = await openMemory({ isPolled: true });
    const { items } = collectItems(store.watch('k'));
    await rounds();
    await clock.advance(10_000);
    const idle = reads.length;
    await clock.advance(10_000);
    expect(reads.length - idle).toBe(10);
    for (let n = 0; n < 10; n += 1) {
      await store.set('k', { n });
      await clock.advance(n === 0 ? 1_000 : 200);
    }
    expect(numbers(items)).toStrictEqual([undefined, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  test.each([
    ['both', { delayMs: 50, delayMsMax: 5_000 }, 50, 5_000],
    ['a longer time than the default of the longest', { delayMs: 4_000 }, 4_000, 4_000],
    ['the longest time only', { delayMsMax: 500 }, 200, 500],
  ])('comes as often as the options say: %s', async (_, poll, least, most) => {
    const { store, reads, clock } = await openMemory({ isPolled: true, poll });
    const { items } = collectItems(store.watch('k'));
    await rounds();
    await clock.advance(20_000);
    const idle = reads.length;
    await clock.advance(20_000);
    expect(reads.length - idle).toBe(20_000 / most);
    await store.set('k', { n: 0 });
    while (items.length === 1) await clock.advance(least);
    for (let n = 1; n < 10; n += 1) {
      await store.set('k', { n });
      await clock.advance(least);
    }
    expect(numbers(items)).toStrictEqual([undefined, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  test.each([
    [{ delayMs: 0 }, 'poll: delayMs must be a whole number of milliseconds from 1'],
    [{ delayMs: '200' }, 'poll: delayMs must be'],
    [{ delayMsMax: 2 ** 31 }, 'poll: delayMsMax must be'],
    [{ delayMs: 300, delayMsMax: 200 }, 'poll: delayMsMax must not be below delayMs, 300; got 200.'],
    [{ delay: 200 }, "poll has no option 'delay'"],
    [5, 'poll: options must be an object'],
  ])('refuses the options %j', async (poll, message) => {
    const opening = openMemory({ isPolled: true, poll: poll as PollOptions });
    await expect(opening).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      message: expect.stringContaining(message),
    });
  });

  test('stops with the last watch, and while no reader waits', async () => {
    const { store, reads, clock } = await openMemory({ isPolled: true });
    const watch = iteratorOf(store.watch('k'));
    await watch.next();
    await store.set('k', { n: 1 });
    await clock.advance(1_000);
    const marked = reads.length;
    await clock.advance(10_000);
    expect(reads.length).toBe(marked);
    await watch.return?.();
    expect(clock.waiting).toBe(0);
  });

  test('sees a range: entries, changes and deletions', async () => {
    const { store, clock } = await openMemory({ isPolled: true });
    await store.set('a1', { n: 1 });
    await store.set('b1', { n: 1 });
    const { items } = collectItems(store.watchRange({ prefix: 'a' }));
    await rounds();
    await store.set('a2', { n: 2 });
    await store.set('b2', { n: 2 });
    await store.delete('a1');
    await clock.advance(1_000);
    expect(items.map((item) => (item.type === 'put' ? item.entry.key : item))).toEqual([
      'a1',
      { type: 'listed' },
      'a2',
      { type: 'delete', key: 'a1' },
    ]);
  });
});

describe('an engine that cannot be reached', () => {
  test('ends a watch with its error', async () => {
    const { store, clock, failure } = await openMemory({ isPolled: true });
    const [one, range] = [collectItems(store.watch('k')), collectItems(store.watchRange())];
    await rounds();
    failure.isActive = true;
    await clock.advance(1_000);
    for (const { end } of [one, range]) expect(end.error).toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
    expect(clock.waiting).toBe(0);
  });

  test('with `recover`, the watch goes on when it is back, with the last state', async () => {
    const { store, clock, failure } = await openMemory({ isPolled: true });
    failure.isActive = true;
    const one = collectItems(store.watch('k', { recover: true }));
    const range = collectItems(store.watchRange({}, { recover: true }));
    await clock.advance(10_000);
    expect([one.items, range.items]).toEqual([[], []]);
    failure.isActive = false;
    await clock.advance(1_000);
    expect([numbers(one.items), range.items]).toEqual([[undefined], [{ type: 'listed' }]]);
    failure.isActive = true;
    await store.set('k', { n: 1 });
    await store.set('k', { n: 2 });
    await clock.advance(60_000);
    failure.isActive = false;
    await clock.advance(1_000);
    expect(numbers(one.items)).toStrictEqual([undefined, 2]);
    expect(range.items.map(({ type }) => type)).toEqual(['listed', 'put']);
    expect([one.end.isOver, range.end.isOver]).toEqual([false, false]);
  });
});

describe('the end of a watch', () => {
  const ends: readonly (readonly [
    string,
    (storage: KeyValueStorage, controller: AbortController) => void | Promise<void>,
  ])[] = [
    ['the signal', (_, controller) => controller.abort()],
    ['the close of the storage', async (storage) => await storage.close()],
    ['the shutdown of the application', (storage) => endWatches(storage)],
  ];
  test.each(ends)('comes with %s, without an error, also while no reader waits', async (_, end) => {
    const { storage, store, clock } = await openMemory({ isPolled: true });
    const controller = new AbortController();
    const options = { signal: controller.signal };
    const watches = [
      collectItems(store.watch('k', options)),
      collectItems(store.watchMany(['k', 'l'], options)),
      collectItems(store.watchRange({}, options)),
    ];
    const stalled = store.watch('k', options)[Symbol.asyncIterator]();
    await stalled.next();
    await rounds();
    await end(storage, controller);
    await Promise.all(watches.map(({ done }) => done));
    for (const { end: over } of watches) expect(over).toEqual({ isOver: true });
    expect(await stalled.next()).toEqual({ done: true, value: undefined });
    expect(clock.waiting).toBe(0);
  });

  test('comes for all watches of one signal, which has one listener', async () => {
    const { store } = await openMemory();
    const controller = new AbortController();
    const watches = Array.from({ length: 20 }, () =>
      collectItems(store.watch('k', { signal: controller.signal })),
    );
    await rounds();
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(1);
    controller.abort();
    await Promise.all(watches.map(({ done }) => done));
  });

  test('a watch that has ended leaves nothing with its signal', async () => {
    const { store } = await openMemory();
    const { signal } = new AbortController();
    const watches = [iteratorOf(store.watch('k', { signal })), iteratorOf(store.watch('l', { signal }))];
    for (const watch of watches) await watch.next();
    expect(getEventListeners(signal, 'abort')).toHaveLength(1);
    for (const watch of watches) await watch.return?.();
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });

  test('`return` does not wait for a read in flight', async () => {
    const { store, storage } = await openMemory();
    const watch = iteratorOf(store.watch('k'));
    const first = watch.next();
    expect(await watch.return?.()).toEqual({ done: true, value: undefined });
    expect((await first).done).toBe(true);
    await storage.close();
  });

  test('after the shutdown began, a watch is STORAGE_NOT_OPEN; other calls go on', async () => {
    const { store, storage } = await openMemory();
    endWatches(storage);
    const { end, done } = collectItems(store.watch('k'));
    await done;
    expect(end.error).toMatchObject({ code: 'STORAGE_NOT_OPEN' });
    await store.set('k', { n: 1 });
  });
});

describe('expiry', () => {
  test('is seen at its time, without a read in between; a renewal is no change', async () => {
    const { store, clock, reads } = await openMemory();
    await store.set('k', { n: 1 }, { ttlMs: 60_000 });
    const [one, range] = [collectItems(store.watch('k')), collectItems(store.watchRange())];
    await rounds();
    await clock.advance(30_000);
    await store.touch('k', { ttlMs: 60_000 });
    await rounds();
    const before = reads.length;
    await clock.advance(59_999);
    expect(reads.length).toBe(before);
    expect([one.items.length, range.items.length]).toEqual([1, 2]);
    await clock.advance(1);
    expect(numbers(one.items)).toStrictEqual([1, undefined]);
    expect(range.items.at(-1)).toEqual({ type: 'delete', key: 'k' });
    expect(clock.waiting).toBe(0);
  });
});

describe('a range', () => {
  test('of more than 10,000 keys ends with LIMIT_EXCEEDED, at the start and later', async () => {
    const { store } = await openMemory();
    const fill = async (from: number, to: number): Promise<void> => {
      for (let first = from; first < to; first += 500)
        await store.setMany(
          Array.from({ length: Math.min(500, to - first) }, (_, n) => ({
            key: `k${first + n}`,
            value: { n },
          })),
        );
    };
    await fill(0, 10_000);
    const later = collectItems(store.watchRange());
    await rounds(200);
    expect(later.items.at(-1)).toEqual({ type: 'listed' });
    await fill(10_000, 10_001);
    const first = collectItems(store.watchRange());
    await Promise.all([later.done, first.done]);
    const expected = { code: 'LIMIT_EXCEEDED', limit: 'watchedKeysMax' };
    expect([first.end.error, later.end.error]).toMatchObject([expected, expected]);
  });

  test('a reader that stopped reading gets each changed key once, and large values too', async () => {
    const { store } = await openMemory();
    const watch = iteratorOf(store.watchRange());
    await watch.next();
    const text = 'x'.repeat(800_000);
    for (let n = 0; n < 60; n += 1) await store.set(`k${n % 30}`, { n, text } as Thing);
    await store.delete('k0');
    const seen = new Map<unknown, unknown>();
    for (let count = 0; count < 29; count += 1) {
      const change = await nextOf(watch);
      if (change?.type === 'put') seen.set(change.entry.key, change.entry.value.n);
    }
    expect([...seen.values()].sort((a, b) => Number(a) - Number(b))).toEqual(
      Array.from({ length: 29 }, (_, n) => 31 + n),
    );
    await watch.return?.();
  });
});

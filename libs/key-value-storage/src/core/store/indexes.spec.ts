/** Indexes of stores, on the memory provider. */
import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { setImmediate } from 'node:timers/promises';
import { describe, jest, test } from '@jest/globals';
import {
  defineState,
  limits,
  MemoryProvider,
  openStorage,
  StateMigration,
  type IndexedStore,
  type IndexRange,
  type KeyValueStorage,
  type StorageError,
} from '../../core.js';
import { storageError, type Key, type ProviderFeatures, type StorageProvider } from '../../provider.js';
import { Waiters } from '../base/waiters.js';
import { ManualClock } from '../../testing/kit/manual-clock.js';

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

test('a list of an index ends when its reader moves each entry forward, and returns none more than twice', async () => {
  const clock = new ManualClock();
  await using storage = await openStorage(new MemoryProvider({ clock }));
  const indexes = { byDay: ({ day }: Slot) => [day] as const };
  const slots = storage.store(defineState<Slot, string, typeof indexes>('slot', { indexes }));
  const items = Array.from({ length: 450 }, (_, day) => ({ key: `k-${day}`, value: { doctor: 'x', day } }));
  await slots.loadFrom(items);
  const times = new Map<string, number>();
  let moved = 0;
  for await (const { key, value } of slots.index('byDay').list()) {
    const seen = (times.get(key) ?? 0) + 1;
    assert.ok(seen <= 2, `${key} is listed ${seen} times`);
    times.set(key, seen);
    await clock.advance(1);
    if (value.day < 449) await slots.set(key, { doctor: 'x', day: 448 + (moved += 1) * 1e-7 });
  }
  assert.equal(times.size, 450);
});

/** One provider as several processes see it: each opens and closes it. */
class SharedProvider {
  readonly calls: string[] = [];
  /** Where the scans of entries began. */
  readonly began: (string | undefined)[] = [];
  // time stands still: a busy machine changes nothing
  readonly clock = new ManualClock();
  readonly #inner = new MemoryProvider({ clock: this.clock });
  /** Commits whose answers are lost, after they were applied, or before. */
  readonly lost: ('applied' | 'dropped')[] = [];

  async open(): Promise<void> {
    await this.#inner.open();
  }

  /** `commitsMax`: it is killed after so many commits. */
  process(
    features: Partial<ProviderFeatures> = { shared: true },
    commitsMax = Number.POSITIVE_INFINITY,
  ): StorageProvider {
    const inner = this.#inner;
    const { calls, began, clock, lost } = this;
    let commits = 0;
    return {
      name: inner.name,
      features: { ...inner.features, ...features },
      clock,
      administration: inner.administration,
      open: async () => undefined,
      close: async () => undefined,
      read: (addresses, options) => {
        calls.push('read');
        return inner.read(addresses, options);
      },
      scan: (ranges, options) => {
        calls.push(...ranges.map(() => 'scan'));
        began.push(...ranges.filter(({ entity }) => entity === 'slot').map(({ after }) => after));
        return inner.scan(ranges, options);
      },
      commit: async (batches, options) => {
        calls.push('commit');
        const loss = lost.shift();
        if (loss === 'applied') await inner.commit(batches, options);
        if (loss !== undefined) throw storageError('STORAGE_OUTCOME_UNKNOWN', 'The answer was lost.', {});
        if ((commits += 1) > commitsMax)
          throw storageError('STORAGE_UNAVAILABLE', 'The process was killed.', {});
        return await inner.commit(batches, options);
      },
      sweep: (limit) => inner.sweep(limit),
    };
  }

  /** The result of a call that waits by the clock. */
  async passing<R>(call: Promise<R>): Promise<R> {
    const ended = call.then(
      () => true,
      () => true,
    );
    while (!(await Promise.race([ended, this.clock.advance(20).then(() => false)])));
    return await call;
  }
}

describe('Rows of indexes', () => {
  test('are imported as they were exported, also of odd names, and of values of the most levels', async () => {
    const Odd = defineState<{ key: string; deep: unknown }, string>('odd!"', {
      indexes: { '!by key!': ({ key }) => [key, 1n, true], unique: { key: ({ key }) => key, unique: true } },
    });
    const [from, to] = [new MemoryProvider(), new MemoryProvider()];
    await using source = await openStorage(from);
    await using target = await openStorage(to);
    let deep: unknown = 1;
    for (let level = 1; level < limits.valueLevelsMax; level += 1) deep = [deep];
    await source.store(Odd).set('!!a!', { key: '!!', deep });
    await collect(source.store(Odd).index('!by key!').list());
    const [database = ''] = await from.administration.databases();
    assert.equal(await to.administration.import(database, from.administration.export(database)), 5);
    const byKey = await collect(target.store(Odd).index('!by key!').list());
    assert.deepEqual(
      byKey.map(({ key, value }) => [key, value.deep]),
      [['!!a!', deep]],
    );
    assert.equal((await target.store(Odd).index('unique').get('!!'))?.key, '!!a!');
  });
});

describe('Calls of the provider', () => {
  test('a page of an index is one scan, `set` a read and a commit, `add` a commit', async () => {
    const shared = new SharedProvider();
    await shared.open();
    await using storage = await openStorage(shared.process());
    const slots = storage.store(Slots);
    // what is known of the indexes is read by the first call, and relied on while time stands still
    const callsOf = async (work: (n: number) => Promise<unknown>): Promise<readonly string[]> => {
      await work(0);
      shared.calls.length = 0;
      await work(1);
      return [...shared.calls];
    };
    assert.deepEqual(await callsOf((n) => slots.add(`k-${n}`, { doctor: 'x', day: n })), ['commit']);
    // the entry may not have its rows yet: nothing has read these indexes
    const set = async (n: number) => await slots.set('a', { doctor: 'x', day: n });
    assert.deepEqual(await callsOf(set), ['read', 'read', 'commit']);
    assert.deepEqual(await callsOf(() => slots.index('byDoctor').page({ limit: 5 })), ['scan']);
    await slots.index('byNote').get('n');
    assert.deepEqual(await callsOf(set), ['read', 'commit']);
    assert.deepEqual(await callsOf(() => slots.index('byNote').get('n')), ['scan']);
    await slots.set('short', { doctor: 'x', day: 1 }, { ttlMs: 60_000 });
    const keep = (n: number) => slots.update('short', (slot) => ({ ...slot, doctor: 'y', day: n }));
    assert.deepEqual(await callsOf(keep), ['read', 'commit']);
    assert.deepEqual(await callsOf(() => slots.index('byDoctor').page({ prefix: ['y'] })), ['scan']);
    const plain = storage.store(defineState<Slot>('plain'));
    assert.deepEqual(await callsOf((n) => plain.set('a', { doctor: 'x', day: n })), ['commit']);
  });
});

describe('Processes with different definitions', () => {
  const byDay = { byKey: (slot: Slot) => [slot.day] as const };
  const byName = { byKey: (slot: Slot) => [slot.doctor] as const };
  const ByDay = defineState<Slot, string, typeof byDay>('slot', { indexes: byDay });
  const ByName = defineState<Slot, string, typeof byName>('slot', { indexes: byName });

  /** Two processes with one entry, whose index is that of the current definition. */
  async function withOldAndCurrent() {
    const shared = new SharedProvider();
    await shared.open();
    const one = await openStorage(shared.process());
    const two = await openStorage(shared.process());
    const [old, current] = [one.store(ByDay), two.store(ByName)];
    await old.set('a', { doctor: 'ada', day: 1 });
    assert.equal(await shared.passing(current.index('byKey').count()), 1);
    const close = async (): Promise<void> => {
      await two[Symbol.asyncDispose]();
      await one[Symbol.asyncDispose]();
    };
    return { shared, old, current, [Symbol.asyncDispose]: close };
  }

  test('the last that started has the index; a write of the other makes it unready, and nothing is missed', async () => {
    const shared = new SharedProvider();
    await shared.open();
    await using one = await openStorage(shared.process());
    await using two = await openStorage(shared.process());
    const [old, current] = [one.store(ByDay), two.store(ByName)];
    await old.set('a', { doctor: 'ada', day: 1 });
    assert.equal(await old.index('byKey').count(), 1);
    assert.equal(await shared.passing(current.index('byKey').count({ key: ['ada'] })), 1);
    // the old process has noticed it, because the new one has waited
    await assert.rejects(old.index('byKey').count(), { code: 'INDEX_NOT_READY' });
    await shared.passing(old.set('b', { doctor: 'bo', day: 2 }));
    await assert.rejects(current.index('byKey').count(), { code: 'INDEX_NOT_READY' });
    await current.set('c', { doctor: 'cleo', day: 3 });
    await assert.rejects(current.index('byKey').count(), { code: 'INDEX_NOT_READY' });
  });

  test.each<
    [string, (slots: IndexedStore<Slot, typeof byName, string>, signal: AbortSignal) => Promise<unknown>]
  >([
    ['a write', (slots, signal) => slots.add('a', { doctor: 'x', day: 1 }, { signal })],
    ['a read of an index', (slots, signal) => slots.index('byKey').count({}, { signal })],
  ])('%s that waits for a status ends at once when it is aborted', async (_, call) => {
    const provider = new MemoryProvider();
    let [begin, go] = [(): void => undefined, (): void => undefined];
    const begun = new Promise<void>((resolve) => (begin = resolve));
    const gate = new Promise<void>((resolve) => (go = resolve));
    const read = provider.read.bind(provider);
    provider.read = async (addresses, options) => {
      begin();
      await gate;
      return await read(addresses, options);
    };
    await using storage = await openStorage(provider);
    const slots = storage.store(ByName);
    const stop = new AbortController();
    const ended = assert.rejects(call(slots, stop.signal), { code: 'ABORTED', effect: 'none' });
    await begun;
    stop.abort();
    await ended;
    assert.equal(getEventListeners(stop.signal, 'abort').length, 0);
    go();
    assert.equal(await slots.index('byKey').count(), 0);
  });

  test('a write that waits until no process relies on a status ends at once when it is aborted', async () => {
    await using processes = await withOldAndCurrent();
    const { shared, old, current } = processes;
    const stop = new AbortController();
    const ended = assert.rejects(old.add('b', { doctor: 'bo', day: 2 }, { signal: stop.signal }), {
      code: 'ABORTED',
      effect: 'none',
    });
    while (shared.clock.waiting === 0) await setImmediate();
    stop.abort();
    await ended;
    assert.equal(await current.has('b'), false);
    assert.equal(await shared.passing(old.has('b')), false);
  });

  test.each([['applied'], ['dropped']] as const)(
    'a write goes on, as the only one, after the answer to a status was lost that was %s',
    async (loss) => {
      await using processes = await withOldAndCurrent();
      const { shared, old, current } = processes;
      shared.lost.push(loss);
      const before = shared.clock.monotonic();
      await shared.passing(old.add('b', { doctor: 'bo', day: 2 }));
      // no reader relies on the status by which it would miss the entry
      assert.ok(shared.clock.monotonic() - before >= 1_000);
      await assert.rejects(current.index('byKey').count(), { code: 'INDEX_NOT_READY' });
      assert.equal(await old.count(), 2);
    },
  );

  test('a write whose status cannot be written is reported as not tried', async () => {
    await using processes = await withOldAndCurrent();
    const { shared, old, current } = processes;
    shared.lost.push(...Array.from({ length: 20 }, () => 'dropped' as const));
    await assert.rejects(shared.passing(old.add('b', { doctor: 'bo', day: 2 })), {
      code: 'STORAGE_UNAVAILABLE',
      effect: 'none',
    });
    assert.equal(await current.has('b'), false);
  });

  test('a build that was interrupted is continued by another process, from where it was', async () => {
    const shared = new SharedProvider();
    await shared.open();
    await using before = await openStorage(shared.process());
    const plain = before.store(defineState<Slot, string>('slot'));
    for (let n = 0; n < 500; n += 1) await plain.set(`k-${n}`, { doctor: 'd', day: n });
    // its claim, a page of the index and its position, a second page without its position
    const killed = await openStorage(shared.process({ shared: true }, 4));
    await assert.rejects(killed.store(ByName).index('byKey').count(), { code: 'STORAGE_UNAVAILABLE' });
    shared.began.length = 0;
    await using next = await openStorage(shared.process());
    assert.equal(await next.store(ByName).index('byKey').count(), 500);
    assert.equal(shared.began.length, 2);
    assert.ok(shared.began.every((after) => after !== undefined));
    await killed.close().catch(() => undefined);
  });

  test('a call that stops waiting for a build leaves nothing with it', async () => {
    const joined = jest.spyOn(Waiters.prototype, 'join');
    const shared = new SharedProvider();
    await shared.open();
    await using before = await openStorage(shared.process());
    await before.store(defineState<Slot, string>('slot')).set('k', { doctor: 'd', day: 1 });
    let go = (): void => undefined;
    const gate = new Promise<void>((resolve) => (go = resolve));
    const inner = shared.process();
    const scan: StorageProvider['scan'] = async (ranges, options) => {
      // not where a read looks whether there are entries
      if (ranges.some(({ entity, limit }) => entity === 'slot' && limit > 1)) await gate;
      return await inner.scan(ranges, options);
    };
    await using storage = await openStorage({ ...inner, scan });
    const index = storage.store(ByName).index('byKey');
    const { signal } = new AbortController();
    const calls = Array.from({ length: 5 }, async () => {
      await assert.rejects(index.count({}, { signal }), { code: 'INDEX_NOT_READY' });
    });
    await shared.passing(Promise.all(calls));
    const waiters = joined.mock.contexts as readonly Waiters[];
    assert.equal(waiters.length, 5);
    assert.ok(waiters.every(({ size }) => size === 0));
    assert.equal(getEventListeners(signal, 'abort').length, 0);
    go();
    assert.equal(await shared.passing(index.count()), 1);
    joined.mockRestore();
  });

  test('several processes build at once, while others write', async () => {
    const shared = new SharedProvider();
    await shared.open();
    await using before = await openStorage(shared.process());
    const plain = before.store(defineState<Slot, string>('slot'));
    for (let n = 0; n < 700; n += 1) await plain.set(`k-${n}`, { doctor: `d-${n % 5}`, day: n });
    const processes = await Promise.all([1, 2, 3].map(async () => await openStorage(shared.process())));
    const stores = processes.map((storage) => storage.store(ByName));
    const reads = stores.map(async (store) => await store.index('byKey').count());
    const writes = stores.map(async (store, n) => {
      for (let step = 0; step < 30; step += 1)
        await store.set(`k-${step * 20 + n}`, { doctor: 'new', day: step });
      await store.delete(`k-${690 + n}`);
    });
    await Promise.all([...reads, ...writes]);
    for (const store of stores) {
      assert.equal(await store.index('byKey').count(), 697);
      assert.equal(await store.index('byKey').count({ key: ['new'] }), 90);
    }
    for (const storage of processes) await storage.close();
  });
});

describe('Tenants without entries', () => {
  const slot: Slot = { doctor: 'x', day: 1, note: 'n' };
  type TenantSlots = IndexedStore<Slot, typeof indexes, string>;

  test.each<[string, (slots: TenantSlots, storage: KeyValueStorage) => Promise<unknown>]>([
    ['list of an index', async (slots) => await collect(slots.index('byDoctor').list())],
    ['page of an index', (slots) => slots.index('byDoctor').page({})],
    ['count of an index', (slots) => slots.index('byNote').count()],
    ['get of an index', (slots) => slots.index('byNote').get('n')],
    ['delete', (slots) => slots.delete('a')],
    ['delete in a batch', (slots, storage) => storage.atomic().delete(slots, 'a').commit()],
    ['deleteKeys', (slots) => slots.deleteKeys(['a', 'b'])],
    ['deleteMany', (slots) => slots.deleteMany({ end: 'b' })],
    ['clear', (slots) => slots.clear()],
    ['take', (slots) => slots.take('a')],
  ])('do not begin to exist by %s', async (_, work) => {
    await using storage = await openStorage(new MemoryProvider());
    const slots = storage.store(Slots).forTenant('acme');
    await work(slots, storage);
    assert.deepEqual(await storage.tenants(), []);
    await slots.add('a', slot);
    assert.equal((await slots.index('byNote').get('n'))?.key, 'a');
  });

  test.each<[string, (slots: TenantSlots) => Promise<unknown>, object]>([
    ['update', (slots) => slots.update('a', (each) => each), { code: 'KEY_NOT_FOUND' }],
    ['replace', (slots) => slots.replace('a', slot), { code: 'KEY_NOT_FOUND' }],
    [
      'replace with an idempotency key',
      (slots) => slots.replace('a', slot, { idempotencyKey: 'k' }),
      { code: 'KEY_NOT_FOUND' },
    ],
    [
      'set with ifMatch',
      (slots) => slots.set('a', slot, { ifMatch: '*' }),
      { code: 'STORAGE_CONFLICT', expected: 'present', actual: undefined },
    ],
  ])('do not begin to exist by %s of an entry that is not there', async (_, work, error) => {
    await using storage = await openStorage(new MemoryProvider());
    const slots = storage.store(Slots).forTenant('acme');
    await assert.rejects(work(slots), error);
    assert.deepEqual(await storage.tenants(), []);
  });

  test('have an empty index until another process writes the first entry, whatever its definition', async () => {
    const other = { byKey: (each: Slot) => [each.doctor] as const };
    const Other = defineState<Slot, string, typeof other>('slot', { indexes: other });
    const byDay = { byKey: (each: Slot) => [each.day] as const };
    const ByDay = defineState<Slot, string, typeof byDay>('slot', { indexes: byDay });
    for (const Written of [ByDay, Other, defineState<Slot, string>('slot')] as const) {
      const shared = new SharedProvider();
      await shared.open();
      await using one = await openStorage(shared.process());
      await using two = await openStorage(shared.process());
      const index = one.store(ByDay).index('byKey');
      assert.equal(await index.count(), 0);
      await shared.passing(two.store<Slot, string>(Written).set('a', slot));
      assert.equal(await shared.passing(index.count({ key: [1] })), 1);
    }
  });

  test('get an entry that is created while another call expects one', async () => {
    const shared = new SharedProvider();
    await shared.open();
    const process = shared.process();
    await using one = await openStorage(shared.process());
    let isFirst = true;
    const read: StorageProvider['read'] = async (addresses, options) => {
      const result = await process.read(addresses, options);
      if (isFirst && addresses.some(({ key }) => key === 'a')) {
        isFirst = false;
        await one.store(Slots).add('a', slot);
      }
      return result;
    };
    await using two = await openStorage({ ...process, read });
    const slots = two.store(Slots);
    await slots.replace('a', { ...slot, note: 'other' });
    assert.equal(isFirst, false);
    assert.deepEqual(
      (await collect(slots.index('byNote').list())).map(({ value }) => value.note),
      ['other'],
    );
  });

  test('and others take no memory: what is known of 1,000 is kept, and of none that was dropped', async () => {
    const shared = new SharedProvider();
    await shared.open();
    await using storage = await openStorage(shared.process());
    const slots = storage.store(Slots);
    const callsOf = async (tenant: string): Promise<readonly string[]> => {
      shared.calls.length = 0;
      await slots.forTenant(tenant).index('byDoctor').count();
      return [...shared.calls];
    };
    assert.deepEqual(await callsOf('acme'), ['read', 'scan']);
    assert.deepEqual(await callsOf('acme'), ['scan']);
    for (let n = 0; n < 1_000; n += 1) await callsOf(`tenant-${n}`);
    assert.deepEqual(await callsOf('tenant-1'), ['scan']);
    assert.deepEqual(await callsOf('acme'), ['read', 'scan']);
    await storage.dropTenant('acme');
    assert.deepEqual(await callsOf('acme'), ['read', 'scan']);
  });
});

describe('Definitions of indexes', () => {
  const refused = (indexes: object, message: RegExp): void => {
    assert.throws(() => defineState<Slot>('slot', { indexes: indexes as never }), {
      code: 'INVALID_OPTION',
      message,
    });
  };

  test('what is not allowed is INVALID_OPTION', async () => {
    refused({ a: 1 }, /must be a function, or an object with key; got 1/);
    refused({ a: { key: 1 } }, /key must be a function; got 1/);
    refused({ a: { key: () => 'a', unique: 1 } }, /unique must be true or false/);
    refused({ a: { key: () => 'a', version: 0 } }, /version must be a whole number from 1; got 0/);
    refused({ a: { key: () => 'a', uniqe: true } }, /has no option 'uniqe'/);
    refused({ '': () => 'a' }, /must have a name/);
    refused([], /indexes must be an object/);
    const eight = Object.fromEntries(Array.from({ length: 8 }, (_, n) => [`i${n}`, () => 'a']));
    refused(eight, /at most 7 indexes; got 8/);
    await using storage = await openStorage(new MemoryProvider());
    const slots = storage.store(Slots);
    assert.throws(() => slots.index('typo' as never), {
      code: 'INVALID_OPTION',
      message: /no index "typo"; its indexes are: 'byDoctor', 'byNote'/,
    });
    assert.throws(() => slots.index('byDoctor').list({ key: ['a', 1], start: ['a'] }), {
      code: 'INVALID_OPTION',
    });
  });

  test('a function that returns no key refuses the write', async () => {
    await using storage = await openStorage(new MemoryProvider());
    const bad = { byKey: (slot: Slot) => (slot.day === 1 ? slot.note?.at(9) : (null as never)) };
    const slots = storage.store(defineState<Slot, string, typeof bad>('slot', { indexes: bad }));
    await assert.rejects(slots.set('a', { doctor: 'x', day: 2 }), {
      code: 'INVALID_OPTION',
      message:
        /index 'byKey' of 'slot' cannot be computed for "a": its function must return a key or undefined; got null/,
    });
    await slots.set('a', { doctor: 'x', day: 1 });
    assert.equal(await slots.index('byKey').count(), 0);
    assert.equal(await slots.count(), 1);
  });

  test.each<[string, (note: string) => Key]>([
    ['an empty text', (note) => note.trim()],
    ['no parts', (note) => note.split(' ').filter((word) => word !== '')],
    ['NaN', (note) => ['n', Number.parseInt(note, 10)]],
  ])('a client that sends what gives %s as a key gets 400, and nothing is written', async (_, key) => {
    await using storage = await openStorage(new MemoryProvider());
    const sent = { byKey: ({ note = '' }: Slot) => key(note) };
    const slots = storage.store(defineState<Slot, string, typeof sent>('slot', { indexes: sent }));
    await assert.rejects(slots.set('a', { doctor: 'x', day: 1, note: ' ' }), {
      code: 'INVALID_KEY',
      status: 400,
      message:
        /^The key of the index 'byKey' of 'slot' cannot be computed for "a": a key must not be empty or hold NaN; got /,
    });
    assert.equal(await slots.count(), 0);
    await slots.set('a', { doctor: 'x', day: 1, note: '1' });
    assert.equal(await slots.index('byKey').count(), 1);
  });
});

describe('Entries whose key in an index cannot be computed', () => {
  interface Person {
    readonly mail: string;
    readonly name?: string;
  }
  /** With one `version`, all functions are the same definition. */
  const indexesBy = (key: (person: Person) => string | undefined) => ({
    byMail: { key, version: 1 },
    one: { key, unique: true, version: 1 },
  });
  const peopleBy = (key: (person: Person) => string | undefined, options: object = {}) =>
    defineState<Person, string, ReturnType<typeof indexesBy>>('person', {
      ...options,
      indexes: indexesBy(key),
    });
  const good = peopleBy(({ mail }) => mail);
  const throwing = peopleBy(({ mail, name }) => {
    if (name === undefined) throw new TypeError('no name');
    return mail;
  });

  const open = async (clock = new ManualClock()) => {
    const storage = await openStorage(new MemoryProvider({ clock }));
    const [before, now] = [storage.store(good), storage.store(throwing)];
    await before.set('a', { mail: 'a@b' });
    await before.set('z', { mail: 'z@b', name: 'z' });
    assert.equal(await before.index('byMail').count(), 2);
    return { storage, before, now };
  };
  type Opened = Awaited<ReturnType<typeof open>>;

  test.each<[string, (opened: Opened) => Promise<unknown>]>([
    ['delete', ({ now }) => now.delete('a')],
    ['take', ({ now }) => now.take('a')],
    ['deleteMany', ({ now }) => now.deleteMany({ end: 'b' })],
    ['deleteKeys', ({ now }) => now.deleteKeys(['a'])],
    ['a batch', ({ storage, now }) => storage.atomic().delete(now, 'a').commit()],
  ])('are deleted by %s, and leave no row in an index', async (_, remove) => {
    const opened = await open();
    await using _storage = opened.storage;
    await remove(opened);
    const { before } = opened;
    assert.equal(await before.has('a'), false);
    for (const name of ['byMail', 'one'] as const)
      assert.deepEqual(
        (await collect(before.index(name).list())).map(({ key }) => key),
        ['z'],
      );
    await before.add('b', { mail: 'a@b' });
  });

  test.each<[string, (opened: Opened) => Promise<unknown>]>([
    ['set', ({ now }) => now.set('a', { mail: 'new', name: 'a' })],
    ['update', ({ now }) => now.update('a', () => ({ mail: 'new', name: 'a' }))],
    ['setMany', ({ now }) => now.setMany([{ key: 'a', value: { mail: 'new', name: 'a' } }])],
    ['loadFrom', ({ now }) => now.loadFrom([{ key: 'a', value: { mail: 'new', name: 'a' } }])],
  ])('are replaced by %s, and are in the index once', async (_, replace) => {
    const opened = await open();
    await using _storage = opened.storage;
    await replace(opened);
    for (const name of ['byMail', 'one'] as const)
      assert.deepEqual(
        (await collect(opened.now.index(name).list())).map(({ key, value }) => [key, value.mail]),
        [
          ['a', 'new'],
          ['z', 'z@b'],
        ],
      );
  });

  test('are deleted where the value cannot be read', async () => {
    const { storage, before } = await open();
    await using _storage = storage;
    const upcast = {
      1: () => {
        throw new TypeError('no upcast');
      },
    };
    const now = storage.store(peopleBy(({ mail }) => mail, { schemaVersion: 2, upcast }));
    await assert.rejects(now.get('a'), { code: 'STORAGE_CORRUPT' });
    assert.equal(await now.delete('a'), true);
    assert.equal(await before.count(), 1);
  });

  test('are renewed together with their rows in the index', async () => {
    const clock = new ManualClock();
    const { storage, before, now } = await open(clock);
    await using _storage = storage;
    await before.set('a', { mail: 'a@b' }, { ttlMs: 1_000 });
    await now.touch('a', { ttlMs: 60_000 });
    await clock.advance(30_000);
    assert.equal((await before.index('one').get('a@b'))?.key, 'a');
  });

  test('are read without a search of the index, and not renewed by it', async () => {
    const clock = new ManualClock();
    const provider = new MemoryProvider({ clock });
    await using storage = await openStorage(provider);
    const sliding = { ttlMs: 60_000, expiry: 'sliding' } as const;
    const before = storage.store(peopleBy(({ mail }) => mail, sliding));
    await before.set('a', { mail: 'a@b' });
    await before.set('z', { mail: 'z@b', name: 'z' });
    const key = ({ mail, name }: Person): string => {
      if (name === undefined) throw new TypeError('no name');
      return mail;
    };
    const now = storage.store(peopleBy(key, sliding));
    await clock.advance(30_000);
    const scan = jest.spyOn(provider, 'scan');
    const endsIn = async (name: string) =>
      Number((await now.getOrThrow(name)).expiresAt?.getTime()) - clock.now();
    assert.deepEqual([await endsIn('a'), await endsIn('z')], [30_000, 60_000]);
    assert.equal(scan.mock.calls.length, 0);
    await now.touch('a', { ttlMs: 60_000 });
    assert.equal(await endsIn('a'), 60_000);
    assert.notEqual(scan.mock.calls.length, 0);
  });

  test.each<[string, (opened: Opened) => Promise<unknown>]>([
    ['set', ({ now }) => now.set('n', { mail: 'n' })],
    ['add', ({ now }) => now.add('n', { mail: 'n' })],
    ['update', ({ now }) => now.update('z', ({ mail }) => ({ mail }))],
    ['a batch', ({ storage, now }) => storage.atomic().set(now, 'n', { mail: 'n' }).commit()],
    ['loadFrom', ({ now }) => now.loadFrom([{ key: 'n', value: { mail: 'n' } }])],
  ])('are not written by %s: INVALID_OPTION names state, index, key and cause', async (_, write) => {
    const opened = await open();
    await using _storage = opened.storage;
    await assert.rejects(write(opened), ({ code, status, message, cause }: StorageError) => {
      assert.deepEqual([code, status], ['INVALID_OPTION', 500]);
      assert.match(
        message,
        /^The key of the index 'byMail' of 'person' cannot be computed for "[nz]": its function has thrown TypeError\.$/,
      );
      assert.equal((cause as Error).message, 'no name');
      return true;
    });
    assert.equal(await opened.before.count(), 2);
  });

  test('are reported by `loadFrom` and by a migration that continue', async () => {
    const { storage, now } = await open();
    await using _storage = storage;
    const items = ['n', 'm'].map((key) => ({ key, value: { mail: key, ...(key === 'm' && { name: key }) } }));
    const { loaded, failures } = await now.loadFrom(items, { onError: 'continue' });
    assert.deepEqual(
      [loaded, failures.map(({ key, error }) => [key, error.code])],
      [1, [['n', 'INVALID_OPTION']]],
    );
    const upcast = { 1: (value: unknown) => value };
    const key = ({ mail, name }: Person): string => {
      if (name === undefined) throw new TypeError('no name');
      return mail;
    };
    const newer = storage.store(peopleBy(key, { schemaVersion: 2, upcast }));
    await assert.rejects(new StateMigration(newer).run(), { code: 'INVALID_OPTION', message: /for "a"/ });
    const result = await new StateMigration(newer, { onError: 'continue' }).run();
    assert.deepEqual(
      result.failures.map((failure) => failure.key),
      ['a'],
    );
  });
});

/** Writes without index rows, beside an application that reads and builds the indexes. */
import assert from 'node:assert/strict';
import { describe, test } from '@jest/globals';
import { defineState, isStorageError, MemoryProvider, openStorage } from '../../core.js';
import type { Change, Space, StorageProvider } from '../../provider.js';
import { ManualClock } from '../../testing/kit/manual-clock.js';
import { counterSpace, stateContainer, stateSpace } from './state-space.js';
import { UnindexedWriter } from './unindexed-writer.js';

interface Slot {
  readonly day: number;
  readonly note: string;
}
const Slots = defineState<Slot>('slot', {
  indexes: {
    byDay: ({ day }: Slot) => [day],
    byNote: { key: ({ note }: Slot) => note, unique: true },
  },
});
const space: Space = { database: 'shared', ...stateSpace('slot', stateContainer) };
const signal = new AbortController().signal;

const put = (key: string, value: Slot): Change => ({
  kind: 'put',
  address: { ...space, key },
  value: { kind: 'json', text: JSON.stringify(value) },
  ttl: 'never',
});
const remove = (key: string): Change => ({ kind: 'delete', address: { ...space, key } });

/** The provider of one process; several share its rows. */
function processOf(inner: MemoryProvider, clock: ManualClock): StorageProvider {
  return {
    name: inner.name,
    features: { ...inner.features, shared: true },
    clock,
    administration: inner.administration,
    open: async () => undefined,
    close: async () => undefined,
    read: (addresses, options) => inner.read(addresses, options),
    scan: (ranges, options) => inner.scan(ranges, options),
    commit: (batches, options) => inner.commit(batches, options),
    sweep: (limit) => inner.sweep(limit),
  };
}

async function begun() {
  const clock = new ManualClock();
  const inner = new MemoryProvider({ clock });
  await inner.open();
  const storage = await openStorage(processOf(inner, clock));
  const slots = storage.store(Slots);
  const provider = processOf(inner, clock);
  /** What the application reads of an index; undefined where it is not ready. */
  const read = async (index: 'byDay' | 'byNote'): Promise<readonly string[] | undefined> => {
    try {
      const found: string[] = [];
      for await (const { key, value } of slots.index(index).list())
        found.push(`${key} ${value.day} ${value.note}`);
      return found;
    } catch (error) {
      if (isStorageError(error, 'INDEX_NOT_READY')) return undefined;
      throw error;
    }
  };
  const readAll = async () => ({ byDay: await read('byDay'), byNote: await read('byNote') });
  /** Time passes, and the application reads both indexes all the while. */
  const passing = async (ms: number): Promise<void> => {
    for (let passed = 0; passed < ms; passed += 50) {
      await readAll();
      await clock.advance(50);
    }
  };
  const whilePassing = async <R>(call: Promise<R>): Promise<R> => {
    let isEnded = false;
    const end = (): void => void (isEnded = true);
    call.then(end, end);
    while (!isEnded) await passing(50);
    return await call;
  };
  return {
    clock,
    provider,
    slots,
    readAll,
    passing,
    whilePassing,
    [Symbol.asyncDispose]: async () => {
      await storage.close();
      await inner.close();
    },
  };
}

const both = (...entries: readonly string[]) => ({ byDay: entries, byNote: entries });
const neither = { byDay: undefined, byNote: undefined };

describe('A writer without index rows', () => {
  test.each(['put', 'rm'])(
    'changes an entry (%s), and an application that reads all the while misses nothing',
    async (verb) => {
      await using app = await begun();
      await app.slots.set('a', { day: 1, note: 'x' });
      await app.slots.set('b', { day: 2, note: 'y' });
      assert.deepEqual(await app.readAll(), both('a 1 x', 'b 2 y'));
      const writer = new UnindexedWriter(app.provider, space);
      await app.whilePassing(writer.begin(signal));
      assert.deepEqual(await app.readAll(), neither);
      const change = verb === 'put' ? put('b', { day: 3, note: 'z' }) : remove('b');
      assert.equal(
        (await writer.commit({ checks: [], changes: [change] }, signal)).result?.outcome,
        'committed',
      );
      await app.passing(1_000);
      assert.deepEqual(await app.readAll(), verb === 'put' ? both('a 1 x', 'b 3 z') : both('a 1 x'));
      await app.slots.set('c', { day: 4, note: 'y' });
      const taken = app.slots.set('d', { day: 5, note: 'z' });
      if (verb === 'put') await assert.rejects(taken, { code: 'UNIQUE_TAKEN' });
      else await taken;
    },
  );

  test('that was stopped for longer than its hold begins anew', async () => {
    await using app = await begun();
    await app.slots.set('a', { day: 1, note: 'x' });
    const writer = new UnindexedWriter(app.provider, space);
    await app.whilePassing(writer.begin(signal));
    await app.passing(10_000);
    assert.deepEqual(await app.readAll(), both('a 1 x'), 'a writer that was killed holds nothing any more');
    await app.whilePassing(writer.commit({ checks: [], changes: [put('a', { day: 2, note: 'y' })] }, signal));
    await app.passing(1_000);
    assert.deepEqual(await app.readAll(), both('a 2 y'));
  });

  test('keeps indexes unready for as long as it writes, also where it was stopped', async () => {
    await using app = await begun();
    await app.slots.set('a', { day: 1, note: 'x' });
    const writer = new UnindexedWriter(app.provider, space);
    await app.whilePassing(writer.begin(signal));
    for (let day = 1; day <= 15; day += 1) {
      await app.whilePassing(writer.keep(signal));
      assert.deepEqual(await app.readAll(), neither, `on day ${day}`);
      // as a load commits: by itself
      const changes = [put('a', { day, note: 'x' })];
      await app.provider.commit([{ database: 'shared', version: String(day), checks: [], changes }]);
      await app.passing(day === 10 ? 15_000 : 3_000);
    }
    await writer.end();
    await app.passing(1_000);
    assert.deepEqual(await app.readAll(), both('a 15 x'));
  });

  test('does not end the hold of another one', async () => {
    await using app = await begun();
    await app.slots.set('a', { day: 1, note: 'x' });
    const [long, short] = [
      new UnindexedWriter(app.provider, space),
      new UnindexedWriter(app.provider, space),
    ];
    await app.whilePassing(Promise.all([long.begin(signal), short.begin(signal)]));
    await short.commit({ checks: [], changes: [put('b', { day: 2, note: 'y' })] }, signal);
    await short.end();
    assert.deepEqual(await app.readAll(), neither);
    await long.commit({ checks: [], changes: [put('c', { day: 3, note: 'z' })] }, signal);
    await long.end();
    await app.passing(11_000);
    assert.deepEqual(await app.readAll(), both('a 1 x', 'b 2 y', 'c 3 z'));
  });

  test('is not missed by an index that is claimed while it writes', async () => {
    await using app = await begun();
    const writer = new UnindexedWriter(app.provider, space);
    await writer.begin(signal);
    await assert.rejects(app.whilePassing(app.slots.set('a', { day: 1, note: 'x' })), {
      code: 'INDEX_NOT_READY',
    });
    await writer.commit({ checks: [], changes: [put('b', { day: 2, note: 'y' })] }, signal);
    await app.slots.set('a', { day: 1, note: 'x' });
    assert.deepEqual(await app.readAll(), both('a 1 x', 'b 2 y'));
  });

  test('that is refused leaves nothing behind, and one of a counter touches no index', async () => {
    await using app = await begun();
    await app.slots.set('a', { day: 1, note: 'x' });
    const writer = new UnindexedWriter(app.provider, space);
    await app.whilePassing(writer.begin(signal));
    const checks = [{ address: { ...space, key: 'a' }, expected: 'absent' }] as const;
    const { result } = await writer.commit({ checks, changes: [remove('a')] }, signal);
    assert.equal(result?.outcome, 'conflict');
    await writer.end();
    await app.passing(1_000);
    assert.deepEqual(await app.readAll(), both('a 1 x'));
    const counter = { database: 'shared', ...counterSpace('slot', stateContainer) };
    await new UnindexedWriter(app.provider, counter).begin(signal);
    assert.deepEqual(await app.readAll(), both('a 1 x'));
  });
});

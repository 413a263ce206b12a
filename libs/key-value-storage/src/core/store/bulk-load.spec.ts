import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import { z } from 'zod';
import { MemoryProvider } from '../../providers/memory/memory-provider.js';
import { storageError } from '../base/errors.js';
import type { CommitResult } from '../port/storage-provider.js';
import type { LoadFailure, LoadItem, LoadProgress } from './bulk-types.js';
import type { KeyValueStore } from './key-value-store.js';
import { openStorage } from './open-storage.js';
import { defineState } from './state-definition.js';

type Commit = () => Promise<readonly CommitResult[]>;

/** A provider with other commits. */
class Committing extends MemoryProvider {
  readonly #commit: Commit;

  constructor(commit: Commit) {
    super();
    this.#commit = commit;
  }

  override async commit(): Promise<readonly CommitResult[]> {
    return await this.#commit();
  }
}

async function withStore(
  commit: Commit,
  work: (store: KeyValueStore<unknown>) => Promise<void>,
): Promise<void> {
  await using storage = await openStorage(new Committing(commit));
  await work(storage.store(defineState('load')));
}

const full = (effect: 'none' | 'unknown'): Error =>
  storageError('STORAGE_UNAVAILABLE', 'The disk is full.', {}, { effect });
const failed = { code: 'STORAGE_UNAVAILABLE', effect: 'none', done: 0 };
const item = (key: string): LoadItem => ({ key, value: 1 });

it('a load ends with a failed commit at once, also while its source is idle', async () => {
  let isReturned = false;
  const source: AsyncIterable<LoadItem> = {
    [Symbol.asyncIterator]: () => {
      const items = [item('a'), item('b')];
      return {
        next: async () => {
          const value = items.shift();
          return value === undefined ? await new Promise<never>(() => undefined) : { done: false, value };
        },
        return: async () => {
          isReturned = true;
          return await new Promise<never>(() => undefined);
        },
      };
    },
  };
  const fails = async (): Promise<never> => {
    await setImmediate();
    throw full('none');
  };
  await withStore(fails, async (store) => {
    await expect(store.loadFrom(source, { chunk: 1 })).rejects.toMatchObject(failed);
  });
  expect(isReturned).toBe(true);
});

it('a load that fails between two items has closed its source before it ends', async () => {
  let isClosed = false;
  let isRead = (): void => undefined;
  const read = new Promise<void>((resolve) => (isRead = resolve));
  async function* source(): AsyncGenerator<LoadItem> {
    try {
      yield item('a');
      yield item('b');
      isRead();
      yield item('c');
    } finally {
      await setImmediate();
      isClosed = true;
    }
  }
  const fails = async (): Promise<never> => {
    await read;
    await setImmediate();
    throw full('none');
  };
  await withStore(fails, async (store) => {
    await expect(store.loadFrom(source(), { chunk: 1, concurrency: 1 })).rejects.toMatchObject(failed);
  });
  expect(isClosed).toBe(true);
});

it('a load that ends while a commit is sent has the unknown effect of that commit', async () => {
  let fail: (error: Error) => void = () => undefined;
  const isSent: Commit = () => new Promise<never>((_, reject) => (fail = reject));
  const aborting = new AbortController();
  for (const last of [item(''), undefined]) {
    async function* source(): AsyncGenerator<LoadItem> {
      yield item('a');
      yield item('b');
      await setImmediate();
      if (last === undefined) aborting.abort();
      void setImmediate().then(() => fail(full('unknown')));
      yield last ?? item('c');
    }
    await withStore(isSent, async (store) => {
      const options = { chunk: 1, signal: aborting.signal };
      await expect(store.loadFrom(source(), options)).rejects.toMatchObject({ effect: 'unknown' });
    });
  }
});

it('onProgress gets the count of an item that a commit has refused', async () => {
  await using storage = await openStorage(new MemoryProvider());
  const unique = { indexes: { byName: { key: (name: string) => name, unique: true } } };
  const names = storage.store(defineState('name', { schema: z.string(), ...unique }));
  await names.set('a', 'taken');
  const counts: LoadProgress[] = [];
  const onProgress = (progress: LoadProgress): void => void counts.push(progress);
  await names.loadFrom([{ key: 'b', value: 'taken' }], { onError: 'continue', onProgress });
  expect(counts).toEqual([{ loaded: 0, failed: 1 }]);
});

it('an item whose commit has an unknown effect is no failure: it ends the load', async () => {
  const details = { key: 'a', expected: 'absent', actual: undefined, check: 'own' } as const;
  const conflict = storageError('STORAGE_CONFLICT', 'Its answer was lost.', details, { effect: 'unknown' });
  await withStore(
    async () => await Promise.reject(conflict),
    async (store) => {
      await expect(store.loadFrom([item('a')], { onError: 'continue' })).rejects.toBe(conflict);
    },
  );
});

describe('onFailure', () => {
  const Names = defineState('name', {
    schema: z.string(),
    indexes: { byName: { key: (name: string) => name, unique: true } },
  });
  /** The first commit with items waits until so many later ones were made. */
  class Reversing extends MemoryProvider {
    #left: number;
    #isFirst = true;
    #release: () => void = () => undefined;

    constructor(later: number) {
      super();
      this.#left = later;
    }

    override async commit(...args: Parameters<MemoryProvider['commit']>): Promise<readonly CommitResult[]> {
      const hasItems = args[0].some(({ changes }) =>
        changes.some(({ address }) => /^[i-]/.test(address.key)),
      );
      if (hasItems && this.#isFirst) {
        this.#isFirst = false;
        await new Promise<void>((resolve) => (this.#release = resolve));
      } else if (hasItems && (this.#left -= 1) === 0) this.#release();
      return await super.commit(...args);
    }
  }
  /** Each second one is refused: by its key, by its value, or by the commit. */
  const mixed = (count: number): readonly LoadItem<string, string>[] =>
    Array.from({ length: count }, (_, index) => {
      const key = `i-${index}`;
      if (index % 2 === 0) return { key, value: key };
      if (index % 6 === 1) return { key: '', value: key };
      return { key, value: index % 6 === 3 ? (7 as never) : 'taken' };
    });
  const odd = (count: number): readonly number[] =>
    Array.from({ length: count / 2 }, (_, index) => 2 * index + 1);

  it('gets every item that is refused, one by one in the order of the source, whichever commit is the last', async () => {
    await using storage = await openStorage(new Reversing(3));
    const names = storage.store(Names);
    await names.set('taken', 'taken');
    const reported: LoadFailure[] = [];
    let running = 0;
    const onFailure = async (failure: LoadFailure): Promise<void> => {
      running += 1;
      expect(running).toBe(1);
      await setImmediate();
      running -= 1;
      reported.push(failure);
    };
    const result = await names.loadFrom(mixed(600), { chunk: 5, onError: 'continue', onFailure });
    expect(result).toMatchObject({ loaded: 300, failed: 300 });
    expect(reported.map(({ index }) => index)).toEqual(odd(600));
    expect(reported.slice(0, 3).map(({ error: { code } }) => code)).toEqual([
      'INVALID_KEY',
      'INVALID_VALUE',
      'UNIQUE_TAKEN',
    ]);
    expect(result.failures).toEqual(reported.slice(0, 100));
  });

  it('is not needed for the first failures, which are those of the source', async () => {
    await using storage = await openStorage(new Reversing(3));
    const names = storage.store(Names);
    await names.set('taken', 'taken');
    const items = Array.from({ length: 450 }, (_, index) => ({ key: `i-${index}`, value: 'taken' }));
    const { failures } = await names.loadFrom(items, { chunk: 120, onError: 'continue' });
    expect(failures.map(({ index }) => index)).toEqual(Array.from({ length: 100 }, (_, index) => index));
  });

  it.each([
    ['half', mixed(1_000)],
    ['all', Array.from({ length: 1_000 }, () => ({ key: '', value: 'x' }))],
  ])(
    'is waited for: where %s of the items are refused, the source is read no further than the commits in flight',
    async (_, items) => {
      await using storage = await openStorage(new MemoryProvider());
      const names = storage.store(Names);
      await names.set('taken', 'taken');
      let read = 0;
      let goOn: () => void = () => undefined;
      let isReported = (): void => undefined;
      const first = new Promise<void>((resolve) => (isReported = resolve));
      const held = new Promise<void>((resolve) => (goOn = resolve));
      async function* source(): AsyncGenerator<LoadItem<string, string>> {
        for (const item of items) {
          read += 1;
          yield await Promise.resolve(item);
        }
      }
      const onFailure = async (): Promise<void> => {
        isReported();
        await held;
      };
      const options = { chunk: 10, concurrency: 2, onError: 'continue', onFailure } as const;
      const loading = names.loadFrom(source(), options);
      await first;
      for (let turn = 0; turn < 100; turn += 1) await setImmediate();
      // two in flight, one that waits, each with as many failures as items
      expect(read).toBeLessThanOrEqual(3 * 2 * 10 + 1);
      goOn();
      expect((await loading).failed).toBeGreaterThanOrEqual(500);
    },
  );

  it('ends the load with what it throws: what is before is stored, and it is not called again', async () => {
    await using storage = await openStorage(new MemoryProvider());
    const names = storage.store(Names);
    const broken = new Error('the file of failures is full');
    for (const [thrown, expected] of [
      [broken, broken],
      [full('none'), expect.objectContaining({ code: 'STORAGE_UNAVAILABLE', effect: 'unknown' })],
    ] as const) {
      await names.clear();
      await names.set('taken', 'taken');
      const reported: number[] = [];
      const onFailure = ({ index }: LoadFailure): void => {
        reported.push(index);
        if (index === 13) throw thrown;
      };
      const options = { chunk: 2, concurrency: 3, onError: 'continue', onFailure } as const;
      await expect(names.loadFrom(mixed(300), options)).rejects.toEqual(expected);
      expect(reported).toEqual([1, 3, 5, 7, 9, 11, 13]);
      const stored = await names.count({ prefix: 'i-' });
      expect((await names.getMany(['i-0', 'i-6', 'i-12'])).includes(undefined)).toBe(false);
      expect(stored).toBeLessThan(7 + 3 * 2);
    }
  });

  it('does not keep a load from ending with its signal', async () => {
    await using storage = await openStorage(new MemoryProvider());
    const aborting = new AbortController();
    const onFailure = async (): Promise<void> => {
      aborting.abort();
      return await new Promise<never>(() => undefined);
    };
    const options = { chunk: 1, onError: 'continue', onFailure, signal: aborting.signal } as const;
    const loading = storage.store(Names).loadFrom(mixed(10), options);
    await expect(loading).rejects.toMatchObject({ code: 'ABORTED' });
  });

  it('is refused where it would never be called, and where it is no function', async () => {
    await using storage = await openStorage(new MemoryProvider());
    for (const options of [
      { onFailure: () => undefined },
      { onFailure: () => undefined, onError: 'stop' },
      { onFailure: 'log', onError: 'continue' },
    ])
      await expect(storage.store(Names).loadFrom([], options as never)).rejects.toMatchObject({
        code: 'INVALID_OPTION',
      });
  });
});

it('a load of items at hand stops before the next item when its signal aborts, and closes the source', async () => {
  await using storage = await openStorage(new MemoryProvider());
  const aborting = new AbortController();
  const read: string[] = [];
  let isClosed = false;
  function* source(): Generator<LoadItem> {
    try {
      for (const key of ['a', 'b', 'c']) {
        read.push(key);
        if (key === 'b') aborting.abort();
        yield item(key);
      }
    } finally {
      isClosed = true;
    }
  }
  const loading = storage.store(defineState('load')).loadFrom(source(), { signal: aborting.signal });
  await expect(loading).rejects.toMatchObject({ code: 'ABORTED', effect: 'none' });
  expect([read, isClosed]).toEqual([['a', 'b'], true]);
});

it('a load takes promises among its items, and waits for each', async () => {
  await using storage = await openStorage(new MemoryProvider());
  const promised = (key: string): LoadItem => Promise.resolve(item(key)) as unknown as LoadItem;
  const store = storage.store(defineState('load'));
  const loading = store.loadFrom([promised('a'), item('b'), promised('c')]);
  await expect(loading).resolves.toMatchObject({ loaded: 3 });
  expect((await store.getMany(['a', 'b', 'c'])).map((entry) => entry?.value)).toEqual([1, 1, 1]);
});

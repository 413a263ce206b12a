import { setImmediate } from 'node:timers/promises';
import { expect, it } from '@jest/globals';
import { z } from 'zod';
import { MemoryProvider } from '../../providers/memory/memory-provider.js';
import { storageError } from '../base/errors.js';
import type { CommitResult } from '../port/storage-provider.js';
import type { LoadItem, LoadProgress } from './bulk-types.js';
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

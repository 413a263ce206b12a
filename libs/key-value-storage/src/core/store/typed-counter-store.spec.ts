import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { JsonFileProvider } from '../../providers/json-file/json-file-provider.js';
import { MemoryProvider } from '../../providers/memory/memory-provider.js';
import { ManualClock } from '../../testing/kit/manual-clock.js';
import { defaultIdempotencyRetentionMs } from '../commit/idempotency-record.js';
import { defineBigCounter, defineCounter, defineShardedCounter } from './counter-definition.js';
import type { KeyValueStorage } from './key-value-store.js';
import { openStorage } from './open-storage.js';
import { providerWithLostAnswer, recordedProvider } from './spec-support.js';
import { defineState } from './state-definition.js';

const Views = defineCounter('views');

describe('a store of counters', () => {
  it('sends each change once, without a read', async () => {
    const { provider, calls } = recordedProvider();
    await using storage = await openStorage(provider);
    const views = storage.store(Views);
    calls.length = 0;
    await Promise.all(Array.from({ length: 64 }, () => views.increment('mug')));
    expect(calls).toEqual(Array.from({ length: 64 }, () => 'commit'));
  });

  it('is changed once by a repeat whose first answer was lost', async () => {
    await using storage = await openStorage(providerWithLostAnswer());
    const views = storage.store(Views);
    const add = () => views.increment('mug', 3, { idempotencyKey: 'k' });
    await expect(add()).rejects.toMatchObject({ code: 'STORAGE_OUTCOME_UNKNOWN', effect: 'unknown' });
    expect([await add(), await add(), await views.get('mug')]).toEqual([3, 3, 3]);
  });

  it('remembers a change with an idempotency key for a day, also after the counter has expired', async () => {
    const clock = new ManualClock();
    await using storage = await openStorage(new MemoryProvider({ clock }));
    const views = storage.store(defineCounter('views', { ttlMs: 60_000 }));
    const add = () => views.increment('mug', 3, { idempotencyKey: 'k' });
    await views.increment('mug', 4);
    expect(await add()).toBe(7);
    await clock.advance(60_000);
    expect([await views.get('mug'), await add(), await views.get('mug')]).toEqual([0, 7, 0]);
    await clock.advance(defaultIdempotencyRetentionMs - 60_001);
    await storage.sweep();
    expect([await add(), await views.get('mug')]).toEqual([7, 0]);
    await clock.advance(1);
    expect([await add(), await views.get('mug')]).toEqual([3, 3]);
  });

  it('remembers it after the files are opened again', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'kvent-counters-'));
    const clock = new ManualClock();
    const opened = () => openStorage(new JsonFileProvider({ directory, clock }));
    const add = (storage: KeyValueStorage, by = 3) =>
      storage.store(Views).increment('mug', by, { idempotencyKey: 'k' });
    try {
      await using storage = await opened();
      await storage.store(Views).increment('mug', 4);
      expect(await add(storage)).toBe(7);
      await storage.close();
      await using again = await opened();
      expect([await add(again), await again.store(Views).get('mug')]).toEqual([7, 7]);
      await expect(add(again, 2)).rejects.toMatchObject({ code: 'IDEMPOTENCY_CONFLICT' });
      await clock.advance(defaultIdempotencyRetentionMs);
      expect(await add(again)).toBe(10);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it('is the same store for the same definition', async () => {
    await using storage = await openStorage(new MemoryProvider());
    expect(storage.store(Views)).toBe(storage.store(Views));
  });

  it('finds a row that is not a number', async () => {
    const provider = new MemoryProvider();
    await using storage = await openStorage(provider);
    const views = storage.store(Views);
    const address = { container: 'counter:counter', entity: 'views', key: 'mug' };
    const value = { kind: 'json', text: '5' } as const;
    await provider.commit([
      {
        database: 'shared',
        version: '7',
        checks: [],
        changes: [{ kind: 'put', address, value, ttl: 'never' }],
      },
    ]);
    const corrupt = { code: 'STORAGE_CORRUPT', place: 'shared/counter:counter/views/mug' };
    await expect(views.get('mug')).rejects.toMatchObject(corrupt);
    await expect(views.increment('mug')).rejects.toMatchObject(corrupt);
    await expect(storage.atomic().increment(views, 'mug').commit()).rejects.toMatchObject(corrupt);
    await expect(
      storage.atomic().increment(views, 'mug').commit({ idempotencyKey: 'k' }),
    ).rejects.toMatchObject(corrupt);
  });

  it('does not round the number of a big counter', async () => {
    await using storage = await openStorage(new MemoryProvider());
    const [small, big] = [storage.store(Views), storage.store(defineBigCounter('views'))];
    await big.increment('mug', 2n ** 53n);
    await expect(small.get('mug')).rejects.toMatchObject({ code: 'COUNTER_OUT_OF_RANGE', effect: 'none' });
    expect(await small.decrement('mug', 5)).toBe(2 ** 53 - 5);
    await big.increment('mug', 2n ** 60n);
    await expect(small.decrement('mug')).rejects.toMatchObject({
      code: 'COUNTER_OUT_OF_RANGE',
      effect: 'unknown',
    });
  });

  it('is refused where a store of a state is required, and the other way round', async () => {
    await using storage = await openStorage(new MemoryProvider());
    const [views, things] = [storage.store(Views), storage.store(defineState('thing'))];
    expect(() => storage.atomic().set(views as never, 'mug', 1)).toThrow('takes stores');
    expect(() => storage.atomic().increment(things as never, 'mug')).toThrow('takes counters');
  });

  it('compares the amounts of a repeat', async () => {
    await using storage = await openStorage(new MemoryProvider());
    const views = storage.store(Views);
    const add = (by: number) => storage.atomic().increment(views, 'mug', by).commit({ idempotencyKey: 'k' });
    await add(1);
    await expect(add(2)).rejects.toMatchObject({ code: 'IDEMPOTENCY_CONFLICT' });
    expect(await add(1)).toMatchObject({ replayed: true, changes: [{ key: 'mug', value: 1 }] });
  });
});

describe('a counter of numbers at a row that is larger', () => {
  it('is changed by no commit with an idempotency key, whose error has the effect none, and by others towards its bounds', async () => {
    await using storage = await openStorage(new MemoryProvider());
    const [big, views] = [storage.store(defineBigCounter('views')), storage.store(Views)];
    await big.increment('mug', 2n ** 60n);
    const idempotencyKey = 'k-1';
    const refused = { code: 'COUNTER_OUT_OF_RANGE', effect: 'none' };
    await expect(storage.atomic().decrement(views, 'mug').commit({ idempotencyKey })).rejects.toMatchObject(
      refused,
    );
    await expect(views.decrement('mug', 1, { idempotencyKey })).rejects.toMatchObject(refused);
    expect(await big.get('mug')).toBe(2n ** 60n);
    await expect(views.decrement('mug')).rejects.toMatchObject({ ...refused, effect: 'unknown' });
    expect(await big.get('mug')).toBe(2n ** 60n - 1n);
  });
});

describe('a sharded counter', () => {
  it('writes another row with each change, and the rows of a lower number of shards too', async () => {
    const provider = new MemoryProvider();
    await using storage = await openStorage(provider);
    const views = storage.store(defineShardedCounter('views', { shards: 3 }));
    for (let call = 0; call < 3; call += 1) await views.increment('mug');
    const keys: string[] = [];
    for await (const { container, key } of provider.administration.export('shared'))
      keys.push(`${container} ${key}`);
    expect(keys).toEqual(['!tmug!n0', '!tmug!n1b1', '!tmug!n1b2'].map((key) => `counter:sharded ${key}`));
    expect(await storage.store(defineShardedCounter('views', { shards: 9 })).get('mug')).toBe(3);
  });

  it('sends each change once, without a read, and reads all shards at once', async () => {
    const { provider, calls } = recordedProvider();
    await using storage = await openStorage(provider);
    const views = storage.store(defineShardedCounter('views'));
    calls.length = 0;
    await views.increment('mug');
    await views.getMany(['mug', 'tea']);
    await views.reset('mug');
    expect(calls).toEqual(['commit', 'read', 'commit']);
  });

  it('counts a repeated idempotency key once after its shards were raised or lowered', async () => {
    await using storage = await openStorage(new MemoryProvider());
    const keys = Array.from({ length: 20 }, (_, index) => `like-${index}`);
    const likeAll = async (shards: number): Promise<number> => {
      const likes = storage.store(defineShardedCounter('likes', { shards }));
      for (const idempotencyKey of keys) await likes.increment('mug', 1, { idempotencyKey });
      return await storage.store(defineShardedCounter('likes', { shards: 7 })).get('mug');
    };
    expect([await likeAll(2), await likeAll(7), await likeAll(3)]).toEqual([20, 20, 20]);
    const likes = storage.store(defineShardedCounter('likes', { shards: 7 }));
    const [idempotencyKey] = keys;
    await expect(likes.increment('mug', 2, { idempotencyKey })).rejects.toMatchObject({
      code: 'IDEMPOTENCY_CONFLICT',
    });
    await likes.increment(['mug'], 1, { idempotencyKey });
    expect(await likes.get(['mug'])).toBe(1);
  });

  it('is reset once by an idempotency key', async () => {
    await using storage = await openStorage(new MemoryProvider());
    const likes = storage.store(defineShardedCounter('likes', { shards: 3 }));
    const reset = () => likes.reset('mug', { idempotencyKey: 'r-1' });
    await likes.increment('mug', 4);
    await reset();
    expect(await likes.get('mug')).toBe(0);
    await likes.increment('mug', 5);
    await reset();
    expect(await likes.get('mug')).toBe(5);
    await expect(likes.increment('mug', 1, { idempotencyKey: 'r-1' })).rejects.toMatchObject({
      code: 'IDEMPOTENCY_CONFLICT',
    });
  });

  it('has an idempotency record of its own for each key, so that keyed changes share no row', async () => {
    const provider = new MemoryProvider();
    await using storage = await openStorage(provider);
    const likes = storage.store(defineShardedCounter('likes', { shards: 2 }));
    for (const idempotencyKey of ['k-1', 'k-2']) await likes.increment('mug', 1, { idempotencyKey });
    const keys: string[] = [];
    for await (const { container, key } of provider.administration.export('shared'))
      keys.push(`${container} ${key}`);
    expect(keys).toEqual([
      ...['!tmug!n0', '!tmug!n1b1'].map((key) => `counter:sharded ${key}`),
      ...['!tk-1!zf!tmug', '!tk-2!zf!tmug'].map((key) => `mark:counter:sharded ${key}`),
    ]);
  });

  it('has the expiry of each shard from the change that creates it', async () => {
    const clock = new ManualClock();
    await using storage = await openStorage(new MemoryProvider({ clock }));
    const views = storage.store(defineShardedCounter('views', { shards: 2, ttlMs: 100 }));
    await views.increment('mug', 1);
    await clock.advance(60);
    await views.increment('mug', 20);
    await views.increment('mug', 300);
    await clock.advance(40);
    expect(await views.get('mug')).toBe(20);
    await clock.advance(60);
    expect(await views.get('mug')).toBe(0);
  });

  it('returns no sum that a number cannot hold', async () => {
    await using storage = await openStorage(new MemoryProvider());
    const views = storage.store(defineShardedCounter('views', { shards: 2 }));
    await views.increment('mug', Number.MAX_SAFE_INTEGER);
    await views.increment('mug', 2);
    await expect(views.get('mug')).rejects.toMatchObject({ code: 'COUNTER_OUT_OF_RANGE', key: 'mug' });
    await views.decrement('mug', 2);
    expect(await views.get('mug')).toBe(Number.MAX_SAFE_INTEGER);
  });

  it('refuses keys, amounts and numbers of keys as a counter does, and a place in a batch', async () => {
    await using storage = await openStorage(new MemoryProvider());
    const key = {
      '~standard': {
        version: 1,
        vendor: 'spec',
        validate: (given: unknown) =>
          given === 'mug' ? { value: given } : { issues: [{ message: 'no mug' }] },
      },
    } as const;
    const views = storage.store(defineShardedCounter('views', { key: key as never }));
    await expect(views.increment('tea' as never)).rejects.toMatchObject({ code: 'INVALID_KEY' });
    await expect(views.get('tea' as never)).rejects.toMatchObject({ code: 'INVALID_KEY' });
    await expect(views.increment('mug' as never, 0.5)).rejects.toMatchObject({ code: 'OUT_OF_RANGE' });
    await expect(views.increment('mug' as never, 1, { idempotencyKey: 7 as never })).rejects.toMatchObject({
      code: 'INVALID_OPTION',
    });
    await expect(views.getMany(Array.from({ length: 63 }, () => 'mug' as never))).rejects.toMatchObject({
      code: 'LIMIT_EXCEEDED',
    });
    expect(() => storage.atomic().increment(views as never, 'mug')).toThrow(
      "the sharded counter 'views': change it outside of a batch",
    );
  });
});

describe('the definition of a counter', () => {
  it('refuses what cannot work', () => {
    const definitions = [
      () => defineCounter(' '),
      () => defineCounter('views', { floor: 2, ceiling: 1 }),
      () => defineCounter('views', { floor: 1n as never }),
      () => defineCounter('views', { ttlMs: 0 }),
      () => defineCounter('views', { container: '' }),
      () => defineCounter('views', { scope: 'all' as never }),
      () => defineCounter('views', { expiry: 'sliding' } as never),
      () => defineBigCounter('views', { ceiling: 1 as never }),
      () => defineShardedCounter('views', { shards: 1 }),
      () => defineShardedCounter('views', { shards: 257 }),
      () => defineShardedCounter('views', { shards: 2.5 }),
      () => defineShardedCounter('views', null as never),
      () => defineShardedCounter('views', { floor: 0 } as never),
      () => defineShardedCounter('views', { ceiling: undefined } as never),
      () => defineShardedCounter('views', { ttl: 5 } as never),
      () => defineCounter('views', { floor: 0.5 }),
    ];
    for (const define of definitions)
      expect(define).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
  });
});

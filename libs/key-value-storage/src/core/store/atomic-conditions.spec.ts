import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { MemoryProvider } from '../../providers/memory/memory-provider.js';
import { retryOnConflict } from '../contention/retry-on-conflict.js';
import { Precondition } from './etag.js';
import { representation, type Entry } from './entry.js';
import type { KeyValueStorage, KeyValueStore, KeyWithEtag } from './key-value-store.js';
import { openStorage } from './open-storage.js';
import { defineState } from './state-definition.js';

const Things = defineState<{ n: number }>('thing');
const conflict = (check: 'caller' | 'own', key = 'a') =>
  expect.objectContaining({ code: 'STORAGE_CONFLICT', key, check, retryable: check === 'own' });

describe('the conditions of a batch', () => {
  let storage: KeyValueStorage;
  let things: KeyValueStore<{ n: number }>;
  let first: Entry<{ n: number }>;
  let second: Entry<{ n: number }>;
  beforeEach(async () => {
    storage = await openStorage(new MemoryProvider());
    things = storage.store(Things);
    first = await things.set('a', { n: 1 });
    second = await things.set('a', { n: 2 });
  });
  afterEach(() => storage.close());

  const values = async (): Promise<readonly (number | undefined)[]> =>
    (await things.getMany(['a', 'b'])).map((entry) => entry?.value.n);
  const etagOverHttp = ({ [representation]: { etag } }: Entry<unknown>): string => etag;

  it.each([
    ['an etag', () => second.etag],
    ['an entry', () => second],
    ['an ETag of HTTP', () => etagOverHttp(second)],
    ['a precondition', () => new Precondition([etagOverHttp(second)])],
    ['one of several', () => new Precondition([first.etag, etagOverHttp(second)])],
    ['any', () => new Precondition('any')],
    ['*', () => '*' as const],
  ])('hold for %s of the current version: set and delete are done', async (_, ifMatch) => {
    await storage
      .atomic()
      .set(things, 'a', { n: 3 }, { ifMatch: ifMatch() })
      .set(things, 'b', { n: 3 })
      .commit();
    expect(await values()).toEqual([3, 3]);
    second = await things.getOrThrow('a');
    await storage.atomic().delete(things, 'a', { ifMatch: ifMatch() }).commit();
    expect(await values()).toEqual([undefined, 3]);
  });

  it.each([
    ['an etag', () => first.etag],
    ['an entry', () => first],
    ['an ETag of HTTP', () => etagOverHttp(first)],
    ['several', () => new Precondition([first.etag, '77'])],
    ['an empty list', () => new Precondition([])],
    ['the ETag of another row', () => new Precondition([`${second.etag}-abc-1`])],
  ])(
    'fail for %s of an earlier version: nothing is done, and it is the check of the caller',
    async (_, ifMatch) => {
      const writes = [
        () => storage.atomic().set(things, 'b', { n: 3 }).set(things, 'a', { n: 3 }, { ifMatch: ifMatch() }),
        () => storage.atomic().set(things, 'b', { n: 3 }).delete(things, 'a', { ifMatch: ifMatch() }),
      ];
      for (const write of writes) await expect(write().commit()).rejects.toEqual(conflict('caller'));
      expect(await values()).toEqual([2, undefined]);
    },
  );

  it('are not there without the option, and refuse one without a value', async () => {
    const none = new Precondition('none');
    await storage.atomic().set(things, 'a', { n: 4 }, { ifMatch: none, ttlMs: 'never' }).commit();
    expect(await values()).toEqual([4, undefined]);
    for (const [ifMatch, code] of [
      [undefined, 'INVALID_OPTION'],
      [null, 'INVALID_OPTION'],
      ['', 'INVALID_ETAG'],
    ]) {
      const options = { ifMatch } as never;
      expect(() => storage.atomic().set(things, 'a', { n: 3 }, options)).toThrow(
        expect.objectContaining({ code }),
      );
      expect(() => storage.atomic().delete(things, 'a', options)).toThrow(expect.objectContaining({ code }));
    }
    expect(() => storage.atomic().add(things, 'b', { n: 3 }, { ifMatch: '*' } as never)).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION' }),
    );
  });

  it('are of the caller for a plain key with an etag, and of the reading for what was read', async () => {
    const plain = { key: 'a', etag: second.etag };
    await storage.atomic().check(things, plain).set(things, 'b', { n: 1 }).commit();
    expect(await values()).toEqual([2, 1]);
    const stale = { key: 'a', etag: first.etag };
    let attempts = 0;
    const check = (read: KeyWithEtag) =>
      retryOnConflict(
        async () => {
          attempts += 1;
          return await storage.atomic().check(things, read).set(things, 'b', { n: 2 }).commit();
        },
        { attempts: 3, delayMs: 0 },
      );
    await expect(check(stale)).rejects.toEqual(conflict('caller'));
    expect(attempts).toBe(1);
    await expect(check(first)).rejects.toEqual(conflict('own'));
    expect(attempts).toBe(4);
    await expect(storage.atomic().delete(things, stale).commit()).rejects.toEqual(conflict('caller'));
    await storage.atomic().delete(things, plain).commit();
    expect(await values()).toEqual([undefined, 1]);
  });

  it('let replace overwrite alone: an absent key is KEY_NOT_FOUND, which is not retried', async () => {
    await storage.atomic().replace(things, 'a', { n: 5 }, { ttlMs: 1_000 }).commit();
    expect((await things.getOrThrow('a')).expiresAt).toBeInstanceOf(Date);
    let attempts = 0;
    const absent = retryOnConflict(async () => {
      attempts += 1;
      return await storage.atomic().set(things, 'a', { n: 6 }).replace(things, 'b', { n: 6 }).commit();
    });
    await expect(absent).rejects.toEqual(expect.objectContaining({ code: 'KEY_NOT_FOUND', key: 'b' }));
    expect(attempts).toBe(1);
    expect(await values()).toEqual([5, undefined]);
  });

  it.each([
    ['an etag', () => second.etag],
    ['several', () => new Precondition([second.etag, '77'])],
  ])('with %s, leave the result of an idempotency key as it is: a repeat is replayed', async (_, ifMatch) => {
    const condition = ifMatch();
    const write = (n: number) =>
      storage.atomic().set(things, 'a', { n }, { ifMatch: condition }).commit({ idempotencyKey: 'k' });
    const done = await write(3);
    const repeated = await write(3);
    expect([done.replayed, repeated.replayed, repeated.changes]).toEqual([false, true, done.changes]);
    await expect(write(4)).rejects.toEqual(expect.objectContaining({ code: 'IDEMPOTENCY_CONFLICT' }));
  });
});

import { afterEach, describe, expect, it } from '@jest/globals';
import type { StandardSchemaV1 } from '@standard-schema/spec';
import * as v from 'valibot';
import { z } from 'zod';
import { MemoryProvider } from '../../providers/memory/memory-provider.js';
import { systemClock } from '../base/clock.js';
import { openStorage } from './open-storage.js';
import { retryOnConflict } from '../contention/retry-on-conflict.js';
import { isStorageError, type StorageError } from '../base/errors.js';
import type { KeyValueStorage } from './key-value-store.js';
import { defineState, State } from './state-definition.js';
import type { Batch, CommitResult } from '../port/storage-provider.js';

const opened: KeyValueStorage[] = [];
async function storageOn(provider: MemoryProvider = new MemoryProvider()): Promise<KeyValueStorage> {
  const storage = await openStorage(provider);
  opened.push(storage);
  return storage;
}
afterEach(async () => {
  for (const storage of opened.splice(0)) await storage.close();
});
const caught = async (work: Promise<unknown>): Promise<unknown> =>
  await work.then(
    () => undefined,
    (error: unknown) => error,
  );

const fails = (): never => {
  throw new TypeError('down');
};
const schemaOf = <T>(validate: () => never | Promise<never>): StandardSchemaV1<T, T> => ({
  '~standard': { version: 1, vendor: 'test', validate },
});

describe('values and schemas', () => {
  const zodState = defineState('zod', {
    schema: z.object({ label: z.string().trim().min(1), uses: z.number().default(0) }),
  });
  const valibotState = defineState('valibot', {
    schema: v.object({
      label: v.pipe(v.string(), v.trim(), v.minLength(1)),
      uses: v.optional(v.number(), 0),
    }),
  });

  it.each([
    ['Zod', zodState],
    ['Valibot', valibotState],
  ] as const)('are converted by %s (trimmed, with defaults), or refused with issues', async (_, state) => {
    const store = (await storageOn()).store<{ label: string; uses: number }>(state);
    const entry = await store.set('a', { label: '  x ' } as { label: string; uses: number });
    expect(entry.value).toEqual({ label: 'x', uses: 0 });
    expect((await store.get('a'))?.value).toEqual({ label: 'x', uses: 0 });
    const error = await caught(store.set('a', { label: ' ', uses: 1 }));
    expect(isStorageError(error, 'INVALID_VALUE') && error.issues.length).toBe(1);
    expect(String(error)).toContain('label');
    expect((await store.get('a'))?.etag).toBe(entry.etag);
  });

  it('may be checked by an asynchronous schema', async () => {
    const schema = z
      .object({ a: z.number() })
      .refine(async ({ a }) => await Promise.resolve(a > 0), 'above 0');
    const store = (await storageOn()).store(defineState('asynchronous', { schema }));
    await store.add('a', { a: 1 });
    await expect(store.add('b', { a: 0 })).rejects.toMatchObject({ code: 'INVALID_VALUE' });
    expect(await store.count()).toBe(1);
  });

  it('are returned as frozen instances of their class, without a call of its constructor', async () => {
    let constructed = 0;
    @State('product', { schema: z.object({ title: z.string(), price: z.number() }) })
    class Product {
      title!: string;
      price!: number;
      constructor() {
        constructed += 1;
      }
      cheaper(by: number) {
        return this.price - by;
      }
    }
    const store = (await storageOn()).store(Product);
    await store.add('a', { title: 'Mug', price: 9 });
    const entry = await store.getOrThrow('a');
    expect(entry.value).toBeInstanceOf(Product);
    expect(entry.value.cheaper(4)).toBe(5);
    expect(constructed).toBe(0);
    expect(Object.isFrozen(entry.value)).toBe(true);
    const changed = entry.with({ price: 7 });
    expect([changed.value.cheaper(4), changed.etag, entry.value.price]).toEqual([3, entry.etag, 9]);
    expect((await store.save(changed)).value.cheaper(1)).toBe(6);
  });

  it('of an older schemaVersion are upcast step by step, checked, and written with the new one', async () => {
    const provider = new MemoryProvider();
    const storage = await storageOn(provider);
    await storage.store(defineState<{ cents: number }>('p')).add('a', { cents: 150 });
    const price = defineState('p', {
      schema: z.object({ price: z.number(), currency: z.string() }),
      schemaVersion: 3,
      upcast: {
        1: (old: { cents: number }) => ({ price: old.cents / 100 }),
        2: (old: { price: number }) => ({ ...old, currency: 'EUR' }),
      },
    });
    const store = storage.store(price);
    const entry = await store.getOrThrow('a');
    expect(entry.value).toEqual({ price: 1.5, currency: 'EUR' });
    const saved = await store.save(entry.with({ price: 2 }));
    expect([(await store.getOrThrow('a')).value, (await store.getOrThrow('a')).etag]).toEqual([
      { price: 2, currency: 'EUR' },
      saved.etag,
    ]);
    // an older program gets an error instead of a wrong value
    await expect(storage.store(defineState('p')).get('a')).rejects.toMatchObject({
      code: 'STORAGE_UNSUPPORTED',
    });
  });

  it.each<[string, () => never | Promise<never>]>([
    ['throws', () => fails()],
    ['rejects', async () => await Promise.reject(new TypeError('down'))],
  ])('whose schema %s are INVALID_OPTION with the cause', async (_, validate) => {
    const storage = await storageOn();
    const failed = {
      code: 'INVALID_OPTION',
      status: 500,
      message: 'The schema must return issues, and has thrown TypeError for p "a".',
      cause: expect.objectContaining({ message: 'down' }) as unknown,
    };
    const store = storage.store(defineState('p', { schema: schemaOf<number>(validate) }));
    await expect(store.set('a', 1)).rejects.toMatchObject(failed);
    await expect(storage.atomic().set(store, 'a', 1).commit()).rejects.toMatchObject(failed);
    const { failures } = await store.loadFrom([{ key: 'a', value: 1 }], { onError: 'continue' });
    expect(failures).toMatchObject([{ key: 'a', error: failed }]);
  });

  it('whose schema of keys throws are INVALID_OPTION too', async () => {
    const keys = schemaOf<string>(fails);
    const store = (await storageOn()).store(defineState('q', { schema: z.number(), key: keys }));
    await expect(store.get('a')).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      message: `The schema must return issues, and has thrown TypeError for the key "a" of 'q'.`,
    });
  });

  it('whose upcast does not fit the schema are reported as corrupt, with their place', async () => {
    const storage = await storageOn();
    await storage.store(defineState<object>('p')).add('a', {});
    const state = defineState('p', {
      schema: z.object({ a: z.number() }),
      schemaVersion: 2,
      upcast: { 1: () => ({ a: 'no' }) },
    });
    const error = await caught(storage.store(state).get('a'));
    expect(isStorageError(error, 'STORAGE_CORRUPT') && error.place).toBe('shared/state:state/p/a');
    expect(isStorageError((error as Error).cause, 'INVALID_VALUE')).toBe(true);
  });
});

/** Before each of the next `conflicts` commits, another writer commits the same row. */
class ContendedProvider extends MemoryProvider {
  conflicts = 0;
  commits = 0;
  delayMs = 0;
  afterCommit = (): void => undefined;
  override async commit(batches: readonly Batch[]): Promise<readonly CommitResult[]> {
    const [batch] = batches;
    const change = batch?.changes[0];
    if (this.conflicts > 0 && batch !== undefined && change?.kind === 'put') {
      this.conflicts -= 1;
      await super.commit([{ ...batch, version: String(1 + this.conflicts), checks: [] }]);
    }
    this.commits += 1;
    if (this.delayMs > 0) await systemClock.wait(this.delayMs);
    const results = await super.commit(batches);
    this.afterCommit();
    return results;
  }
}

describe('update', () => {
  const counters = defineState<{ n: number }>('n');

  it('repeats with the current value after a conflict, and gives up with the number of attempts', async () => {
    const provider = new ContendedProvider();
    const store = (await storageOn(provider)).store(counters);
    await store.add('a', { n: 0 });
    provider.conflicts = 3;
    let runs = 0;
    await store.update('a', ({ n }) => ({ n: n + (runs += 1) }), { retry: { delayMs: 0 } });
    expect(runs).toBe(4);
    provider.conflicts = 99;
    const error = await caught(
      store.update('a', ({ n }) => ({ n: n + 1 }), { retry: { attempts: 3, delayMs: 0 } }),
    );
    expect(isStorageError(error, 'STORAGE_CONFLICT') && error.attempts).toBe(3);
  });

  it('needs one commit for each of a hundred concurrent callers of one process', async () => {
    const provider = new ContendedProvider();
    const store = (await storageOn(provider)).store(counters);
    await store.add('a', { n: 0 });
    provider.commits = 0;
    await Promise.all(
      Array.from({ length: 100 }, async () => await store.update('a', ({ n }) => ({ n: n + 1 }))),
    );
    expect((await store.getOrThrow('a')).value.n).toBe(100);
    expect(provider.commits).toBe(100);
  });

  it('awaits whatever can be awaited, also what is a function, as proxies of other processes are', async () => {
    const store = (await storageOn()).store(counters);
    await store.add('a', { n: 0 });
    const remote = Object.assign(() => undefined, {
      then: (resolve: (value: { n: number }) => void) => resolve({ n: 7 }),
    });
    const changed = await store.update('a', () => remote as unknown as Promise<{ n: number }>);
    expect(changed.value).toEqual({ n: 7 });
  });

  it('may update the same key in its function, without a deadlock', async () => {
    const store = (await storageOn()).store(counters);
    await store.add('a', { n: 0 });
    let calls = 0;
    const updated = await store.update('a', async ({ n }) => {
      calls += 1;
      if (calls === 1) await store.update('a', (inner) => ({ n: inner.n + 10 }));
      return { n: n + 1 };
    });
    expect(updated.value.n).toBe(11);
  });

  it('has status 500 for what only the program can make, and 422 for what a client can send', async () => {
    const store = (await storageOn(new ContendedProvider())).store(counters);
    class Money {
      cents = 1;
    }
    const deep = JSON.parse(`${'['.repeat(2_000)}${']'.repeat(2_000)}`) as unknown;
    const statusOf = async (call: Promise<unknown>) =>
      await call.then(
        () => 'stored',
        ({ code, status }: StorageError) => `${code} ${status}`,
      );
    const set = (value: unknown) => statusOf(store.set('a', value as never));
    await store.set('there', { n: 1 });
    const nothing = () => undefined as never;
    for (const value of [
      () => 1,
      { n: Symbol('n') },
      { n: new Money() },
      { n: Buffer.from('a') },
      { n: 'm'.match('m') },
    ])
      expect(await set(value)).toBe('INVALID_VALUE 500');
    for (const call of [
      store.update('there', nothing),
      store.update('new', nothing, { initial: () => ({ n: 1 }) }),
      store.update('new', (value) => value, { initial: nothing }),
      store.getOrAdd('new', nothing),
    ])
      expect(await statusOf(call)).toBe('INVALID_VALUE 500');
    const initial = async () => await Promise.reject(new Error('unhandled'));
    expect(await statusOf(store.update('new', (value) => value, { initial: initial as never }))).toBe(
      'INVALID_OPTION 500',
    );
    // a parser of forms makes them of `a[1]=x` and of `a[4294967295]=x`
    const forms = [{ a: [, 'x'] }, { a: Object.assign([], { 4294967295: 'x' }) }];
    for (const value of [undefined, { at: new Date(Number.NaN) }, deep, ...forms])
      expect(await set(value)).toBe('INVALID_VALUE 422');
    // the message names it, whatever properties it has
    const key = { constructor: { name: { toString: 1 } } };
    expect(await statusOf(store.set(key as never, { n: 1 }))).toBe('INVALID_KEY 400');
  });

  it('writes nothing when its function returns the same reference, and refuses undefined', async () => {
    const provider = new ContendedProvider();
    const store = (await storageOn(provider)).store(counters);
    const { etag } = await store.add('a', { n: 0 });
    provider.commits = 0;
    expect((await store.update('a', (value) => value)).etag).toBe(etag);
    expect(provider.commits).toBe(0);
    await expect(store.update('a', () => undefined as unknown as { n: number })).rejects.toMatchObject({
      code: 'INVALID_VALUE',
    });
  });
});

/** Regressions: each of these was an error once. */
describe('a store', () => {
  const texts = defineState<string>('t');
  const numbers = defineState<{ n: number }>('n');

  it('copies the parts of a key when it is called', async () => {
    const storage = await storageOn();
    const store = storage.store(texts);
    await storage.atomic().set(store, ['v', 1], 'one').set(store, ['v', 2], 'two').commit();
    const key: [string, number] = ['v', 1];
    const reading = store.get(key);
    key[1] = 2;
    await store.save((await reading) as NonNullable<Awaited<typeof reading>>);
    expect((await store.getOrThrow(['v', 2])).value).toBe('two');
    const keys = [
      ['v', 1],
      ['v', 2],
    ];
    const many = store.getMany(keys);
    keys.reverse();
    expect((await many).map((entry) => [entry?.key, entry?.value])).toEqual([
      [['v', 1], 'one'],
      [['v', 2], 'two'],
    ]);
    const bytes = new Uint8Array([1]);
    const entry = await store.set([bytes], 'b');
    bytes[0] = 2;
    expect(entry.key).toEqual([new Uint8Array([1])]);
  });

  it('copies a value before an asynchronous schema checks it', async () => {
    const schema = {
      '~standard': {
        version: 1 as const,
        vendor: 'test',
        validate: async (value: unknown) => {
          await Promise.resolve();
          return (value as { n: number }).n > 0
            ? { value: value as { n: number } }
            : { issues: [{ message: 'above 0' }] };
        },
      },
    };
    const store = (await storageOn()).store(defineState<{ n: number }>('async', { schema } as object));
    const value = { n: 1 };
    const setting = store.set('k', value);
    value.n = -5;
    await setting;
    expect((await store.getOrThrow('k')).value).toEqual({ n: 1 });
  });

  it('reports the number of deleted entries when a deletion is aborted', async () => {
    const provider = new ContendedProvider();
    const store = (await storageOn(provider)).store(texts);
    for (let page = 0; page < 2; page += 1)
      await store.setMany(Array.from({ length: 900 }, (_, at) => ({ key: `k${page}-${at}`, value: 'x' })));
    const controller = new AbortController();
    provider.afterCommit = () => controller.abort();
    const error = await caught(store.deleteMany({ prefix: 'k' }, { signal: controller.signal }));
    expect(isStorageError(error, 'ABORTED') && [error.effect, error.done]).toEqual(['unknown', 900]);
    expect(await store.count()).toBe(900);
  });

  it('ends a list that is aborted before its next entry', async () => {
    const store = (await storageOn()).store(texts);
    await store.setMany(Array.from({ length: 10 }, (_, at) => ({ key: `k${at}`, value: 'x' })));
    for (const iterate of [
      (signal: AbortSignal) => store.list({}, { signal }),
      (signal: AbortSignal) => store.keys({}, { signal }),
    ]) {
      const controller = new AbortController();
      let seen = 0;
      const error = await caught(
        (async () => {
          for await (const _ of iterate(controller.signal)) {
            seen += 1;
            controller.abort();
          }
        })(),
      );
      expect([seen, isStorageError(error, 'ABORTED')]).toEqual([1, true]);
    }
  });

  it('lets an outer loop repeat an update with `attempts: 1`', async () => {
    const provider = new ContendedProvider();
    const store = (await storageOn(provider)).store(numbers);
    await store.add('a', { n: 0 });
    provider.conflicts = 1;
    await retryOnConflict(
      async () => await store.update('a', ({ n }) => ({ n: n + 1 }), { retry: { attempts: 1 } }),
    );
    expect(provider.conflicts).toBe(0);
  });

  it('writes a new time to live also when the value stays the same', async () => {
    const store = (await storageOn()).store(texts);
    await store.set('a', 'x', { ttlMs: 60_000 });
    expect((await store.update('a', (value) => value, { ttlMs: 'never' })).expiresAt).toBeUndefined();
  });

  it('reads a stored property as data when its class now has an accessor of this name', async () => {
    const storage = await storageOn();
    await storage.store(defineState<object>('g')).set('k', { a: 1, p: 3 });
    @State('g')
    class WithAccessors {
      a!: number;
      _p!: number;
      set p(value: number) {
        this._p = value * 100;
      }
    }
    const { value } = await storage.store(WithAccessors).getOrThrow('k');
    expect(Object.entries(value)).toEqual([
      ['a', 1],
      ['p', 3],
    ]);
  });

  it('refuses wrong arguments with a code', async () => {
    const store = (await storageOn()).store(texts);
    const cycle: unknown[] = [];
    cycle.push(cycle);
    expect(isStorageError(await caught(store.get(cycle as string[])), 'INVALID_KEY')).toBe(true);
    expect(isStorageError(await caught(store.setMany(5 as unknown as [])), 'INVALID_OPTION')).toBe(true);
    expect(
      isStorageError(
        await caught(store.update('a', (text) => text, { retry: { delayMsMax: Infinity } })),
        'INVALID_OPTION',
      ),
    ).toBe(true);
    const many = Array.from({ length: 60_000 }, (_, at) => ({ key: `k${at}`, value: 'x' }));
    expect(isStorageError(await caught(store.setMany(many)), 'LIMIT_EXCEEDED')).toBe(true);
  });

  it('waits for the lock of a row while its queue makes progress, also on a slow disk', async () => {
    const provider = new ContendedProvider();
    const store = (await storageOn(provider)).store(numbers);
    await store.add('a', { n: 0 });
    provider.delayMs = 10;
    const retry = { delayMsMax: 25, budgetMs: 60_000 };
    await Promise.all(
      Array.from({ length: 60 }, async () => await store.update('a', ({ n }) => ({ n: n + 1 }), { retry })),
    );
    expect((await store.getOrThrow('a')).value.n).toBe(60);
  });
});

describe('a storage', () => {
  class Failing extends MemoryProvider {
    override async open(): Promise<void> {
      await Promise.resolve();
      throw new Error('no disk');
    }
  }

  it('refuses a provider that is open elsewhere', async () => {
    const provider = new MemoryProvider();
    await storageOn(provider);
    await expect(openStorage(provider)).rejects.toMatchObject({ code: 'INVALID_STATE' });
    await expect(openStorage(new Failing())).rejects.toThrow('no disk');
  });

  it('refuses every call after it is closed, and may be closed twice', async () => {
    const storage = await openStorage(new MemoryProvider());
    const store = storage.store(defineState('a'));
    await storage.close();
    await storage.close();
    for (const call of [
      store.get('a'),
      store.set('a', 1),
      store.count(),
      store.getMany(['a']),
      storage.sweep(),
      storage.atomic().set(store, 'a', 1).commit(),
    ]) {
      expect(isStorageError(await caught(call), 'STORAGE_NOT_OPEN')).toBe(true);
    }
  });

  it('keeps a batch within one storage, one tenant and one provider, and names both places', async () => {
    const [one, other] = [await storageOn(), await storageOn()];
    const state = defineState<number>('a');
    const shared = defineState<number>('b', { scope: 'shared' });
    expect(() => one.atomic().set(other.store(state), 'k', 1)).toThrow(/belongs to another storage/);
    const batch = one.atomic().set(one.store(state).forTenant('acme'), 'k', 1);
    expect(() => batch.set(one.store(state).forTenant('globex'), 'k', 1)).toThrow(
      /'a' is in tenant:acme on provider 'memory', state 'a' in tenant:globex/,
    );
    expect(() => batch.set(one.store(shared), 'k', 1)).toThrow(/'b' in shared/);
    expect(() => one.store(shared).forTenant('acme')).toThrow(/is shared/);
  });

  it('loads all items when `onProgress` throws', async () => {
    const store = (await storageOn()).store(defineState<number>('a'));
    const onProgress = (): never => {
      throw new Error('onProgress has failed');
    };
    const items = ['a', 'b', 'c'].map((key) => ({ key, value: 1 }));
    expect(await store.loadFrom(items, { chunk: 1, onProgress })).toMatchObject({ loaded: 3 });
  });

  it('refuses `within` when the provider has no transactions', async () => {
    const storage = await storageOn();
    expect(() => storage.within({})).toThrow(expect.objectContaining({ code: 'STORAGE_UNSUPPORTED' }));
  });
});

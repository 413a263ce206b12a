/**
 * Idempotency keys of whole batches: what a record holds, what is compared, and which check is
 * looked at first.
 */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { MemoryProvider } from '../../providers/memory/memory-provider.js';
import { isStorageError } from '../base/errors.js';
import type { KeyValueStorage, KeyValueStore } from './key-value-store.js';
import { limits } from '../base/limits.js';
import { defineCounter } from './counter-definition.js';
import { openStorage } from './open-storage.js';
import { retryOnConflict } from '../contention/retry-on-conflict.js';
import { defineState, State } from './state-definition.js';
import type { RawRow } from '../port/storage-provider.js';

@State('product')
class Product {
  price!: number;
}
const Order = defineState<{ readonly n: number }>('order');

let provider: MemoryProvider;
let storage: KeyValueStorage;
let orders: KeyValueStore<{ readonly n: number }>;
beforeEach(async () => {
  provider = new MemoryProvider();
  storage = await openStorage(provider);
  orders = storage.store(Order);
});
afterEach(async () => await storage[Symbol.asyncDispose]());

const codeOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => 'done',
    (error: unknown) => (isStorageError(error) ? error.code : error),
  );

/** The row of the one idempotency key, changed and put back. */
async function changeRecord(change: (json: Record<string, unknown>) => object): Promise<void> {
  const records: RawRow[] = [];
  for await (const raw of provider.administration.export('shared'))
    if (raw.container === 'mark:') records.push(raw);
  expect(records).toHaveLength(1);
  const [raw] = records as [RawRow];
  if (raw.row.value.kind !== 'json') throw new Error('A record is JSON.');
  const text = JSON.stringify(change(JSON.parse(raw.row.value.text) as Record<string, unknown>));
  await provider.administration.import('shared', [
    { ...raw, row: { ...raw.row, value: { kind: 'json', text } } },
  ]);
}

it('A batch takes no writes once it is committed: they would be lost', async () => {
  const views = storage.store(defineCounter('views'));
  const entry = await orders.add('a', { n: 1 });
  const batch = storage.atomic().set(orders, 'b', { n: 1 });
  const committing = batch.commit();
  const late: Record<string, () => unknown> = {
    check: () => batch.check(orders, entry),
    checkAbsent: () => batch.checkAbsent(orders, 'c'),
    add: () => batch.add(orders, 'c', { n: 1 }),
    set: () => batch.set(orders, 'c', { n: 1 }),
    replace: () => batch.replace(orders, 'a', { n: 2 }),
    save: () => batch.save(orders, entry),
    delete: () => batch.delete(orders, 'a'),
    increment: () => batch.increment(views, 'a'),
    decrement: () => batch.decrement(views, 'a'),
    raiseTo: () => batch.raiseTo(views, 'a', 1),
    lowerTo: () => batch.lowerTo(views, 'a', 1),
    commit: () => batch.commit(),
  };
  for (const [verb, call] of Object.entries(late))
    expect([verb, await codeOf((async () => await call())())]).toEqual([verb, 'INVALID_STATE']);
  expect((await committing).changes).toHaveLength(1);
  expect([await orders.count(), (await orders.get('a'))?.value]).toEqual([2, { n: 1 }]);
});

describe('A batch under an idempotency key', () => {
  /**
   * An engine that names the last check that is not met, as Postgres does: there an absent record
   * is judged before the row is waited for.
   */
  async function namingTheRow(): Promise<KeyValueStorage> {
    const inner = new MemoryProvider();
    const naming = new Proxy(inner, {
      get(target, name): unknown {
        const member: unknown = Reflect.get(target, name, target);
        if (typeof member !== 'function') return member;
        if (name !== 'commit')
          return (...given: readonly unknown[]): unknown => Reflect.apply(member, target, given);
        const commit: MemoryProvider['commit'] = async (batches, options) =>
          await target.commit(
            batches.map((batch) => ({ ...batch, checks: batch.checks.toReversed() })),
            options,
          );
        return commit;
      },
    });
    return await openStorage(naming);
  }

  it('is answered as the first time, also where the check that failed is the one of its own entry', async () => {
    await using other = await namingTheRow();
    const store = other.store(Order);
    const read = await store.set('one', { n: 0 });
    const once = async (n: number) =>
      await other
        .atomic()
        .save(store, read.with({ n }))
        .commit({ idempotencyKey: { key: 'k', content: n } });
    const first = await once(1);
    expect(await once(1)).toEqual({ ...first, replayed: true });
    expect(await codeOf(once(2))).toBe('IDEMPOTENCY_CONFLICT');
    const add = async () => await other.atomic().add(store, 'new', { n: 1 }).commit({ idempotencyKey: 'l' });
    const added = await add();
    expect(await add()).toEqual({ ...added, replayed: true });
    expect(await codeOf(other.atomic().add(store, 'new', { n: 1 }).commit({ idempotencyKey: 'm' }))).toBe(
      'KEY_EXISTS',
    );
  });

  it('takes values that are instances of their class', async () => {
    const products = storage.store(Product);
    const product = Object.assign(new Product(), { price: 1 });
    const once = async (price: number) =>
      await storage
        .atomic()
        .set(products, 'mug', Object.assign(product, { price }))
        .commit({ idempotencyKey: 'k' });
    expect([(await once(1)).replayed, (await once(1)).replayed]).toEqual([false, true]);
    expect(await codeOf(once(2))).toBe('IDEMPOTENCY_CONFLICT');
    const read = await products.getOrThrow('mug');
    await storage
      .atomic()
      .save(products, read.with({ price: 3 }))
      .commit({ idempotencyKey: 'l' });
    expect((await products.getOrThrow('mug')).value).toEqual({ price: 3 });
  });

  it.each([
    ['`add`', () => storage.atomic().add(orders, 'one', { n: 2 })],
    ['`set`', () => storage.atomic().set(orders, 'one', { n: 2 })],
    ['the time to live', () => storage.atomic().set(orders, 'one', { n: 1 }, { ttlMs: 1_000 })],
    ['the key', () => storage.atomic().set(orders, 'two', { n: 1 })],
    ['one call more', () => storage.atomic().set(orders, 'one', { n: 1 }).delete(orders, 'two')],
    ['one check more', () => storage.atomic().checkAbsent(orders, 'two').set(orders, 'one', { n: 1 })],
  ])('is compared call by call where nothing in it was read: %s', async (_what, other) => {
    await storage.atomic().set(orders, 'one', { n: 1 }).commit({ idempotencyKey: 'k' });
    expect(await codeOf(other().commit({ idempotencyKey: 'k' }))).toBe('IDEMPOTENCY_CONFLICT');
  });

  it('is compared by its verbs and rows where something in it was read', async () => {
    const read = await orders.set('one', { n: 1 });
    const first = await storage
      .atomic()
      .check(orders, read)
      .set(orders, 'two', { n: 1 })
      .commit({ idempotencyKey: 'k' });
    const again = await orders.set('one', { n: 2 });
    const repeat = storage.atomic().check(orders, again).set(orders, 'two', { n: 2 });
    expect(await repeat.commit({ idempotencyKey: 'k' })).toEqual({ ...first, replayed: true });
    const elsewhere = storage.atomic().check(orders, again).set(orders, 'three', { n: 1 });
    expect(await codeOf(elsewhere.commit({ idempotencyKey: 'k' }))).toBe('IDEMPOTENCY_CONFLICT');
    const deleted = storage.atomic().delete(orders, again).set(orders, 'two', { n: 1 });
    expect(await codeOf(deleted.commit({ idempotencyKey: 'k' }))).toBe('IDEMPOTENCY_CONFLICT');
  });

  it('understands the records of earlier releases: they hold no keys, and compared other arguments', async () => {
    const once = async (n: number) =>
      await storage.atomic().set(orders, 'one', { n }).commit({ idempotencyKey: 'k' });
    const first = await once(1);
    await changeRecord(() => ({ content: `sha256:${'0'.repeat(64)}`, answer: null }));
    expect(await once(1)).toEqual({
      ...first,
      replayed: true,
      changes: first.changes.map(({ key }) => ({ key, etag: expect.any(String) })),
    });
  });

  it('is LIMIT_EXCEEDED where the keys of its answer do not fit into one value, and then nothing is written', async () => {
    const batch = storage.atomic();
    for (let n = 0; n < limits.batchEntriesMax - 1; n += 1)
      batch.set(orders, `${String(n).padStart(4, '0')}${'x'.repeat(1_020)}`, { n });
    const error: unknown = await batch.commit({ idempotencyKey: 'k' }).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'LIMIT_EXCEEDED', limit: 'valueBytesMax', effect: 'none' });
    expect(String(error)).toMatch(/record of an idempotency key/);
    expect(await orders.count()).toBe(0);
  });
});

describe('A failed check of a batch', () => {
  it('is repeated by a retry loop where the caller has read it, and not where the caller stated it', async () => {
    const stale = await orders.set('one', { n: 1 });
    await orders.set('one', { n: 2 });
    const attemptsOf = async (work: () => Promise<unknown>): Promise<number> => {
      let attempts = 0;
      await retryOnConflict(async () => ((attempts += 1), await work()), { attempts: 3, delayMs: 0 }).catch(
        () => undefined,
      );
      return attempts;
    };
    expect([
      await attemptsOf(
        async () => await storage.atomic().check(orders, stale).set(orders, 'two', { n: 1 }).commit(),
      ),
      await attemptsOf(async () => await storage.atomic().save(orders, stale).commit()),
      await attemptsOf(async () => await storage.atomic().delete(orders, stale).commit()),
      await attemptsOf(
        async () => await storage.atomic().checkAbsent(orders, 'one').set(orders, 'two', { n: 1 }).commit(),
      ),
      await attemptsOf(async () => await storage.atomic().add(orders, 'one', { n: 1 }).commit()),
    ]).toEqual([3, 3, 3, 3, 1]);
  });
});

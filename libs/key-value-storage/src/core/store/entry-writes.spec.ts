import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { z } from 'zod';
import { JsonFileProvider } from '../../providers/json-file/json-file-provider.js';
import { MemoryProvider } from '../../providers/memory/memory-provider.js';
import { ManualClock } from '../../testing/kit/manual-clock.js';
import { defaultIdempotencyRetentionMs } from '../commit/idempotency-record.js';
import type { Entry } from './entry.js';
import type { KeyValueStorage, KeyValueStore } from './key-value-store.js';
import { openStorage } from './open-storage.js';
import { providerWithLostAnswer, recordedProvider } from './spec-support.js';
import { defineState } from './state-definition.js';

interface Thing {
  readonly n: number;
}
const Things = defineState<Thing>('thing');
const SlidingThings = defineState<Thing>('sliding', { ttlMs: 60_000, expiry: 'sliding' });
/** What a write has read, and the value that it makes of it. */
interface Reading {
  readonly storage: KeyValueStorage;
  readonly things: KeyValueStore<Thing>;
  readonly read: Entry<Thing>;
  readonly n: number;
}
const key = { idempotencyKey: 'k' };

describe('a write of an entry with an idempotency key', () => {
  it('is one commit without a read where the result does not depend on the row', async () => {
    const { provider, calls } = recordedProvider();
    await using storage = await openStorage(provider);
    const things = storage.store(Things);
    const callsOf = async (work: () => Promise<unknown>): Promise<readonly string[]> => {
      calls.length = 0;
      await work();
      return [...calls];
    };
    const read = await things.add('saved', { n: 1 });
    const blind = [
      () => things.add('a', { n: 1 }, key),
      () => things.set('b', { n: 1 }, key),
      () => things.save(read.with({ n: 2 }), key),
      () => things.replace('saved', { n: 3 }, { idempotencyKey: 'l' }),
    ];
    for (const write of blind) expect(await callsOf(write)).toEqual(['commit']);
    expect(
      await callsOf(() => things.update('b', ({ n }) => ({ n: n + 1 }), { idempotencyKey: 'l' })),
    ).toEqual(['read', 'commit']);
    expect(await callsOf(() => things.set('b', { n: 1 }, key))).toEqual(['commit', 'read']);
  });

  it.each([
    [
      'was touched',
      Things,
      async (things: KeyValueStore<Thing>) => {
        await things.touch('a', { ttlMs: 3_600_000 });
      },
    ],
    [
      'was renewed by a read',
      SlidingThings,
      async (things: KeyValueStore<Thing>, clock: ManualClock) => {
        await clock.advance(30_000);
        await things.get('a');
      },
    ],
  ] as const)(
    'returns the expiry of the first save of an entry that %s since it was read',
    async (_, State, renew) => {
      const clock = new ManualClock();
      await using storage = await openStorage(new MemoryProvider({ clock }));
      const things = storage.store(State);
      const read = await things.add('a', { n: 1 }, { ttlMs: 60_000 });
      await renew(things, clock);
      const save = async () => await things.save(read.with({ n: 2 }), key);
      const first = await save();
      expect(first.expiresAt?.getTime()).toBeGreaterThan(read.expiresAt?.getTime() ?? 0);
      await clock.advance(1);
      const again = await save();
      expect([again.etag, again.expiresAt]).toEqual([first.etag, first.expiresAt]);
    },
  );

  it('is done once by a repeat whose first answer was lost', async () => {
    await using storage = await openStorage(providerWithLostAnswer());
    const things = storage.store(Things);
    const add = () => things.update('a', ({ n }) => ({ n: n + 1 }), { ...key, initial: () => ({ n: 0 }) });
    await expect(add()).rejects.toMatchObject({ code: 'STORAGE_OUTCOME_UNKNOWN', effect: 'unknown' });
    expect([(await add()).value, (await things.getOrThrow('a')).value]).toEqual([{ n: 1 }, { n: 1 }]);
  });

  it('is remembered for a day, also after the entry has expired and the files were opened again', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'kvent-writes-'));
    const clock = new ManualClock();
    const opened = () => openStorage(new JsonFileProvider({ directory, clock }));
    const add = (storage: KeyValueStorage) =>
      storage.store(Things).add('a', { n: 1 }, { ...key, ttlMs: 60_000 });
    try {
      await using storage = await opened();
      const first = await add(storage);
      await clock.advance(60_000);
      await storage.sweep();
      await storage.close();
      await using again = await opened();
      const repeated = await add(again);
      expect([repeated.etag, repeated.updatedAt, repeated.expiresAt]).toEqual([
        first.etag,
        first.updatedAt,
        first.expiresAt,
      ]);
      expect(await again.store(Things).count()).toBe(0);
      await clock.advance(defaultIdempotencyRetentionMs - 60_000);
      expect(await again.sweep()).toBe(1);
      expect((await add(again)).etag).not.toBe(first.etag);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it('returns the value of the first call, whatever the schema adds to a repeat', async () => {
    let next = 0;
    const Tickets = defineState('ticket', {
      schema: z.object({ title: z.string(), number: z.int().default(() => (next += 1)) }),
    });
    await using storage = await openStorage(new MemoryProvider());
    const add = () => storage.store(Tickets).set('a', { title: 'one' }, key);
    const first = await add();
    expect((await add()).value).toEqual(first.value);
  });

  it('changes the indexes once, and is repeated where its unique key was taken since', async () => {
    const Slots = defineState('slot', {
      schema: z.object({ day: z.string(), n: z.int() }),
      indexes: { byDay: { key: ({ day }) => day, unique: true } },
    });
    await using storage = await openStorage(new MemoryProvider());
    const slots = storage.store(Slots);
    const monday = { day: 'monday', n: 1 };
    const writes = [
      () => slots.set('a', monday, key),
      () => slots.update('a', (slot) => ({ ...slot, day: 'tuesday' }), { idempotencyKey: 'l' }),
      () => slots.take('a', { idempotencyKey: 'm' }),
    ];
    for (const write of writes) {
      const first = await write();
      expect((await write())?.etag).toBe(first?.etag);
    }
    expect([await slots.count(), await slots.index('byDay').count()]).toEqual([0, 0]);
    await slots.add('b', monday);
    expect((await slots.set('a', monday, key)).value).toEqual(monday);
    await expect(slots.set('a', monday, { idempotencyKey: 'n' })).rejects.toMatchObject({
      code: 'UNIQUE_TAKEN',
    });
    expect((await slots.index('byDay').get('monday'))?.key).toBe('b');
  });

  it('returns the result of the same call that was committed while it decided, also where it throws', async () => {
    const provider = new MemoryProvider();
    await using storage = await openStorage(provider);
    // another access: the calls of one access would wait for each other at the entry
    const { name, features, administration, clock } = provider;
    const twin = await openStorage({
      ...{ name, features, administration, clock },
      open: async () => undefined,
      close: async () => undefined,
      read: (...given) => provider.read(...given),
      scan: (...given) => provider.scan(...given),
      commit: (...given) => provider.commit(...given),
      sweep: (...given) => provider.sweep(...given),
    });
    const things = storage.store(Things);
    await things.set('a', { n: 1 });
    const add = (idempotencyKey: string) =>
      twin.store(Things).update('a', ({ n }) => ({ n: n + 1 }), { idempotencyKey });
    const slow = (idempotencyKey: string, end: () => Thing) =>
      things.update(
        'a',
        async () => {
          await add(idempotencyKey);
          return end();
        },
        { idempotencyKey },
      );
    const fails = (): never => {
      throw new Error('already done');
    };
    expect((await slow('k', () => ({ n: 100 }))).value).toEqual({ n: 2 });
    expect((await slow('l', fails)).value).toEqual({ n: 3 });
    expect((await things.getOrThrow('a')).value).toEqual({ n: 3 });
  });

  it.each([
    [
      '`set` of a store',
      async ({ things, read, n }: Reading) =>
        (await things.set('a', { n }, { ifMatch: read, idempotencyKey: 'k' })).value.n,
    ],
    [
      '`set` of a batch',
      async ({ things, read, n, storage }: Reading) =>
        await storage.atomic().set(things, 'a', { n }, { ifMatch: read }).commit({ idempotencyKey: 'k' }),
    ],
    [
      '`delete` of a batch with another write',
      async ({ things, read, n, storage }: Reading) =>
        await storage
          .atomic()
          .delete(things, 'a', { ifMatch: read })
          .set(things, 'b', { n })
          .commit({ idempotencyKey: 'k' }),
    ],
  ])('is done once by work that reads again, with the entry as ifMatch: %s', async (_, write) => {
    await using storage = await openStorage(new MemoryProvider());
    const things = storage.store(Things);
    await things.set('a', { n: 1 });
    const first = await things.getOrThrow('a');
    const done = await write({ storage, things, read: first, n: first.value.n + 1 });
    const second = (await things.get('a')) ?? (await things.set('a', { n: 5 }));
    const again = await write({ storage, things, read: second, n: second.value.n + 1 });
    expect(again).toEqual(typeof done === 'number' ? 2 : { ...done, replayed: true });
    expect((await things.getOrThrow('a')).etag).toBe(second.etag);
    // of a text, as a client sends it, the value is compared
    const text = { ifMatch: second.etag, idempotencyKey: 'text' };
    const { etag } = await things.set('a', { n: 7 }, text);
    expect((await things.set('a', { n: 7 }, text)).etag).toBe(etag);
    await expect(things.set('a', { n: 8 }, { ...text, ifMatch: etag })).rejects.toMatchObject({
      code: 'IDEMPOTENCY_CONFLICT',
    });
  });

  it('returns the first result where a repeat has read it, and its own value is refused', async () => {
    const Prices = defineState('price', { schema: z.object({ cents: z.int().min(0) }) });
    await using storage = await openStorage(new MemoryProvider());
    const prices = storage.store(Prices);
    await prices.set('mug', { cents: 450 });
    const lower = async () => {
      const read = await prices.getOrThrow('mug');
      return await prices.save(read.with({ cents: read.value.cents - 400 }), key);
    };
    expect([(await lower()).value, (await lower()).value]).toEqual([{ cents: 50 }, { cents: 50 }]);
    await expect(prices.set('mug', { cents: -1 }, { idempotencyKey: 'l' })).rejects.toMatchObject({
      code: 'INVALID_VALUE',
    });
  });

  it('compares the value as it is at the call', async () => {
    const Checked = defineState('checked', {
      schema: z.object({ n: z.int() }).refine(async () => true),
    });
    await using storage = await openStorage(new MemoryProvider());
    const given = { n: 1 };
    const written = storage.store(Checked).set('a', given, key);
    given.n = 2;
    expect((await written).value).toEqual({ n: 1 });
    expect((await storage.store(Checked).set('a', { n: 1 }, key)).value).toEqual({ n: 1 });
  });

  it.each([
    ['a number', 5, 'INVALID_OPTION'],
    ['a blank text', ' ', 'IDEMPOTENCY_KEY_REQUIRED'],
    ['256 bytes', 'x'.repeat(256), 'LIMIT_EXCEEDED'],
  ])('refuses %s as its key', async (_, idempotencyKey, code) => {
    await using storage = await openStorage(new MemoryProvider());
    const things = storage.store(Things);
    const options = { idempotencyKey: idempotencyKey as string };
    const calls = [
      () => things.set('a', { n: 1 }, options),
      () => things.update('a', () => ({ n: 1 }), options),
      () => things.delete('a', options),
    ];
    for (const call of calls) await expect(call()).rejects.toMatchObject({ code, effect: 'none' });
  });
});

/** As a provider whose rows are not in this memory: the digest of a record is made of the value. */
class Durable extends MemoryProvider {
  override readonly features = { ...new MemoryProvider().features, durable: 'fsync' as const };
}

describe('the content of a record', () => {
  it('is the same from every provider, whatever the value', async () => {
    const digestsOf = async (values: readonly unknown[], provider: MemoryProvider) => {
      await using storage = await openStorage(provider);
      const store = storage.store(defineState('any', { scope: 'shared' }));
      for (const [index, value] of values.entries())
        await store.set('a', value, { idempotencyKey: `${index}`, ttlMs: 1_000 + index });
      const digests = new Map<string, unknown>();
      for await (const { container, key: of, row } of provider.administration.export('shared'))
        if (container.startsWith('mark:') && row.value.kind === 'json')
          digests.set(of, (JSON.parse(row.value.text) as { readonly content: unknown }).content);
      expect(digests.size).toBe(values.length);
      return digests;
    };
    await fc.assert(
      fc.asyncProperty(fc.array(fc.jsonValue(), { maxLength: 5 }), async (values) => {
        const all = [...values, { b: 1, a: { '10': 1, '9': new Date(0) } }, { b: 1, a: ['$date'] }, 'text'];
        expect(await digestsOf(all, new Durable())).toEqual(await digestsOf(all, new MemoryProvider()));
      }),
      { numRuns: 50 },
    );
  });

  it('of a provider that makes it of the value does not depend on the order of properties', async () => {
    await using storage = await openStorage(new Durable());
    const store = storage.store(defineState<object>('any'));
    const first = await store.set('a', { x: 1, y: { p: 1, q: 2 } }, key);
    expect((await store.set('a', { y: { q: 2, p: 1 }, x: 1 }, key)).etag).toBe(first.etag);
    await expect(store.set('a', { x: 1, y: { p: 1, q: 3 } }, key)).rejects.toMatchObject({
      code: 'IDEMPOTENCY_CONFLICT',
    });
  });
});

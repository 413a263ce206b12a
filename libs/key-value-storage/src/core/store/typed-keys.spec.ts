import { describe, expect, it } from '@jest/globals';
import { z } from 'zod';
import { MemoryProvider } from '../../providers/memory/memory-provider.js';
import { openStorage } from './open-storage.js';
import { defineState, definitionOf, State, stateOf } from './state-definition.js';

const SlotKey = z.tuple([z.string(), z.iso.date(), z.number().int()]);
const Slots = defineState('slot', { schema: z.object({ room: z.string().default('1') }), key: SlotKey });

const invalid = (code: string, message: RegExp) =>
  expect.objectContaining({ code, message: expect.stringMatching(message) as unknown });

describe('a state with a schema of keys', () => {
  it('takes what the schema accepts, and gives entries, lists and pages of these keys', async () => {
    await using storage = await openStorage(new MemoryProvider());
    const slots = storage.store(Slots);
    await slots.add(['ada', '2026-10-31', 10], {});
    await slots.add(['ada', '2026-10-31', 9], { room: '2' });
    await slots.add(['bob', '2026-10-31', 9], {});
    const hours: number[] = [];
    for await (const { key } of slots.list({ prefix: ['ada'] })) hours.push(key[2]);
    for await (const key of slots.keys({ start: ['ada', '2026-10-31', 10], end: ['bob', '2027-01-01'] }))
      hours.push(key[2]);
    expect(hours).toEqual([9, 10, 10, 9]);
    const { items } = await slots.page({ prefix: ['bob', '2026-10-31'] });
    expect(items.map(({ key, value }) => [...key, value.room])).toEqual([['bob', '2026-10-31', 9, '1']]);
  });

  it('refuses every other key with INVALID_KEY, in each verb and in batches, before any I/O', async () => {
    const provider = new MemoryProvider();
    await using storage = await openStorage(provider);
    const slots = storage.store(Slots);
    const wrong = ['ada', '31.10.2026', 9] as const;
    const calls = [
      () => slots.get(wrong),
      () => slots.has(wrong),
      () => slots.stat(wrong),
      () => slots.set(wrong, {}),
      () => slots.getOrAdd(wrong, () => ({})),
      () => slots.update(wrong, (slot) => slot, { initial: () => ({}) }),
      () => slots.delete(wrong),
      () => slots.take(wrong),
      () => slots.getMany([wrong]),
      () => slots.setMany([{ key: wrong, value: {} }]),
      async () => storage.atomic().set(slots, wrong, {}),
      async () => storage.atomic().checkAbsent(slots, wrong),
      async () => storage.atomic().check(slots, { key: wrong, etag: '1' }),
    ];
    for (const call of calls)
      await expect(call).rejects.toThrow(
        invalid(
          'INVALID_KEY',
          /The key \["ada", "31.10.2026", 9\] of 'slot' is invalid: 1: Invalid ISO date/,
        ),
      );
    expect(await slots.count()).toBe(0);
  });

  it('refuses a key that the schema would convert: a row has one key', async () => {
    await using storage = await openStorage(new MemoryProvider());
    const Lines = defineState<{ n: number }, string | [string, number]>('line', {
      key: z.union([z.string().trim().toLowerCase(), z.tuple([z.string(), z.coerce.number<number>()])]),
    });
    const lines = storage.store(Lines);
    await lines.set('mug', { n: 1 });
    await lines.set(['mug', 1], { n: 1 });
    await expect(lines.get(' Mug')).rejects.toThrow(
      invalid('INVALID_KEY', /The key " Mug" of 'line' must be "mug", as its schema gives it/),
    );
    const text = ['mug', '1'] as unknown as ['mug', number];
    await expect(lines.get(text)).rejects.toThrow(invalid('INVALID_KEY', /must be \["mug", 1\]/));
  });

  it('names the whole key where the schema names no part', async () => {
    await using storage = await openStorage(new MemoryProvider());
    await expect(storage.store(Slots).get('ada' as never)).rejects.toThrow(
      invalid('INVALID_KEY', /The key "ada" of 'slot' is invalid: the key: .*expected tuple/),
    );
  });

  it('refuses an asynchronous schema at the first call, and what is no schema at once', async () => {
    await using storage = await openStorage(new MemoryProvider());
    const Slow = defineState('slow', { key: z.string().refine(async (key) => Promise.resolve(key !== '')) });
    await expect(storage.store(Slow).get('a')).rejects.toThrow(
      invalid('INVALID_OPTION', /The schema of the keys of 'slow' must not be asynchronous/),
    );
    expect(() => defineState('a', { key: 'text' as never })).toThrow(
      invalid('INVALID_OPTION', /key must be a Standard Schema; got "text"/),
    );
  });

  it('checks the keys of a class, too', async () => {
    @State('bed', { key: z.tuple([z.string(), z.number()]) })
    class Bed {
      free!: boolean;
    }
    await using storage = await openStorage(new MemoryProvider());
    const beds = storage.store<Bed, readonly [string, number]>(Bed);
    expect((await beds.set(['a', 1], { free: true })).key).toEqual(['a', 1]);
    await expect(beds.get(['a', '1' as never])).rejects.toThrow(invalid('INVALID_KEY', /of 'bed'/));
  });
});

describe('a class that extends stateOf', () => {
  class Product extends stateOf(
    'product',
    z.object({ title: z.string().trim(), tags: z.array(z.string()).default([]), cents: z.number() }),
    { ttlMs: 1_000, key: z.string().min(2) },
  ) {
    cheaperBy(cents: number): number {
      return this.cents - cents;
    }
  }

  it('is a state: writes take the input of the schema, and reads return instances of the class', async () => {
    await using storage = await openStorage(new MemoryProvider());
    const products = storage.store(Product);
    await products.set('mug', { title: ' Mug ', cents: 9 });
    const { value, expiresAt } = await products.getOrThrow('mug');
    expect(value).toBeInstanceOf(Product);
    expect({ ...value }).toEqual({ title: 'Mug', tags: [], cents: 9 });
    expect(value.cheaperBy(2)).toBe(7);
    expect(Object.isFrozen(value)).toBe(true);
    expect(expiresAt).toBeInstanceOf(Date);
    await products.set('cup', new Product({ title: 'Cup', tags: ['new'], cents: 5 }));
    const cheaper = await products.update('cup', (cup) => ({ ...cup, cents: cup.cheaperBy(1) }));
    expect({ ...cheaper.value }).toEqual({ title: 'Cup', tags: ['new'], cents: 4 });
    await expect(products.set('pot', { title: 'Pot', cents: '1' as never })).rejects.toThrow(
      invalid('INVALID_VALUE', /product "pot" cannot be stored: cents/),
    );
    await expect(products.get('m')).rejects.toThrow(invalid('INVALID_KEY', /of 'product'/));
  });

  it('has one definition, and a constructor that takes the data or nothing', () => {
    expect(definitionOf(Product)).toBe(definitionOf(Product));
    expect(definitionOf(Product)).toMatchObject({ name: 'product', prototype: Product.prototype });
    expect({ ...new Product({ title: 'Mug', tags: [], cents: 1 }) }).toEqual({
      title: 'Mug',
      tags: [],
      cents: 1,
    });
    // as transformers of request bodies call it
    expect({ ...new (Product as unknown as new () => Product)() }).toEqual({});
  });

  it('is refused where it is the base itself, or a class below the state', () => {
    expect(() => definitionOf(stateOf('a', z.object({})))).toThrow(
      invalid('INVALID_OPTION', /stateOf returns a class to extend/),
    );
    class Special extends Product {}
    expect(() => definitionOf(Special)).toThrow(invalid('INVALID_OPTION', /The class Special has no @State/));
    expect(() => stateOf(' ', z.object({}))).toThrow(invalid('INVALID_OPTION', /stateOf \(" "\)/));
    expect(() => stateOf('a', z.object({}), { ttl: 1 } as object)).toThrow(
      invalid('INVALID_OPTION', /no option 'ttl'/),
    );
  });
});

/**
 * No text that a client can lengthen costs more than in proportion to its length: not in a body, a
 * header, a path, a key or a cursor.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { defineStream, event, EventStore } from '@kvent/event-store';
import { hidePasswords } from '@kvent/key-value-storage/core';
import { looksLikeAddress } from '@kvent/key-value-storage/internal';
import { defineState, MemoryProvider, openStorage, type KeyValueStorage } from '@kvent/key-value-storage';
import { failureOf } from '../../libs/cli/src/output/failure.js';
import { passwordHider } from '../../libs/cli/src/output/secrets.js';
import { parseLocation } from '../../libs/cli/src/input/location.js';
import type { Client } from '../e2e/client.js';
import { openShop, type RunningShop } from '../e2e/shop.js';
import { growthMax, growthOf } from './growth.js';

/**
 * What patterns with repetition stumble over: openers without closers, blanks, quotes, separators,
 * and what they escape. Behind them stands an end that no pattern wants, so that each of their
 * beginnings is tried in vain.
 */
const pumps = ['[', ' [A, ', '[a](', ' ', '"', "'", '\\', '/', ':', '@', ',', ', W/"', '%5B', '${', '.', 'a'];
const end = ']x';

function pumped(pump: string, size: number): string {
  return pump.repeat(Math.ceil(size / pump.length)).slice(0, size - end.length) + end;
}

/** Node takes 16 KB of headers, Express 100 KB of a body. */
const headerBytes = 12_000;
const bodyBytes = 96_000;

describe('A long text from a client', () => {
  let shop: RunningShop;
  let acme: Client;
  beforeAll(async () => {
    shop = await openShop({ openProvider: () => new MemoryProvider() });
    acme = shop.client.as('acme');
  });
  afterAll(async () => await shop[Symbol.asyncDispose]());

  describe.each(pumps)('that repeats %j costs in proportion to its length', (pump) => {
    const text = (size: number): string => pumped(pump, size);

    it('as a property name, as many, and as a value of a body', async () => {
      const bodies: readonly ((size: number) => object)[] = [
        (size) => ({ [text(size)]: 1 }),
        (size) =>
          Object.fromEntries(Array.from({ length: size / 100 }, (_, index) => [`${text(60)}${index}`, 1])),
        (size) => ({ title: text(size), priceCents: 1 }),
        (size) => ({ title: 'x', priceCents: 1, tags: Array.from({ length: size / 60 }, () => text(50)) }),
        (size) => ({ cart: text(size), sku: text(10) }),
        // too deep: the refusal names the path
        (size) => ({ cart: 'c1', more: nested(Array.from({ length: 600 }, () => text(size / 600 - 8))) }),
        (size) => ({ cart: 'c1', [text(size - 8_000)]: nested(Array.from({ length: 600 }, () => 'a')) }),
      ];
      for (const body of bodies) {
        const order = (size: number) => acme.post('/orders', body(size), { 'Idempotency-Key': 'k' });
        const product = (size: number) => acme.put('/products/mug', body(size), { 'If-Match': '*' });
        for (const send of [order, product])
          expect(await growthOf(send, bodyBytes * 0.9)).toBeLessThan(growthMax);
      }
    });

    it('as a header', async () => {
      // leading and trailing blanks are no part of a header's value
      const value = (size: number): string => `x${text(size)}x`;
      for (const headers of [
        (size: number) => ({ 'If-Match': value(size) }),
        (size: number) => ({ 'If-Match': text(size).trim() }),
        (size: number) => ({ 'If-None-Match': value(size) }),
        (size: number) => ({ 'Idempotency-Key': value(size) }),
        (size: number) => ({ 'X-Tenant-Id': value(size) }),
        (size: number) => ({ Accept: value(size) }),
        (size: number) => ({ 'X-Correlation-Id': value(size) }),
      ])
        for (const send of [
          (size: number) => acme.get('/products/mug', headers(size)),
          (size: number) => acme.put('/products/mug', { title: 'x', priceCents: 1 }, headers(size)),
        ])
          expect(await growthOf(send, headerBytes)).toBeLessThan(growthMax);
    });

    it('in a path and in a query', async () => {
      const encoded = (size: number): string =>
        encodeURIComponent(text(size)).slice(0, size).replace(/%.?$/, '');
      for (const send of [
        (size: number) => acme.get(`/products/${encoded(size)}`),
        (size: number) => acme.get(`/orders/${encoded(size)}/events`),
        (size: number) => acme.get(`/${encoded(size)}`),
        (size: number) => acme.get(`/products?cursor=${encoded(size)}`),
        (size: number) => acme.get(`/products?limit=${encoded(size)}`),
        (size: number) => acme.get(`/stock/mug?version=${encoded(size)}`),
        (size: number) => acme.get(`/stock/mug?at=${encoded(size)}`),
      ])
        expect(await growthOf(send, headerBytes)).toBeLessThan(growthMax);
    });
  });
});

/** Objects in each other, one for each name. */
function nested(names: readonly string[]): object {
  return names.reduceRight<object>((inside, name) => ({ [name]: inside }), {});
}

describe('A long text given to a store or a stream', () => {
  const Things = defineState<Record<string, unknown>>('thing');
  const Diary = defineStream('diary', {
    events: { written: event<Record<string, unknown>>() },
    initial: () => ({}),
    evolve: (diary) => diary,
  });
  let storage: KeyValueStorage;
  let events: EventStore;
  beforeAll(async () => {
    storage = await openStorage(new MemoryProvider(), { tenant: 'acme' });
    events = new EventStore(storage);
  });
  afterAll(async () => {
    await events.close();
    await storage[Symbol.asyncDispose]();
  });

  it.each(pumps)('that repeats %j costs in proportion to its length, wherever it stands', async (pump) => {
    const text = (size: number): string => pumped(pump, size);
    const [things, diary] = [storage.store(Things), events.stream(Diary)];
    const doors: readonly ((size: number) => unknown)[] = [
      (size) => things.get(text(size)),
      (size) => things.get([text(size), 1]),
      (size) => things.set('a', { [text(size)]: 1 }),
      (size) => things.set('a', { [text(size)]: () => 1 }),
      (size) => things.set('a', { x: text(size) }),
      (size) => things.set('a', { x: 1 }, { ifMatch: text(size) }),
      (size) => things.set('a', { x: 1 }, { [text(size)]: 1 }),
      (size) => things.page({ cursor: text(size) }),
      (size) => things.page({ prefix: text(size) }),
      (size) => things.forTenant(text(size)).get('a'),
      (size) =>
        storage
          .atomic()
          .set(things, 'a', { x: 1 })
          .commit({ idempotencyKey: text(size) }),
      (size) => diary.load(text(size)),
      (size) => diary.append('d', [{ type: text(size) as 'written', data: {} }], { expectedVersion: 'any' }),
      (size) =>
        diary.append('d', [{ type: 'written', data: { [text(size)]: 1 } }], {
          expectedVersion: 'any',
          metadata: { userId: text(size) },
        }),
    ];
    // what it comes to (an entry, or a coded error) is not the question here
    for (const door of doors)
      expect(
        await growthOf(async (size) => await Promise.allSettled([(async () => await door(size))()]), 400_000),
      ).toBeLessThan(growthMax);
  });
});

describe('A long text that is told, or given on a command line', () => {
  const tries: readonly ((text: string) => unknown)[] = [
    (text) => failureOf(new Error(text)),
    (text) => hidePasswords(text),
    (text) => looksLikeAddress(text),
    (text) => passwordHider([text], {})(text),
    (text) => parseLocation(text),
  ];

  it.each([
    ...pumps,
    '\t',
    '\r',
    '\n',
    'password',
    'password=',
    'password="',
    "password '",
    'x:',
    '://',
    'a@',
  ])('that repeats %j costs in proportion to its length', async (pump) => {
    for (const told of tries)
      expect(
        await growthOf(
          async (size) => await Promise.allSettled([(async () => told(pumped(pump, size)))()]),
          40_000,
        ),
      ).toBeLessThan(growthMax);
  });
});

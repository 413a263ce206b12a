/**
 * The cost of a text from a client is at most proportional to its length: in a body, a header, a
 * path, a key or a cursor.
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
 * Texts that are slow for regular expressions with backtracking: openers without closers, blanks,
 * quotes, separators, escapes. The end matches no pattern, so that every start position is tried.
 */
const pumps = ['[', ' [A, ', '[a](', ' ', '"', "'", '\\', '/', ':', '@', ',', ', W/"', '%5B', '${', '.', 'a'];
const end = ']x';

function pumped(pump: string, size: number): string {
  return pump.repeat(Math.ceil(size / pump.length)).slice(0, size - end.length) + end;
}

/** Node accepts 16 KB of headers, Express a body of 100 KB. */
const headerBytes = 12_000;
const bodyBytes = 96_000;

describe.each(['express', 'fastify'] as const)('A long text from a client, on %s', (http) => {
  let shop: RunningShop;
  let acme: Client;
  beforeAll(async () => {
    shop = await openShop({ openProvider: () => new MemoryProvider() }, { http });
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
        // Too deep: the error contains the path.
        (size) => ({ cart: 'c1', more: nested(Array.from({ length: 600 }, () => text(size / 600 - 8))) }),
        (size) => ({ cart: 'c1', [text(size - 8_000)]: nested(Array.from({ length: 600 }, () => 'a')) }),
      ];
      for (const body of bodies) {
        const order = (size: number) => acme.post('/orders', body(size), { 'Idempotency-Key': 'k' });
        const product = (size: number) => acme.put('/products/mug', body(size), { 'If-Match': '*' });
        // one route for each framework is enough: behind it, the code is the same
        for (const send of http === 'express' ? [order, product] : [order])
          expect(await growthOf(send, bodyBytes * 0.9)).toBeLessThan(growthMax);
      }
    });

    it('as a header', async () => {
      // Leading and trailing blanks do not belong to the value of a header.
      const value = (size: number): string => `x${text(size)}x`;
      for (const headers of [
        (size: number) => ({ 'If-Match': value(size) }),
        (size: number) => ({ 'If-Match': text(size).trim() }),
        (size: number) => ({ 'If-None-Match': value(size) }),
        (size: number) => ({ 'Idempotency-Key': value(size) }),
        (size: number) => ({ 'X-Tenant-Id': value(size) }),
        (size: number) => ({ Accept: value(size) }),
        (size: number) => ({ 'X-Correlation-Id': value(size) }),
      ]) {
        const put = (size: number) => acme.put('/products/mug', { title: 'x', priceCents: 1 }, headers(size));
        const get = (size: number) => acme.get('/products/mug', headers(size));
        for (const send of http === 'express' ? [get, put] : [put])
          expect(await growthOf(send, headerBytes)).toBeLessThan(growthMax);
      }
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

/** Nested objects, one for each name. */
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

  it.each(pumps)('that repeats %j costs in proportion to its length, as any argument', async (pump) => {
    const text = (size: number): string => pumped(pump, size);
    const [things, diary] = [storage.store(Things), events.stream(Diary)];
    const calls: readonly ((size: number) => unknown)[] = [
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
    // The result does not matter here, neither an entry nor a coded error.
    for (const call of calls)
      expect(
        await growthOf(async (size) => await Promise.allSettled([(async () => await call(size))()]), 400_000),
      ).toBeLessThan(growthMax);
  });
});

describe('A long text in an error or on a command line', () => {
  const functions: readonly ((text: string) => unknown)[] = [
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
    for (const call of functions)
      expect(
        await growthOf(
          async (size) => await Promise.allSettled([(async () => call(pumped(pump, size)))()]),
          40_000,
        ),
      ).toBeLessThan(growthMax);
  });
});

import { describe, expect, it } from '@jest/globals';
import { ManualClock } from '@kvent/key-value-storage/testing';
import type { Answer, Client } from './client.js';
import { eventsOf } from './events-of.js';
import { onEachStorage, openShop } from './shop.js';
import { storages } from './storages.js';

const put = (client: Client, sku: string, quantity: unknown, cart = 'c1'): Promise<Answer> =>
  client.put(`/carts/${cart}/items/${sku}`, { quantity });
const expiryOf = ({ body }: Answer): number => Date.parse((body as { expiresAt: string }).expiresAt);
const minutes = (count: number): number => count * 60_000;

onEachStorage('Carts', (shop) => {
  async function tenantWithProducts(): Promise<Client> {
    const client = await shop.createTenant();
    for (const sku of ['mug', 'pen']) await client.post('/products', { sku, title: sku, priceCents: 1 });
    return client;
  }

  it('are created with their first item, and show their expiry', async () => {
    const client = await tenantWithProducts();
    const cart = await put(client, 'mug', 2);
    expect(cart).toMatchObject({ status: 200, body: { id: 'c1', items: [{ sku: 'mug', quantity: 2 }] } });
    expect(expiryOf(cart)).toBeGreaterThan(Date.now() + minutes(29));
    expect(await client.get('/carts/c1')).toMatchObject({ status: 200, body: cart.body });
  });

  it('hold each product once, with the last quantity', async () => {
    const client = await tenantWithProducts();
    await put(client, 'mug', 2);
    await put(client, 'pen', 1);
    await put(client, 'mug', 5);
    const items = [
      { sku: 'mug', quantity: 5 },
      { sku: 'pen', quantity: 1 },
    ];
    expect((await client.get('/carts/c1')).body).toMatchObject({ items });
    expect((await put(client, 'mug', 0)).body).toMatchObject({ items: [items[1]] });
  });

  it('lose nothing when many items are put into one cart concurrently', async () => {
    const client = await shop.createTenant();
    const skus = Array.from({ length: 20 }, (_, n) => `sku-${n}`);
    await Promise.all(skus.map((sku) => client.post('/products', { sku, title: sku, priceCents: 1 })));
    const answers = await Promise.all(skus.map((sku) => put(client, sku, 1)));
    expect(answers.map(({ status }) => status)).toEqual(skus.map(() => 200));
    const { items } = (await client.get('/carts/c1')).body as { items: { sku: string }[] };
    expect(items.map(({ sku }) => sku).sort()).toEqual([...skus].sort());
  });

  it('accept only existing products', async () => {
    const client = await tenantWithProducts();
    expect(await put(client, 'unicorn', 1)).toMatchObject({
      status: 404,
      body: { code: 'KEY_NOT_FOUND', key: 'unicorn' },
    });
    expect(await client.get('/carts/c1')).toMatchObject({ status: 404 });
  });

  it('allow to remove products that are no longer sold', async () => {
    const client = await tenantWithProducts();
    await put(client, 'mug', 2);
    await put(client, 'pen', 1);
    await client.delete('/products/mug', { 'If-Match': '*' });
    expect(await put(client, 'mug', 3)).toMatchObject({
      status: 404,
      body: { code: 'KEY_NOT_FOUND', key: 'mug' },
    });
    expect(await put(client, 'mug', 0)).toMatchObject({
      status: 200,
      body: { items: [{ sku: 'pen', quantity: 1 }] },
    });
  });

  it.each([[-1], [1.5], ['2'], [null], [1_001]])('refuse the quantity %p', async (quantity) => {
    const client = await tenantWithProducts();
    expect(await put(client, 'mug', quantity)).toMatchObject({
      status: 422,
      body: { code: 'INVALID_VALUE', issues: [{ path: ['quantity'] }] },
    });
  });

  it('that do not exist are 404 with the code of the shop, not of the store', async () => {
    expect(await (await tenantWithProducts()).get('/carts/c9')).toMatchObject({
      status: 404,
      body: { code: 'CART_NOT_FOUND', cart: 'c9', retryable: false },
    });
  });

  it('can be deleted, also twice', async () => {
    const client = await tenantWithProducts();
    await put(client, 'mug', 1);
    expect(await client.delete('/carts/c1')).toMatchObject({ status: 204, text: '' });
    expect(await client.get('/carts/c1')).toMatchObject({ status: 404 });
    expect(await client.delete('/carts/c1')).toMatchObject({ status: 204 });
  });

  it('may have names that are no file names', async () => {
    const client = await tenantWithProducts();
    for (const id of ['..%2F..%2Fetc', 'CON', 'a%00b', '%F0%9F%9B%92']) {
      expect(await put(client, 'mug', 1, id)).toMatchObject({
        status: 200,
        body: { id: decodeURIComponent(id) },
      });
      expect(await client.get(`/carts/${id}`)).toMatchObject({ status: 200 });
    }
  });

  it('have names up to the limit of keys', async () => {
    expect(await put(await tenantWithProducts(), 'mug', 1, 'c'.repeat(2_000))).toMatchObject({
      status: 413,
      body: { code: 'LIMIT_EXCEEDED', allowed: 1024 },
    });
  });
});

describe.each(storages)('Carts over time, on $name', (storage) => {
  it('expire half an hour after the last read', async () => {
    await using temporary = await storage.create();
    const clock = new ManualClock();
    await using shop = await openShop(temporary, { clock, http: storage.http });
    const client = shop.client.as('acme');
    const first = expiryOf(await put(client, 'mug', 1));

    await clock.advance(minutes(20));
    expect(expiryOf(await client.get('/carts/c1'))).toBe(first + minutes(20));
    await clock.advance(minutes(20));
    expect(expiryOf(await put(client, 'pen', 1))).toBe(first + minutes(40));

    await clock.advance(minutes(30) - 1);
    expect(await client.get('/carts/c1')).toMatchObject({ status: 200 });
    await clock.advance(minutes(30));
    expect(await client.get('/carts/c1')).toMatchObject({ status: 404, body: { code: 'CART_NOT_FOUND' } });
  });

  it('expire also while they are followed, and are no longer shown then', async () => {
    await using temporary = await storage.create();
    const clock = new ManualClock();
    await using shop = await openShop(temporary, { clock, http: storage.http });
    const client = shop.client.as('acme');
    await put(client, 'mug', 1);
    const events = eventsOf(await client.open('/carts/c1/live', {}));
    expect((await events.next()).value?.data).toMatchObject({ totalCents: 850 });
    await clock.advance(minutes(29));
    await client.post('/products/mug/price-changes', { by: 1 });
    expect((await events.next()).value?.data).toMatchObject({ totalCents: 851 });
    await clock.advance(minutes(1));
    expect(await events.next()).toMatchObject({ done: true });
  });
});

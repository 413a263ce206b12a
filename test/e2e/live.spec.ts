/**
 * What follows the writes: the live price and stock of a product, the prices of a cart, the whole
 * catalogue and the sales of a day, as server-sent events, and the report of sales.
 */
import { describe, expect, it } from '@jest/globals';
import { Product } from '../../apps/storefront/src/catalogue/product.js';
import { DaySales, noSales } from '../../apps/storefront/src/reports/sales.js';
import { readCaughtUp, resolve, type Answer, type Client } from './client.js';
import { eventsOf, type ShownEvent } from './events-of.js';
import { onEachStorage } from './shop.js';

onEachStorage('Live products and sales', (shop) => {
  async function sell(): Promise<Client> {
    const client = await shop.createTenant();
    await client.post('/products', { sku: 'mug', title: 'Mug', priceCents: 850 });
    return client;
  }
  async function follow(client: Client, headers: Record<string, string> = {}, path = '/products/mug/live') {
    const stop = new AbortController();
    const response = await client.open(path, { signal: stop.signal, headers });
    expect(response.headers.get('content-type')).toBe('text/event-stream');
    const events = eventsOf(response);
    const next = async (): Promise<ShownEvent | undefined> => {
      const { value } = await events.next();
      return value;
    };
    return { next, stop };
  }

  it('are shown with each change of the price and of the stock, until the client leaves', async () => {
    const client = await sell();
    const { next, stop } = await follow(client);
    expect((await next())?.data).toEqual({ priceCents: 850, available: 0 });
    await client.post('/products/mug/price-changes', { by: 50 });
    expect((await next())?.data).toEqual({ priceCents: 900, available: 0 });
    await client.post('/stock/mug/receipts', { quantity: 7 });
    expect((await next())?.data).toEqual({ priceCents: 900, available: 7 });
    stop.abort();
  });

  it('begin with the first change if the client has the current state', async () => {
    const client = await sell();
    const first = await follow(client);
    const id = (await first.next())?.id ?? '';
    first.stop.abort();
    const second = await follow(client, { 'Last-Event-ID': id });
    await client.post('/products/mug/price-changes', { by: 1 });
    expect((await second.next())?.data).toEqual({ priceCents: 851, available: 0 });
    second.stop.abort();
  });

  it('are of one tenant, and 404 for a product that does not exist', async () => {
    const client = await sell();
    const { next, stop } = await follow(client);
    await next();
    const other = await sell();
    await other.post('/products/mug/price-changes', { by: 1 });
    await client.post('/products/mug/price-changes', { by: 2 });
    expect((await next())?.data).toEqual({ priceCents: 852, available: 0 });
    stop.abort();
    expect(await client.get('/products/cup/live')).toMatchObject({
      status: 404,
      body: { code: 'KEY_NOT_FOUND' },
    });
  });

  it('begin with the current state if the last id is of another product, day or tenant', async () => {
    const tenants = ['one-commit-1', 'one-commit-2'];
    for (const name of tenants) await shop.client.put(`/tenants/${name}`, { name });
    const [days, skus] = [['2030-01-01', '2030-01-02'] as const, ['cup', 'jug'] as const];
    for (const tenant of tenants) {
      const batch = shop.storage.atomic();
      const sales = shop.storage.store(DaySales).forTenant(tenant);
      for (const day of days) batch.set(sales, day, noSales(day));
      const products = shop.storage.store(Product).forTenant(tenant);
      for (const sku of skus) batch.set(products, sku, { sku, title: sku, priceCents: 1, tags: [] });
      await batch.commit();
    }
    const streams = tenants.flatMap((tenant) =>
      [
        ...days.map((day) => `/reports/sales/live?day=${day}`),
        ...skus.map((sku) => `/products/${sku}/live`),
      ].map((path) => ({ client: shop.client.as(tenant), path })),
    );
    // days without numbers
    for (const day of ['2031-01-01', '2031-01-02'])
      streams.push({ client: shop.client.as('acme'), path: `/reports/sales/live?day=${day}` });
    const firstOf = async ({ client, path }: (typeof streams)[number], headers: Record<string, string>) => {
      const { next, stop } = await follow(client, headers, path);
      const first = await next();
      stop.abort();
      return first;
    };
    const ids: string[] = [];
    for (const stream of streams) ids.push((await firstOf(stream, {}))?.id ?? '');
    expect(ids).toEqual([...new Set(ids)]);
    for (const [index, stream] of streams.entries())
      expect(await firstOf(stream, { 'Last-Event-ID': ids.at(index - 1) ?? '' })).toBeDefined();
  });

  it('end with the shop, which does not wait for them', async () => {
    const client = await sell();
    await client.put('/carts/c1/items/mug', { quantity: 1 });
    const others = ['/reports/sales/live', '/carts/c1/live', '/catalogue/live'];
    const live = [await follow(client)];
    for (const path of others) live.push(await follow(client, {}, path));
    for (const { next } of live) await next();
    const restarted = shop.restart();
    for (const { next } of live) {
      let last = await next();
      // of the catalogue, `listed` may still be on its way
      while (last?.type === 'listed') last = await next();
      expect(last).toBeUndefined();
    }
    await restarted;
  });

  describe('A cart', () => {
    async function fill(client: Client, sku = 'mug', quantity = 2): Promise<void> {
      expect((await client.put(`/carts/c1/items/${sku}`, { quantity })).status).toBe(200);
    }
    const priced = (quantity: number, priceCents: number) => ({
      items: [{ sku: 'mug', quantity, priceCents }],
      totalCents: quantity * priceCents,
    });

    it('is shown with each change of its items and of their prices, until it is ordered', async () => {
      const client = await sell();
      await client.post('/products', { sku: 'pen', title: 'Pen', priceCents: 110 });
      await fill(client);
      const { next } = await follow(client, {}, '/carts/c1/live');
      const shown = async (): Promise<unknown> => (await next())?.data;
      expect(await shown()).toEqual(priced(2, 850));
      await client.post('/products/mug/price-changes', { by: 50 });
      expect(await shown()).toEqual(priced(2, 900));
      // of no product in the cart
      await client.post('/products/pen/price-changes', { by: 50 });
      await fill(client, 'mug', 3);
      expect(await shown()).toEqual(priced(3, 900));
      await fill(client, 'pen', 1);
      expect(await shown()).toMatchObject({ totalCents: 2_860 });
      await client.post('/products/pen/price-changes', { by: 1 });
      expect(await shown()).toMatchObject({ totalCents: 2_861 });
      await client.post('/products/deletions', { skus: ['pen'] });
      expect(await shown()).toEqual({
        items: [
          { sku: 'mug', quantity: 3, priceCents: 900 },
          { sku: 'pen', quantity: 1 },
        ],
        totalCents: 2_700,
      });
      await fill(client, 'pen', 0);
      expect(await shown()).toEqual(priced(3, 900));
      await client.post('/stock/mug/receipts', { quantity: 3 });
      const ordered = await client.post('/orders', { cart: 'c1' }, { 'Idempotency-Key': 'k1' });
      expect(ordered.status).toBe(201);
      expect(await shown()).toBeUndefined();
    });

    it('is of one tenant, may be empty, and is 404 where it does not exist', async () => {
      const [client, other] = [await sell(), await sell()];
      await fill(client);
      await fill(client, 'mug', 0);
      const { next, stop } = await follow(client, {}, '/carts/c1/live');
      expect((await next())?.data).toEqual({ items: [], totalCents: 0 });
      await other.post('/products/mug/price-changes', { by: 1 });
      await fill(other);
      await fill(client, 'mug', 1);
      expect((await next())?.data).toEqual(priced(1, 850));
      stop.abort();
      expect(await other.get('/carts/c2/live')).toMatchObject({
        status: 404,
        body: { code: 'CART_NOT_FOUND' },
      });
    });
  });

  describe('The catalogue', () => {
    const put = (sku: string, priceCents: number) => ({ type: 'put', data: { sku, title: sku, priceCents } });
    const add = (client: Client, sku: string, priceCents = 1) =>
      client.post('/products', { sku, title: sku, priceCents });

    it('is listed, and then shown with each change, the tenant’s own alone', async () => {
      const [client, other] = [await shop.createTenant(), await shop.createTenant()];
      for (const sku of ['cup', 'mug']) await add(client, sku);
      const { next, stop } = await follow(client, {}, '/catalogue/live');
      expect(await next()).toMatchObject(put('cup', 1));
      expect(await next()).toMatchObject(put('mug', 1));
      expect(await next()).toMatchObject({ type: 'listed', data: {} });
      await add(other, 'pen');
      await client.post('/products/mug/price-changes', { by: 5 });
      expect(await next()).toMatchObject(put('mug', 6));
      await add(client, 'jug');
      expect(await next()).toMatchObject(put('jug', 1));
      await client.post('/products/deletions', { skus: ['cup'] });
      expect(await next()).toMatchObject({ type: 'delete', data: { sku: 'cup' } });
      stop.abort();
      const again = await follow(client, { 'Last-Event-ID': '5' }, '/catalogue/live?prefix=m');
      expect(await again.next()).toMatchObject(put('mug', 6));
      expect(await again.next()).toMatchObject({ type: 'listed' });
      again.stop.abort();
    });

    it('of more than 10,000 products is refused, and a part of it is not', async () => {
      await shop.client.put('/tenants/full', { name: 'full' });
      const client = shop.client.as('full');
      const items = Array.from({ length: 10_001 }, (_, index) => {
        const sku = `${index % 2 === 0 ? 'even' : 'odd'}-${index}`;
        return { key: sku, value: { sku, title: sku, priceCents: index, tags: [] } };
      });
      await shop.storage.store(Product).forTenant('full').loadFrom(items);
      const typesOf = async (path: string): Promise<Record<string, number>> => {
        const { next, stop } = await follow(client, {}, path);
        const types: Record<string, number> = {};
        for (let event = await next(); event !== undefined; event = await next()) {
          types[`${event.type}`] = (types[`${event.type}`] ?? 0) + 1;
          if (event.type === 'error') expect(event.data).toMatchObject({ code: 'LIMIT_EXCEEDED' });
          if (event.type === 'listed') break;
        }
        stop.abort();
        return types;
      };
      expect(await typesOf('/catalogue/live')).toMatchObject({ error: 1 });
      expect(await typesOf('/catalogue/live?prefix=odd-')).toEqual({ put: 5_000, listed: 1 });
    });

    it.each(['prefix=', 'sku=mug'])('is not shown by %s', async (query) => {
      expect(await shop.client.as('acme').get(`/catalogue/live?${query}`)).toMatchObject({
        status: 400,
        body: { code: 'INVALID_OPTION' },
      });
    });
  });

  describe('The sales', () => {
    /** A tenant with two products in stock. */
    async function openShop(): Promise<Client> {
      const client = await sell();
      await client.post('/products', { sku: 'pen', title: 'Pen', priceCents: 110 });
      for (const sku of ['mug', 'pen']) await client.post(`/stock/${sku}/receipts`, { quantity: 9 });
      return client;
    }
    /** Orders mugs, and a pen. */
    async function order(client: Client, id: string, mugs: number): Promise<Answer> {
      await client.put(`/carts/${id}/items/mug`, { quantity: mugs });
      await client.put(`/carts/${id}/items/pen`, { quantity: 1 });
      const answer = await client.post('/orders', { cart: id }, { 'Idempotency-Key': id });
      expect(answer.status).toBe(201);
      return answer;
    }
    const positionOf = ({ headers }: Answer) => ({ 'Kvent-Position': headers.get('kvent-position') ?? '' });
    const dayOf = ({ body }: Answer): string => (body as { placedAt: string }).placedAt.slice(0, 10);

    it('of a day and product have what the client has just ordered, and only that of its tenant', async () => {
      const [client, other] = [await openShop(), await openShop()];
      await order(other, 'c0', 1);
      const ordered = await order(client, 'c1', 2);
      const day = dayOf(ordered);
      expect(await readCaughtUp(client, '/reports/sales', positionOf(ordered))).toMatchObject({
        status: 200,
        body: {
          items: [
            { day, sku: 'mug', orders: 1, quantity: 2, cents: 1_700 },
            { day, sku: 'pen', orders: 1, quantity: 1, cents: 110 },
          ],
        },
      });
      const repeated = await client.post('/orders', { cart: 'c1' }, { 'Idempotency-Key': 'c1' });
      expect(await readCaughtUp(client, '/reports/sales', positionOf(repeated))).toMatchObject({
        status: 200,
      });
      const { id } = ordered.body as { id: string };
      const declined = await client.post(`/orders/${id}/payment`, { card: 'declined' });
      expect(declined.status).toBe(402);
      const positions = [ordered, declined].map((answer) => positionOf(answer)['Kvent-Position']);
      expect(new Set(positions).size).toBe(2);
    });

    it('are those of a range of days, in pages', async () => {
      const client = await openShop();
      const ordered = await order(client, 'c1', 1);
      const day = dayOf(ordered);
      const at = (days: number): string =>
        new Date(Date.parse(day) + days * 86_400_000).toISOString().slice(0, 10);
      const skus = async (query: string): Promise<readonly string[]> => {
        const { body } = await readCaughtUp(client, `/reports/sales?${query}`, positionOf(ordered));
        return (body as { items: { sku: string }[] }).items.map(({ sku }) => sku);
      };
      expect(await skus(`from=${day}&to=${day}`)).toEqual(['mug', 'pen']);
      expect(await skus(`from=${at(-1)}&to=${at(1)}&order=desc`)).toEqual(['pen', 'mug']);
      expect([...(await skus(`from=${at(1)}`)), ...(await skus(`to=${at(-1)}`))]).toEqual([]);
      const first = await client.get(`/reports/sales?from=${day}&limit=1`);
      const [, next = ''] = /<([^>]+)>; rel="next"/.exec(first.headers.get('link') ?? '') ?? [];
      expect((await client.get(resolve(next, '/reports/sales'))).body).toMatchObject({
        items: [{ sku: 'pen' }],
      });
    });

    it.each([
      ['from=2026-02-30', 'INVALID_OPTION'],
      ['to=yesterday', 'INVALID_OPTION'],
      ['from=2026-02-02&to=2026-02-01', 'INVALID_OPTION'],
      ['day=2026-02-01', 'INVALID_OPTION'],
      ['limit=0', 'OUT_OF_RANGE'],
    ])('are refused for %s', async (query, code) => {
      const client = shop.client.as('acme');
      expect(await client.get(`/reports/sales?${query}`)).toMatchObject({ status: 400, body: { code } });
    });

    it('are refused for a position that no response had', async () => {
      const client = shop.client.as('acme');
      expect(await client.get('/reports/sales', { 'Kvent-Position': '1' })).toMatchObject({
        status: 400,
        body: { code: 'INVALID_POSITION' },
      });
    });

    it('of a day are shown with each change', async () => {
      const client = await openShop();
      const path = `/reports/sales/live?day=${dayOf(await order(client, 'c1', 1))}`;
      const { next, stop } = await follow(client, {}, path);
      const shown = async (): Promise<unknown> => (await next())?.data;
      // it may begin before the first order was counted
      let last = await shown();
      if ((last as { orders: number }).orders === 0) last = await shown();
      expect(last).toMatchObject({ orders: 1, quantity: 2, cents: 960 });
      await order(client, 'c2', 3);
      expect(await shown()).toMatchObject({ orders: 2, quantity: 6, cents: 3_620 });
      stop.abort();
    });

    it('and how far they are behind are in the health of the projections', async () => {
      const ordered = await order(await openShop(), 'c1', 1);
      await shop.client.as('acme').get('/reports/sales', positionOf(ordered));
      expect((await shop.client.get('/reports/health')).body).toMatchObject({
        projections: [
          { projection: 'sales-by-day', version: 1, status: 'up', parked: 0, heldBackMs: expect.any(Number) },
        ],
        // it sends no mails
        reactions: [],
      });
    });
  });
});

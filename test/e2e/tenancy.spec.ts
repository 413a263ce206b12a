import { expect, it } from '@jest/globals';
import type { Answer, Client } from './client.js';
import { onEachStorage } from './shop.js';

const tenantRoutes: readonly (readonly [string, string])[] = [
  ['GET', '/products'],
  ['POST', '/products'],
  ['GET', '/products/export'],
  ['POST', '/products/import'],
  ['POST', '/products/additions'],
  ['POST', '/products/deletions'],
  ['GET', '/products/mug/live'],
  ['GET', '/catalogue/live'],
  ['GET', '/products/mug'],
  ['PUT', '/products/mug'],
  ['DELETE', '/products/mug'],
  ['POST', '/products/mug/price-changes'],
  ['GET', '/carts/c1'],
  ['PUT', '/carts/c1/items/mug'],
  ['DELETE', '/carts/c1'],
  ['GET', '/carts/c1/live'],
  ['GET', '/stock/mug'],
  ['POST', '/stock/mug/receipts'],
  ['GET', '/stock/mug/movements'],
  ['GET', '/stock/mug/snapshots'],
  ['POST', '/stock/mug/snapshots'],
  ['DELETE', '/stock/mug/snapshots/1'],
  ['GET', '/orders'],
  ['POST', '/orders'],
  ['GET', '/orders/o1'],
  ['GET', '/orders/o1/events'],
  ['POST', '/orders/o1/payment'],
  ['POST', '/orders/o1/cancellation'],
  ['POST', '/orders/o1/shipment'],
  ['GET', '/reports/sales'],
  ['GET', '/reports/sales/live'],
  ['GET', '/reports/revenue'],
  ['GET', '/reports/views'],
];

onEachStorage('Tenants', (shop) => {
  it.each(tenantRoutes)('are required for %s %s', async (method, path) => {
    expect(await shop.client.send(method, path)).toMatchObject({
      status: 400,
      body: { code: 'TENANT_MISSING' },
    });
  });

  it.each(tenantRoutes)('must exist for %s %s', async (method, path) => {
    expect(await shop.client.as('unknown').send(method, path)).toMatchObject({
      status: 404,
      body: { code: 'TENANT_UNKNOWN', tenant: 'unknown' },
    });
  });

  it.each(['', 't'.repeat(200)])('must be well-formed, not %p', async (tenant) => {
    expect(await shop.client.as(tenant).get('/products')).toMatchObject({
      status: 400,
      body: { code: 'TENANT_MISSING' },
    });
  });

  it('are refused if the header is sent twice', async () => {
    const answer = await fetch(`http://localhost:${shop.port}/products`, {
      headers: [
        ['X-Tenant-Id', 'acme'],
        ['X-Tenant-Id', 'globex'],
      ],
    });
    expect(answer.status).toBeGreaterThanOrEqual(400);
    await answer.text();
  });

  it('are created and renamed without authentication, as this is a demo', async () => {
    expect(await shop.client.put('/tenants/hooli', { name: 'Hooli' })).toMatchObject({
      status: 201,
      body: { id: 'hooli', name: 'Hooli' },
    });
    expect(await shop.client.put('/tenants/hooli', { name: 'Hooli XYZ' })).toMatchObject({
      status: 200,
      body: { id: 'hooli', name: 'Hooli XYZ' },
    });
    expect((await shop.client.as('hooli').get('/products')).body).toEqual({ items: [] });
    const { items } = (await shop.client.get('/tenants')).body as { items: object[] };
    expect(items).toEqual(
      expect.arrayContaining([
        { id: 'acme', name: 'Acme' },
        { id: 'globex', name: 'Globex' },
        { id: 'hooli', name: 'Hooli XYZ' },
      ]),
    );
  });

  it('are listed page by page', async () => {
    const { headers, body } = await shop.client.get('/tenants?limit=1');
    expect(body).toMatchObject({ items: [{ id: 'acme' }], next: expect.any(String) });
    expect(headers.get('link')).toMatch(/^<\?limit=1&cursor=[^>]+>; rel="next"$/);
  });

  it.each(['Acme', '-acme', 'a_b', 'a%2Fb', 'a'.repeat(63)])('cannot have the id %p', async (id) => {
    expect(await shop.client.put(`/tenants/${id}`, { name: 'x' })).toMatchObject({
      status: 400,
      body: { code: 'INVALID_KEY' },
    });
  });

  it.each([{}, { name: '' }, { name: 7 }])('cannot be %p', async (body) => {
    expect(await shop.client.put('/tenants/pied-piper', body)).toMatchObject({
      status: 422,
      body: { code: 'INVALID_VALUE' },
    });
  });

  it('see nothing of each other, by key, by list, by etag, in carts, in stock or in orders', async () => {
    const [ours, theirs] = [await shop.createTenant(), await shop.createTenant()];
    for (const [client, title] of [
      [ours, 'Ours'],
      [theirs, 'Theirs'],
    ] as const) {
      const { headers } = await client.post('/products', { sku: 'mug', title, priceCents: 1 });
      expect(headers.get('etag')).not.toBeNull();
    }
    await ours.post('/products', { sku: 'secret', title: 'Secret', priceCents: 1 });
    await ours.post('/stock/mug/receipts', { quantity: 3 });
    await ours.put('/carts/c0/items/mug', { quantity: 1 });
    const order = (client: Client): Promise<Answer> =>
      client.post('/orders', { cart: 'c0' }, { 'Idempotency-Key': 'k1' });
    const { id } = (await order(ours)).body as { id: string };
    await ours.put('/carts/c1/items/mug', { quantity: 1 });

    expect(await titlesOf(theirs)).toEqual(['Theirs']);
    expect(await titlesOf(ours)).toEqual(['Ours', 'Secret']);
    const foreign = [
      '/products/secret',
      '/stock/mug',
      '/stock/mug/movements',
      `/orders/${id}`,
      `/orders/${id}/events`,
      '/carts/c1',
    ];
    expect(await Promise.all(foreign.map(async (path) => (await theirs.get(path)).status))).toEqual(
      foreign.map(() => 404),
    );
    expect((await theirs.get('/orders')).body).toEqual({ items: [] });
    // The same idempotency key of another tenant is another key.
    expect(await order(theirs)).toMatchObject({ status: 404, body: { code: 'CART_NOT_FOUND' } });
    for (const what of ['payment', 'cancellation', 'shipment'])
      expect(await theirs.post(`/orders/${id}/${what}`, { card: 'ok' })).toMatchObject({
        status: 404,
        body: { code: 'STREAM_NOT_FOUND' },
      });

    const etag = (await ours.get('/products/mug')).headers.get('etag') as string;
    const body = { title: 'Stolen', priceCents: 0 };
    expect(await theirs.put('/products/mug', body, { 'If-Match': etag })).toMatchObject({ status: 412 });
    expect(await theirs.delete('/carts/c1')).toMatchObject({ status: 204 });
    expect(await ours.get('/carts/c1')).toMatchObject({ status: 200 });
    expect(await titlesOf(ours)).toEqual(['Ours', 'Secret']);
  });

  it('do not mix concurrent requests', async () => {
    const clients = await Promise.all(Array.from({ length: 5 }, () => shop.createTenant()));
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, n): Promise<Answer> => {
        const owner = n % clients.length;
        return (clients[owner] as Client).post('/products', {
          sku: `p-${n}`,
          title: `of ${owner}`,
          priceCents: n,
        });
      }),
    );
    expect(answers.every(({ status }) => status === 201)).toBe(true);
    for (const [owner, client] of clients.entries())
      expect(new Set(await titlesOf(client))).toEqual(new Set([`of ${owner}`]));
  });
});

async function titlesOf(client: Client): Promise<string[]> {
  const { items } = (await client.get('/products')).body as { items: { title: string }[] };
  return items.map(({ title }) => title);
}

/** Numbers that requests count themselves: the revenue and the views of a day. */
import { expect, it } from '@jest/globals';
import { allTime, Revenue } from '../../apps/storefront/src/orders/revenue.js';
import type { Client } from './client.js';
import { onEachStorage } from './shop.js';

onEachStorage('The totals of a shop', (shop) => {
  async function sell(): Promise<Client> {
    const client = await shop.createTenant();
    await client.post('/products', { sku: 'mug', title: 'Mug', priceCents: 850 });
    await client.post('/stock/mug/receipts', { quantity: 100 });
    return client;
  }
  async function order(client: Client, cart: string): Promise<string> {
    await client.put(`/carts/${cart}/items/mug`, { quantity: 2 });
    const { body } = await client.post('/orders', { cart }, { 'Idempotency-Key': cart });
    return (body as { readonly id: string }).id;
  }
  const revenue = async (client: Client): Promise<unknown> => (await client.get('/reports/revenue')).body;

  it('have as revenue what was paid and not cancelled, once for each order', async () => {
    const [client, other] = [await sell(), await sell()];
    expect(await revenue(client)).toEqual({ cents: '0' });
    const ids = await Promise.all(Array.from({ length: 8 }, (_, n) => order(client, `c${n}`)));
    expect(await revenue(client)).toEqual({ cents: '0' });
    const [declined, shipped, cancelled] = ids as [string, string, string];
    const act = async (id: string, what: string): Promise<number> =>
      (await client.post(`/orders/${id}/${what}`, { card: id === declined ? 'declined' : 'ok' })).status;
    await Promise.all(ids.map((id) => act(id, 'payment')));
    expect(await revenue(client)).toEqual({ cents: String(7 * 1_700) });
    await act(shipped, 'shipment');
    // a repeat changes nothing
    for (const status of [200, 200]) expect(await act(cancelled, 'cancellation')).toBe(status);
    expect(await act(cancelled, 'payment')).toBe(409);
    expect(await revenue(client)).toEqual({ cents: String(6 * 1_700) });
    expect(await revenue(other)).toEqual({ cents: '0' });
  });

  it('send a revenue that no number of JavaScript holds exactly', async () => {
    await shop.client.put('/tenants/rich', { name: 'rich' });
    await shop.storage
      .store(Revenue)
      .forTenant('rich')
      .increment(allTime, 2n ** 53n + 1n);
    expect(await revenue(shop.client.as('rich'))).toEqual({ cents: '9007199254740993' });
  });

  it('have the views of a day, of all products together, also of many at once', async () => {
    const client = await sell();
    await client.post('/products', { sku: 'pen', title: 'Pen', priceCents: 110 });
    const today = (): string => new Date().toISOString().slice(0, 10);
    const first = today();
    const skus = Array.from({ length: 40 }, (_, n) => (n % 2 === 0 ? 'mug' : 'pen'));
    await Promise.all(skus.map((sku) => client.get(`/products/${sku}`)));
    await client.get('/products/none');
    // the test may run at midnight
    const counted = new Map<string, number>();
    for (const day of new Set([first, today()])) {
      const { body } = await client.get(`/reports/views?day=${day}`);
      counted.set(day, (body as { readonly views: number }).views);
    }
    expect([...counted.values()].reduce((sum, views) => sum + views, 0)).toBe(40);
    expect((await client.get('/reports/views')).body).toMatchObject({
      day: expect.stringMatching(/^\d{4}-\d\d-\d\d$/),
    });
    expect((await client.get('/reports/views?day=2001-01-01')).body).toEqual({ day: '2001-01-01', views: 0 });
    expect(await client.get('/reports/views?day=today')).toMatchObject({
      status: 400,
      body: { code: 'INVALID_OPTION' },
    });
  });
});

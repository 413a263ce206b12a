/**
 * Stock as a stream: receipts, past versions, snapshots. Reservations and shipments:
 * orders.spec.ts.
 */
import { expect, it } from '@jest/globals';
import { statusesOf, times } from './answers.js';
import { resolve, type Client } from './client.js';
import { onEachStorage } from './shop.js';

interface Event {
  readonly version: number;
  readonly type: string;
  readonly data: object;
  readonly recordedAt: string;
}
interface Events {
  readonly items: Event[];
  readonly next?: number;
}

onEachStorage('Stock', (shop) => {
  async function tenantWithStock(quantity: number): Promise<Client> {
    const client = await shop.createTenant();
    await client.post('/products', { sku: 'mug', title: 'Mug', priceCents: 850 });
    if (quantity > 0) await client.post('/stock/mug/receipts', { quantity });
    return client;
  }
  const stockOf = async (client: Client, query = ''): Promise<unknown> =>
    (await client.get(`/stock/mug${query}`)).body;

  it('is 404 before the first receipt', async () => {
    const client = await tenantWithStock(0);
    for (const path of ['', '/movements', '/snapshots'])
      expect(await client.get(`/stock/mug${path}`)).toMatchObject({
        status: 404,
        body: { code: 'STREAM_NOT_FOUND', stream: 'stock/mug' },
      });
    expect(await client.post('/stock/mug/snapshots')).toMatchObject({
      status: 404,
      body: { code: 'STREAM_NOT_FOUND' },
    });
  });

  it('grows by receipts', async () => {
    const client = await tenantWithStock(10);
    expect(await client.post('/stock/mug/receipts', { quantity: 5 })).toMatchObject({
      status: 201,
      body: { onHand: 15, reserved: 0, available: 15, version: 2 },
    });
    expect(await stockOf(client)).toEqual({ onHand: 15, reserved: 0, available: 15, version: 2 });
  });

  it('grows once by repeats of a receipt with one key', async () => {
    const client = await tenantWithStock(10);
    const receive = async (quantity = 5) =>
      await client.post('/stock/mug/receipts', { quantity }, { 'Idempotency-Key': 'r-1' });
    const first = await receive();
    expect(first).toMatchObject({ status: 201, body: { onHand: 15, version: 2 } });
    await client.post('/stock/mug/receipts', { quantity: 1 });
    const again = await receive();
    expect([again.status, again.body, again.headers.get('idempotency-replayed')]).toEqual([
      201,
      first.body,
      'true',
    ]);
    expect(await receive(6)).toMatchObject({ status: 422, body: { code: 'IDEMPOTENCY_CONFLICT' } });
    expect(await stockOf(client)).toMatchObject({ onHand: 16 });
  });

  it('is received only for existing products, in whole numbers', async () => {
    const client = await tenantWithStock(0);
    expect(await client.post('/stock/unicorn/receipts', { quantity: 1 })).toMatchObject({
      status: 404,
      body: { code: 'KEY_NOT_FOUND' },
    });
    for (const quantity of [0, -1, 0.5, '1', null])
      expect(await client.post('/stock/mug/receipts', { quantity })).toMatchObject({ status: 422 });
    expect(await client.get('/stock/mug')).toMatchObject({ status: 404 });
  });

  it('loses no receipt of many at once', async () => {
    const client = await tenantWithStock(0);
    const answers = await times(30, () => client.post('/stock/mug/receipts', { quantity: 2 }));
    expect(statusesOf(answers)).toEqual({ 201: 30 });
    expect(await stockOf(client)).toEqual({ onHand: 60, reserved: 0, available: 60, version: 30 });
  });

  it('is read at a version and at a time', async () => {
    const client = await tenantWithStock(10);
    const before = new Date(Date.now() - 60_000).toISOString();
    await client.post('/stock/mug/receipts', { quantity: 5 });
    expect(await stockOf(client, '?version=1')).toEqual({
      onHand: 10,
      reserved: 0,
      available: 10,
      version: 1,
    });
    expect(await stockOf(client, `?at=${new Date(Date.now() + 60_000).toISOString()}`)).toMatchObject({
      onHand: 15,
      version: 2,
    });
    expect(await client.get(`/stock/mug?at=${before}`)).toMatchObject({
      status: 404,
      body: { code: 'STREAM_NOT_FOUND' },
    });
    expect(await client.get('/stock/mug?version=3')).toMatchObject({
      status: 404,
      body: { code: 'STREAM_VERSION_NOT_FOUND', version: 3 },
    });
    for (const query of [
      'version=1&at=2026-01-01T00:00:00Z',
      'version=0',
      'version=x',
      'at=yesterday',
      'since=1',
    ])
      expect(await client.get(`/stock/mug?${query}`)).toMatchObject({
        status: 400,
        body: { code: 'INVALID_OPTION' },
      });
  });

  it('has 250 movements in the demo shop, each of which can be read by version and by time', async () => {
    const acme = shop.client.as('acme');
    expect(await stockOf(acme, '?version=250')).toEqual({
      onHand: 10,
      reserved: 0,
      available: 10,
      version: 250,
    });
    const earlier = await stockOf(acme, '?version=120');
    expect(earlier).toEqual({ onHand: 28, reserved: 0, available: 28, version: 120 });
    const { items } = (await acme.get('/stock/mug/movements?from=120&to=121')).body as Events;
    expect(items.map(({ version, type }) => [version, type])).toEqual([
      [120, 'adjusted'],
      [121, 'received'],
    ]);
    expect(await stockOf(acme, `?at=${items[0]?.recordedAt}`)).toEqual(earlier);
    // In between, goods were reserved.
    expect(await stockOf(acme, '?version=125')).toMatchObject({ reserved: 6, version: 125 });
  });

  it('has a snapshot every 100 movements, and every answer is the same without them', async () => {
    const acme = shop.client.as('acme');
    const all = async (): Promise<unknown[]> =>
      await Promise.all(['', '?version=100', '?version=150'].map((query) => stockOf(acme, query)));
    expect((await acme.get('/stock/mug/snapshots')).body).toEqual([100, 200]);
    const before = await all();
    const made = await acme.post('/stock/mug/snapshots');
    const { version } = made.body as { version: number };
    expect(made).toMatchObject({
      status: 201,
      body: { version: ((await stockOf(acme)) as { version: number }).version },
    });
    expect((await acme.get('/stock/mug/snapshots')).body).toEqual([100, 200, version]);
    for (const each of [version, 200, 100]) {
      expect(await acme.delete(`/stock/mug/snapshots/${each}`)).toMatchObject({ status: 204 });
      expect(await all()).toEqual(before);
    }
    expect((await acme.get('/stock/mug/snapshots')).body).toEqual([]);
    expect(await acme.delete('/stock/mug/snapshots/100')).toMatchObject({
      status: 404,
      body: { code: 'SNAPSHOT_NOT_FOUND', version: 100 },
    });
    expect(await acme.delete('/stock/mug/snapshots/first')).toMatchObject({
      status: 400,
      body: { code: 'INVALID_OPTION' },
    });
  });

  it('lists its movements page by page, in both directions, with their correlation ids', async () => {
    const client = await tenantWithStock(0);
    for (let n = 1; n <= 5; n += 1)
      await client.post('/stock/mug/receipts', { quantity: n }, { 'X-Correlation-Id': `delivery-${n}` });
    const pagesOf = async (query: string): Promise<unknown[]> => {
      const pages: unknown[] = [];
      for (let path: string | undefined = `/stock/mug/movements?limit=2${query}`; path !== undefined;) {
        const { headers, body } = await client.get(path);
        const { items, next } = body as Events;
        pages.push(items.map(({ version }) => version));
        const link = /^<([^>]+)>; rel="next"$/.exec(headers.get('link') ?? '')?.[1];
        path = link === undefined ? undefined : resolve(link, path);
        expect(path === undefined).toBe(next === undefined);
      }
      return pages;
    };
    expect(await pagesOf('')).toEqual([[1, 2], [3, 4], [5]]);
    expect(await pagesOf('&order=desc')).toEqual([[5, 4], [3, 2], [1]]);
    expect(await pagesOf('&from=2&to=4')).toEqual([[2, 3], [4]]);
    expect(await pagesOf('&from=2&to=4&order=desc')).toEqual([[4, 3], [2]]);
    expect(await pagesOf('&from=6')).toEqual([[]]);
    const { items } = (await client.get('/stock/mug/movements?from=3&to=3')).body as Events;
    expect(items).toEqual([
      {
        version: 3,
        type: 'received',
        data: { quantity: 3 },
        recordedAt: expect.stringMatching(/^20.*Z$/),
        correlationId: 'delivery-3',
      },
    ]);
    for (const query of ['from=0', 'limit=0', 'limit=1001', 'order=up', 'cursor=x'])
      expect(await client.get(`/stock/mug/movements?${query}`)).toMatchObject({
        status: 400,
        body: { code: 'INVALID_OPTION' },
      });
    expect(await client.get('/stock/mug/movements?from=3&to=2')).toMatchObject({
      status: 400,
      body: { code: 'OUT_OF_RANGE' },
    });
  });
});

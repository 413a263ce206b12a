/**
 * Orders: placed in one commit with stock, cart and list; paid within a session; no
 * reserved unit is lost.
 */
import { describe, expect, it } from '@jest/globals';
import { MemoryProvider } from '@kvent/key-value-storage';
import { ManualClock } from '@kvent/key-value-storage/testing';
import { BankBooks } from '../../apps/storefront/src/orders/bank.js';
import { statusesOf, times } from './answers.js';
import { BankUnderTest } from './bank.js';
import { etagOf, type Answer, type Client } from './client.js';
import { onEachStorage, openShop } from './shop.js';
import { storages } from './storages.js';

interface Order {
  readonly id: string;
  readonly status: string;
}

const bank = new BankUnderTest();

let keys = 0;
const fill = async (client: Client, cart: string, items: Readonly<Record<string, number>>): Promise<void> => {
  for (const [sku, quantity] of Object.entries(items)) {
    const { status, text } = await client.put(`/carts/${cart}/items/${sku}`, { quantity });
    if (status !== 200) throw new Error(text);
  }
};
const order = (client: Client, cart: string, key = `key-${(keys += 1)}`): Promise<Answer> =>
  client.post('/orders', { cart }, { 'Idempotency-Key': key });
const idOf = ({ body }: Answer): string => (body as Order).id;
const codesOf = (answers: readonly Answer[]): (string | undefined)[] =>
  answers.map(({ body }) => (body as { code?: string }).code);

const suite = (shop: Parameters<Parameters<typeof onEachStorage>[1]>[0]): void => {
  async function tenantWithStock(stock: Readonly<Record<string, number>>): Promise<Client> {
    const client = await shop.createTenant();
    for (const [index, [sku, quantity]] of Object.entries(stock).entries()) {
      await client.post('/products', { sku, title: sku, priceCents: 100 * (index + 1) });
      if (quantity > 0) await client.post(`/stock/${sku}/receipts`, { quantity });
    }
    return client;
  }
  const stockOf = async (client: Client, sku = 'mug'): Promise<unknown> =>
    (await client.get(`/stock/${sku}`)).body;
  /** A placed order of `quantity` mugs, of `stock`. */
  async function placeOrder(
    quantity = 4,
    stock = 10,
  ): Promise<{ readonly client: Client; readonly id: string }> {
    const client = await tenantWithStock({ mug: stock });
    await fill(client, 'c1', { mug: quantity });
    return { client, id: idOf(await order(client, 'c1')) };
  }
  async function placePaidOrder(): Promise<{ readonly client: Client; readonly id: string }> {
    const placed = await placeOrder();
    await placed.client.post(`/orders/${placed.id}/payment`, { card: 'ok' });
    return placed;
  }
  const eventsOf = async (client: Client, id: string): Promise<string[]> =>
    ((await client.get(`/orders/${id}/events`)).body as { items: { type: string }[] }).items.map(
      ({ type }) => type,
    );
  const listOf = async (client: Client, query = ''): Promise<[string, string][]> =>
    ((await client.get(`/orders${query}`)).body as { items: Order[] }).items.map(({ id, status }) => [
      id,
      status,
    ]);

  // Placing

  it('are placed: the goods are reserved, the cart is deleted, the order is listed', async () => {
    const client = await tenantWithStock({ mug: 10, pen: 5 });
    await fill(client, 'c1', { mug: 2, pen: 3 });
    const answer = await order(client, 'c1', 'k1');
    const items = [
      { sku: 'mug', quantity: 2, priceCents: 100 },
      { sku: 'pen', quantity: 3, priceCents: 200 },
    ];
    expect(answer).toMatchObject({
      status: 201,
      body: { status: 'placed', cart: 'c1', items, totalCents: 800 },
    });
    expect([
      answer.headers.get('location'),
      etagOf(answer),
      answer.headers.get('idempotency-replayed'),
    ]).toEqual([`/orders/${idOf(answer)}`, expect.stringMatching(/^"v1-[0-9a-z]+-1"$/), null]);
    const read = await client.get(`/orders/${idOf(answer)}`);
    expect(read).toMatchObject({ status: 200, body: answer.body });
    expect(await client.get(`/orders/${idOf(answer)}`, { 'If-None-Match': etagOf(read) })).toMatchObject({
      status: 304,
      text: '',
    });
    expect(await stockOf(client)).toEqual({ onHand: 10, reserved: 2, available: 8, version: 2 });
    expect(await stockOf(client, 'pen')).toEqual({ onHand: 5, reserved: 3, available: 2, version: 2 });
    expect(await client.get('/carts/c1')).toMatchObject({ status: 404 });
    expect(await listOf(client)).toEqual([[idOf(answer), 'placed']]);
  });

  it('are placed once per idempotency key, which is refused for other requests', async () => {
    const client = await tenantWithStock({ mug: 10 });
    await fill(client, 'c1', { mug: 4 });
    const first = await order(client, 'c1', 'k1');
    const again = await order(client, 'c1', 'k1');
    expect(again).toMatchObject({ status: 201, body: first.body });
    expect([again.headers.get('idempotency-replayed'), again.headers.get('location'), etagOf(again)]).toEqual(
      ['true', first.headers.get('location'), etagOf(first)],
    );
    expect(await order(client, 'c2', 'k1')).toMatchObject({
      status: 422,
      body: { code: 'IDEMPOTENCY_CONFLICT', idempotencyKey: 'k1' },
    });
    await fill(client, 'c1', { mug: 1 });
    expect(await order(client, 'c1', 'k1')).toMatchObject({ status: 201, body: first.body });
    expect(await stockOf(client)).toMatchObject({ reserved: 4, version: 2 });
    expect(await client.get('/carts/c1')).toMatchObject({ status: 200 });
    expect(await client.post('/orders', { cart: 'c1' })).toMatchObject({
      status: 400,
      body: { code: 'IDEMPOTENCY_KEY_REQUIRED' },
    });
  });

  it('are returned to a repeated request as they were placed', async () => {
    const client = await tenantWithStock({ mug: 10 });
    await fill(client, 'c1', { mug: 4 });
    const first = await order(client, 'c1', 'k1');
    await client.post(`/orders/${idOf(first)}/payment`, { card: 'ok' });
    await client.delete('/products/mug', { 'If-Match': '*' });
    expect(await order(client, 'c1', 'k1')).toMatchObject({ status: 201, body: first.body });
    expect((await client.get(`/orders/${idOf(first)}`)).body).toMatchObject({ status: 'paid' });
  });

  it('are placed once, also by concurrent repeats that take the last goods', async () => {
    const client = await tenantWithStock({ mug: 4 });
    await fill(client, 'c1', { mug: 4 });
    const answers = await times(20, () => order(client, 'c1', 'k1'));
    expect(statusesOf(answers)).toEqual({ 201: 20 });
    expect(new Set(answers.map(idOf)).size).toBe(1);
    expect(answers.filter(({ headers }) => headers.get('idempotency-replayed') === null)).toHaveLength(1);
    expect(await stockOf(client)).toMatchObject({ onHand: 4, reserved: 4, version: 2 });
  });

  it('are placed once per cart, also under different keys at the same time', async () => {
    const client = await tenantWithStock({ mug: 10 });
    await fill(client, 'c1', { mug: 2 });
    const answers = await times(10, () => order(client, 'c1'));
    expect(statusesOf(answers)).toEqual({ 201: 1, 404: 9 });
    expect(codesOf(answers.filter(({ status }) => status === 404))).toEqual(
      Array.from({ length: 9 }, () => 'CART_NOT_FOUND'),
    );
    expect(await stockOf(client)).toMatchObject({ reserved: 2 });
  });

  it('are refused without enough goods, and change nothing', async () => {
    const client = await tenantWithStock({ mug: 10, pen: 3, hat: 0 });
    await fill(client, 'c1', { mug: 2, pen: 4 });
    expect(await order(client, 'c1')).toMatchObject({
      status: 409,
      body: { code: 'INSUFFICIENT_STOCK', sku: 'pen', needed: 4, available: 3, retryable: false },
    });
    await fill(client, 'c2', { hat: 1 });
    expect(await order(client, 'c2')).toMatchObject({
      status: 409,
      body: { code: 'INSUFFICIENT_STOCK', needed: 1, available: 0 },
    });
    expect([await stockOf(client), await stockOf(client, 'pen')]).toMatchObject([
      { reserved: 0, version: 1 },
      { reserved: 0, version: 1 },
    ]);
    expect(await client.get('/carts/c1')).toMatchObject({ status: 200 });
    expect(await listOf(client)).toEqual([]);
    // A refusal is not stored under the key.
    await client.post('/stock/pen/receipts', { quantity: 1 });
    expect(await order(client, 'c1')).toMatchObject({ status: 201 });
  });

  it('are refused for a deleted product, an empty cart and a missing cart', async () => {
    const client = await tenantWithStock({ mug: 10 });
    await fill(client, 'c1', { mug: 2 });
    await client.delete('/products/mug', { 'If-Match': '*' });
    expect(await order(client, 'c1')).toMatchObject({
      status: 404,
      body: { code: 'KEY_NOT_FOUND', key: 'mug' },
    });
    await fill(client, 'c1', { mug: 0 });
    expect(await order(client, 'c1')).toMatchObject({
      status: 409,
      body: { code: 'CART_EMPTY', cart: 'c1' },
    });
    expect(await order(client, 'c9')).toMatchObject({
      status: 404,
      body: { code: 'CART_NOT_FOUND', cart: 'c9' },
    });
    for (const body of [{}, { cart: '' }, { cart: 7 }])
      expect(await client.post('/orders', body, { 'Idempotency-Key': 'k9' })).toMatchObject({
        status: 422,
        body: { code: 'INVALID_VALUE' },
      });
    expect(await stockOf(client)).toMatchObject({ reserved: 0, version: 1 });
  });

  it('are exactly ten for 50 shoppers and ten mugs', async () => {
    const client = await tenantWithStock({ mug: 10 });
    await times(50, (n) => fill(client, `c${n}`, { mug: 1 }));
    const answers = await times(50, (n) => order(client, `c${n}`));
    expect(statusesOf(answers)).toEqual({ 201: 10, 409: 40 });
    for (const { body } of answers.filter(({ status }) => status === 409))
      expect(body).toMatchObject({ code: 'INSUFFICIENT_STOCK', sku: 'mug', needed: 1, available: 0 });
    expect(await stockOf(client)).toEqual({ onHand: 10, reserved: 10, available: 0, version: 11 });
    expect(await listOf(client)).toHaveLength(10);
  });

  it('never exceed the goods of concurrent receipts', async () => {
    const client = await tenantWithStock({ mug: 5 });
    await times(40, (n) => fill(client, `c${n}`, { mug: 1 + (n % 3) }));
    const [orders, receipts] = await Promise.all([
      times(40, (n) => order(client, `c${n}`)),
      times(5, () => client.post('/stock/mug/receipts', { quantity: 5 })),
    ]);
    expect(statusesOf(receipts)).toEqual({ 201: 5 });
    const placed = orders
      .filter(({ status }) => status === 201)
      .map(({ body }) => (body as { items: { quantity: number }[] }).items);
    const total = placed.flat().reduce((sum, { quantity }) => sum + quantity, 0);
    expect(total).toBeLessThanOrEqual(30);
    expect(await stockOf(client)).toMatchObject({ onHand: 30, reserved: total, available: 30 - total });
    expect(
      codesOf(orders.filter(({ status }) => status !== 201)).every((code) => code === 'INSUFFICIENT_STOCK'),
    ).toBe(true);
  });

  // Paying

  it('are paid once, and a second payment is refused', async () => {
    const { client, id } = await placeOrder();
    const answer = await client.post(`/orders/${id}/payment`, { card: 'ok' });
    expect(answer).toMatchObject({
      status: 200,
      body: { id, status: 'paid', reference: expect.any(String) },
    });
    expect(etagOf(answer)).toMatch(/^"v2-/);
    expect(await client.post(`/orders/${id}/payment`, { card: 'ok' })).toMatchObject({
      status: 409,
      body: { code: 'ORDER_NOT_PAYABLE', order: id, status: 409 },
    });
    expect(await eventsOf(client, id)).toEqual(['placed', 'paid']);
    expect(await stockOf(client)).toMatchObject({ onHand: 10, reserved: 4, version: 2 });
    expect(await listOf(client)).toEqual([[id, 'paid']]);
    expect(await client.post(`/orders/${id}/payment`, { card: 'gold' })).toMatchObject({
      status: 422,
      body: { code: 'INVALID_VALUE' },
    });
  });

  it('are locked during a payment: other changes get 423 with Retry-After', async () => {
    const { client, id } = await placeOrder();
    const [answer, others] = await bank.duringPayment(client, id, async () => [
      await client.post(`/orders/${id}/payment`, { card: 'ok' }),
      await client.post(`/orders/${id}/cancellation`),
      await client.post(`/orders/${id}/shipment`),
      await client.get(`/orders/${id}`),
    ]);
    expect(answer).toMatchObject({ status: 200, body: { status: 'paid' } });
    expect(others.map(({ status }) => status)).toEqual([423, 423, 423, 200]);
    expect(codesOf(others.slice(0, 3))).toEqual(['SESSION_OPEN_FAILED', 'STREAM_LOCKED', 'STREAM_LOCKED']);
    for (const { headers } of others.slice(0, 3))
      expect(Number(headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
    expect(others[3]?.body).toMatchObject({ status: 'placed' });
    expect(await eventsOf(client, id)).toEqual(['placed', 'paid']);
  });

  it('are closed by a declined card, and their goods are released', async () => {
    const { client, id } = await placeOrder(8);
    expect(await client.post(`/orders/${id}/payment`, { card: 'declined' })).toMatchObject({
      status: 402,
      body: { code: 'PAYMENT_DECLINED', order: id, retryable: false },
    });
    expect(await stockOf(client)).toEqual({ onHand: 10, reserved: 0, available: 10, version: 3 });
    expect(await client.post(`/orders/${id}/payment`, { card: 'ok' })).toMatchObject({
      status: 409,
      body: { code: 'ORDER_NOT_PAYABLE' },
    });
    expect(await client.post(`/orders/${id}/cancellation`)).toMatchObject({
      status: 200,
      body: { status: 'declined' },
    });
    expect(await listOf(client)).toEqual([[id, 'declined']]);
    await fill(client, 'c2', { mug: 10 });
    expect(await order(client, 'c2')).toMatchObject({ status: 201 });
  });

  it.each(['down', 'silent'] as const)(
    'stay unpaid while the bank is %s, and are paid once by a repeat',
    async (state) => {
      const { client, id } = await placeOrder();
      const answer = await bank.whileBankIs(state, () =>
        client.post(`/orders/${id}/payment`, { card: 'ok' }),
      );
      expect(answer).toMatchObject({
        status: 502,
        body: { code: 'BANK_UNAVAILABLE', retryable: true, order: id },
      });
      expect(answer.headers.get('retry-after')).toBe('1');
      expect(answer.text).not.toContain('hunter2');
      expect([await eventsOf(client, id), await stockOf(client)]).toMatchObject([
        ['placed'],
        { reserved: 4, version: 2 },
      ]);
      expect(await client.post(`/orders/${id}/payment`, { card: 'ok' })).toMatchObject({
        status: 200,
        body: { status: 'paid' },
      });
    },
  );

  it('are paid once by 10 concurrent payments', async () => {
    const { client, id } = await placeOrder();
    const answers = await times(10, () => client.post(`/orders/${id}/payment`, { card: 'ok' }));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(answers.every(({ status }) => [200, 409, 423].includes(status))).toBe(true);
    expect(await eventsOf(client, id)).toEqual(['placed', 'paid']);
  });

  // Shipping and cancelling

  it('are shipped once, and only if paid', async () => {
    const { client, id } = await placeOrder();
    expect(await client.post(`/orders/${id}/shipment`)).toMatchObject({
      status: 409,
      body: { code: 'ORDER_NOT_PAID', order: id },
    });
    await client.post(`/orders/${id}/payment`, { card: 'ok' });
    const shipped = await client.post(`/orders/${id}/shipment`);
    expect(shipped).toMatchObject({ status: 200, body: { id, status: 'shipped' } });
    expect(await client.post(`/orders/${id}/shipment`)).toMatchObject({ status: 200, body: shipped.body });
    expect(await stockOf(client)).toEqual({ onHand: 6, reserved: 0, available: 6, version: 3 });
    expect(await eventsOf(client, id)).toEqual(['placed', 'paid', 'shipped']);
    expect(await client.post(`/orders/${id}/cancellation`)).toMatchObject({
      status: 409,
      body: { code: 'ORDER_SHIPPED', order: id },
    });
  });

  it('are shipped only in the version of If-Match', async () => {
    const { client, id } = await placeOrder();
    const before = etagOf(await client.get(`/orders/${id}`));
    const current = etagOf(await client.post(`/orders/${id}/payment`, { card: 'ok' }));
    expect(await client.post(`/orders/${id}/shipment`, undefined, { 'If-Match': before })).toMatchObject({
      status: 412,
      body: { code: 'STREAM_VERSION_MISMATCH', expected: 1, actual: 2, retryable: false },
    });
    expect(await client.post(`/orders/${id}/shipment`, undefined, { 'If-None-Match': '*' })).toMatchObject({
      status: 412,
    });
    expect(await client.post(`/orders/${id}/shipment`, undefined, { 'If-Match': '2' })).toMatchObject({
      status: 400,
      body: { code: 'INVALID_ETAG' },
    });
    // of no stream, of another order at the same version, and weak
    const elsewhere = await placePaidOrder();
    const other = etagOf(await elsewhere.client.get(`/orders/${elsewhere.id}`));
    for (const foreign of ['"v2"', other, `W/${current}`]) {
      expect(await client.post(`/orders/${id}/shipment`, undefined, { 'If-Match': foreign })).toMatchObject({
        status: 412,
      });
    }
    expect(await client.post(`/orders/${id}/shipment`, undefined, { 'If-Match': current })).toMatchObject({
      status: 200,
    });
  });

  it('are cancelled once, and their goods stay', async () => {
    const { client, id } = await placeOrder();
    const answers = await times(10, () => client.post(`/orders/${id}/cancellation`));
    expect(statusesOf(answers)).toEqual({ 200: 10 });
    for (const { body } of answers) expect(body).toMatchObject({ id, status: 'cancelled' });
    expect(await stockOf(client)).toEqual({ onHand: 10, reserved: 0, available: 10, version: 3 });
    expect(await client.post(`/orders/${id}/payment`, { card: 'ok' })).toMatchObject({
      status: 409,
      body: { code: 'ORDER_NOT_PAYABLE' },
    });
    expect(await listOf(client)).toEqual([[id, 'cancelled']]);
  });

  it('are shipped or cancelled, never both', async () => {
    const { client, id } = await placePaidOrder();
    const answers = await times(10, (n) =>
      client.post(`/orders/${id}/${n % 2 === 0 ? 'shipment' : 'cancellation'}`),
    );
    expect(statusesOf(answers)).toEqual({ 200: 5, 409: 5 });
    const shipped = ((await client.get(`/orders/${id}`)).body as Order).status === 'shipped' ? 4 : 0;
    expect(await stockOf(client)).toEqual({
      onHand: 10 - shipped,
      reserved: 0,
      available: 10 - shipped,
      version: 3,
    });
  });

  it('are cancelled while the bank fails, and a repeat requests the refund again', async () => {
    const { client, id } = await placePaidOrder();
    expect(await bank.whileBankIs('down', () => client.post(`/orders/${id}/cancellation`))).toMatchObject({
      status: 502,
      body: { code: 'BANK_UNAVAILABLE' },
    });
    expect(await stockOf(client)).toMatchObject({ reserved: 0 });
    expect(await client.post(`/orders/${id}/cancellation`)).toMatchObject({
      status: 200,
      body: { status: 'cancelled' },
    });
  });

  // Reading

  it('are read at a version, at a time, and as events', async () => {
    const { client, id } = await placePaidOrder();
    await client.post(`/orders/${id}/shipment`, undefined, { 'X-Correlation-Id': 'truck-7' });
    const earlier = await client.get(`/orders/${id}?version=1`);
    expect(earlier).toMatchObject({ status: 200, body: { id, status: 'placed' } });
    expect(etagOf(earlier)).toMatch(/^"v1-/);
    const { items } = (await client.get(`/orders/${id}/events`)).body as {
      items: { version: number; recordedAt: string }[];
    };
    expect(items).toMatchObject([
      {
        version: 1,
        type: 'placed',
        data: { cart: 'c1', items: [{ sku: 'mug', quantity: 4 }] },
        correlationId: expect.any(String),
      },
      { version: 2, type: 'paid', data: { reference: expect.any(String) } },
      { version: 3, type: 'shipped', correlationId: 'truck-7' },
    ]);
    const times = items.map(({ recordedAt }) => recordedAt);
    expect(times).toEqual([...times].sort());
    expect(await client.get(`/orders/${id}?at=${times[2]}`)).toMatchObject({
      status: 200,
      body: { status: 'shipped' },
    });
    expect(await client.get(`/orders/${id}?version=4`)).toMatchObject({
      status: 404,
      body: { code: 'STREAM_VERSION_NOT_FOUND' },
    });
  });

  it.each(['GET ', 'GET /events', 'POST /payment', 'POST /cancellation', 'POST /shipment'])(
    'that do not exist are 404 (%s), also at a second request',
    async (what) => {
      const client = await tenantWithStock({});
      const [method = '', path = ''] = what.split(' ');
      const ask = (): Promise<Answer> =>
        client.send(method, `/orders/none${path}`, path === '/payment' ? { card: 'ok' } : undefined);
      for (const answer of [await ask(), await ask()])
        expect(answer).toMatchObject({
          status: 404,
          body: { code: 'STREAM_NOT_FOUND', stream: 'order/none' },
        });
    },
  );

  it('are listed by status, page by page, and up to date', async () => {
    const client = await tenantWithStock({ mug: 100 });
    const ids: string[] = [];
    for (let n = 0; n < 5; n += 1) {
      await fill(client, 'c1', { mug: 1 });
      ids.push(idOf(await order(client, 'c1')));
    }
    for (const id of ids.slice(0, 2)) await client.post(`/orders/${id}/payment`, { card: 'ok' });
    expect(await listOf(client, '?status=paid')).toEqual(ids.slice(0, 2).map((id) => [id, 'paid']));
    const first = await client.get('/orders?status=placed&limit=2');
    const { items, next } = first.body as { items: Order[]; next: string };
    expect(items.map(({ id }) => id)).toEqual(ids.slice(2, 4));
    expect(first.headers.get('link')).toBe(
      `<?status=placed&limit=2&cursor=${encodeURIComponent(next)}>; rel="next"`,
    );
    expect(await listOf(client, `?status=placed&limit=2&cursor=${next}`)).toEqual([[ids[4], 'placed']]);
    expect((await listOf(client)).map(([id]) => id).sort()).toEqual([...ids].sort());
    expect(await client.get('/orders?status=lost')).toMatchObject({
      status: 400,
      body: { code: 'INVALID_OPTION' },
    });
  });
};
onEachStorage('Orders', suite, storages, { bankTransport: bank.transport });

// On memory alone: this does not depend on the storage.
describe('Orders over time', () => {
  const open = async () => {
    const clock = new ManualClock();
    const provider = new MemoryProvider({ clock });
    const shop = await openShop(
      { openProvider: () => provider },
      { clock, bankTransport: bank.transport, http: 'fastify' },
    );
    const acme = shop.client.as('acme');
    await fill(acme, 'c1', { mug: 4 });
    const placed = await order(acme, 'c1', 'k1');
    return { clock, shop, acme, placed, id: idOf(placed) };
  };

  it('are not placed again after their idempotency key expired: the current order is returned', async () => {
    const { clock, shop, acme, id } = await open();
    await using _ = shop;
    await acme.post(`/orders/${id}/payment`, { card: 'ok' });
    await clock.advance(25 * 60 * 60_000);
    await fill(acme, 'c1', { mug: 1 });
    const again = await order(acme, 'c1', 'k1');
    expect(again).toMatchObject({ status: 201, body: { id, status: 'paid' } });
    expect(again.headers.get('idempotency-replayed')).toBe('true');
    expect((await acme.get('/stock/mug')).body).toMatchObject({ reserved: 4 });
    expect(await acme.get('/carts/c1')).toMatchObject({ status: 200 });
  });

  it('stay cancelled if the session of a payment expired: it changes and charges nothing', async () => {
    const { clock, shop, acme, id } = await open();
    await using _ = shop;
    const [late, cancelled] = await bank.duringPayment(acme, id, async () => {
      await clock.advance(6_000);
      return await acme.post(`/orders/${id}/cancellation`);
    });
    expect(cancelled).toMatchObject({ status: 200, body: { status: 'cancelled' } });
    expect([late.status, codesOf([late])[0]]).toEqual([409, 'SESSION_LOST']);
    expect((await acme.get(`/orders/${id}`)).body).toMatchObject({ status: 'cancelled' });
    expect((await acme.get('/stock/mug')).body).toMatchObject({ onHand: 10, reserved: 0 });
    const book = await shop.storage.store(BankBooks).forTenant('acme').getOrThrow(id);
    expect(book.value).toEqual({ cents: 0, status: 'refunded' });
  });
});

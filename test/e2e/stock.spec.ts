import { expect, it } from '@jest/globals';
import type { Answer, Client } from './client.js';
import { onEachStorage } from './shop.js';

const reserve = (client: Client, quantity: unknown, id?: string): Promise<Answer> =>
  client.post('/stock/mug/reservations', id === undefined ? { quantity } : { quantity, id });
const statusesOf = (answers: readonly Answer[]): Record<number, number> => {
  const counts: Record<number, number> = {};
  for (const { status } of answers) counts[status] = (counts[status] ?? 0) + 1;
  return counts;
};
const times = <T>(count: number, work: (index: number) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: count }, (_, index) => work(index)));

onEachStorage('Stock', (shop) => {
  async function stocked(quantity: number): Promise<Client> {
    const client = await shop.tenant();
    await client.post('/products', { sku: 'mug', title: 'Mug', priceCents: 850 });
    if (quantity > 0) await client.post('/stock/mug/receipts', { quantity });
    return client;
  }
  const stockOf = async (client: Client): Promise<unknown> => (await client.get('/stock/mug')).body;

  it('is not there before something has arrived', async () => {
    expect(await (await stocked(0)).get('/stock/mug')).toMatchObject({ status: 404, body: { code: 'KEY_NOT_FOUND' } });
  });

  it('grows by what arrives', async () => {
    const client = await stocked(10);
    expect(await client.post('/stock/mug/receipts', { quantity: 5 })).toMatchObject({
      status: 201,
      body: { onHand: 15, reserved: 0, available: 15, version: 2 },
    });
    expect(await stockOf(client)).toEqual({ onHand: 15, reserved: 0, available: 15, version: 2 });
  });

  it('arrives only of what is sold, in whole pieces', async () => {
    const client = await stocked(0);
    expect(await client.post('/stock/unicorn/receipts', { quantity: 1 })).toMatchObject({ status: 404, body: { code: 'KEY_NOT_FOUND' } });
    for (const quantity of [0, -1, 0.5, '1', null])
      expect(await client.post('/stock/mug/receipts', { quantity })).toMatchObject({ status: 422 });
    expect(await client.get('/stock/mug')).toMatchObject({ status: 404 });
  });

  it('loses no receipt of many at once', async () => {
    const client = await stocked(0);
    const answers = await times(30, () => client.post('/stock/mug/receipts', { quantity: 2 }));
    expect(statusesOf(answers)).toEqual({ 201: 30 });
    expect(await stockOf(client)).toEqual({ onHand: 60, reserved: 0, available: 60, version: 30 });
  });

  it('is reserved, under an address', async () => {
    const client = await stocked(10);
    const reserved = await reserve(client, 4, 'r1');
    const stock = { onHand: 10, reserved: 4, available: 6, version: 2 };
    expect(reserved).toMatchObject({ status: 201, body: { id: 'r1', sku: 'mug', quantity: 4, status: 'reserved', stock } });
    expect(reserved.headers.get('location')).toBe('/stock/mug/reservations/r1');
    expect(await client.get('/stock/mug/reservations/r1')).toMatchObject({ status: 200, body: reserved.body });
    expect(await stockOf(client)).toEqual(stock);
  });

  it('is reserved under an id that the shop makes, if none is given', async () => {
    const client = await stocked(10);
    const [first, second] = [await reserve(client, 1), await reserve(client, 1)].map(({ body }) => (body as { id: string }).id);
    expect(first).toMatch(/^[0-9a-f-]{36}$/);
    expect(second).not.toBe(first);
    expect(await stockOf(client)).toMatchObject({ reserved: 2 });
  });

  it('is not reserved beyond what is there, and the refusal says how much is', async () => {
    const client = await stocked(10);
    await reserve(client, 7);
    expect(await reserve(client, 4)).toMatchObject({
      status: 409,
      body: { code: 'INSUFFICIENT_STOCK', sku: 'mug', needed: 4, available: 3, retryable: false },
    });
    expect(await stockOf(client)).toMatchObject({ reserved: 7, version: 2 });
    expect(await reserve(await stocked(0), 1)).toMatchObject({
      status: 409,
      body: { code: 'INSUFFICIENT_STOCK', needed: 1, available: 0 },
    });
  });

  it('is sold ten times and no more to 50 buyers of 10 units', async () => {
    const client = await stocked(10);
    const answers = await times(50, () => reserve(client, 1));
    expect(statusesOf(answers)).toEqual({ 201: 10, 409: 40 });
    for (const { body } of answers.filter(({ status }) => status === 409))
      expect(body).toMatchObject({ code: 'INSUFFICIENT_STOCK', sku: 'mug', needed: 1, available: 0 });
    expect(await stockOf(client)).toEqual({ onHand: 10, reserved: 10, available: 0, version: 11 });
  });

  it('is reserved once under an id, however often it is repeated', async () => {
    const client = await stocked(10);
    const first = await reserve(client, 4, 'r1');
    const again = await reserve(client, 4, 'r1');
    expect(again).toMatchObject({ status: 200, body: first.body });
    expect(await reserve(client, 5, 'r1')).toMatchObject({ status: 409, body: { code: 'RESERVATION_EXISTS', quantity: 4, asked: 5 } });
    expect(await stockOf(client)).toMatchObject({ reserved: 4, version: 2 });
  });

  it('is reserved no more once the product is removed, but what was reserved before may be repeated', async () => {
    const client = await stocked(10);
    const first = await reserve(client, 4, 'r1');
    await client.delete('/products/mug', { 'If-Match': '*' });
    expect(await reserve(client, 4, 'r1')).toMatchObject({ status: 200, body: first.body });
    expect(await reserve(client, 5, 'r1')).toMatchObject({ status: 409, body: { code: 'RESERVATION_EXISTS' } });
    expect(await reserve(client, 4, 'r2')).toMatchObject({ status: 404, body: { code: 'KEY_NOT_FOUND', key: 'mug' } });
    expect(await stockOf(client)).toMatchObject({ reserved: 4, version: 2 });
  });

  it('is reserved once under an id, also when the repeats meet and take the last ones', async () => {
    const client = await stocked(4);
    const answers = await times(20, () => reserve(client, 4, 'r1'));
    expect(statusesOf(answers)).toEqual({ 201: 1, 200: 19 });
    expect(await stockOf(client)).toMatchObject({ onHand: 4, reserved: 4, version: 2 });
  });

  it('leaves when it is committed, once', async () => {
    const client = await stocked(10);
    await reserve(client, 4, 'r1');
    const committed = await client.post('/stock/mug/reservations/r1/commitment');
    const stock = { onHand: 6, reserved: 0, available: 6, version: 3 };
    expect(committed).toMatchObject({ status: 200, body: { id: 'r1', quantity: 4, status: 'committed', stock } });
    expect(await client.post('/stock/mug/reservations/r1/commitment')).toMatchObject({ status: 200, body: committed.body });
    expect(await reserve(client, 4, 'r1')).toMatchObject({ status: 200, body: { status: 'committed' } });
    expect(await stockOf(client)).toEqual(stock);
  });

  it('stays when it is released, once', async () => {
    const client = await stocked(10);
    await reserve(client, 4, 'r1');
    await reserve(client, 3, 'r2');
    const stock = { onHand: 10, reserved: 3, available: 7, version: 4 };
    const answers = await times(10, () => client.post('/stock/mug/reservations/r1/release'));
    expect(statusesOf(answers)).toEqual({ 200: 10 });
    expect(answers[0]?.body).toMatchObject({ status: 'released', stock });
    expect(await stockOf(client)).toEqual(stock);
  });

  it('is committed or released, never both', async () => {
    const client = await stocked(10);
    await reserve(client, 4, 'r1');
    await reserve(client, 4, 'r2');
    await client.post('/stock/mug/reservations/r1/commitment');
    await client.post('/stock/mug/reservations/r2/release');
    expect(await client.post('/stock/mug/reservations/r1/release')).toMatchObject({
      status: 409,
      body: { code: 'RESERVATION_SETTLED', reservation: 'r1', status: 409 },
    });
    expect(await client.post('/stock/mug/reservations/r2/commitment')).toMatchObject({
      status: 409,
      body: { code: 'RESERVATION_SETTLED' },
    });
    const both = await times(10, (n) => client.post(`/stock/mug/reservations/r3/${n % 2 === 0 ? 'commitment' : 'release'}`));
    expect(statusesOf(both)).toEqual({ 404: 10 });
    await reserve(client, 2, 'r3');
    const raced = await times(10, (n) => client.post(`/stock/mug/reservations/r3/${n % 2 === 0 ? 'commitment' : 'release'}`));
    expect(statusesOf(raced)).toEqual({ 200: 5, 409: 5 });
    expect(await stockOf(client)).toMatchObject({ reserved: 0 });
  });

  it.each(['', '/commitment', '/release'])('knows no reservation that nobody made (%s)', async (what) => {
    const client = await stocked(10);
    const answer = await client.send(what === '' ? 'GET' : 'POST', `/stock/mug/reservations/none${what}`);
    expect(answer).toMatchObject({ status: 404, body: { code: 'RESERVATION_NOT_FOUND', sku: 'mug', reservation: 'none' } });
  });

  it.each([
    { quantity: 0 },
    { quantity: 1.5 },
    {},
    { quantity: 1, id: '' },
    { quantity: 1, id: 'a b' },
    { quantity: 1, id: '..' },
    { quantity: 1, id: '-a' },
  ])('is not reserved by %p', async (body) => {
    expect(await (await stocked(10)).post('/stock/mug/reservations', body)).toMatchObject({
      status: 422,
      body: { code: 'INVALID_VALUE' },
    });
  });

  it('is the same for 40 buyers and goods that keep arriving: what was promised was there', async () => {
    const client = await stocked(5);
    const [reservations, receipts] = await Promise.all([
      times(40, (n) => reserve(client, 1 + (n % 3))),
      times(5, () => client.post('/stock/mug/receipts', { quantity: 5 })),
    ]);
    expect(statusesOf(receipts)).toEqual({ 201: 5 });
    const promised = reservations.filter(({ status }) => status === 201).map(({ body }) => (body as { quantity: number }).quantity);
    const total = promised.reduce((sum, quantity) => sum + quantity, 0);
    expect(total).toBeLessThanOrEqual(30);
    expect(await stockOf(client)).toMatchObject({ onHand: 30, reserved: total, available: 30 - total });
    expect(reservations.every(({ status, body }) => status === 201 || (body as { code: string }).code === 'INSUFFICIENT_STOCK')).toBe(true);
  });
});

/**
 * Two shops on one storage, as behind a load balancer: both have the same data and lose nothing.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { statusesOf, times } from './answers.js';
import { until } from '../postgres/until.js';
import { BankUnderTest } from './bank.js';
import { etagOf, readCaughtUp, type Answer, type Client } from './client.js';
import { openShop, type RunningShop } from './shop.js';
import { sharedStorages, type TemporaryStorage, type StorageUnderTest } from './storages.js';

export function describeTwoShops(): void {
  for (const storage of sharedStorages) describe(`Two shops on one ${storage.name}`, () => sharing(storage));
}

function sharing(storage: StorageUnderTest): void {
  const bank = new BankUnderTest();
  let temporary: TemporaryStorage;
  let shops: readonly [RunningShop, RunningShop];
  beforeAll(async () => {
    temporary = await storage.create();
    // Concurrently: one of them creates the table, and the demo data must exist once.
    shops = await Promise.all([
      openShop(temporary, { bankTransport: bank.transport, http: 'express' }),
      openShop(temporary, { bankTransport: bank.transport, http: 'fastify' }),
    ]);
  });
  afterAll(async () => {
    await Promise.all(shops.map((shop) => shop[Symbol.asyncDispose]()));
    await temporary[Symbol.asyncDispose]();
  });
  const acme = (): readonly [Client, Client] => [shops[0].client.as('acme'), shops[1].client.as('acme')];
  /**
   * Sends requests alternately to both shops, again after too many conflicts, which are likely on a
   * busy machine.
   */
  const sendToBoth = (
    count: number,
    send: (client: Client, index: number) => Promise<Answer>,
  ): Promise<Answer[]> =>
    times(count, async (index) => {
      let answer: Answer | undefined;
      await until('a request has an answer', async () => {
        answer = await send(acme()[index % 2 === 0 ? 0 : 1], index);
        return !hasTooManyConflicts(answer);
      });
      return answer as Answer;
    });
  const hasTooManyConflicts = ({ body }: Answer): boolean =>
    ['STORAGE_CONFLICT', 'STREAM_VERSION_MISMATCH'].includes(
      (body as { code?: string } | undefined)?.code ?? '',
    );

  it('have the demo data once, and read the writes of the other at once', async () => {
    const [one, other] = acme();
    expect((await one.get('/stock/mug')).body).toMatchObject({ onHand: 10, version: 250 });
    const changed = await one.put('/products/pen', { title: 'Pen', priceCents: 120 }, { 'If-Match': '*' });
    expect(await other.get('/products/pen', { 'If-None-Match': etagOf(changed) })).toMatchObject({
      status: 304,
    });
    expect(
      await other.put('/products/pen', { title: 'Pen', priceCents: 130 }, { 'If-Match': etagOf(changed) }),
    ).toMatchObject({
      status: 200,
    });
    expect(
      await one.put('/products/pen', { title: 'Pen', priceCents: 140 }, { 'If-Match': etagOf(changed) }),
    ).toMatchObject({
      status: 412,
    });
  });

  it('lose no price change', async () => {
    const answers = await sendToBoth(20, (client) => client.post('/products/shirt/price-changes', { by: 1 }));
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
    for (const client of acme())
      expect((await client.get('/products/shirt')).body).toMatchObject({ priceCents: 2_010 });
  });

  it('sell nothing twice', async () => {
    const [one] = acme();
    await times(30, (n) => one.put(`/carts/c${n}/items/mug`, { quantity: 1 }));
    const order = (client: Client, cart: number): Promise<Answer> =>
      client.post('/orders', { cart: `c${cart}` }, { 'Idempotency-Key': `k${cart}` });
    const answers = await sendToBoth(30, order);
    expect(statusesOf(answers)).toEqual({ 201: 10, 409: 20 });
    for (const client of acme())
      expect((await client.get('/stock/mug')).body).toMatchObject({ onHand: 10, reserved: 10, available: 0 });
  });

  it('recognize a repeated request, also at the other shop', async () => {
    await acme()[0].put('/carts/twice/items/pen', { quantity: 1 });
    const answers = await sendToBoth(10, (client) =>
      client.post('/orders', { cart: 'twice' }, { 'Idempotency-Key': 'twice' }),
    );
    expect(statusesOf(answers)).toEqual({ 201: 10 });
    expect(new Set(answers.map(({ body }) => (body as { id: string }).id)).size).toBe(1);
    for (const client of acme())
      expect((await client.get('/stock/pen')).body).toMatchObject({ onHand: 500, reserved: 1 });
  });

  it('refuse a payment that is in progress at the other shop', async () => {
    const [one, other] = acme();
    await one.put('/carts/held/items/pen', { quantity: 1 });
    const { id } = (await one.post('/orders', { cart: 'held' }, { 'Idempotency-Key': 'held' })).body as {
      id: string;
    };
    const [paid, refused] = await bank.duringPayment(one, id, () =>
      other.post(`/orders/${id}/payment`, { card: 'ok' }),
    );
    expect([paid.status, refused.status]).toEqual([200, 423]);
    expect((await other.get(`/orders/${id}`)).body).toMatchObject({ status: 'paid' });
  });

  it('share the work of the projections, and their totals are those of the orders', async () => {
    const buy = async (client: Client, index: number): Promise<Answer> => {
      const cart = `shared-${index}`;
      await client.put(`/carts/${cart}/items/poster`, { quantity: 1 });
      return await client.post('/orders', { cart }, { 'Idempotency-Key': cart });
    };
    const answers = await sendToBoth(20, buy);
    expect(statusesOf(answers)).toEqual({ 201: 20 });
    const [one, other] = acme();
    const positions = answers.map(({ headers }) => headers.get('kvent-position') ?? '');
    const headers = { 'Kvent-Position': positions.join(', ') };
    const orders = await itemsOf<{ readonly totalCents: number }>(one, '/orders?limit=1000');
    const expected = orders.reduce((sum, { totalCents }) => sum + totalCents, 0);
    for (const client of [one, other]) {
      const sales = await itemsOf<SalesItem>(client, '/reports/sales?limit=1000', headers);
      expect(sales.reduce((sum, { cents }) => sum + cents, 0)).toBe(expected);
      const posters = sales.filter(({ sku }) => sku === 'poster');
      expect(posters.reduce((sum, { quantity }) => sum + quantity, 0)).toBe(20);
    }
    // each partition is read by one of the shops
    await until('both shops have a partition', async () => {
      const states = await Promise.all(acme().map(partitionsOf));
      return states.every((state) => state.filter((each) => each === 'running').length === 1);
    });
  });
}

interface SalesItem {
  readonly sku: string;
  readonly quantity: number;
  readonly cents: number;
}

async function itemsOf<Item>(
  client: Client,
  path: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<readonly Item[]> {
  const { status, body } = await readCaughtUp(client, path, headers);
  expect(status).toBe(200);
  return (body as { readonly items: readonly Item[] }).items;
}

async function partitionsOf(client: Client): Promise<readonly string[]> {
  const { body } = await client.get('/reports/health');
  const { projections } = body as { projections: { projection: string; partitions: { state: string }[] }[] };
  const sales = projections.find(({ projection }) => projection === 'sales-by-day');
  return sales?.partitions.map(({ state }) => state) ?? [];
}

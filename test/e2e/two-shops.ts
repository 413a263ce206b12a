/**
 * Two shops on one storage at once, as two instances behind a load balancer are: each as if it were
 * alone, and both the same.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { statusesOf, times } from './answers.js';
import { until } from '../postgres/until.js';
import { BankUnderTest } from './bank.js';
import { etagOf, type Answer, type Client } from './client.js';
import { openShop, type RunningShop } from './shop.js';
import { shared, type Place, type StorageUnderTest } from './storages.js';

export function twoShops(): void {
  for (const storage of shared) describe(`Two shops on one ${storage.name}`, () => sharing(storage));
}

function sharing(storage: StorageUnderTest): void {
  const bank = new BankUnderTest();
  let place: Place;
  let shops: readonly [RunningShop, RunningShop];
  beforeAll(async () => {
    place = await storage.place();
    // at once: the table is made by one of them, and the demo data are there once
    shops = await Promise.all([
      openShop(place, { line: bank.transport }),
      openShop(place, { line: bank.transport }),
    ]);
  });
  afterAll(async () => {
    await Promise.all(shops.map((shop) => shop[Symbol.asyncDispose]()));
    await place[Symbol.asyncDispose]();
  });
  const acme = (): readonly [Client, Client] => [shops[0].client.as('acme'), shops[1].client.as('acme')];
  /**
   * From both shops in turn. Who has met too many rivals, which a busy machine makes more likely,
   * asks again.
   */
  const everywhere = (
    count: number,
    ask: (client: Client, index: number) => Promise<Answer>,
  ): Promise<Answer[]> =>
    times(count, async (index) => {
      let answer: Answer | undefined;
      await until('it is answered', async () => {
        answer = await ask(acme()[index % 2 === 0 ? 0 : 1], index);
        return !metTooMany(answer);
      });
      return answer as Answer;
    });
  const metTooMany = ({ body }: Answer): boolean =>
    ['STORAGE_CONFLICT', 'STREAM_VERSION_MISMATCH'].includes(
      (body as { code?: string } | undefined)?.code ?? '',
    );

  it('have the demo data once, and see at once what the other has written', async () => {
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

  it('lose no price rise of both', async () => {
    const answers = await everywhere(20, (client) => client.post('/products/shirt/price-changes', { by: 1 }));
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
    for (const client of acme())
      expect((await client.get('/products/shirt')).body).toMatchObject({ priceCents: 2_010 });
  });

  it('sell nothing twice', async () => {
    const [one] = acme();
    await times(30, (n) => one.put(`/carts/c${n}/items/mug`, { quantity: 1 }));
    const order = (client: Client, cart: number): Promise<Answer> =>
      client.post('/orders', { cart: `c${cart}` }, { 'Idempotency-Key': `k${cart}` });
    const answers = await everywhere(30, order);
    expect(statusesOf(answers)).toEqual({ 201: 10, 409: 20 });
    for (const client of acme())
      expect((await client.get('/stock/mug')).body).toMatchObject({ onHand: 10, reserved: 10, available: 0 });
  });

  it('take a repeat for what it is, whichever of them is asked', async () => {
    await acme()[0].put('/carts/twice/items/pen', { quantity: 1 });
    const answers = await everywhere(10, (client) =>
      client.post('/orders', { cart: 'twice' }, { 'Idempotency-Key': 'twice' }),
    );
    expect(statusesOf(answers)).toEqual({ 201: 10 });
    expect(new Set(answers.map(({ body }) => (body as { id: string }).id)).size).toBe(1);
    for (const client of acme())
      expect((await client.get('/stock/pen')).body).toMatchObject({ onHand: 500, reserved: 1 });
  });

  it('keep out of a payment that the other one has begun', async () => {
    const [one, other] = acme();
    await one.put('/carts/held/items/pen', { quantity: 1 });
    const { id } = (await one.post('/orders', { cart: 'held' }, { 'Idempotency-Key': 'held' })).body as {
      id: string;
    };
    const [paid, refused] = await bank.during(one, id, () =>
      other.post(`/orders/${id}/payment`, { card: 'ok' }),
    );
    expect([paid.status, refused.status]).toEqual([200, 423]);
    expect((await other.get(`/orders/${id}`)).body).toMatchObject({ status: 'paid' });
  });
}

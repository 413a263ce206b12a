/** Two shops on one storage at once, as two instances behind a load balancer are: each as if it were alone, and both the same. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { etagOf, type Answer, type Client } from './client.js';
import { openShop, type RunningShop } from './shop.js';
import { shared, type Place, type StorageUnderTest } from './storages.js';

export function twoShops(): void {
  for (const storage of shared) describe(`Two shops on one ${storage.name}`, () => sharing(storage));
}

function sharing(storage: StorageUnderTest): void {
  let place: Place;
  let shops: readonly [RunningShop, RunningShop];
  beforeAll(async () => {
    place = await storage.place();
    // at once: the table is made by one of them, and the demo data are there once
    shops = await Promise.all([openShop(place), openShop(place)]);
  });
  afterAll(async () => {
    await Promise.all(shops.map((shop) => shop[Symbol.asyncDispose]()));
    await place[Symbol.asyncDispose]();
  });
  const acme = (): readonly [Client, Client] => [shops[0].client.as('acme'), shops[1].client.as('acme')];
  /** From both shops in turn. */
  const everywhere = (count: number, ask: (client: Client) => Promise<Answer>): Promise<Answer[]> =>
    Promise.all(Array.from({ length: count }, (_, index) => ask(acme()[index % 2 === 0 ? 0 : 1])));

  it('have the demo data once, and see at once what the other has written', async () => {
    const [one, other] = acme();
    expect((await one.get('/stock/mug')).body).toMatchObject({ onHand: 10, version: 1 });
    const changed = await one.put('/products/pen', { title: 'Pen', priceCents: 120 }, { 'If-Match': '*' });
    expect(await other.get('/products/pen', { 'If-None-Match': etagOf(changed) })).toMatchObject({ status: 304 });
    expect(await other.put('/products/pen', { title: 'Pen', priceCents: 130 }, { 'If-Match': etagOf(changed) })).toMatchObject({
      status: 200,
    });
    expect(await one.put('/products/pen', { title: 'Pen', priceCents: 140 }, { 'If-Match': etagOf(changed) })).toMatchObject({
      status: 412,
    });
  });

  it('lose no price rise of both', async () => {
    const answers = await everywhere(20, (client) => client.post('/products/shirt/price-changes', { by: 1 }));
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
    for (const client of acme()) expect((await client.get('/products/shirt')).body).toMatchObject({ priceCents: 2_010 });
  });

  it('sell nothing twice', async () => {
    const answers = await everywhere(30, (client) => client.post('/stock/mug/reservations', { quantity: 1 }));
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(10);
    expect(answers.filter(({ status }) => status === 409)).toHaveLength(20);
    for (const client of acme()) expect((await client.get('/stock/mug')).body).toMatchObject({ onHand: 10, reserved: 10, available: 0 });
  });
}

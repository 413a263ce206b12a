/** `kill -9` in the middle of the checkout: what apps/storefront/README.md says of it. */
import { setTimeout } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import { openStorage } from '@kvent/key-value-storage';
import type { Answer, Client } from './client.js';
import { ShopProcess } from './shop-process.js';
import { Shoppers } from './shoppers.js';
import { lasting } from './storages.js';

export function checkoutCrashes(): void {
  describe.each(lasting)('The checkout, on $name', (storage) => {
    it('sells no unit twice, makes no order twice and loses no reservation, also when it is killed in the middle and started again', async () => {
      await using place = await storage.place();
      const options = { storage: place.setting, env: { STOREFRONT_BANK: 'unreliable' } };
      const shoppers = new Shoppers();
      await using first = await ShopProcess.open(options);
      await shoppers.begin(first.client);
      const shopping = shoppers.shop(first.client);
      await shoppers.reached({ ordered: 15, paid: 5 });
      const order = await payingSlowly(first.client.as('acme'));
      await first.kill('SIGKILL');
      expect(await shopping).toBe(false);

      await using second = await ShopProcess.open(options);
      const acme = second.client.as('acme');
      await assertHeld(acme, order);
      while (!(await shoppers.shop(second.client)));
      await shoppers.assertTrue(second.client);
      await assertFreeAgain(acme, order);
      expect(await second.kill('SIGTERM')).toMatchObject({ code: 0 });
      await using kept = await openStorage(place.create());
      await shoppers.assertBooks(kept);
    });
  });
}

/** An order whose payment is under way, for three seconds. */
async function payingSlowly(acme: Client): Promise<string> {
  await acme.put('/carts/slow/items/pen', { quantity: 7 });
  const { body } = await acme.post('/orders', { cart: 'slow' }, { 'Idempotency-Key': 'slow' });
  const { id } = body as { id: string };
  // nobody will answer it
  acme.post(`/orders/${id}/payment`, { card: 'slow' }).catch(() => undefined);
  let answer: Answer;
  do answer = await acme.post(`/orders/${id}/shipment`);
  while (answer.status === 409);
  expect(answer).toMatchObject({ status: 423, body: { code: 'STREAM_LOCKED' } });
  return id;
}

/** Its holder is dead, and nobody knows yet. */
async function assertHeld(acme: Client, order: string): Promise<void> {
  const answer = await acme.post(`/orders/${order}/payment`, { card: 'ok' });
  // where the machine is slow, its time may be over already
  if (answer.status !== 423) return void expect(answer).toMatchObject({ status: 502 });
  expect(Number(answer.headers.get('retry-after'))).toBeLessThanOrEqual(5);
  expect((await acme.get(`/orders/${order}`)).body).toMatchObject({ status: 'placed' });
  expect((await acme.get('/stock/pen')).body).toMatchObject({ onHand: 500, reserved: 7 });
}

async function assertFreeAgain(acme: Client, order: string): Promise<void> {
  let answer = await acme.post(`/orders/${order}/payment`, { card: 'ok' });
  for (; answer.status === 423 || answer.status === 502; answer = await acme.post(`/orders/${order}/payment`, { card: 'ok' }))
    await setTimeout(500);
  expect(answer).toMatchObject({ status: 200, body: { status: 'paid' } });
  const { items } = (await acme.get(`/orders/${order}/events`)).body as { items: { type: string }[] };
  expect(items.map(({ type }) => type)).toEqual(['placed', 'paid']);
  expect((await acme.get('/stock/pen')).body).toMatchObject({ onHand: 500, reserved: 7 });
}
